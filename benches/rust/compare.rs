//! Deferpower, a bare `pread` of the same files, and the crates `sysinfo` and `battery`, in turns,
//! so that whatever else the machine does hits all of them alike. Prints medians, or with `--json`
//! the medians in nanoseconds.

use std::io::Write;
use std::time::{Duration, Instant};

mod work;
use work::{Bare, COLD_PAUSE, Crates, Deferpower, Outcome};

type Contender<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Median time of a call of each. Every call is timed by itself: a longer stretch is interrupted
/// more often on a busy machine, which would flatter the quick. Without a pause, the first call of
/// a turn is not counted.
fn take_turns(
    contenders: &mut [Contender<'_>],
    rounds: usize,
    calls: usize,
    pause: Duration,
) -> Vec<Duration> {
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
    times.iter_mut().for_each(|times| times.sort_unstable());
    times.iter().map(|times| times[times.len() / 2]).collect()
}

fn main() -> Outcome<()> {
    let given = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // Without --bench this is a check that it runs at all.
    let (hot_rounds, cold_rounds) = if given("--bench") { (201, 15) } else { (1, 1) };
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
        let nanoseconds = |times: &[Duration]| -> serde_json::Map<_, _> {
            let pairs = names.iter().zip(times);
            pairs
                .map(|(name, time)| ((*name).to_owned(), (time.as_nanos() as u64).into()))
                .collect()
        };
        let report = serde_json::json!({
            "files": files.len(),
            "load_files": load_files.len(),
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
            writeln!(out, "{name:<16} {hot:>12.1?} {cold:>12.1?}")?;
        }
    }
    Ok(())
}
