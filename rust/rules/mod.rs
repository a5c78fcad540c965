//! The rules engine: which tasks may start, and what keeps the others waiting.
//!
//! The table and all meaning stand in SEMANTICS.md, "Deciding".

mod constraints;
mod machine;
mod relaxation;
mod watched;

use std::collections::HashMap;

use crate::error::Error;
use constraints::{Asked, CHARGING, END, RESOURCES_OK};
pub use constraints::{CONSTRAINTS, Constraint, Constraints};
pub use machine::Facts;
use machine::Machine;
use relaxation::DEADLINE;
pub use relaxation::{Life, Relaxation};
pub use watched::Need;

/// How a task is treated when power is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Never waits.
    Critical,
    /// Runs on external power only.
    ChargingOnly,
    /// Waits for a well filled battery or an idle machine.
    Background,
    /// Waits when the battery gets low.
    Normal,
}

/// What to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Run it.
    ExecuteNow,
    /// Wait for a better moment.
    DeferToBackground,
    /// Wait for external power.
    DeferToCharging,
    /// Its deadline has passed: give up.
    Expire,
}

/// Where lines are drawn. Percent, but for the last.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// On battery at or below it only critical work runs.
    pub suspend: f64,
    /// Background work runs above it.
    pub background: f64,
    /// Normal work runs above it,
    pub normal: f64,
    /// or above this one while the machine is idle.
    pub normal_idle: f64,
    /// How far a level must rise above a line it was not above.
    pub hysteresis: f64,
    /// The battery is low at or below it,
    pub low: f64,
    /// until it is here.
    pub well: f64,
    /// Used memory from which work waits.
    pub memory: f64,
    /// Processor load from which work waits.
    pub cpu: f64,
    /// Used storage from which work waits.
    pub storage: f64,
    /// How long a state of the charger must last before a change counts at once, in seconds.
    pub plug_dwell_s: f64,
}

/// All that tasks may differ in, but for their age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requirement {
    /// The class.
    pub class: Class,
    /// A verdict that always wins.
    pub forced: Option<Verdict>,
    /// Whether it gives up at its deadline.
    pub expires: bool,
    /// Constraints that must hold.
    pub hard: Constraints,
    /// Constraints that are dropped as its life passes.
    pub soft: Constraints,
}

/// The answer for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What to do.
    pub verdict: Verdict,
    /// Row of the table that decided.
    pub row: u8,
    /// Bits of unmet conditions: those of [`CONSTRAINTS`], then on battery and nearly empty, then
    /// too low for its class; soft constraints 16 bits higher.
    pub unmet: u32,
    /// Unmet custom predicates.
    pub custom: u64,
}

const SUSPENDED: u32 = END;
const LEVEL: u32 = END << 1;
const SOFT_SHIFT: u32 = 16;
const _: () = assert!(LEVEL < 1 << SOFT_SHIFT);

// The places of the lines that tasks share; those of `battery_above` follow.
const SUSPEND: usize = 0;
const BACKGROUND: usize = 1;
const NORMAL: usize = 2;
const NORMAL_IDLE: usize = 3;
const LOW: usize = 4;

/// A requirement, ready to be judged.
#[derive(Debug)]
struct Compiled {
    requirement: Requirement,
    hard: Asked,
    soft: Asked,
    /// A bit for each step of relaxation that drops something.
    preferred: u8,
}

type Key = (Class, Option<Verdict>, bool, ConstraintsKey, ConstraintsKey);
type ConstraintsKey = (u32, u64, u32, u32, u64);

/// Decides for many tasks at once, and keeps the history that this needs.
#[derive(Debug)]
pub struct Rules {
    thresholds: Thresholds,
    relaxation: Relaxation,
    machine: Machine,
    compiled: Vec<Compiled>,
    ids: HashMap<Key, u32>,
}

