//! Since when the machine has been quiet.

use crate::reading::{Counters, Traffic, busy_percent, own_percent, rates};

/// A shorter window would be judged by a handful of processor ticks.
const WINDOW_S: f64 = 1.0;
/// dirty_expire_centisecs (30 s) and one round of the flusher (5 s).
const WRITEBACK_S: f64 = 35.0;

/// What counts as quiet, and for how long it must last to be idle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdleRules {
    /// Processor load below this is quiet.
    pub cpu_percent: f64,
    /// Disk traffic below this is quiet.
    pub disk_bytes_per_s: f64,
    /// Network traffic below this is quiet.
    pub network_bytes_per_s: f64,
    /// How long quiet lasts before it is idleness.
    pub dwell_s: f64,
}

impl Default for IdleRules {
    fn default() -> Self {
        Self {
            cpu_percent: 10.0,
            disk_bytes_per_s: 1024.0,
            network_bytes_per_s: 1024.0,
            dwell_s: 60.0,
        }
    }
}

/// Judges window after window; SEMANTICS.md, "Idle".
#[derive(Debug)]
pub struct IdleTracker {
    rules: IdleRules,
    /// Where the open window starts; meaningless before the first reading.
    start: Counters,
    is_started: bool,
    work_seen_s: Option<f64>,
    quiet_since_s: Option<f64>,
}

impl IdleTracker {
    /// A tracker that has seen nothing yet.
    pub fn new(rules: IdleRules) -> Self {
        Self {
            rules,
            start: Counters::default(),
            is_started: false,
            work_seen_s: None,
            quiet_since_s: None,
        }
    }

    /// Takes in a reading, and tells since when the machine has been idle.
    ///
    /// `working`: deferpower's own work runs, or ran since the last reading.
    pub fn update(&mut self, now: &Counters, working: bool) -> Option<f64> {
        let at_s = now.load.at_s;
        if working {
            self.work_seen_s = Some(at_s);
        }
        let window_s = at_s - self.start.load.at_s;
        if !self.is_started || window_s < 0.0 {
            self.start.copy_from(now);
            self.is_started = true;
        } else if window_s >= WINDOW_S {
            self.judge(now);
            self.start.copy_from(now);
        }
        self.quiet_since_s
            .filter(|&since_s| at_s - since_s >= self.rules.dwell_s)
    }

    /// How long quiet must last.
    pub fn dwell_s(&self) -> f64 {
        self.rules.dwell_s
    }

    /// Since when it has been quiet, the dwell not yet counted.
    pub fn quiet_since_s(&self) -> Option<f64> {
        self.quiet_since_s
    }

    fn judge(&mut self, end: &Counters) {
        let start = &self.start;
        let Some(busy) = busy_percent(&start.load, &end.load) else {
            return;
        };
        let own = own_percent(&start.load, &end.load, busy).unwrap_or(0.0);
        let start_s = start.load.at_s;
        let seconds = end.load.at_s - start_s;
        let holds_own_traffic = self
            .work_seen_s
            .is_some_and(|seen_s| start_s < seen_s + WRITEBACK_S);
        let is_quiet = busy - own < self.rules.cpu_percent
            && (holds_own_traffic
                || is_below(&start.disk, &end.disk, seconds, self.rules.disk_bytes_per_s)
                    && is_below(
                        &start.network,
                        &end.network,
                        seconds,
                        self.rules.network_bytes_per_s,
                    ));
        self.quiet_since_s = is_quiet.then(|| self.quiet_since_s.unwrap_or(start_s));
    }
}

