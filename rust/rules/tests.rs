//! The parking lot against a look at every task. The table of verdicts is tested from Python, on
//! both backends alike.

use proptest::prelude::*;

use super::*;

const THRESHOLDS: Thresholds = Thresholds {
    suspend: 20.0,
    background: 50.0,
    normal: 70.0,
    normal_idle: 30.0,
    hysteresis: 3.0,
    low: 15.0,
    well: 20.0,
    memory: 80.0,
    cpu: 70.0,
    storage: 90.0,
    plug_dwell_s: 5.0,
};
const RELAXATION: Relaxation = Relaxation {
    fractions: [0.5, 0.6, 0.7, 0.8],
    all: 0.95,
    all_before_s: 60.0,
    default_life_s: 86_400.0,
};

fn facts(wall_s: f64, percent: f64, plugged: bool, idle: bool) -> Facts {
    Facts {
        monotonic_s: wall_s,
        wall_s,
        minute: 720,
        present: true,
        percent: Some(percent),
        plugged: Some(plugged),
        memory: None,
        cpu: None,
        storage: None,
        idle,
        connected: None,
        metered: None,
        custom: 0,
    }
}

fn some_constraints() -> impl Strategy<Value = Constraints> {
    (0_u32..END, 0.0..99.0).prop_map(|(flags, battery_above)| Constraints {
        // Few at once, or nothing ever starts.
        flags: flags & flags.rotate_right(1) & 0b11_1001_1111,
        battery_above,
        window_start: 600,
        window_end: 900,
        custom: 0,
    })
}

fn some_requirement() -> impl Strategy<Value = Requirement> {
    let class = prop_oneof![
        Just(Class::Critical),
        Just(Class::ChargingOnly),
        Just(Class::Background),
        Just(Class::Normal),
    ];
    (class, any::<bool>(), some_constraints(), some_constraints()).prop_map(
        |(class, expires, hard, soft)| Requirement {
            class,
            forced: None,
            expires,
            hard,
            soft,
        },
    )
}

fn some_task() -> impl Strategy<Value = Waiting> {
    let life_s = prop_oneof![Just(None), (0.0..2000.0).prop_map(Some)];
    (0..30_i64, 0..4_u32, -1..2_i32, -500.0..1500.0, life_s).prop_map(
        |(id, set_id, priority, created_s, life_s)| Waiting {
            id,
            set_id,
            priority,
            life: Life { created_s, life_s },
        },
    )
}

/// What `take` must find, by deciding about each task.
fn look_at_each(
    rules: &Rules,
    lot: &[Waiting],
    limit: usize,
    mut charging_only: usize,
) -> Result<Taken, Error> {
    let mut lot = lot.to_vec();
    lot.sort_by(|a, b| {
        let by_age = a.life.created_s.total_cmp(&b.life.created_s);
        b.priority
            .cmp(&a.priority)
            .then(by_age)
            .then(a.id.cmp(&b.id))
    });
    let mut found = Taken::default();
    for task in lot {
        let outcome = rules.decide(task.set_id, task.life, false)?;
        let class = rules.compiled[task.set_id as usize].requirement.class;
        let is_limited = class == Class::ChargingOnly && outcome.row > 2;
        match outcome.verdict {
            Verdict::Expire => found.expired.push(task.id),
            Verdict::ExecuteNow if found.start.len() < limit => {
                if !is_limited {
                    found.start.push(task.id);
                } else if charging_only > 0 {
                    charging_only -= 1;
                    found.start.push(task.id);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

proptest! {
    #[test]
    fn the_parking_lot_finds_what_a_look_at_each_finds(
        requirements in proptest::collection::vec(some_requirement(), 4),
        rounds in proptest::collection::vec(
            (
                proptest::collection::vec(some_task(), 0..12),
                proptest::collection::vec(0..30_i64, 0..3),
                -500.0..4000.0,
                0.0..100.0,
                any::<(bool, bool)>(),
                (0..6_usize, 0..3_usize),
            ),
            1..12,
        ),
    ) {
        let mut rules = Rules::new(THRESHOLDS, RELAXATION);
        let ids: Vec<u32> =
            requirements.iter().map(|&asked| rules.compile(asked)).collect::<Result<_, _>>()?;
        let mut lot: Vec<Waiting> = Vec::new();
        for (mut parked, unparked, wall_s, percent, (plugged, idle), (limit, alone)) in rounds {
            for task in &mut parked {
                task.set_id = ids[task.set_id as usize];
                lot.retain(|known| known.id != task.id);
                lot.push(*task);
            }
            rules.park(&parked)?;
            for id in unparked {
                let before = lot.len();
                lot.retain(|known| known.id != id);
                prop_assert_eq!(rules.unpark(id), lot.len() < before);
            }
            rules.observe(&facts(wall_s, percent, plugged, idle))?;
            let expected = look_at_each(&rules, &lot, limit, alone)?;
            lot.retain(|task| {
                !expected.start.contains(&task.id) && !expected.expired.contains(&task.id)
            });
            prop_assert_eq!(rules.take(limit, alone)?, expected);
        }
    }
}
