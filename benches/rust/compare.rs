//! Deferpower, a bare `pread` of the same files, and the crates `sysinfo` and `battery`, in turns,
//! so that whatever else the machine does hits all of them alike. Prints medians; with
//! `--json HOT COLD`, so many rounds in a loop and with pauses, all times in nanoseconds.

use std::io::Write;
use std::time::{Duration, Instant};

mod work;
use work::{Bare, COLD_PAUSE, Crates, Deferpower, Outcome};

type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// The times of the calls of each. Every call is timed by itself: a longer stretch is interrupted
/// more often on a busy machine, which would flatter the quick. Without a pause, the first call of
/// a turn is not counted.
fn take_turns(
    contenders: &mut [Contender<'_>],
    rounds: usize,
    calls: usize,
    pause: Duration,
) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::with_capacity(rounds * calls); contenders.len()];
    for _ in 0..rounds {
        for ((_, call), times) in contenders.iter_mut().zip(&mut times) {
            if pause.is_zero() {
                call();
            } else {
                std::thread::sleep(pause);
            }
            times.extend((0..calls).map(|_| {
                let start = Instant::now();
                call();
                start.elapsed()
            }));
        }
    }
    times
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let given = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // Without --bench this is a check that it runs at all.
    let (hot_rounds, cold_rounds) = match (&arguments[..], given("--bench")) {
        ([.., hot, cold], _) if given("--json") => (hot.parse()?, cold.parse()?),
        (_, true) => (201, 15),
        _ => (1, 1),
    };
    let (mut full, files) = Deferpower::open()?;
    let (mut load, _) = Deferpower::open()?;
    let load_files: Vec<_> = files
        .iter()
        .filter(|path| path.starts_with("/proc"))
        .cloned()
        .collect();
    let (mut bare, mut bare_load) = (Bare::open(&files)?, Bare::open(&load_files)?);
    let mut calls = Bare::open(&files)?;
    let mut crates = Crates::open()?;
    let mut contenders: Vec<Contender<'_>> = vec![
        ("deferpower", Box::new(|| full.read_all())),
        ("bare", Box::new(|| bare.read_all())),
        ("bare_calls", Box::new(|| calls.call_all())),
        ("deferpower_load", Box::new(|| load.read_load())),
        ("bare_load", Box::new(|| bare_load.read_all())),
        ("sysinfo", Box::new(|| crates.read_all())),
    ];
    let hot = take_turns(&mut contenders, hot_rounds, 10, Duration::ZERO);
    let cold = take_turns(&mut contenders, cold_rounds, 1, COLD_PAUSE);
    let names: Vec<_> = contenders.iter().map(|(name, _)| *name).collect();
    let mut out = std::io::stdout().lock();
    if given("--json") {
        let nanoseconds = |times: &[Vec<Duration>]| -> serde_json::Map<_, _> {
            let all = |times: &[Duration]| -> serde_json::Value {
                times.iter().map(|time| time.as_nanos() as u64).collect()
            };
            let pairs = names.iter().zip(times);
            pairs
                .map(|(name, times)| ((*name).to_owned(), all(times)))
                .collect()
        };
        let report = serde_json::json!({
            "hot": nanoseconds(&hot),
            "cold": nanoseconds(&cold),
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "{} files, {} of them of load",
            files.len(),
            load_files.len()
        )?;
        writeln!(out, "{:<16} {:>12} {:>12}", "median", "hot", "cold")?;
        for ((name, hot), cold) in names.iter().zip(hot).zip(cold) {
            let (hot, cold) = (median(&hot), median(&cold));
            writeln!(out, "{name:<16} {hot:>12.1?} {cold:>12.1?}")?;
        }
    }
    Ok(())
}