fn is_below(before: &Traffic, after: &Traffic, seconds: f64, limit_bytes_per_s: f64) -> bool {
    rates(before, after, seconds)
        .is_none_or(|(rate_in, rate_out)| rate_in + rate_out < limit_bytes_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Load, Ticks};

    /// A reading of one processor, in which `busy` of 100 ticks a second were busy since the last.
    struct Life {
        tracker: IdleTracker,
        now: Counters,
        idle: Option<f64>,
    }

    impl Life {
        fn new() -> Self {
            let mut life = Self {
                tracker: IdleTracker::new(IdleRules::default()),
                now: Counters::default(),
                idle: None,
            };
            let cpu = Some(Ticks {
                busy: 0,
                idle: 0,
                count: 1,
            });
            life.now.load = Load {
                at_s: 1000.0,
                cpu,
                own_s: Some(0.0),
            };
            life.now.disk.push(b"sda", 0, 0);
            life.now.network.push(b"eth0", 0, 0);
            life.tracker.update(&life.now, false);
            life
        }

        /// Seconds pass, with so much load, own load and traffic a second; tells since when it is quiet.
        fn pass(
            &mut self,
            seconds: f64,
            busy_percent: f64,
            own_percent: f64,
            disk: u64,
            network: u64,
        ) -> Option<f64> {
            let load = &mut self.now.load;
            load.at_s += seconds;
            if let Some(cpu) = &mut load.cpu {
                let busy = (busy_percent * seconds) as u64;
                cpu.busy += busy;
                cpu.idle += (100.0 * seconds) as u64 - busy;
            }
            load.own_s = load
                .own_s
                .map(|own_s| own_s + own_percent * seconds / 100.0);
            self.now.disk.totals[0].1 += (disk as f64 * seconds) as u64;
            self.now.network.totals[0].0 += (network as f64 * seconds) as u64;
            self.update(false)
        }

        fn update(&mut self, working: bool) -> Option<f64> {
            self.idle = self.tracker.update(&self.now, working);
            self.tracker.quiet_since_s()
        }
    }

    #[test]
    fn quiet_that_lasts_is_idleness() {
        let mut life = Life::new();
        assert_eq!(life.pass(30.0, 5.0, 0.0, 0, 0), Some(1000.0));
        assert_eq!(life.idle, None);
        assert_eq!(life.pass(29.5, 5.0, 0.0, 0, 0), Some(1000.0));
        assert_eq!(life.idle, None);
        life.pass(0.5, 5.0, 0.0, 0, 0);
        assert_eq!(
            life.idle,
            Some(1000.0),
            "judged by the clock within an open window, too"
        );
        assert_eq!(life.pass(10.0, 50.0, 0.0, 0, 0), None);
        assert_eq!(life.idle, None);
        assert_eq!(life.pass(10.0, 5.0, 0.0, 0, 0), Some(1070.0));
    }

    #[test]
    fn each_limit_is_the_first_that_is_not_quiet() {
        for (busy, disk, network, is_quiet) in [
            (9.0, 1023, 1023, true),
            (10.0, 0, 0, false),
            (0.0, 1024, 0, false),
            (0.0, 0, 1024, false),
        ] {
            let since = Life::new().pass(100.0, busy, 0.0, disk, network);
            assert_eq!(
                since.is_some(),
                is_quiet,
                "{busy} % {disk} {network} bytes/s"
            );
        }
    }

    #[test]
    fn own_load_is_subtracted() {
        assert_eq!(Life::new().pass(10.0, 90.0, 85.0, 0, 0), Some(1000.0));
        assert_eq!(Life::new().pass(10.0, 90.0, 75.0, 0, 0), None);
        let mut life = Life::new();
        life.now.load.own_s = None;
        assert_eq!(
            life.pass(10.0, 9.0, 0.0, 0, 0),
            Some(1000.0),
            "unknown: nothing to subtract"
        );
    }

    #[test]
    fn readings_close_together_share_a_window() {
        let mut life = Life::new();
        life.pass(10.0, 0.0, 0.0, 0, 0);
        for _ in 0..3 {
            assert_eq!(
                life.pass(0.25, 100.0, 0.0, 0, 0),
                Some(1000.0),
                "a burst within an open window"
            );
        }
        assert_eq!(
            life.pass(0.25, 0.0, 0.0, 0, 0),
            None,
            "75 % over the second"
        );
    }

    #[test]
    fn a_window_without_a_processor_changes_nothing() {
        let mut life = Life::new();
        life.pass(10.0, 0.0, 0.0, 0, 0);
        let cpu = life.now.load.cpu.take();
        assert_eq!(life.pass(10.0, 0.0, 0.0, 1_000_000, 0), Some(1000.0));
        life.now.load.cpu = cpu;
        assert_eq!(
            life.pass(10.0, 100.0, 0.0, 0, 0),
            Some(1000.0),
            "it was unknown when the window began"
        );
        assert_eq!(life.pass(10.0, 100.0, 0.0, 0, 0), None);
    }

    #[test]
    fn traffic_that_cannot_be_told_is_passed_over() {
        let mut life = Life::new();
        life.now.disk.push(b"sdb", 0, 1_000_000_000);
        assert_eq!(life.pass(10.0, 0.0, 0.0, 1_000_000, 0), Some(1000.0));
    }

    #[test]
    fn traffic_without_devices_is_passed_over_at_any_limit() {
        let mut life = Life::new();
        life.tracker.rules.disk_bytes_per_s = 0.0;
        assert_eq!(life.pass(2.0, 0.0, 0.0, 0, 0), None);
        life.now.disk.clear();
        for _ in 0..2 {
            life.now.load.at_s += 2.0;
            life.now.load.cpu = life.now.load.cpu.map(|cpu| Ticks {
                idle: cpu.idle + 200,
                ..cpu
            });
            assert_eq!(life.update(false), Some(1002.0));
        }
    }

    #[test]
    fn own_work_excuses_traffic_while_it_is_written_back() {
        let mut life = Life::new();
        life.update(true);
        assert_eq!(
            life.pass(34.0, 0.0, 0.0, 1_000_000, 1_000_000),
            Some(1000.0)
        );
        assert_eq!(
            life.pass(20.0, 0.0, 0.0, 1_000_000, 0),
            Some(1000.0),
            "it began within 35 s"
        );
        assert_eq!(life.pass(1.0, 0.0, 0.0, 1_000_000, 0), None);
    }

    #[test]
    fn time_that_runs_backwards_starts_the_window_anew() {
        let mut life = Life::new();
        life.pass(100.0, 0.0, 0.0, 0, 0);
        life.now.load.at_s = 900.0;
        assert_eq!(life.update(false), Some(1000.0));
        assert_eq!(life.idle, None);
        assert_eq!(life.pass(2.0, 100.0, 0.0, 0, 0), None);
        assert_eq!(life.pass(2.0, 0.0, 0.0, 0, 0), Some(902.0));
    }
}
