//! Whatever bytes a file holds, no parser panics, and what it tells keeps to its bounds.

use _native::parse::devices::Devices;
use _native::parse::power::{Attribute, Supply};
use _native::parse::stat::cpu_lines;
use _native::parse::{
    aggregate_power, parse_diskstats, parse_meminfo, parse_netdev, parse_pressure,
    parse_process_stat, parse_stat,
};
use _native::reading::PowerState;
use proptest::collection::vec;
use proptest::prelude::*;

/// Text that looks like the kernel's often enough to get past the first checks.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"cpu",
        b"cpu0",
        b"cpu1",
        b"intr",
        b"some",
        b"avg10=",
        b"avg10=1.50",
        b"MemTotal:",
        b"MemAvailable:",
        b"kB",
        b"sda",
        b"sda1",
        b"nvme0n1",
        b"nvme0n1p1",
        b"loop0",
        b"lo",
        b":",
        b"eth0:",
        b"veth1:",
        b"(",
        b")",
        b"(x)",
        b"S",
        b"0",
        b"1",
        b"7",
        b"-1",
        b"4096",
        b"18446744073709551615",
        b"18446744073709551616",
        b"9223372036854775807",
        b" ",
        b"  ",
        b"\n",
        b"\n",
        b"\0",
        b"\t",
        b"\x0b",
        b"\r\n",
        b".",
        b"-",
        b"\xff",
    ];
    let word = proptest::sample::select(words).prop_map(<[u8]>::to_vec);
    let spaced = word.clone().prop_map(|word| [&word[..], b" "].concat());
    let anything = vec(any::<u8>(), 0..8);
    vec(prop_oneof![4 => spaced, 2 => word, 1 => anything], 0..80).prop_map(|parts| parts.concat())
}

fn attribute_text() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"Battery",
        b"UPS",
        b"Mains",
        b"USB_PD",
        b"Unknown",
        b"Device",
        b"System",
        b"Charging",
        b"Discharging",
        b"Not charging",
        b"Full",
        b"[source] sink",
        b"source [sink]",
        b"[source]",
    ];
    prop_oneof![
        2 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        2 => any::<i64>().prop_map(|number| format!("{number}\n").into_bytes()),
        2 => (-10..2_000_000_i64).prop_map(|number| format!("{number}\n").into_bytes()),
        1 => vec(any::<u8>(), 0..24),
    ]
}

fn supply() -> impl Strategy<Value = Supply> {
    let attribute = proptest::sample::select(Attribute::ALL.to_vec());
    vec((attribute, attribute_text()), 0..20).prop_map(|attributes| {
        let mut supply = Supply::default();
        for (attribute, text) in attributes {
            supply.set(attribute, &text);
        }
        supply
    })
}

proptest! {
    #[test]
    fn stat(data in text()) {
        if let Ok(ticks) = parse_stat(&data) {
            prop_assert!(ticks.count >= 1);
        }
        if let Some(head) = cpu_lines(&data) {
            prop_assert!(data.starts_with(head));
        }
    }

    #[test]
    fn meminfo(data in text()) {
        let memory = parse_meminfo(&data);
        if let (Some(total), Some(available)) = (memory.total, memory.available) {
            prop_assert!(0 < total && available <= total);
        }
    }

    #[test]
    fn pressure(data in text()) {
        if let Some(percent) = parse_pressure(&data) {
            prop_assert!((0.0..=100.0).contains(&percent));
        }
    }

    #[test]
    fn process_stat(data in text()) {
        if let Ok(process) = parse_process_stat(&data) {
            prop_assert!(i64::try_from(process.ticks).is_ok());
        }
    }

    /// What was remembered of the text before must not show.
    #[test]
    fn devices(texts in vec(text(), 1..4)) {
        for parse in [parse_diskstats, parse_netdev] {
            let mut remembering = Devices::default();
            for text in &texts {
                let mut fresh = Devices::default();
                parse(text, &mut fresh);
                parse(text, &mut remembering);
                prop_assert_eq!(remembering.traffic(), fresh.traffic());
                parse(text, &mut remembering);
                prop_assert_eq!(remembering.traffic(), fresh.traffic());
            }
        }
    }

    #[test]
    fn power(supplies in vec(supply(), 0..5)) {
        let power = aggregate_power(supplies.iter());
        prop_assert_eq!(power.present, power.battery_count > 0);
        prop_assert_eq!(power.present, power.state != PowerState::None);
        prop_assert!(power.percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
        prop_assert!(power.energy_wh.is_none_or(|energy| energy >= 0.0 && energy.is_finite()));
        prop_assert!(power.time_to_empty_s.is_none_or(|seconds| (0.0..=864_000.0).contains(&seconds)));
        prop_assert!(power.present || power.plugged == Some(true));
    }
}
