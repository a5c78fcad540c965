//! The sums that a table of usage keeps, and what can be read from them.

/// What is foreseen: idle, plugged, both.
pub const EVENTS: usize = 3;
/// Hours over which the present state says anything.
pub(super) const HORIZONS: usize = 24;
const BUCKETS: usize = 8;
pub(super) const LEVELS: usize = 4;
const PRODUCTS_EACH: usize = 5;

// Where the sums of one event lie: observed hours and hours in which it held, by hour of the
// week, by hour of the day, in all; the regression's products; hours at risk and ends of runs.
const HELD: usize = 0;
const SEEN: usize = HELD + 168;
const HELD_DAY: usize = SEEN + 168;
const SEEN_DAY: usize = HELD_DAY + 24;
const HELD_ALL: usize = SEEN_DAY + 24;
const SEEN_ALL: usize = HELD_ALL + 1;
const PRODUCTS: usize = SEEN_ALL + 1;
const AT_RISK: usize = PRODUCTS + PRODUCTS_EACH * HORIZONS;
const ENDS: usize = AT_RISK + BUCKETS * LEVELS;
const EVENT_CELLS: usize = ENDS + BUCKETS * LEVELS;
/// The same first six groups, for whether the device was there to be observed.
const AWAKE_CELLS: usize = EVENTS * EVENT_CELLS;
pub(super) const CELLS: usize = AWAKE_CELLS + PRODUCTS;
/// The place of "was there to be observed" beside the events.
pub(super) const AWAKE: usize = EVENTS;

const NIGHT: f64 = 0.9;
const DAY: f64 = 0.45;
const IDLE_PRIOR: [f64; 24] = [
    NIGHT, NIGHT, NIGHT, NIGHT, NIGHT, NIGHT, NIGHT, NIGHT, 0.8, 0.55, DAY, DAY, DAY, DAY, DAY,
    DAY, DAY, DAY, 0.5, 0.65, 0.65, 0.7, 0.7, 0.8,
];
const PLUGGED_PRIOR: f64 = 0.37;

const PRIOR_H: f64 = 24.0;
const DAY_H: f64 = 1.0;
const WEEK_H: f64 = 3.0;

const CLOCK_RIDGE: f64 = 20.0;
const STATE_RIDGE: f64 = 6.0;
/// How much of a surprise is left after so many hours, before anything was learned.
const STATE_WEIGHTS: [f64; HORIZONS] = [
    0.7, 0.525, 0.394, 0.295, 0.221, 0.166, 0.125, 0.093, 0.07, 0.053, 0.039, 0.03, 0.022, 0.017,
    0.013, 0.009, 0.007, 0.005, 0.004, 0.003, 0.002, 0.002, 0.001, 0.001,
];

const BUCKET_ENDS_S: [f64; BUCKETS - 1] = [300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0];
const RATES: [f64; BUCKETS] = [1.5, 1.0, 0.7, 0.5, 0.25, 0.12, 0.1, 0.12];
const LEVEL_FACTORS: [f64; LEVELS] = [2.0, 1.3, 1.0, 0.3];
const RATE_PRIOR_H: f64 = 10.0;
const STEP_S: f64 = 300.0;
const LONGEST_HOLD_S: f64 = 86400.0;
/// Far more than all hours of a life at their greatest weight.
const SUM_MOST: f64 = 1e15;

/// When an hour of the local clock begins, and its hour of the week.
pub type LocalHour = (f64, usize);

/// Sums of weighted observations. The weight of an hour doubles with each half-life.
#[derive(Debug, Clone)]
pub(super) struct Estimates {
    /// The sums, in the order above, of each event and of being there.
    pub cells: Vec<f64>,
    /// What an observation of the present hour weighs.
    pub unit: f64,
    /// What a second of it weighs.
    pub unit_per_s: f64,
}

impl Estimates {
    pub fn new() -> Self {
        Self {
            cells: vec![0.0; CELLS],
            unit: 1.0,
            unit_per_s: 1.0 / 3600.0,
        }
    }

    pub fn scale(&mut self, factor: f64) {
        for cell in &mut self.cells {
            *cell *= factor;
        }
    }

