//! What a new sample could change about a requirement, and so when the next one is worth taking.

use super::constraints::{
    BATTERY_ABOVE, BATTERY_NOT_LOW, CHARGING, IDLE, RESOURCES_OK, STORAGE_NOT_LOW,
};
use super::{
    BACKGROUND, Class, Compiled, LEVEL, NORMAL, NORMAL_IDLE, Rules, SOFT_SHIFT, SUSPENDED, Verdict,
};
use crate::cadence::{Dues, Seen};
use crate::error::Error;

/// What somebody who waits for another outcome needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// The moment of the next sample; infinite where no sample can change the outcome.
    pub due_s: f64,
    /// Whether a change of power can.
    pub power: bool,
}

impl Need {
    /// No sample changes anything.
    pub const NOTHING: Self = Self {
        due_s: f64::INFINITY,
        power: false,
    };

    /// Either of both may change the outcome.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            due_s: self.due_s.min(other.due_s),
            power: self.power || other.power,
        }
    }

    /// Only both together can: looking as often as the slower one asks for is enough.
    fn and(self, other: Self) -> Self {
        Self {
            due_s: self.due_s.max(other.due_s),
            power: self.power || other.power,
        }
    }
}

impl Rules {
    /// What of the cadence the rules know: the last facts, and the history about them.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            sampled_s: self.machine.monotonic_s,
            plug_counts_s: self.machine.plug_counts_s(self.thresholds.plug_dwell_s),
            points_to_line: self.machine.points_to_line(),
        }
    }

    /// The verdict of a requirement with nothing relaxed, and what it needs to see another one
    /// (`running`: of tasks that run).
    ///
    /// # Errors
    /// Nothing observed yet, an id that `compile` did not give.
    pub fn need(&self, set_id: u32, running: bool, dues: &Dues) -> Result<(Verdict, Need), Error> {
        let compiled = self.known(set_id)?;
        self.check_observed()?;
        let outcome = self.outcome(compiled, 0, running);
        let need = match outcome.verdict {
            _ if outcome.row < 2 => Need::NOTHING,
            Verdict::ExecuteNow if running => self.need_to_stop(compiled, dues),
            Verdict::ExecuteNow | Verdict::Expire => Need::NOTHING,
            _ => self.need_to_start(compiled.requirement.class, outcome.unmet, dues),
        };
        Ok((outcome.verdict, need))
    }

    /// All that is unmet must come to be met.
    fn need_to_start(&self, class: Class, unmet: u32, dues: &Dues) -> Need {
        let either = unmet | unmet >> SOFT_SHIFT;
        let mut unmet = either & ((1 << SOFT_SHIFT) - 1);
        let mut need = Need {
            due_s: f64::NEG_INFINITY,
            power: false,
        };
        while unmet != 0 {
            let bit = unmet & unmet.wrapping_neg();
            unmet &= !bit;
            need = need.and(match bit {
                CHARGING => power(dues.plug_s),
                BATTERY_ABOVE | BATTERY_NOT_LOW => power(dues.level_s),
                SUSPENDED => power(dues.plug_s),
                LEVEL if self.idle_is_enough(class) => power(dues.plug_s).or(load(dues.idle_s)),
                LEVEL => power(dues.plug_s),
                IDLE => load(dues.idle_s),
                RESOURCES_OK => load(dues.load_s),
                STORAGE_NOT_LOW => load(dues.storage_s),
                _ => Need::NOTHING, // only the program can tell
            });
        }
        need
    }

    /// Any of what is asked may come to be unmet.
    fn need_to_stop(&self, compiled: &Compiled, dues: &Dues) -> Need {
        let requirement = &compiled.requirement;
        let flags = requirement.hard.flags | requirement.soft.flags;
        // Only who is plugged in can be unplugged.
        let mut need = power(if self.machine.external() {
            dues.plug_s
        } else {
            dues.level_s
        });
        let is_idle_by_class = !self.machine.external()
            && self.idle_is_enough(requirement.class)
            && !self.level_is_enough(requirement.class);
        if flags & IDLE != 0 || is_idle_by_class {
            need = need.or(load(dues.idle_running_s));
        }
        if flags & RESOURCES_OK != 0 {
            need = need.or(load(dues.load_s));
        }
        if flags & STORAGE_NOT_LOW != 0 {
            need = need.or(load(dues.storage_s));
        }
        need
    }

    /// Whether idleness makes up for a level that is too low for the class.
    fn idle_is_enough(&self, class: Class) -> bool {
        class == Class::Background || self.machine.passes(NORMAL_IDLE)
    }

    fn level_is_enough(&self, class: Class) -> bool {
        self.machine.passes(if class == Class::Background {
            BACKGROUND
        } else {
            NORMAL
        })
    }
}

fn power(due_s: f64) -> Need {
    Need { due_s, power: true }
}

fn load(due_s: f64) -> Need {
    Need {
        due_s,
        power: false,
    }
}
