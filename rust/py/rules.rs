//! The rules engine as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Error;
use crate::rules::{
    self, Class, Constraints, Facts, Life, Outcome, Relaxation, Requirement, Thresholds, Verdict,
    Waiting,
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
type WaitingRow = (i64, u32, i32, f64, Option<f64>);

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

/// Python's class `Rules`.
#[pyclass(module = "deferpower._native")]
pub struct Rules(rules::Rules);

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
        Self(rules::Rules::new(
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
        ))
    }

    #[pyo3(signature = (requirement, /))]
    fn compile(&mut self, requirement: RequirementRow) -> Result<u32, Error> {
        let (class, forced, expires, hard, soft) = requirement;
        let unknown = || Error::Config("requirement: no such class or verdict".into());
        let verdict = |code: u8| VERDICTS.get(usize::from(code)).copied().ok_or_else(unknown);
        self.0.compile(Requirement {
            class: *CLASSES.get(usize::from(class)).ok_or_else(unknown)?,
            forced: forced.map(verdict).transpose()?,
            expires,
            hard: constraints(hard),
            soft: constraints(soft),
        })
    }

    #[pyo3(signature = (facts, /))]
    fn observe(&mut self, facts: FactsRow) -> Result<(), Error> {
        let ((monotonic_s, wall_s, minute), power, load, idle, (connected, metered), custom) =
            facts;
        let (present, percent, plugged) = power;
        let (memory, cpu, storage) = load;
        self.0.observe(&Facts {
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
        self.0
            .decide(set_id, Life { created_s, life_s }, running)
            .map(row)
    }

    #[pyo3(signature = (running, /))]
    fn evaluate(&self, running: bool) -> Result<Vec<OutcomeRow>, Error> {
        Ok(self.0.evaluate(running)?.into_iter().map(row).collect())
    }

    #[pyo3(signature = (set_id, created_s, life_s, /))]
    fn next_step_s(
        &self,
        set_id: u32,
        created_s: f64,
        life_s: Option<f64>,
    ) -> Result<Option<f64>, Error> {
        self.0.next_step_s(set_id, Life { created_s, life_s })
    }

    #[pyo3(signature = (tasks, /))]
    fn park(&mut self, tasks: Vec<WaitingRow>) -> Result<(), Error> {
        let waiting = |(id, set_id, priority, created_s, life_s): WaitingRow| Waiting {
            id,
            set_id,
            priority,
            life: Life { created_s, life_s },
        };
        self.0
            .park(&tasks.into_iter().map(waiting).collect::<Vec<_>>())
    }

    #[pyo3(signature = (task_id, /))]
    fn unpark(&mut self, task_id: i64) -> bool {
        self.0.unpark(task_id)
    }

    #[pyo3(signature = (limit, charging_only, /))]
    fn take(&mut self, limit: usize, charging_only: usize) -> Result<(Vec<i64>, Vec<i64>), Error> {
        let taken = self.0.take(limit, charging_only)?;
        Ok((taken.start, taken.expired))
    }
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
