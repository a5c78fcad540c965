//! Power supplies with any text in any attribute: figures that can be, whatever their order.
#![no_main]

use _native::parse::aggregate_power;
use _native::parse::power::{Attribute, Role, Supply};
use _native::reading::PowerState;
use deferpower_fuzz::{BETWEEN_ATTRIBUTES, assert_amount, assert_percent, texts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut supplies: Vec<Supply> = texts(data, 8).map(supply).collect();
    let power = aggregate_power(supplies.iter());
    assert_eq!(power.present, power.battery_count > 0);
    assert_eq!(power.present, power.state != PowerState::None);
    assert!(power.present || power.plugged == Some(true));
    assert_percent(power.percent);
    assert_amount(power.energy_wh);
    assert!(
        power
            .energy_full_wh
            .is_none_or(|energy| energy > 0.0 && energy.is_finite())
    );
    let most_watts = 1000.0 * supplies.len() as f64;
    assert!(
        power
            .battery_watts
            .is_none_or(|watts| watts.abs() <= most_watts)
    );
    assert!(
        power
            .time_to_empty_s
            .is_none_or(|seconds| (0.0..=864_000.0).contains(&seconds))
    );
    // Sums of floats depend on the order; what is no sum must not.
    supplies.reverse();
    let reversed = aggregate_power(supplies.iter());
    assert_eq!(
        (
            power.present,
            power.plugged,
            power.state,
            power.battery_count
        ),
        (
            reversed.present,
            reversed.plugged,
            reversed.state,
            reversed.battery_count
        )
    );
    // A mouse and an empty bay change nothing.
    supplies.reverse();
    let count = supplies.len();
    supplies.retain(|supply| !matches!(supply.role(), Role::Peripheral | Role::Other));
    if supplies.len() < count {
        assert_eq!(aggregate_power(supplies.iter()), power);
    }
});

/// A supply from lines `attribute=text`.
fn supply(data: &[u8]) -> Supply {
    let mut supply = Supply::default();
    for line in data.split(|&byte| byte == BETWEEN_ATTRIBUTES) {
        let named = |attribute: &&Attribute| {
            let name = attribute.name().to_bytes();
            line.starts_with(name) && line.get(name.len()) == Some(&b'=')
        };
        if let Some(&attribute) = Attribute::ALL.iter().find(named) {
            let text = &line[attribute.name().to_bytes().len() + 1..];
            supply.set(attribute, text);
        }
    }
    let _ = supply.attributes_beside();
    supply
}