    /// Whether the cells are sums of observations, from which probabilities can be told.
    pub fn are_sums(&self) -> bool {
        let is_count = |count: &f64| (0.0..=SUM_MOST).contains(count);
        let is_product = |product: &f64| product.abs() <= SUM_MOST;
        let (events, awake) = self.cells.split_at(AWAKE_CELLS);
        events.chunks_exact(EVENT_CELLS).all(|cells| {
            let products = &cells[PRODUCTS..AT_RISK];
            cells[..PRODUCTS].iter().all(is_count)
                && products.iter().all(is_product)
                && products
                    .chunks_exact(PRODUCTS_EACH)
                    .all(|sums| self.ridged(sums).2 > 0.0)
                && cells[AT_RISK..].iter().all(is_count)
        }) && awake.iter().all(is_count)
    }

    /// Hours observed in all, faded as their weight has.
    pub fn seen_h(&self, event: usize) -> f64 {
        self.cells[event * EVENT_CELLS + SEEN_ALL] / self.unit
    }

    /// Hours observed at an hour of the day, faded as their weight has.
    pub fn seen_at_h(&self, event: usize, hour_of_week: usize) -> f64 {
        self.cells[event * EVENT_CELLS + SEEN_DAY + hour_of_week % 24] / self.unit
    }

    /// The share that holds in all, leaning on the prior of this hour of the day.
    fn base(&self, event: usize, hour_of_day: usize) -> f64 {
        let at = event * EVENT_CELLS;
        let weight = PRIOR_H * self.unit;
        (self.cells[at + HELD_ALL] + weight * prior(event, hour_of_day))
            / (self.cells[at + SEEN_ALL] + weight)
    }

    /// The share that holds in an hour of the week, leaning on that hour of all days.
    pub fn clock(&self, event: usize, hour_of_week: usize) -> f64 {
        let (at, hour) = (event * EVENT_CELLS, hour_of_week % 24);
        let (day, week) = (DAY_H * self.unit, WEEK_H * self.unit);
        let of_day = (self.cells[at + HELD_DAY + hour] + day * self.base(event, hour))
            / (self.cells[at + SEEN_DAY + hour] + day);
        (self.cells[at + HELD + hour_of_week] + week * of_day)
            / (self.cells[at + SEEN + hour_of_week] + week)
    }

    /// The quarter that the clock's share lies in, 0-3.
    pub fn level(&self, event: usize, hour_of_week: usize) -> usize {
        ((self.clock(event, hour_of_week) * LEVELS as f64) as usize).min(LEVELS - 1)
    }

    /// Count an hour: how much of it held, how much was seen, weighted.
    pub fn add_hour(&mut self, event: usize, hour_of_week: usize, held: f64, seen: f64) {
        let cells = &mut self.cells[event * EVENT_CELLS..][..PRODUCTS];
        let hour = hour_of_week % 24;
        cells[HELD + hour_of_week] += held;
        cells[SEEN + hour_of_week] += seen;
        cells[HELD_DAY + hour] += held;
        cells[SEEN_DAY + hour] += seen;
        cells[HELD_ALL] += held;
        cells[SEEN_ALL] += seen;
    }

    /// How far the clock's share of an hour lies above the share of all hours.
    pub fn anomaly(&self, event: usize, hour_of_week: usize) -> f64 {
        self.clock(event, hour_of_week) - self.base(event, hour_of_week % 24)
    }

    /// Count what came of the forecasts of an hour, the latest of them first.
    ///
    /// `clock` is the anomaly of the hour, `rest` its outcome less base and clock: what is left
    /// for the surprise in the state at each forecast to explain.
    pub fn add_outcome(
        &mut self,
        event: usize,
        surprises: &[[f64; HORIZONS]; EVENTS],
        clock: f64,
        rest: f64,
        weight: f64,
    ) {
        let first = event * EVENT_CELLS + PRODUCTS;
        let products = &mut self.cells[first..][..PRODUCTS_EACH * HORIZONS];
        let clock_part = weight * clock;
        for ((sums, &state), expected) in products
            .chunks_exact_mut(PRODUCTS_EACH)
            .zip(&surprises[event])
            .zip(STATE_WEIGHTS)
        {
            if state.is_nan() {
                continue;
            }
            let error = rest - expected * state;
            let state_part = weight * state;
            sums[0] += clock_part * clock;
            sums[1] += clock_part * state;
            sums[2] += state_part * state;
            sums[3] += clock_part * error;
            sums[4] += state_part * error;
        }
    }

