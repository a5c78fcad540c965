//! When the machine is worth looking at again: SEMANTICS.md, "Waiting".

const PLUG_S: f64 = 5.0;
const LEVEL_S: f64 = 5.0;
/// A battery that empties or fills within an hour moves a point in 36 s.
const LEVEL_S_PER_POINT: f64 = 30.0;
/// The longest that power goes unread, events or not.
const POWER_S: f64 = 60.0;
/// Events may come before what they announce can be read.
const AFTER_EVENT_S: [f64; 3] = [0.0, 1.0, 5.0];
const IDLE_S: f64 = 5.0;
const IDLE_MOST_S: f64 = 30.0;
/// Who waits for a minute of quiet does not feel half a minute more.
const IDLE_PER_DWELL: f64 = 0.5;
const IDLE_RUNNING_S: f64 = 2.0;
const LOAD_S: f64 = 5.0;
const STORAGE_S: f64 = 30.0;

/// What the rules know of the last sample.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When it was taken.
    pub sampled_s: f64,
    /// When a charger that was seen will count.
    pub plug_counts_s: Option<f64>,
    /// Percent from the level to the nearest line; `None` without a battery.
    pub points_to_line: Option<f64>,
}

/// What the sensors know beside it.
#[derive(Debug, Clone, Copy)]
pub struct Sensed {
    /// When power was read.
    pub slow_read_s: Option<f64>,
    /// Since when the machine has been quiet.
    pub quiet_since_s: Option<f64>,
    /// How long it must be.
    pub idle_dwell_s: f64,
    /// Whether the kernel tells when power changes.
    pub has_power_events: bool,
}

/// The moment of the next sample, for each thing that somebody may wait for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dues {
    /// A charger that comes or goes.
    pub plug_s: f64,
    /// A battery level.
    pub level_s: f64,
    /// The machine becoming idle.
    pub idle_s: f64,
    /// The end of idleness that a task runs in.
    pub idle_running_s: f64,
    /// Memory, processor and storage together.
    pub load_s: f64,
    /// Storage alone.
    pub storage_s: f64,
}

impl Dues {
    /// The moments, from the last sample and the last event (`power_event_s`).
    #[must_use]
    pub fn new(
        seen: &Seen,
        sensed: &Sensed,
        power_event_s: Option<f64>,
        user_present: bool,
    ) -> Self {
        // What somebody else has read since the rules do not know of.
        let power_read_s = sensed
            .slow_read_s
            .map_or(f64::NEG_INFINITY, |read_s| read_s.min(seen.sampled_s));
        let (plug_s, level_s) = if sensed.has_power_events {
            (POWER_S, POWER_S)
        } else {
            let points = seen.points_to_line.unwrap_or(f64::INFINITY);
            let level_s = (points * LEVEL_S_PER_POINT).clamp(LEVEL_S, POWER_S);
            (PLUG_S, level_s)
        };
        let again_s = again_after(power_event_s, power_read_s);
        let counts_s = seen.plug_counts_s.map_or(f64::INFINITY, f64::ceil);
        Self {
            plug_s: every(plug_s, power_read_s).min(again_s).min(counts_s),
            level_s: every(level_s, power_read_s).min(again_s),
            idle_s: if user_present {
                f64::INFINITY
            } else {
                idle_s(seen, sensed)
            },
            idle_running_s: every(IDLE_RUNNING_S, seen.sampled_s),
            load_s: every(LOAD_S, seen.sampled_s),
            storage_s: every(STORAGE_S, power_read_s),
        }
    }

    /// Whether power and storage are to be read at this moment (`power`: somebody waits for a
    /// change of power).
    #[must_use]
    pub fn is_slow_due(&self, now_s: f64, power: bool) -> bool {
        self.storage_s <= now_s || power && self.plug_s.min(self.level_s) <= now_s
    }
}

/// One interval after the last time, at a full second, where wake-ups of many meet.
fn every(interval_s: f64, last_s: f64) -> f64 {
    (last_s + interval_s).floor()
}

fn again_after(event_s: Option<f64>, read_s: f64) -> f64 {
    let Some(event_s) = event_s else {
        return f64::INFINITY;
    };
    AFTER_EVENT_S
        .iter()
        .map(|after_s| event_s + after_s)
        .find(|&moment_s| moment_s > read_s)
        .unwrap_or(f64::INFINITY)
}

