//! What a task can ask of the machine: one entry per kind of constraint.

use super::machine::Machine;
use super::relaxation::{ALL_DROPPED, DROPPED};
use crate::error::Error;

/// The constraints of one side, hard or soft. A value whose flag is not set is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Constraints {
    /// Bits as in [`CONSTRAINTS`].
    pub flags: u32,
    /// The level to be above, in percent.
    pub battery_above: f64,
    /// First minute of the day inside the window.
    pub window_start: u32,
    /// First minute outside it again.
    pub window_end: u32,
    /// Custom predicates that must hold.
    pub custom: u64,
}

/// Constraints ready to be judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub constraints: Constraints,
    /// The place of the line that `battery_above` is; 0 where it is not asked for.
    pub line: usize,
}

/// One kind of constraint.
pub struct Constraint {
    /// Its reason code.
    pub code: &'static str,
    /// The step of relaxation from which a soft one no longer counts.
    dropped_at: u8,
    /// Whether the machine meets it as asked.
    met: fn(&Machine, &Asked) -> bool,
}

const fn entry(
    code: &'static str,
    dropped_at: u8,
    met: fn(&Machine, &Asked) -> bool,
) -> Constraint {
    Constraint {
        code,
        dropped_at,
        met,
    }
}

/// Every kind of constraint; its place here is its bit.
pub static CONSTRAINTS: [Constraint; 10] = [
    entry("charging", DROPPED.charging, |machine, _| {
        machine.external()
    }),
    entry("battery_above", DROPPED.battery, |machine, asked| {
        machine.passes(asked.line)
    }),
    entry("battery_not_low", DROPPED.battery, |machine, _| {
        machine.passes(super::LOW)
    }),
    entry("idle", DROPPED.idle, |machine, _| machine.idle),
    entry("connected", DROPPED.network, |machine, _| machine.connected),
    entry("unmetered", DROPPED.network, |machine, _| machine.unmetered),
    entry("storage_not_low", ALL_DROPPED, |machine, _| {
        machine.storage_ok
    }),
    entry("resources_ok", ALL_DROPPED, |machine, _| {
        machine.resources_ok
    }),
    entry("window", ALL_DROPPED, in_window),
    entry("custom", ALL_DROPPED, |machine, asked| {
        asked.constraints.custom & !machine.custom == 0
    }),
];

// The bits that the table of verdicts names.
pub(super) const CHARGING: u32 = 1 << 0;
pub(super) const BATTERY_ABOVE: u32 = 1 << 1;
pub(super) const BATTERY_NOT_LOW: u32 = 1 << 2;
pub(super) const IDLE: u32 = 1 << 3;
pub(super) const STORAGE_NOT_LOW: u32 = 1 << 6;
pub(super) const RESOURCES_OK: u32 = 1 << 7;
const WINDOW: u32 = 1 << 8;
const CUSTOM: u32 = 1 << 9;
/// The first bit that is no constraint's.
pub(super) const END: u32 = 1 << CONSTRAINTS.len();

impl Constraints {
    /// Whether it names the level or the charger, and so settles what the battery must be like.
    pub(super) fn names_power(&self) -> bool {
        self.flags & (CHARGING | BATTERY_ABOVE | BATTERY_NOT_LOW) != 0
    }

    /// A bit for each step of relaxation at which one of these is dropped.
    pub(super) fn dropping_steps(&self) -> u8 {
        let asked = |&(bit, _): &(usize, _)| self.flags >> bit & 1 == 1;
        let entries = CONSTRAINTS.iter().enumerate().filter(asked);
        entries.fold(0, |steps, (_, entry)| steps | 1 << entry.dropped_at)
    }

    /// Those that are not dropped yet at a step of relaxation.
    pub(super) fn left_at(&self, step: u8) -> Self {
        let asked = |&(bit, entry): &(usize, &Constraint)| {
            self.flags >> bit & 1 == 1 && entry.dropped_at > step
        };
        let entries = CONSTRAINTS.iter().enumerate().filter(asked);
        let flags = entries.fold(0, |flags, (bit, _)| flags | 1 << bit);
        let dropped = self.flags & !flags;
        let mut left = Self { flags, ..*self };
        if dropped & BATTERY_ABOVE != 0 {
            left.battery_above = 0.0;
        }
        if dropped & WINDOW != 0 {
            (left.window_start, left.window_end) = (0, 0);
        }
        if dropped & CUSTOM != 0 {
            left.custom = 0;
        }
        left
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Config(format!("constraints: {what}")));
        if self.flags >= END {
            return wrong("a flag that no constraint has");
        }
        if !(0.0..100.0).contains(&self.battery_above) {
            return wrong("battery_above must be a percentage from 0 to below 100");
        }
        let (start, end) = (self.window_start, self.window_end);
        if start >= 1440 || end > 1440 || (self.flags & WINDOW != 0 && start == end) {
            return wrong("the window must begin and end at different minutes of the day");
        }
        Ok(())
    }
}

impl Asked {
    /// Bits of the constraints that still count at a step of relaxation and are not met.
    pub fn unmet(&self, machine: &Machine, step: u8) -> u32 {
        let mut left = self.constraints.flags;
        let mut unmet = 0;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let entry = &CONSTRAINTS[bit as usize];
            if entry.dropped_at > step && !(entry.met)(machine, self) {
                unmet |= 1 << bit;
            }
        }
        unmet
    }

    /// The custom predicates among the unmet.
    pub fn unmet_custom(&self, unmet: u32, machine: &Machine) -> u64 {
        if unmet & CUSTOM == 0 {
            0
        } else {
            self.constraints.custom & !machine.custom
        }
    }
}

fn in_window(machine: &Machine, asked: &Asked) -> bool {
    let (start, end) = (asked.constraints.window_start, asked.constraints.window_end);
    let (begun, over) = (machine.minute >= start, machine.minute >= end);
    if start < end {
        begun && !over
    } else {
        begun || !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_places_of_their_codes() {
        for (bit, code) in [
            (CHARGING, "charging"),
            (BATTERY_ABOVE, "battery_above"),
            (BATTERY_NOT_LOW, "battery_not_low"),
            (BATTERY_NOT_LOW, "battery_not_low"),
            (IDLE, "idle"),
            (STORAGE_NOT_LOW, "storage_not_low"),
            (RESOURCES_OK, "resources_ok"),
            (WINDOW, "window"),
            (CUSTOM, "custom"),
        ] {
            assert_eq!(CONSTRAINTS[bit.trailing_zeros() as usize].code, code);
        }
    }
}
