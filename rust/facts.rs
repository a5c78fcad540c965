//! A sample as the rules see it.

use crate::reading::{Cpu, Sample};
use crate::rules::Facts;

/// What only the program can tell of a moment.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Minute of the local day.
    pub minute: u32,
    /// Whether there is a network.
    pub connected: Option<bool>,
    /// Whether it is metered.
    pub metered: Option<bool>,
    /// Whether somebody is there: then the machine is not idle, whatever its load.
    pub user_present: bool,
    /// Custom predicates that hold.
    pub custom: u64,
}

/// The facts of a sample; `deferpower._facts` makes the same of a reading.
#[must_use]
pub fn facts(sample: &Sample, monotonic_s: f64, wall_s: f64, told: &Told) -> Facts {
    let power = sample.power;
    Facts {
        monotonic_s,
        wall_s,
        minute: told.minute,
        present: power.is_some_and(|power| power.present),
        percent: power.and_then(|power| power.percent),
        plugged: power.and_then(|power| power.plugged),
        memory: sample.memory.and_then(|memory| memory.used_percent),
        cpu: sample.cpu.and_then(|cpu| others_percent(&cpu)),
        storage: fullest(sample),
        idle: sample.idle_since_s.is_some() && !told.user_present,
        connected: told.connected,
        metered: told.metered,
        custom: told.custom,
    }
}

/// Processor load less our own.
fn others_percent(cpu: &Cpu) -> Option<f64> {
    cpu.busy_percent
        .map(|busy| (busy - cpu.own_percent.unwrap_or(0.0)).max(0.0))
}

fn fullest(sample: &Sample) -> Option<f64> {
    let used = sample
        .storage
        .iter()
        .flatten()
        .map(|entry| entry.used_percent);
    used.reduce(f64::max)
}
