//! What can be read from a table of usage.

use super::estimates::{AWAKE, EVENTS, HORIZONS, LocalHour};
use super::{BRIDGED_S, GOOD, IDLE, LAST_SHARE, PLUGGED, UsageTable, check_hours};
use crate::error::Error;

/// The age that a run is taken to have at the begin of a later hour.
const MATURE_S: f64 = 3600.0;

/// Probability that a whole hour is idle, plugged, both; then the hours that each rests on.
pub type HourRow = (f64, f64, f64, f64, f64, f64);

/// Of each event: whether its run goes on, and its age in seconds; then what each hour promises.
pub type Outlook = ([f64; EVENTS], [f64; EVENTS], Vec<OutlookRow>);

/// Of each event: whether the hour is there and all so; whether a run lasts an hour; and longer.
pub type OutlookRow = (f64, f64, f64, f64, f64, f64, f64, f64, f64);

impl UsageTable {
    /// What each hour will be like, given the past and the state at the end.
    ///
    /// # Errors
    ///
    /// The hours cannot be.
    pub fn forecast(&self, hours: &[LocalHour]) -> Result<Vec<HourRow>, Error> {
        check_hours(hours)?;
        let at = &self.estimates;
        let surprises = self.present_surprises();
        let row = |&(start_s, hour_of_week): &LocalHour| {
            let ahead = (start_s - self.present.end_s) / 3600.0;
            let horizon = if ahead >= 0.0 {
                ahead as usize
            } else {
                HORIZONS
            };
            let [idle, plugged, good] = std::array::from_fn(|event| {
                at.chance(event, horizon, hour_of_week, surprises[event])
            });
            (
                idle,
                plugged,
                good.min(idle).min(plugged),
                at.seen_at_h(IDLE, hour_of_week),
                at.seen_at_h(PLUGGED, hour_of_week),
                at.seen_at_h(GOOD, hour_of_week),
            )
        };
        Ok(hours.iter().map(row).collect())
    }

    /// How far the present state of each event lies from what the clock says.
    fn present_surprises(&self) -> [Option<f64>; EVENTS] {
        let hour = &self.present.hour;
        let past_s = self.present.end_s - hour.start_s;
        std::array::from_fn(|event| {
            let run = &self.present.runs[event];
            let state = run.state.filter(|_| self.present.end_s >= 0.0)?;
            let (mut held_s, mut known_s) = (run.held_s, run.known_s);
            if let Some(before) = run.share.filter(|_| past_s < 3600.0) {
                held_s += before * (3600.0 - past_s);
                known_s += 3600.0 - past_s;
            }
            Some(
                LAST_SHARE * f64::from(u8::from(state)) + (1.0 - LAST_SHARE) * (held_s / known_s)
                    - self.estimates.clock(event, hour.hour_of_week),
            )
        })
    }

    /// Whether the present runs go on for a duration, their ages, and what each hour promises.
    ///
    /// # Errors
    ///
    /// The hours, the moment or the duration cannot be.
    pub fn outlook(
        &self,
        now_s: f64,
        duration_s: f64,
        hours: &[LocalHour],
    ) -> Result<Outlook, Error> {
        check_hours(hours)?;
        if !(0.0..f64::INFINITY).contains(&now_s) || hours[0].0 > now_s {
            return Err(Error::Config(
                "now_s: no time since the epoch within or after the first hour".into(),
            ));
        }
        if !(duration_s > 0.0 && duration_s < f64::INFINITY) {
            return Err(Error::Config("duration_s: no duration above 0".into()));
        }
        let at = &self.estimates;
        let end_s = self.present.end_s;
        let is_fresh = end_s >= 0.0 && now_s - end_s <= BRIDGED_S;
        let mut live = [0.0; EVENTS];
        let mut ages_s = [0.0; EVENTS];
        for (event, run) in self.present.runs.iter().enumerate() {
            if is_fresh && run.state == Some(true) {
                live[event] = at.hold(event, run.age_s, now_s, duration_s, hours);
                ages_s[event] = run.age_s;
            }
        }
        let row = |(place, &(start_s, hour_of_week)): (usize, &LocalHour)| {
            let awake = at.clock(AWAKE, hour_of_week);
            let [idle, plugged, good] = std::array::from_fn(|event| {
                let later = &hours[place..];
                (
                    at.clock(event, hour_of_week) * awake,
                    at.hold(event, MATURE_S, start_s, 3600.0, later),
                    at.hold(event, MATURE_S, start_s, duration_s, later),
                )
            });
            (
                idle.0, idle.1, idle.2, plugged.0, plugged.1, plugged.2, good.0, good.1, good.2,
            )
        };
        Ok((live, ages_s, hours.iter().enumerate().map(row).collect()))
    }
}
