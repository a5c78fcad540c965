//! What a device's past tells of its next hours. SEMANTICS.md, "Predicting".

mod bytes;
mod estimates;
mod reading;
#[cfg(test)]
mod tests;

use crate::error::Error;

use estimates::{AWAKE, Estimates, HORIZONS, later_bucket};
pub use estimates::{EVENTS, LocalHour};
pub use reading::{HourRow, Outlook, OutlookRow};

const IDLE: usize = 0;
const PLUGGED: usize = 1;
const GOOD: usize = 2;

/// What an hour weighs more than the one before: doubles in 504 h, three weeks.
const GROWTH: f64 = 1.001_376_238_172_691;
/// After this many hours, 16 half-lives, all sums are scaled down.
const ERA_H: i64 = 8064;
const ERA_SCALE: f64 = 1.0 / 65536.0;

const QUIET_ACTIVITY: f64 = 0.1;
const PLUGGED_SHARE: f64 = 11.0 / 12.0 - 1e-9;
const BRIDGED_S: f64 = 900.0;
const LONGEST_ABSENCE_H: usize = 168;
const LAST_SHARE: f64 = 0.6;

const ROW_BYTES: usize = 32;
/// No moment lies later: every era up to it is gone through.
const LATEST_S: f64 = 1e11;

/// What is known of a state at a moment.
type State = Option<bool>;

/// Start, seconds observed, activity and share plugged; NaN where not observed.
type Row = [f64; 4];

/// One event in the open hour and before.
#[derive(Debug, Clone, Copy)]
struct Run {
    known_s: f64,
    held_s: f64,
    state: State,
    age_s: f64,
    /// The bucket of that age.
    place: usize,
    /// Share of the hour before the open one in which it held.
    share: Option<f64>,
    level: usize,
}

impl Run {
    #[inline]
    fn grow(&mut self, seconds: f64) {
        self.age_s += seconds;
        self.place = later_bucket(self.place, self.age_s);
    }

    #[inline]
    fn forget(&mut self) {
        self.age_s = 0.0;
        self.place = 0;
    }
}

const NO_RUN: Run = Run {
    known_s: 0.0,
    held_s: 0.0,
    state: None,
    age_s: 0.0,
    place: 0,
    share: None,
    level: 0,
};

/// The hour that is being observed.
#[derive(Debug, Clone, Copy)]
struct OpenHour {
    start_s: f64,
    end_s: f64,
    hour_of_week: usize,
    activity_s: f64,
    active_s: f64,
    power_s: f64,
    plugged_s: f64,
    seen_s: f64,
}

const NO_HOUR: OpenHour = OpenHour {
    start_s: -1.0,
    end_s: -1.0,
    hour_of_week: 0,
    activity_s: 0.0,
    active_s: 0.0,
    power_s: 0.0,
    plugged_s: 0.0,
    seen_s: 0.0,
};

/// What is not a sum: the moment and the hours just before it.
#[derive(Debug, Clone)]
struct Present {
    end_s: f64,
    era: f64,
    hour: OpenHour,
    runs: [Run; EVENTS],
    /// How far the state lay from the clock at the start of the last hours, the newest first;
    /// NaN where it was not known.
    surprises: [[f64; HORIZONS]; EVENTS],
}

/// A table of usage, as `_contract.py` describes it.
#[derive(Debug, Clone)]
pub struct UsageTable {
    estimates: Estimates,
    present: Present,
}

impl Default for UsageTable {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageTable {
    /// A table that has seen nothing.
    pub fn new() -> Self {
        Self {
            estimates: Estimates::new(),
            present: Present {
                end_s: -1.0,
                era: 0.0,
                hour: NO_HOUR,
                runs: [NO_RUN; EVENTS],
                surprises: [[f64::NAN; HORIZONS]; EVENTS],
            },
        }
    }

    /// Up to when it has observed.
    pub fn end_s(&self) -> Option<f64> {
        (self.present.end_s >= 0.0).then_some(self.present.end_s)
    }

    /// Observed hours that each event rests on, faded as they have.
    pub fn evidence(&self) -> [f64; EVENTS] {
        std::array::from_fn(|event| {
            self.estimates.seen_h(event) + self.present.runs[event].known_s / 3600.0
        })
    }

    /// Take in observations; seconds that were counted, and that lay before the end.
    ///
    /// # Errors
    ///
    /// A row or an hour cannot be; then nothing was learned.
    pub fn learn(&mut self, hours: &[LocalHour], rows: &[u8]) -> Result<(f64, f64), Error> {
        let (rows, rest) = rows.as_chunks::<ROW_BYTES>();
        if !rest.is_empty() {
            let length = rows.len() * ROW_BYTES + rest.len();
            return Err(Error::Config(format!(
                "rows: {length} bytes are no whole number of rows of {ROW_BYTES}"
            )));
        }
        check_hours(hours)?;
        // To look at all rows beforehand would take as long as learning: they come from memory.
        let before = self.clone();
        let learned = self.learn_rows(hours, rows);
        if learned.is_err() {
            *self = before;
        }
        learned
    }

