//! The machine as rules see it: the last reading, with the history that steadies it.

use super::Thresholds;
use crate::error::Error;

/// One reading, as rules see it. Levels and loads in percent.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// When, on the line that dwell times are measured on.
    pub monotonic_s: f64,
    /// When, since the epoch.
    pub wall_s: f64,
    /// Minute of the local day.
    pub minute: u32,
    /// Whether there is a battery.
    pub present: bool,
    /// Its charge.
    pub percent: Option<f64>,
    /// On external power.
    pub plugged: Option<bool>,
    /// Used memory.
    pub memory: Option<f64>,
    /// Processor load less our own.
    pub cpu: Option<f64>,
    /// Used storage where it is fullest.
    pub storage: Option<f64>,
    /// Whether the machine is idle.
    pub idle: bool,
    /// Whether there is a network.
    pub connected: Option<bool>,
    /// Whether it is metered.
    pub metered: Option<bool>,
    /// Custom predicates that hold.
    pub custom: u64,
}

/// The last facts, history applied: one answer per question that rules ask.
#[derive(Debug)]
pub(super) struct Machine {
    pub monotonic_s: f64,
    pub wall_s: f64,
    pub minute: u32,
    pub idle: bool,
    pub connected: bool,
    pub unmetered: bool,
    pub storage_ok: bool,
    pub resources_ok: bool,
    pub custom: u64,
    plug: Option<Plug>,
    level: Option<f64>,
    lines: Vec<Line>,
}

impl Machine {
    /// A machine of which nothing is known yet.
    pub fn new() -> Self {
        Self {
            monotonic_s: f64::NEG_INFINITY,
            wall_s: f64::NEG_INFINITY,
            minute: 0,
            idle: false,
            connected: false,
            unmetered: false,
            storage_ok: false,
            resources_ok: false,
            custom: 0,
            plug: None,
            level: None,
            lines: Vec::new(),
        }
    }

    /// Whether any facts have been taken in.
    pub fn observed(&self) -> bool {
        self.plug.is_some()
    }

    /// Whether external power counts as there.
    pub fn external(&self) -> bool {
        self.plug.is_some_and(|plug| plug.counts)
    }

    /// Whether the level is above a line, by the line's place.
    pub fn passes(&self, line: usize) -> bool {
        self.lines[line].passes
    }

    /// When external power that was seen but does not count yet will count.
    pub fn plug_counts_s(&self, dwell_s: f64) -> Option<f64> {
        self.plug
            .filter(|plug| plug.seen && !plug.counts)
            .map(|plug| plug.seen_since_s + dwell_s)
    }

    /// How far the level is from where the nearest line changes; `None` without a battery.
    pub fn points_to_line(&self) -> Option<f64> {
        let level = self.level?;
        let points = |line: &Line| (line.turns_at() - level).abs();
        Some(self.lines.iter().map(points).fold(f64::INFINITY, f64::min))
    }

    /// The place of a line to be above; once it was not, the level must come to `well`.
    pub fn line(&mut self, line: f64, well: f64) -> usize {
        let known = |known: &Line| known.line == line && known.well == well;
        self.lines
            .iter()
            .position(known)
            .unwrap_or_else(|| self.push_line(line, well))
    }

    /// Adds a line with no history but the present level.
    pub fn push_line(&mut self, line: f64, well: f64) -> usize {
        let mut new = Line {
            line,
            well,
            passes: true,
        };
        new.update(self.level);
        self.lines.push(new);
        self.lines.len() - 1
    }

    /// Takes in facts.
    ///
    /// # Errors
    /// A figure that cannot be; then nothing has changed.
    pub fn observe(&mut self, facts: &Facts, limits: &Thresholds) -> Result<(), Error> {
        facts.check()?;
        let seen = !facts.present || facts.plugged == Some(true);
        match &mut self.plug {
            None => self.plug = Some(Plug::new(seen)),
            Some(plug) => plug.update(seen, facts.monotonic_s, limits.plug_dwell_s),
        }
        self.level = facts.present.then(|| facts.percent.unwrap_or(0.0));
        for line in &mut self.lines {
            line.update(self.level);
        }
        let short = |used: Option<f64>, limit: f64| used.is_some_and(|used| used >= limit);
        self.monotonic_s = facts.monotonic_s;
        self.wall_s = facts.wall_s;
        self.minute = facts.minute;
        self.idle = facts.idle;
        self.connected = facts.connected != Some(false);
        self.unmetered = self.connected && facts.metered == Some(false);
        self.storage_ok = facts.storage.is_some_and(|used| used < limits.storage);
        self.resources_ok = !(short(facts.memory, limits.memory)
            || short(facts.cpu, limits.cpu)
            || short(facts.storage, limits.storage));
        self.custom = facts.custom;
        Ok(())
    }
}

/// A line that a level must be above, and once it was not, at `well` or more, too.
#[derive(Debug)]
struct Line {
    line: f64,
    well: f64,
    passes: bool,
}

impl Line {
    /// The level at which `passes` changes.
    fn turns_at(&self) -> f64 {
        if self.passes { self.line } else { self.well }
    }

    /// Takes in a level; `None` on a machine without a battery, where nothing waits for one.
    fn update(&mut self, level: Option<f64>) {
        self.passes = match level {
            None => true,
            Some(level) => level > self.line && (self.passes || level >= self.well),
        };
    }
}

/// External power with the flutter of a loose plug taken out.
#[derive(Debug, Clone, Copy)]
struct Plug {
    counts: bool,
    seen: bool,
    seen_since_s: f64,
}

impl Plug {
    /// The state at the first reading counts as having lasted for ever.
    fn new(seen: bool) -> Self {
        Self {
            counts: seen,
            seen,
            seen_since_s: f64::NEG_INFINITY,
        }
    }

    /// Unplugging counts at once; plugging in if the time without had lasted, else once it has.
    fn update(&mut self, seen: bool, now_s: f64, dwell_s: f64) {
        let held_s = now_s - self.seen_since_s;
        if seen != self.seen {
            self.seen = seen;
            self.seen_since_s = now_s;
        }
        if !seen || held_s >= dwell_s {
            self.counts = seen;
        }
    }
}

impl Facts {
    fn check(&self) -> Result<(), Error> {
        for (name, value) in [
            ("monotonic_s", Some(self.monotonic_s)),
            ("wall_s", Some(self.wall_s)),
            ("memory", self.memory),
            ("cpu", self.cpu),
            ("storage", self.storage),
        ] {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err(Error::Config(format!("{name}: it must be a finite number")));
            }
        }
        if self
            .percent
            .is_some_and(|percent| !(0.0..=100.0).contains(&percent))
        {
            let message = "power.percent: it must be a percentage from 0 to 100";
            return Err(Error::Config(message.into()));
        }
        if self.minute >= 1440 {
            let message = "local minute: it must be a minute of the day from 0 to 1439";
            return Err(Error::Config(message.into()));
        }
        Ok(())
    }
}
