//! What two moments tell together: rates that can be, and idleness that lasted.
#![no_main]

use _native::idle::{IdleRules, IdleTracker};
use _native::reading::{Counters, Load, Ticks, busy_percent, own_percent, rates};
use deferpower_fuzz::{assert_amount, assert_percent};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Moment {
    passed_ms: i32,
    cpu: Option<(u64, u64, u8)>,
    own_ms: Option<u32>,
    devices: Vec<(u8, u64, u64)>,
    working: bool,
}

fuzz_target!(|moments: Vec<Moment>| {
    let mut tracker = IdleTracker::new(IdleRules::default());
    let mut before: Option<Counters> = None;
    let mut at_s = 1000.0;
    for moment in &moments {
        at_s += f64::from(moment.passed_ms) / 1000.0;
        let now = counters(moment, at_s);
        let idle = tracker.update(&now, moment.working);
        assert!(idle.is_none_or(|since_s| at_s - since_s >= 60.0));
        if let Some(before) = &before {
            check(before, &now);
        }
        before = Some(now);
    }
});

fn counters(moment: &Moment, at_s: f64) -> Counters {
    let mut counters = Counters::default();
    counters.load = Load {
        at_s,
        cpu: moment.cpu.map(|(busy, idle, count)| Ticks {
            busy,
            idle,
            count: u64::from(count.max(1)),
        }),
        own_s: moment.own_ms.map(|ms| f64::from(ms) / 1000.0),
    };
    for (place, &(name, bytes_in, bytes_out)) in moment.devices.iter().enumerate() {
        counters.disk.push(
            &[b'a' + name % 4, b'0' + place as u8 % 8],
            bytes_in,
            bytes_out,
        );
        counters
            .network
            .push(&[b'e', b'0' + place as u8 % 8], bytes_out, bytes_in);
    }
    counters
}

fn check(before: &Counters, now: &Counters) {
    let busy = busy_percent(&before.load, &now.load);
    assert_percent(busy);
    if let Some(busy) = busy {
        let own = own_percent(&before.load, &now.load, busy);
        assert_percent(own);
        assert!(own.is_none_or(|own| own <= busy));
    }
    let seconds = now.load.at_s - before.load.at_s;
    for (before, now) in [(&before.disk, &now.disk), (&before.network, &now.network)] {
        if let Some((rate_in, rate_out)) = rates(before, now, seconds) {
            assert_amount(Some(rate_in));
            assert_amount(Some(rate_out));
            assert!(rate_in <= 1e12 && rate_out <= 1e12);
        }
    }
}