    fn learn_rows(
        &mut self,
        hours: &[LocalHour],
        rows: &[[u8; ROW_BYTES]],
    ) -> Result<(f64, f64), Error> {
        let (first_s, last_s) = (hours[0].0, hours[hours.len() - 1].0);
        let (mut counted_s, mut repeated_s) = (0.0, 0.0);
        let mut place = 0;
        for (number, row) in rows.iter().enumerate() {
            let row = decode(row);
            if let Some(fault) = fault(row, first_s, last_s) {
                return Err(Error::Config(format!("rows[{number}]: {fault}")));
            }
            let [mut start_s, seconds, activity, plugged] = row;
            let end_s = start_s + seconds;
            if start_s < self.present.end_s {
                repeated_s += end_s.min(self.present.end_s) - start_s;
                start_s = self.present.end_s;
            }
            while start_s < end_s {
                while hours[place + 1].0 <= start_s {
                    place += 1;
                }
                self.reach(hours, place, start_s);
                let stop_s = end_s.min(hours[place + 1].0);
                self.observe(stop_s - start_s, activity, plugged);
                counted_s += stop_s - start_s;
                self.present.end_s = stop_s;
                start_s = stop_s;
            }
        }
        Ok((counted_s, repeated_s))
    }

    /// Come to a moment at which something is observed again.
    #[inline]
    fn reach(&mut self, hours: &[LocalHour], place: usize, start_s: f64) {
        let gap_s = start_s - self.present.end_s;
        if self.present.end_s >= 0.0 && gap_s > BRIDGED_S {
            for event in 0..EVENTS {
                self.end_run(event);
                self.present.runs[event].state = None;
            }
        }
        if self.present.hour.start_s.to_bits() != hours[place].0.to_bits() {
            self.close_hour(hours, place);
            self.open_hour(hours, place);
        }
    }

    #[inline]
    fn end_run(&mut self, event: usize) {
        let run = &mut self.present.runs[event];
        if run.age_s > 0.0 {
            self.estimates.add_end(event, run.place, run.level);
        }
        run.forget();
    }

    /// Learn from the open hour, and from those in which nothing was observed.
    fn close_hour(&mut self, hours: &[LocalHour], place: usize) {
        let hour = self.present.hour;
        if hour.end_s < 0.0 {
            return;
        }
        let unit = self.estimates.unit;
        let idle = hour.active_s <= QUIET_ACTIVITY * hour.activity_s;
        let powered = hour.plugged_s >= PLUGGED_SHARE * hour.power_s;
        let both_s = hour.activity_s.min(hour.power_s);
        for (event, seconds, held) in [
            (IDLE, hour.activity_s, idle),
            (PLUGGED, hour.power_s, powered),
            (GOOD, both_s, idle && powered),
        ] {
            if seconds > 0.0 {
                let weight = unit * seconds / 3600.0;
                self.learn_outcome(event, f64::from(u8::from(held)), weight);
            }
        }
        let seen = unit * hour.seen_s / 3600.0;
        let length = unit * (hour.end_s - hour.start_s) / 3600.0;
        self.estimates
            .add_hour(AWAKE, hour.hour_of_week, seen, length);
        for run in &mut self.present.runs {
            run.share = (run.known_s > 0.0).then(|| run.held_s / run.known_s);
        }
        let mut missed = place;
        while missed > 0 && hours[missed - 1].0 >= hour.end_s {
            missed -= 1;
        }
        if missed < place {
            for run in &mut self.present.runs {
                run.share = None;
            }
        }
        for absent in missed..place {
            self.push_surprises([f64::NAN; EVENTS]);
            if place - missed <= LONGEST_ABSENCE_H {
                let length_h = (hours[absent + 1].0 - hours[absent].0) / 3600.0;
                self.estimates
                    .add_hour(AWAKE, hours[absent].1, 0.0, unit * length_h);
            }
        }
    }

    fn learn_outcome(&mut self, event: usize, held: f64, weight: f64) {
        let hour_of_week = self.present.hour.hour_of_week;
        let clock = self.estimates.anomaly(event, hour_of_week);
        let rest = held - self.estimates.clock(event, hour_of_week);
        self.estimates
            .add_outcome(event, &self.present.surprises, clock, rest, weight);
        self.estimates
            .add_hour(event, hour_of_week, weight * held, weight);
    }

    fn push_surprises(&mut self, newest: [f64; EVENTS]) {
        for (surprises, newest) in self.present.surprises.iter_mut().zip(newest) {
            surprises.copy_within(..HORIZONS - 1, 1);
            surprises[0] = newest;
        }
    }

