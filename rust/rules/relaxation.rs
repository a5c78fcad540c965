//! When a task stops waiting for what it only prefers.

use crate::error::Error;

/// When soft constraints are dropped.
#[derive(Debug, Clone, Copy)]
pub struct Relaxation {
    /// Fractions of a task's life: idleness, battery level, network, charger.
    pub fractions: [f64; 4],
    /// Fraction of the life after which nothing is left, or
    pub all: f64,
    /// this long before the end, whichever is earlier.
    pub all_before_s: f64,
    /// The life of a task without a deadline.
    pub default_life_s: f64,
}

/// The steps at which kinds of constraints are dropped, in the order of [`Relaxation::fractions`].
pub(super) struct Steps {
    pub idle: u8,
    pub battery: u8,
    pub network: u8,
    pub charging: u8,
}

pub(super) const DROPPED: Steps = Steps {
    idle: 1,
    battery: 2,
    network: 3,
    charging: 4,
};
/// Nothing is left to be dropped.
pub(super) const ALL_DROPPED: u8 = 5;
/// The deadline has come.
pub(super) const DEADLINE: u8 = 6;

/// The age of a task: when it was asked for, and how long after that its deadline is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// Seconds since the epoch.
    pub created_s: f64,
    /// `None` without a deadline.
    pub life_s: Option<f64>,
}

impl Life {
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_life = |life_s: f64| (0.0..f64::INFINITY).contains(&life_s);
        if self.created_s.is_finite() && self.life_s.is_none_or(is_life) {
            return Ok(());
        }
        Err(Error::Config(
            "created_s, life_s: no moment and duration".into(),
        ))
    }
}

impl Relaxation {
    /// How far a task has been relaxed by now.
    pub(super) fn step(&self, life: Life, now_s: f64) -> u8 {
        let [.., all_s, before_s, end_s] = self.moments(life);
        if life.life_s.is_some() && now_s >= end_s {
            return DEADLINE;
        }
        if now_s >= all_s.min(before_s) {
            return ALL_DROPPED;
        }
        let [early @ .., _, _, _] = self.moments(life);
        early
            .iter()
            .map(|&moment_s| u8::from(now_s >= moment_s))
            .sum()
    }

    /// The first moment after now at which something is dropped that counts so far, or the
    /// deadline comes; infinite when none is left.
    ///
    /// `preferred` has a bit for each step at which something is dropped that the task prefers.
    pub(super) fn next_s(&self, preferred: u8, life: Life, now_s: f64) -> f64 {
        let [early @ .., all_s, before_s, end_s] = self.moments(life);
        let all_s = all_s.min(before_s);
        let mut next_s = f64::INFINITY;
        let mut consider = |moment_s: f64| {
            if moment_s > now_s {
                next_s = next_s.min(moment_s);
            }
        };
        if life.life_s.is_some() {
            consider(end_s);
        }
        for (step, moment_s) in (1..).zip(early.into_iter().chain([all_s])) {
            if preferred >> step & 1 == 1 {
                consider(moment_s.min(all_s));
            }
        }
        next_s
    }

    /// When each of the fractions has passed, then all of them, then the time before the end, then
    /// the end.
    fn moments(&self, Life { created_s, life_s }: Life) -> [f64; 7] {
        let life_s = life_s.unwrap_or(self.default_life_s);
        let end_s = created_s + life_s;
        let [idle, battery, network, charging] =
            self.fractions.map(|fraction| created_s + fraction * life_s);
        let all_s = created_s + self.all * life_s;
        [
            idle,
            battery,
            network,
            charging,
            all_s,
            end_s - self.all_before_s,
            end_s,
        ]
    }
}
