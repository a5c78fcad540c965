//! What the crate `battery` says of one battery, in the words of a pack of the fast path.
//!
//! It answers with 0 where it knows no figure; here that is `None`.

use battery::units::energy::watt_hour;
use battery::units::power::watt;
use battery::units::ratio::percent;
use battery::units::time::second;
use battery::{Battery, State};

use crate::parse::power::Pack;
use crate::reading::PowerState;

const WATTS_MOST: f64 = 1000.0;

/// A battery that is there and cannot be read: on battery, as far as anyone knows.
pub(super) const UNREADABLE: Pack = Pack {
    state: PowerState::Unknown,
    percent: None,
    energy_wh: None,
    energy_full_wh: None,
    watts: None,
    time_to_empty_s: None,
};

/// What one battery says.
pub(super) fn pack(battery: &Battery) -> Pack {
    let state = state(battery.state());
    let full_wh = known(battery.energy_full().get::<watt_hour>()).filter(|&full_wh| full_wh > 0.0);
    let magnitude = known(battery.energy_rate().get::<watt>()).filter(|&watts| watts <= WATTS_MOST);
    Pack {
        state,
        percent: known(battery.state_of_charge().get::<percent>())
            .map(|charge| charge.clamp(0.0, 100.0)),
        // Without a full energy there was none to read, and the other figure is a filler too.
        energy_wh: known(battery.energy().get::<watt_hour>())
            .filter(|&now_wh| now_wh >= 0.0 && full_wh.is_some()),
        energy_full_wh: full_wh,
        watts: magnitude.and_then(|magnitude| signed(magnitude.abs(), state)),
        time_to_empty_s: battery
            .time_to_empty()
            .and_then(|time| known(time.get::<second>()))
            .filter(|&s| s > 0.0),
    }
}

fn known(figure: f32) -> Option<f64> {
    figure.is_finite().then(|| f64::from(figure))
}

/// Watts into the battery. No flow in a pack that charges or drains stands for "unknown".
fn signed(watts: f64, state: PowerState) -> Option<f64> {
    match state {
        PowerState::Charging if watts > 0.0 => Some(watts),
        PowerState::Discharging if watts > 0.0 => Some(-watts),
        PowerState::Charging | PowerState::Discharging => None,
        PowerState::Unknown if watts > 0.0 => None,
        _ => Some(watts),
    }
}

fn state(state: State) -> PowerState {
    match state {
        State::Charging => PowerState::Charging,
        State::Discharging => PowerState::Discharging,
        State::Full => PowerState::Full,
        // There, the crate says "discharging" whenever no charger is connected, before all else.
        State::Empty | State::Unknown if cfg!(target_os = "macos") => PowerState::NotCharging,
        // Nearly empty and not charging.
        State::Empty => PowerState::Discharging,
        State::Unknown => PowerState::Unknown,
    }
}