    fn open_hour(&mut self, hours: &[LocalHour], place: usize) {
        let last_hour_of_week = self.present.hour.hour_of_week;
        let (start_s, hour_of_week) = hours[place];
        self.present.hour = OpenHour {
            start_s,
            end_s: hours[place + 1].0,
            hour_of_week,
            ..NO_HOUR
        };
        self.enter_era();
        let at = &self.estimates;
        let end_s = self.present.end_s;
        // A device that was not there when the hour began made no forecast then.
        let is_fresh = end_s >= 0.0 && start_s - end_s <= BRIDGED_S;
        let mut surprises = [f64::NAN; EVENTS];
        for (event, run) in self.present.runs.iter_mut().enumerate() {
            run.known_s = 0.0;
            run.held_s = 0.0;
            run.level = at.level(event, hour_of_week);
            if let (true, Some(state), Some(share)) = (is_fresh, run.state, run.share) {
                surprises[event] = LAST_SHARE * f64::from(u8::from(state))
                    + (1.0 - LAST_SHARE) * share
                    - at.clock(event, last_hour_of_week);
            }
        }
        self.push_surprises(surprises);
    }

    /// Set what an observation of the open hour weighs.
    fn enter_era(&mut self) {
        let hour = (self.present.hour.start_s / 3600.0) as i64;
        let era = (hour / ERA_H) as f64;
        while self.present.era < era {
            self.estimates.scale(ERA_SCALE);
            self.present.era += 1.0;
        }
        let mut left = (hour - self.present.era as i64 * ERA_H).max(0);
        let (mut unit, mut factor) = (1.0, GROWTH);
        while left > 0 {
            if left & 1 == 1 {
                unit *= factor;
            }
            factor *= factor;
            left >>= 1;
        }
        self.estimates.unit = unit;
        self.estimates.unit_per_s = unit / 3600.0;
    }

    /// Take in a piece of the open hour.
    #[inline]
    fn observe(&mut self, seconds: f64, activity: f64, plugged: f64) {
        let hour = &mut self.present.hour;
        let (mut idle, mut powered) = (None, None);
        hour.seen_s += seconds;
        if !activity.is_nan() {
            hour.activity_s += seconds;
            hour.active_s += activity * seconds;
            idle = Some(activity <= QUIET_ACTIVITY);
        }
        if !plugged.is_nan() {
            hour.power_s += seconds;
            hour.plugged_s += plugged * seconds;
            powered = Some(plugged >= PLUGGED_SHARE);
        }
        let hours = self.estimates.unit_per_s * seconds;
        let good = idle.zip(powered).map(|(idle, powered)| idle && powered);
        for (event, state) in [(IDLE, idle), (PLUGGED, powered), (GOOD, good)] {
            self.present.runs[event].state = state;
            match state {
                Some(true) => {
                    let run = &mut self.present.runs[event];
                    self.estimates
                        .add_at_risk(event, run.place, run.level, hours);
                    run.grow(seconds);
                    run.known_s += seconds;
                    run.held_s += seconds;
                }
                Some(false) => {
                    self.end_run(event);
                    self.present.runs[event].known_s += seconds;
                }
                None => self.present.runs[event].forget(),
            }
        }
    }

    /// Forget the present state and the end, as after the clock was set back; keep the rest.
    pub fn restart(&mut self) {
        let era = self.present.era;
        self.present = Self::new().present;
        self.present.era = era;
    }

    /// Add what another table has learned of other times.
    ///
    /// # Errors
    ///
    /// The bytes are no table.
    pub fn merge(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut other = Self::from_bytes(data)?;
        while other.present.era < self.present.era {
            other.estimates.scale(ERA_SCALE);
            other.present.era += 1.0;
        }
        while self.present.era < other.present.era {
            self.estimates.scale(ERA_SCALE);
            self.present.era += 1.0;
        }
        for (cell, more) in self.estimates.cells.iter_mut().zip(&other.estimates.cells) {
            *cell += more;
        }
        if other.present.end_s > self.present.end_s {
            // What this one has of its open hour stays out: the other has gone on since.
            self.present = other.present;
        }
        if self.present.hour.start_s >= 0.0 {
            self.enter_era();
        }
        Ok(())
    }
}

fn decode(row: &[u8; ROW_BYTES]) -> Row {
    let (numbers, _) = row.as_chunks::<8>();
    [numbers[0], numbers[1], numbers[2], numbers[3]].map(f64::from_le_bytes)
}

fn check_hours(hours: &[LocalHour]) -> Result<(), Error> {
    if hours.is_empty() {
        return Err(Error::Config("hours: none given".into()));
    }
    let mut before_s = -1.0;
    for &(start_s, hour_of_week) in hours {
        if !(before_s < start_s && start_s < LATEST_S) || hour_of_week >= 168 {
            return Err(Error::Config(
                "hours: starts must rise from 0 on, to below 1e11; hours of the week be 0 to 167"
                    .into(),
            ));
        }
        before_s = start_s;
    }
    Ok(())
}

/// What is wrong with a row.
#[inline]
fn fault(row: Row, first_s: f64, last_s: f64) -> Option<&'static str> {
    let [start_s, seconds, activity, plugged] = row;
    if !(first_s <= start_s && seconds > 0.0 && start_s + seconds <= last_s) {
        Some("its time does not lie within the hours given")
    } else if !(activity.is_nan() || (0.0..=1.0).contains(&activity)) {
        Some("activity is no number from 0 to 1")
    } else if !(plugged.is_nan() || (0.0..=1.0).contains(&plugged)) {
        Some("plugged is no share from 0 to 1")
    } else {
        None
    }
}