impl Rules {
    /// Rules with no history: the first facts are taken as they are.
    #[must_use]
    pub fn new(thresholds: Thresholds, relaxation: Relaxation) -> Self {
        let mut rules = Self {
            thresholds,
            relaxation,
            machine: Machine::new(),
            compiled: Vec::new(),
            ids: HashMap::new(),
        };
        let Thresholds {
            suspend,
            background,
            normal,
            normal_idle,
            low,
            well,
            ..
        } = thresholds;
        for line in [suspend, background, normal, normal_idle] {
            rules.machine.push_line(line, rules.well_above(line));
        }
        rules.machine.push_line(low, well);
        rules
    }

    /// The level at which a line passes again that was not passed.
    fn well_above(&self, line: f64) -> f64 {
        (line + self.thresholds.hysteresis).min(100.0)
    }

    /// The id of a requirement; equal ones have the same. Ids count from 0.
    ///
    /// # Errors
    /// A flag, level or window that cannot be.
    pub fn compile(&mut self, requirement: Requirement) -> Result<u32, Error> {
        let Requirement {
            class,
            forced,
            expires,
            hard,
            soft,
        } = requirement;
        let key = (class, forced, expires, key_of(&hard), key_of(&soft));
        if let Some(&id) = self.ids.get(&key) {
            return Ok(id);
        }
        hard.check()?;
        soft.check()?;
        let compiled = Compiled {
            requirement,
            hard: self.asked(hard),
            soft: self.asked(soft),
            preferred: soft.dropping_steps(),
        };
        let id = self.compiled.len() as u32;
        self.compiled.push(compiled);
        self.ids.insert(key, id);
        Ok(id)
    }

    fn asked(&mut self, constraints: Constraints) -> Asked {
        let line = constraints.battery_above;
        let asks = constraints.flags & constraints::BATTERY_ABOVE != 0;
        let line = if asks {
            self.machine.line(line, self.well_above(line))
        } else {
            0
        };
        Asked { constraints, line }
    }

    /// Takes in a reading; all that follows is about it, until the next.
    ///
    /// # Errors
    /// A figure that cannot be; then nothing has changed.
    pub fn observe(&mut self, facts: &Facts) -> Result<(), Error> {
        self.machine.observe(facts, &self.thresholds)
    }

    /// The outcome for one task, by its requirement and age.
    ///
    /// # Errors
    /// Nothing observed yet, an id that `compile` did not give, an age that cannot be.
    pub fn decide(&self, set_id: u32, life: Life, running: bool) -> Result<Outcome, Error> {
        let compiled = self.checked(set_id, life)?;
        self.check_observed()?;
        let step = self.relaxation.step(life, self.machine.wall_s);
        Ok(self.outcome(compiled, step, running))
    }

    /// The outcome for every requirement, in order of ids, with nothing relaxed.
    ///
    /// # Errors
    /// Nothing observed yet.
    pub fn evaluate(&self, running: bool) -> Result<Vec<Outcome>, Error> {
        self.check_observed()?;
        Ok(self
            .compiled
            .iter()
            .map(|compiled| self.outcome(compiled, 0, running))
            .collect())
    }

