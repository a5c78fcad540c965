//! Power supplies: many small files of sometimes contradicting hardware, made into one figure each.
//!
//! SEMANTICS.md, "Power", holds every rule.

use crate::reading::{Power, PowerState};

mod supply;
#[cfg(test)]
mod tests;

pub use supply::{Attribute, Role, Supply};

const MICRO: f64 = 1e-6;
const WATTS_MOST: f64 = 1000.0;
const TIME_TO_EMPTY_MOST_S: f64 = 864_000.0;

/// What one pack says of itself, in the units of [`Power`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pack {
    /// What its status says.
    pub state: PowerState,
    /// Charge, 0-100.
    pub percent: Option<f64>,
    /// Energy in it now.
    pub energy_wh: Option<f64>,
    /// Energy in it when full.
    pub energy_full_wh: Option<f64>,
    /// Power into it; negative while it drains.
    pub watts: Option<f64>,
    /// Its own estimate.
    pub time_to_empty_s: Option<f64>,
}

impl Pack {
    fn of(supply: &Supply) -> Self {
        use Attribute::{Capacity, ChargeFull, ChargeNow, EnergyFull, EnergyNow, TimeToEmptyNow};
        let (ratio, by_charge) = match (
            ratio(supply, EnergyNow, EnergyFull),
            ratio(supply, ChargeNow, ChargeFull),
        ) {
            (None, Some(of_charge)) => (Some(of_charge), true),
            (of_energy, _) => (of_energy, false),
        };
        let (percent, by_capacity) = percent(ratio, supply.number(Capacity));
        let energy_wh = |energy, charge| energy_wh(supply, energy, charge, by_charge);
        Self {
            state: supply.state(),
            percent,
            energy_wh: energy_wh(EnergyNow, ChargeNow)
                .filter(|&energy| energy >= 0.0 && !by_capacity),
            energy_full_wh: energy_wh(EnergyFull, ChargeFull).filter(|&energy| energy > 0.0),
            watts: watts(supply),
            time_to_empty_s: supply
                .number(TimeToEmptyNow)
                .filter(|&seconds| seconds > 0)
                .map(|seconds| seconds as f64),
        }
    }
}

fn volts(supply: &Supply) -> Option<f64> {
    [Attribute::VoltageMinDesign, Attribute::VoltageNow]
        .iter()
        .filter_map(|&attribute| supply.number(attribute))
        .find(|&microvolts| microvolts > 0)
        .map(|microvolts| microvolts as f64 * MICRO)
}

/// A whole pair of charge figures goes before an energy figure that stands alone.
fn energy_wh(
    supply: &Supply,
    energy: Attribute,
    charge: Attribute,
    by_charge: bool,
) -> Option<f64> {
    match supply.number(energy) {
        Some(microwatt_hours) if !by_charge => Some(microwatt_hours as f64 * MICRO),
        _ => Some(supply.number(charge)? as f64 * MICRO * volts(supply)?),
    }
}

fn ratio(supply: &Supply, now: Attribute, full: Attribute) -> Option<f64> {
    let now = supply.number(now).filter(|&now| now >= 0)?;
    let full = supply.number(full).filter(|&full| full > 0)?;
    Some(100.0 * now as f64 / full as f64)
}

/// The pack's percent, and whether its capacity was believed against its ratio.
fn percent(ratio: Option<f64>, capacity: Option<i64>) -> (Option<f64>, bool) {
    let (ratio, capacity) = match (ratio, capacity.map(|capacity| capacity as f64)) {
        (Some(ratio), Some(capacity)) => (ratio, capacity),
        (ratio, capacity) => return (ratio.or(capacity).map(clamped), false),
    };
    let fits = |percent| (0.0..=110.0).contains(&percent);
    let by_capacity = if fits(ratio) == fits(capacity) {
        // Nearly all known faults are "several times too large", and too little only waits.
        (ratio - capacity).abs() > 10.0 && capacity < ratio
    } else {
        fits(capacity)
    };
    (
        Some(clamped(if by_capacity { capacity } else { ratio })),
        by_capacity,
    )
}

fn watts(supply: &Supply) -> Option<f64> {
    use Attribute::{CurrentNow, PowerNow, VoltageNow};
    let magnitude = |raw: i64| raw.unsigned_abs() as f64 * MICRO;
    let (raw, watts) = match supply.number(PowerNow) {
        Some(raw) => (raw, magnitude(raw)),
        None => {
            let raw = supply.number(CurrentNow)?;
            let microvolts = supply
                .number(VoltageNow)
                .filter(|&microvolts| microvolts > 0)?;
            (raw, magnitude(raw) * microvolts as f64 * MICRO)
        }
    };
    if watts > WATTS_MOST {
        return None;
    }
    match supply.state() {
        PowerState::Charging => Some(watts),
        PowerState::Discharging => Some(-watts),
        _ if raw < 0 => Some(-watts),
        PowerState::Unknown if raw > 0 => None,
        _ => Some(watts),
    }
}

