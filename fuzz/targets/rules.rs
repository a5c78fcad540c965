//! The table of verdicts with odd figures in every place: an answer that holds together, or an error.
#![no_main]

use _native::cadence::{Dues, Sensed};
use _native::rules::{
    Class, Constraints, Facts, Life, Relaxation, Requirement, Rules, Thresholds, Verdict,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    thresholds: [f64; 11],
    relaxation: [f64; 7],
    requirements: Vec<Asked>,
    moments: Vec<Moment>,
}

#[derive(Arbitrary, Debug)]
struct Asked {
    class: u8,
    forced: u8,
    expires: bool,
    hard: Side,
    soft: Side,
}

#[derive(Arbitrary, Debug)]
struct Side {
    flags: u16,
    battery_above: f64,
    window: (u16, u16),
    custom: u64,
}

#[derive(Arbitrary, Debug)]
struct Moment {
    monotonic_s: f64,
    wall_s: f64,
    minute: u16,
    present: bool,
    percent: Option<f64>,
    plugged: Option<bool>,
    used: [Option<f64>; 3],
    idle: bool,
    network: [Option<bool>; 2],
    custom: u64,
    life: (f64, Option<f64>),
    running: bool,
    quiet_since_s: Option<f64>,
    power_event_s: Option<f64>,
}

fuzz_target!(|input: Input| {
    let [
        suspend,
        background,
        normal,
        normal_idle,
        hysteresis,
        low,
        well,
        memory,
        cpu,
        storage,
        plug_dwell_s,
    ] = input.thresholds;
    let thresholds = Thresholds {
        suspend,
        background,
        normal,
        normal_idle,
        hysteresis,
        low,
        well,
        memory,
        cpu,
        storage,
        plug_dwell_s,
    };
    let [
        idle,
        battery,
        network,
        charging,
        all,
        all_before_s,
        default_life_s,
    ] = input.relaxation;
    let relaxation = Relaxation {
        fractions: [idle, battery, network, charging],
        all,
        all_before_s,
        default_life_s,
    };
    let mut rules = Rules::new(thresholds, relaxation);
    let mut compiled = Vec::new();
    for asked in &input.requirements {
        let requirement = requirement(asked);
        if let Ok(id) = rules.compile(requirement) {
            assert_eq!(rules.compile(requirement), Ok(id), "equal ones have one id");
            compiled.push((id, requirement));
        }
    }
    let mut observed = false;
    for moment in &input.moments {
        observed |= rules.observe(&facts(moment)).is_ok();
        assert_eq!(rules.evaluate(moment.running).is_ok(), observed);
        if observed {
            judge(&rules, &compiled, moment);
        }
    }
});

fn judge(rules: &Rules, compiled: &[(u32, Requirement)], moment: &Moment) {
    let outcomes = rules.evaluate(moment.running).expect("it has observed");
    let (created_s, life_s) = moment.life;
    let life = Life { created_s, life_s };
    let sensed = Sensed {
        slow_read_s: moment.quiet_since_s,
        quiet_since_s: moment.quiet_since_s,
        idle_dwell_s: 60.0,
        has_power_events: moment.running,
    };
    let dues = Dues::new(&rules.seen(), &sensed, moment.power_event_s, moment.idle);
    for &(id, requirement) in compiled {
        let outcome = outcomes[id as usize];
        assert!(outcome.row <= 9);
        let waits = matches!(
            outcome.verdict,
            Verdict::DeferToBackground | Verdict::DeferToCharging
        );
        assert_eq!(outcome.unmet != 0, waits && outcome.row > 0, "{outcome:?}");
        assert_eq!(rules.verdict(id, moment.running), Ok(outcome.verdict));
        assert!(rules.need(id, moment.running, &dues).is_ok());
        if requirement.forced.is_none() && requirement.class == Class::Critical {
            assert_eq!(outcome.verdict, Verdict::ExecuteNow);
        }
        let decided = rules.decide(id, life, moment.running);
        if let Ok(next_s) = rules.next_step_s(id, life) {
            assert!(decided.is_ok());
            assert!(next_s.is_none_or(f64::is_finite));
        }
        if let Ok((relaxed, next_s)) = rules.relaxed(requirement, life, moment.wall_s) {
            assert!(next_s.is_none_or(|next_s| next_s > moment.wall_s));
            assert_eq!(relaxed.hard, requirement.hard);
            assert_eq!(
                relaxed.soft.flags & !requirement.soft.flags,
                0,
                "nothing is added"
            );
        }
    }
    assert!(
        rules
            .decide(compiled.len() as u32 + 1, life, false)
            .is_err()
    );
}

fn requirement(asked: &Asked) -> Requirement {
    let class = [
        Class::Critical,
        Class::ChargingOnly,
        Class::Background,
        Class::Normal,
    ];
    let forced = [
        None,
        Some(Verdict::ExecuteNow),
        Some(Verdict::DeferToBackground),
        Some(Verdict::DeferToCharging),
        Some(Verdict::Expire),
        None,
        None,
        None,
    ];
    Requirement {
        class: class[usize::from(asked.class) % 4],
        forced: forced[usize::from(asked.forced) % 8],
        expires: asked.expires,
        hard: constraints(&asked.hard),
        soft: constraints(&asked.soft),
    }
}

fn constraints(side: &Side) -> Constraints {
    Constraints {
        flags: u32::from(side.flags % 2048),
        battery_above: side.battery_above,
        window_start: u32::from(side.window.0 % 1500),
        window_end: u32::from(side.window.1 % 1500),
        custom: side.custom,
    }
}

fn facts(moment: &Moment) -> Facts {
    let [memory, cpu, storage] = moment.used;
    let [connected, metered] = moment.network;
    Facts {
        monotonic_s: moment.monotonic_s,
        wall_s: moment.wall_s,
        minute: u32::from(moment.minute % 1500),
        present: moment.present,
        percent: moment.percent,
        plugged: moment.plugged,
        memory,
        cpu,
        storage,
        idle: moment.idle,
        connected,
        metered,
        custom: moment.custom,
    }
}