    /// The probability that the event holds in an hour so many hours after the state.
    pub fn chance(
        &self,
        event: usize,
        horizon: usize,
        hour_of_week: usize,
        state: Option<f64>,
    ) -> f64 {
        let base = self.base(event, hour_of_week % 24);
        let clock = self.anomaly(event, hour_of_week);
        let Some(state) = state.filter(|_| horizon < HORIZONS) else {
            return clamp(base + clock);
        };
        let first = event * EVENT_CELLS + PRODUCTS + PRODUCTS_EACH * horizon;
        let sums = &self.cells[first..][..PRODUCTS_EACH];
        let (cs, ce, se) = (sums[1], sums[3], sums[4]);
        let (cc, ss, determinant) = self.ridged(sums);
        let clock_weight = 1.0 + (ss * ce - cs * se) / determinant;
        let state_weight = STATE_WEIGHTS[horizon] + (cc * se - cs * ce) / determinant;
        clamp(base + clock_weight * clock + state_weight * state)
    }

    /// The squares of clock and state with their ridges, and the determinant of the regression.
    fn ridged(&self, sums: &[f64]) -> (f64, f64, f64) {
        let cc = sums[0] + CLOCK_RIDGE * self.unit;
        let ss = sums[2] + STATE_RIDGE * self.unit;
        (cc, ss, cc * ss - sums[1] * sums[1])
    }

    /// Count time at risk of a run at an age, weighted.
    #[inline]
    pub fn add_at_risk(&mut self, event: usize, place: usize, level: usize, hours: f64) {
        self.cells[event * EVENT_CELLS + AT_RISK + place * LEVELS + level] += hours;
    }

    /// Count the end of a run at an age.
    #[inline]
    pub fn add_end(&mut self, event: usize, place: usize, level: usize) {
        self.cells[event * EVENT_CELLS + ENDS + place * LEVELS + level] += self.unit;
    }

    /// Ends of runs per hour at an age, in hours of a level.
    fn rate(&self, event: usize, place: usize, level: usize) -> f64 {
        let weight = RATE_PRIOR_H * self.unit;
        let at = event * EVENT_CELLS + place * LEVELS;
        let mut ends = weight * RATES[place];
        let mut at_risk = weight;
        for (other, factor) in LEVEL_FACTORS.iter().enumerate() {
            ends += self.cells[at + ENDS + other];
            at_risk += self.cells[at + AT_RISK + other] * factor;
        }
        let expected = ends / at_risk * LEVEL_FACTORS[level];
        (self.cells[at + ENDS + level] + weight * expected)
            / (self.cells[at + AT_RISK + level] + weight)
    }

    /// The probability that a run of an age goes on for a duration; at most a day is looked at.
    ///
    /// `hours` are local hours, the first at or before the start.
    pub fn hold(
        &self,
        event: usize,
        mut age_s: f64,
        mut start_s: f64,
        duration_s: f64,
        hours: &[LocalHour],
    ) -> f64 {
        let mut probability = 1.0;
        let mut place = 0;
        let mut level = self.level(event, hours[0].1);
        let mut left_s = duration_s.min(LONGEST_HOLD_S);
        while left_s > 0.0 {
            while place + 1 < hours.len() && hours[place + 1].0 <= start_s {
                place += 1;
                level = self.level(event, hours[place].1);
            }
            let step_s = STEP_S.min(left_s);
            let rate = self.rate(event, later_bucket(0, age_s), level);
            probability /= 1.0 + rate * step_s / 3600.0;
            age_s += step_s;
            start_s += step_s;
            left_s -= step_s;
        }
        probability
    }
}

/// Share of the time that each event holds, before anything was observed. SEMANTICS.md,
/// "Predicting", says where the numbers come from.
fn prior(event: usize, hour_of_day: usize) -> f64 {
    match event {
        0 => IDLE_PRIOR[hour_of_day],
        1 => PLUGGED_PRIOR,
        2 => IDLE_PRIOR[hour_of_day] * PLUGGED_PRIOR,
        _ => 1.0,
    }
}

/// The bucket of an age, from one that it had or has on.
#[inline]
pub(super) fn later_bucket(mut place: usize, age_s: f64) -> usize {
    while place < BUCKETS - 1 && age_s >= BUCKET_ENDS_S[place] {
        place += 1;
    }
    place
}

/// A probability that is never quite certain.
fn clamp(probability: f64) -> f64 {
    probability.clamp(0.005, 0.995)
}