fn clamped(percent: f64) -> f64 {
    percent.clamp(0.0, 100.0)
}

/// Power supplies, in the order of their names, taken together.
pub fn aggregate_power<'a>(supplies: impl Iterator<Item = &'a Supply> + Clone) -> Power {
    let of_role = |role: Role| supplies.clone().filter(move |supply| supply.role() == role);
    // What hangs behind a UPS runs on it.
    let on_ups = of_role(Role::Ups).next().is_some();
    let packs = of_role(if on_ups { Role::Ups } else { Role::Pack }).map(Pack::of);
    together(
        packs.clone(),
        plugged(packs, on_ups, of_role(Role::Adapter)),
    )
}

fn plugged<'a>(
    packs: impl Iterator<Item = Pack> + Clone,
    on_ups: bool,
    mut adapters: impl Iterator<Item = &'a Supply> + Clone,
) -> Option<bool> {
    use PowerState::{Charging, Discharging, Full, NotCharging};
    let is_any = |states: &[PowerState]| packs.clone().any(|pack| states.contains(&pack.state));
    if packs.clone().next().is_none() {
        return Some(true);
    }
    if on_ups && is_any(&[Discharging]) {
        return Some(false);
    }
    if on_ups && is_any(&[Charging, Full, NotCharging]) {
        return Some(true);
    }
    let is_listed = adapters
        .clone()
        .any(|adapter| adapter.says_online().is_some());
    if adapters.any(|adapter| adapter.says_online() == Some(true) && !adapter.port_is_source()) {
        return Some(true);
    }
    if !is_listed || is_any(&[Discharging, Charging]) {
        plugged_by_packs(packs)
    } else if is_any(&[NotCharging]) {
        None
    } else {
        Some(false)
    }
}

/// Whether packs are on external power, where no adapter is listed.
pub fn plugged_by_packs(packs: impl Iterator<Item = Pack> + Clone) -> Option<bool> {
    use PowerState::{Charging, Discharging, Full, NotCharging};
    let is_any = |states: &[PowerState]| packs.clone().any(|pack| states.contains(&pack.state));
    if packs.clone().next().is_none() {
        Some(true)
    } else if is_any(&[Discharging]) {
        Some(false)
    } else if is_any(&[Charging, NotCharging, Full]) {
        Some(true)
    } else {
        None
    }
}

/// All packs of a machine as one.
pub fn together(packs: impl Iterator<Item = Pack> + Clone, plugged: Option<bool>) -> Power {
    use PowerState::{Charging, Discharging, Full, None as NoBattery, NotCharging, Unknown};
    let battery_count = packs.clone().count();
    let present = battery_count > 0;
    let ranked = [Charging, Discharging, NotCharging, Full];
    let first = ranked
        .into_iter()
        .find(|&state| packs.clone().any(|pack| pack.state == state));
    let state = if present {
        first.unwrap_or(Unknown)
    } else {
        NoBattery
    };
    let sum =
        |figure: fn(Pack) -> Option<f64>| total(packs.clone().map(figure)).filter(|_| present);
    let energy_wh = sum(|pack| pack.energy_wh);
    let battery_watts = sum(|pack| pack.watts);
    let own_estimate_s = packs
        .clone()
        .next()
        .filter(|_| battery_count == 1)
        .and_then(|pack| pack.time_to_empty_s);
    let time_to_empty_s = match (energy_wh, battery_watts) {
        _ if state != Discharging => None,
        (Some(energy_wh), Some(watts)) if watts < 0.0 => Some(energy_wh / -watts * 3600.0),
        _ => own_estimate_s,
    };
    Power {
        present,
        percent: percent_of_all(packs.clone()),
        plugged,
        state,
        battery_watts,
        energy_wh,
        energy_full_wh: sum(|pack| pack.energy_full_wh),
        time_to_empty_s: time_to_empty_s.filter(|&seconds| seconds <= TIME_TO_EMPTY_MOST_S),
        battery_count,
    }
}

fn percent_of_all(packs: impl Iterator<Item = Pack> + Clone) -> Option<f64> {
    let known_full = packs.clone().filter_map(|pack| pack.energy_full_wh);
    let mean = match known_full.clone().count() {
        0 => 1.0,
        count => known_full.fold(0.0, |sum, full| sum + full) / count as f64,
    };
    let (mut weighed, mut weights) = (0.0, 0.0);
    for pack in packs {
        if let Some(percent) = pack.percent {
            let weight = pack.energy_full_wh.unwrap_or(mean);
            weighed += percent * weight;
            weights += weight;
        }
    }
    // Clamped again: a percent times its weight over that weight may be one rounding above 100.
    (weights > 0.0).then(|| clamped(weighed / weights))
}

/// Plain addition in the order of the packs, so that both backends round alike.
fn total(mut figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    figures.try_fold(0.0, |sum, figure| Some(sum + figure?))
}