/// While it is quiet nothing but time is missing.
fn idle_s(seen: &Seen, sensed: &Sensed) -> f64 {
    sensed
        .quiet_since_s
        .map(|since_s| (since_s + sensed.idle_dwell_s).ceil())
        .filter(|&idle_s| idle_s > seen.sampled_s)
        .unwrap_or_else(|| {
            let again_s = (sensed.idle_dwell_s * IDLE_PER_DWELL).clamp(IDLE_S, IDLE_MOST_S);
            every(again_s, seen.sampled_s)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            sampled_s: 1000.3,
            plug_counts_s: None,
            points_to_line: Some(10.0),
        }
    }

    fn sensed() -> Sensed {
        Sensed {
            slow_read_s: Some(990.3),
            quiet_since_s: None,
            idle_dwell_s: 60.0,
            has_power_events: true,
        }
    }

    #[test]
    fn with_events_power_is_looked_at_once_a_minute() {
        let dues = Dues::new(&seen(), &sensed(), None, false);
        assert_eq!((dues.plug_s, dues.level_s), (1050.0, 1050.0));
        assert_eq!(dues.storage_s, 1020.0);
        assert!(!dues.is_slow_due(1019.9, true));
        assert!(
            dues.is_slow_due(1020.0, false),
            "storage is asked with power"
        );
        let read = Dues {
            storage_s: f64::INFINITY,
            ..dues
        };
        assert!(!read.is_slow_due(1049.9, true));
        assert!(read.is_slow_due(1050.0, true));
        assert!(!read.is_slow_due(1050.0, false), "nobody waits for it");
    }

    #[test]
    fn an_event_is_followed_up() {
        for (read_s, due_s) in [
            (990.3, 995.5),
            (995.5, 996.5),
            (996.5, 1000.5),
            (1000.5, 1060.0),
        ] {
            let read = Sensed {
                slow_read_s: Some(read_s),
                ..sensed()
            };
            let told = Seen {
                sampled_s: read_s,
                ..seen()
            };
            let dues = Dues::new(&told, &read, Some(995.5), false);
            assert_eq!((dues.plug_s, dues.level_s), (due_s, due_s));
        }
    }

    #[test]
    fn without_events_a_level_is_looked_at_by_its_distance() {
        for (points, after_s) in [
            (Some(0.0), 5.0),
            (Some(0.5), 15.0),
            (Some(2.0), 60.0),
            (None, 60.0),
        ] {
            let near = Seen {
                points_to_line: points,
                ..seen()
            };
            let deaf = Sensed {
                has_power_events: false,
                slow_read_s: Some(1000.0),
                ..sensed()
            };
            let dues = Dues::new(&near, &deaf, None, false);
            assert_eq!((dues.plug_s, dues.level_s), (1005.0, 1000.0 + after_s));
        }
    }

    #[test]
    fn a_charger_is_looked_at_when_it_will_count() {
        let plugged = Seen {
            plug_counts_s: Some(1003.2),
            ..seen()
        };
        assert_eq!(Dues::new(&plugged, &sensed(), None, false).plug_s, 1004.0);
    }

    #[test]
    fn idleness_is_looked_for_when_its_time_has_come() {
        let idle_s = |quiet_since_s, present| {
            let quiet = Sensed {
                quiet_since_s,
                ..sensed()
            };
            Dues::new(&seen(), &quiet, None, present).idle_s
        };
        assert_eq!(idle_s(None, false), 1030.0);
        assert_eq!(idle_s(Some(980.5), false), 1041.0);
        assert_eq!(idle_s(Some(900.0), false), 1030.0, "the dwell has passed");
        assert_eq!(idle_s(Some(980.5), true), f64::INFINITY);
    }

    #[test]
    fn who_waits_for_a_longer_quiet_looks_less_often() {
        for (idle_dwell_s, due_s) in [
            (0.0, 1005.0),
            (10.0, 1005.0),
            (40.0, 1020.0),
            (1e15, 1030.0),
        ] {
            let busy = Sensed {
                idle_dwell_s,
                ..sensed()
            };
            assert_eq!(Dues::new(&seen(), &busy, None, false).idle_s, due_s);
        }
    }

    #[test]
    fn load_is_looked_at_from_the_last_sample_on() {
        let dues = Dues::new(&seen(), &sensed(), None, false);
        assert_eq!(dues.idle_running_s, 1002.0);
        assert_eq!(dues.load_s, 1005.0);
        assert_eq!(dues.storage_s, 1020.0);
    }

    #[test]
    fn what_somebody_else_has_read_does_not_count() {
        let read = Sensed {
            slow_read_s: Some(1020.0),
            ..sensed()
        };
        let dues = Dues::new(&seen(), &read, Some(1010.0), false);
        assert_eq!(dues.plug_s, 1010.0);
        assert_eq!(Dues::new(&seen(), &read, None, false).plug_s, 1060.0);
    }

    #[test]
    fn what_was_never_read_is_due() {
        let unread = Sensed {
            slow_read_s: None,
            ..sensed()
        };
        assert_eq!(
            Dues::new(&seen(), &unread, None, false).plug_s,
            f64::NEG_INFINITY
        );
    }
}
