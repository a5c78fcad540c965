//! The rules engine as Python sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Error;
use crate::rules::{
    self, Class, Constraints, Facts, Life, Outcome, Relaxation, Requirement, Thresholds, Verdict,
};

type Lines = (f64, f64, f64, f64, f64, f64, f64, f64, f64, f64, f64);
type Fractions = (f64, f64, f64, f64, f64, f64, f64);
type ConstraintRow = (u32, f64, u32, u32, u64);
type RequirementRow = (u8, Option<u8>, bool, ConstraintRow, ConstraintRow);
type FactsRow = (
    (f64, f64, u32),
    (bool, Option<f64>, Option<bool>),
    (Option<f64>, Option<f64>, Option<f64>),
    bool,
    (Option<bool>, Option<bool>),
    u64,
);
type OutcomeRow = (u8, u8, u32, u64);

const CLASSES: [Class; 4] = [
    Class::Critical,
    Class::ChargingOnly,
    Class::Background,
    Class::Normal,
];
const VERDICTS: [Verdict; 4] = [
    Verdict::ExecuteNow,
    Verdict::DeferToBackground,
    Verdict::DeferToCharging,
    Verdict::Expire,
];

/// Python's class `Rules`. Nobody who holds the lock waits for the interpreter, so whoever has the
/// interpreter may wait for the lock.
#[pyclass(frozen, module = "deferpower._native")]
pub struct Rules(pub(super) Arc<Mutex<rules::Rules>>);

#[pymethods]
impl Rules {
    #[classattr]
    #[pyo3(name = "CONSTRAINTS")]
    fn constraints(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, rules::CONSTRAINTS.iter().map(|entry| entry.code))
    }

    #[new]
    #[pyo3(signature = (thresholds, relaxation, /))]
    fn new(thresholds: Lines, relaxation: Fractions) -> Self {
        let (suspend, background, normal, normal_idle, hysteresis, low, well, ..) = thresholds;
        let (.., memory, cpu, storage, plug_dwell_s) = thresholds;
        let (idle, battery, network, charging, all, all_before_s, default_life_s) = relaxation;
        let rules = rules::Rules::new(
            Thresholds {
                suspend,
                background,
                normal,
                normal_idle,
                hysteresis,
                low,
                well,
                memory,
                cpu,
                storage,
                plug_dwell_s,
            },
            Relaxation {
                fractions: [idle, battery, network, charging],
                all,
                all_before_s,
                default_life_s,
            },
        );
        Self(Arc::new(Mutex::new(rules)))
    }

    #[pyo3(signature = (requirement, /))]
    fn compile(&self, requirement: RequirementRow) -> Result<u32, Error> {
        self.lock().compile(parsed(requirement)?)
    }

    #[pyo3(signature = (facts, /))]
    fn observe(&self, facts: FactsRow) -> Result<(), Error> {
        let ((monotonic_s, wall_s, minute), power, load, idle, (connected, metered), custom) =
            facts;
        let (present, percent, plugged) = power;
        let (memory, cpu, storage) = load;
        self.lock().observe(&Facts {
            monotonic_s,
            wall_s,
            minute,
            present,
            percent,
            plugged,
            memory,
            cpu,
            storage,
            idle,
            connected,
            metered,
            custom,
        })
    }

    #[pyo3(signature = (set_id, created_s, life_s, running, /))]
    fn decide(
        &self,
        set_id: u32,
        created_s: f64,
        life_s: Option<f64>,
        running: bool,
    ) -> Result<OutcomeRow, Error> {
        self.lock()
            .decide(set_id, Life { created_s, life_s }, running)
            .map(row)
    }

    #[pyo3(signature = (running, /))]
    fn evaluate(&self, running: bool) -> Result<Vec<OutcomeRow>, Error> {
        Ok(self
            .lock()
            .evaluate(running)?
            .into_iter()
            .map(row)
            .collect())
    }

    #[pyo3(signature = (set_id, created_s, life_s, /))]
    fn next_step_s(
        &self,
        set_id: u32,
        created_s: f64,
        life_s: Option<f64>,
    ) -> Result<Option<f64>, Error> {
        self.lock().next_step_s(set_id, Life { created_s, life_s })
    }

    #[pyo3(signature = (requirement, created_s, life_s, now_s, /))]
    fn relaxed(
        &self,
        requirement: RequirementRow,
        created_s: f64,
        life_s: Option<f64>,
        now_s: f64,
    ) -> Result<(RequirementRow, Option<f64>), Error> {
        let life = Life { created_s, life_s };
        let (left, next_s) = self.lock().relaxed(parsed(requirement)?, life, now_s)?;
        Ok((requirement_row(left), next_s))
    }
}

impl Rules {
    fn lock(&self) -> MutexGuard<'_, rules::Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parsed(row: RequirementRow) -> Result<Requirement, Error> {
    let (class, forced, expires, hard, soft) = row;
    let unknown = || Error::Config("requirement: no such class or verdict".into());
    let verdict = |code: u8| VERDICTS.get(usize::from(code)).copied().ok_or_else(unknown);
    Ok(Requirement {
        class: *CLASSES.get(usize::from(class)).ok_or_else(unknown)?,
        forced: forced.map(verdict).transpose()?,
        expires,
        hard: constraints(hard),
        soft: constraints(soft),
    })
}

fn requirement_row(requirement: Requirement) -> RequirementRow {
    (
        requirement.class as u8,
        requirement.forced.map(|verdict| verdict as u8),
        requirement.expires,
        constraint_row(requirement.hard),
        constraint_row(requirement.soft),
    )
}

fn constraint_row(constraints: Constraints) -> ConstraintRow {
    let Constraints {
        flags,
        battery_above,
        window_start,
        window_end,
        custom,
    } = constraints;
    (flags, battery_above, window_start, window_end, custom)
}

fn constraints(row: ConstraintRow) -> Constraints {
    let (flags, battery_above, window_start, window_end, custom) = row;
    Constraints {
        flags,
        battery_above,
        window_start,
        window_end,
        custom,
    }
}

fn row(outcome: Outcome) -> OutcomeRow {
    (
        outcome.verdict as u8,
        outcome.row,
        outcome.unmet,
        outcome.custom,
    )
}
