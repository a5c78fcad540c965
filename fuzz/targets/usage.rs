//! A table of usage that learned anything that can be observed: probabilities, and the same
//! table again from its bytes.
#![no_main]

use _native::usage::UsageTable;
use deferpower_fuzz::assert_amount;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// From so many hours later on, rows of (minutes later, minutes, activity, plugged).
    Learn(u16, Vec<(u8, u8, u8, u8)>),
    /// Hours and rows as they come.
    LearnAny(Vec<(f64, u8)>, Vec<[f64; 4]>),
    Merge,
    Restart,
    /// Hours ahead, minutes that the work takes.
    Ask(u16, u16),
    AskAny(f64, f64, Vec<(f64, u8)>),
}

fuzz_target!(|input: Input| {
    let mut table = UsageTable::new();
    let mut now_s = 1.7e9;
    for step in input.steps.iter().take(30) {
        match step {
            Step::Learn(later_h, rows) => {
                now_s += f64::from(*later_h % 1000) * 3600.0;
                let mut at_s = now_s;
                let rows: Vec<[f64; 4]> = rows
                    .iter()
                    .take(100)
                    .map(|&(later, minutes, activity, plugged)| {
                        at_s += f64::from(later) * 60.0;
                        let row = [
                            at_s,
                            f64::from(minutes) * 60.0 + 1.0,
                            share(activity),
                            share(plugged),
                        ];
                        at_s += row[1];
                        row
                    })
                    .collect();
                let ended_s = table.end_s().unwrap_or(now_s).min(now_s);
                let known_from_s = ended_s.max(now_s - 160.0 * 3600.0);
                let learned = table.learn(&hours(known_from_s, at_s), &bytes(&rows));
                let (counted_s, repeated_s) = learned.expect("rows that can be");
                assert!(counted_s >= 0.0 && repeated_s >= 0.0);
                now_s = at_s;
            }
            Step::LearnAny(hours, rows) => {
                let before = table.to_bytes();
                let learned = table.learn(&any_hours(hours), &bytes(rows));
                assert!(
                    learned.is_ok() || table.to_bytes() == before,
                    "learned half of it"
                );
            }
            Step::Merge => table.merge(&table.to_bytes()).expect("its own bytes"),
            Step::Restart => table.restart(),
            Step::Ask(ahead_h, minutes) => {
                let hours = hours(now_s, now_s + f64::from(*ahead_h % 200) * 3600.0);
                ask(&table, now_s, f64::from(*minutes) * 60.0 + 1.0, &hours);
            }
            Step::AskAny(now_s, duration_s, hours) => {
                ask(&table, *now_s, *duration_s, &any_hours(hours));
            }
        }
        let copy = UsageTable::from_bytes(&table.to_bytes()).expect("its own bytes");
        assert_eq!(copy.to_bytes(), table.to_bytes());
        for hours in table.evidence() {
            assert_amount(Some(hours));
        }
    }
});

/// A share of one, or not observed.
fn share(value: u8) -> f64 {
    if value == 255 {
        f64::NAN
    } else {
        f64::from(value) / 254.0
    }
}

/// Full hours around a span, and the end of the last.
fn hours(from_s: f64, to_s: f64) -> Vec<(f64, usize)> {
    let first = (from_s / 3600.0) as usize;
    let last = (to_s / 3600.0) as usize + 2;
    (first..=last)
        .map(|hour| (hour as f64 * 3600.0, hour % 168))
        .collect()
}

fn any_hours(hours: &[(f64, u8)]) -> Vec<(f64, usize)> {
    hours
        .iter()
        .map(|&(start_s, hour)| (start_s, usize::from(hour)))
        .collect()
}

fn bytes(rows: &[[f64; 4]]) -> Vec<u8> {
    rows.iter()
        .flatten()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn ask(table: &UsageTable, now_s: f64, duration_s: f64, hours: &[(f64, usize)]) {
    let probability =
        |value: &f64| assert!((0.0..=1.0).contains(value), "{value} is no probability");
    for row in table.forecast(hours).into_iter().flatten() {
        [row.0, row.1, row.2].iter().for_each(probability);
        for hours in [row.3, row.4, row.5] {
            assert_amount(Some(hours));
        }
    }
    if let Ok((live, ages_s, rows)) = table.outlook(now_s, duration_s, hours) {
        live.iter().for_each(probability);
        for age_s in ages_s {
            assert_amount(Some(age_s));
        }
        for (a, b, c, d, e, f, g, h, i) in rows {
            [a, b, c, d, e, f, g, h, i].iter().for_each(probability);
        }
    }
}