    /// When relaxation or the deadline may next change the outcome, since the epoch.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn next_step_s(&self, set_id: u32, life: Life) -> Result<Option<f64>, Error> {
        let compiled = self.checked(set_id, life)?;
        self.check_observed()?;
        let next_s = self
            .relaxation
            .next_s(compiled.preferred, life, self.machine.wall_s);
        Ok(next_s.is_finite().then_some(next_s))
    }

    /// What a task of this age requires at a moment, and when that changes next.
    ///
    /// # Errors
    /// A flag, level or window that cannot be, an age that cannot be, no moment.
    pub fn relaxed(
        &self,
        requirement: Requirement,
        life: Life,
        now_s: f64,
    ) -> Result<(Requirement, Option<f64>), Error> {
        requirement.hard.check()?;
        requirement.soft.check()?;
        life.check()?;
        if !now_s.is_finite() {
            return Err(Error::Config("now_s: it must be a finite number".into()));
        }
        if requirement.forced.is_some() || requirement.class == Class::Critical {
            return Ok((requirement, None));
        }
        let step = self.relaxation.step(life, now_s);
        let soft = requirement.soft.left_at(step);
        let forced = (step == DEADLINE).then_some(if requirement.expires {
            Verdict::Expire
        } else {
            Verdict::ExecuteNow
        });
        let next_s = self.relaxation.next_s(soft.dropping_steps(), life, now_s);
        let relaxed = Requirement {
            forced,
            soft,
            ..requirement
        };
        Ok((relaxed, next_s.is_finite().then_some(next_s)))
    }

    fn checked(&self, set_id: u32, life: Life) -> Result<&Compiled, Error> {
        life.check()?;
        self.known(set_id)
    }

    fn known(&self, set_id: u32) -> Result<&Compiled, Error> {
        let unknown = || Error::Config(format!("set {set_id}: no such set was compiled"));
        self.compiled.get(set_id as usize).ok_or_else(unknown)
    }

    fn check_observed(&self) -> Result<(), Error> {
        if self.machine.observed() {
            return Ok(());
        }
        Err(Error::Config(
            "nothing observed yet; give the rules a reading first".into(),
        ))
    }

    /// The table, row by row.
    fn outcome(&self, compiled: &Compiled, step: u8, running: bool) -> Outcome {
        let machine = &self.machine;
        let Compiled {
            requirement,
            hard,
            soft,
            ..
        } = compiled;
        let Requirement {
            class,
            forced,
            expires,
            ..
        } = *requirement;
        let at_once = |verdict, row| Outcome {
            verdict,
            row,
            unmet: 0,
            custom: 0,
        };
        if let Some(verdict) = forced {
            return at_once(verdict, 0);
        }
        if class == Class::Critical {
            return at_once(Verdict::ExecuteNow, 1);
        }
        if step == DEADLINE {
            return at_once(
                if expires {
                    Verdict::Expire
                } else {
                    Verdict::ExecuteNow
                },
                2,
            );
        }
        let hard_unmet = hard.unmet(machine, 0);
        let soft_unmet = soft.unmet(machine, step);
        let constraints = hard_unmet | soft_unmet << SOFT_SHIFT;
        let charging_only = class == Class::ChargingOnly;
        let external = machine.external();
        let power_is_enough = charging_only || external || requirement.hard.names_power();
        let mut unmet = constraints;
        for (bit, holds) in [
            (CHARGING, !charging_only || external),
            (SUSPENDED, external || machine.passes(SUSPEND)),
            (RESOURCES_OK, running || machine.resources_ok),
            (LEVEL, power_is_enough || self.level_ok(class)),
        ] {
            if !holds {
                unmet |= bit;
            }
        }
        let row = match unmet {
            _ if constraints != 0 => 3,
            _ if unmet & CHARGING != 0 => 4,
            _ if unmet & SUSPENDED != 0 => 5,
            _ if unmet & RESOURCES_OK != 0 => 6,
            _ if power_is_enough => 7,
            _ if class == Class::Background => 8,
            _ => 9,
        };
        if unmet == 0 {
            return at_once(Verdict::ExecuteNow, row);
        }
        let verdict = if unmet & (CHARGING | CHARGING << SOFT_SHIFT) == 0 {
            Verdict::DeferToBackground
        } else {
            Verdict::DeferToCharging
        };
        let custom =
            hard.unmet_custom(hard_unmet, machine) | soft.unmet_custom(soft_unmet, machine);
        Outcome {
            verdict,
            row,
            unmet,
            custom,
        }
    }

    fn level_ok(&self, class: Class) -> bool {
        let (machine, idle) = (&self.machine, self.machine.idle);
        if class == Class::Background {
            machine.passes(BACKGROUND) || idle
        } else {
            machine.passes(NORMAL) || (machine.passes(NORMAL_IDLE) && idle)
        }
    }
}

fn key_of(constraints: &Constraints) -> ConstraintsKey {
    let Constraints {
        flags,
        battery_above,
        window_start,
        window_end,
        custom,
    } = *constraints;
    // -0 is equal to 0, and so must be its bits.
    (
        flags,
        (battery_above + 0.0).to_bits(),
        window_start,
        window_end,
        custom,
    )
}
