//! A full reading, hot and cold, beside its peers. `compare` has them take turns; this has the
//! statistics of each.

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};

mod work;
use work::{Bare, COLD_PAUSE, Crates, Deferpower, Outcome};

/// Times a call in a loop, and once every 200 ms.
fn time(criterion: &mut Criterion, name: &str, mut call: impl FnMut()) {
    let mut hot = criterion.benchmark_group("hot");
    hot.measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(500));
    hot.bench_function(name, |bencher| bencher.iter(&mut call));
    hot.finish();
    let mut cold: BenchmarkGroup<'_, WallTime> = criterion.benchmark_group("cold");
    cold.sampling_mode(SamplingMode::Flat).sample_size(10);
    cold.measurement_time(Duration::from_secs(2))
        .warm_up_time(COLD_PAUSE);
    cold.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let once = |_| {
                std::thread::sleep(COLD_PAUSE);
                let start = Instant::now();
                call();
                start.elapsed()
            };
            (0..calls).map(once).sum()
        });
    });
    cold.finish();
}

fn main() -> Outcome<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let (mut deferpower, files) = Deferpower::open()?;
    let mut bare = Bare::open(&files)?;
    let mut crates = Crates::open()?;
    time(&mut criterion, "full reading", || deferpower.read_all());
    time(&mut criterion, "load only", || deferpower.read_load());
    time(&mut criterion, "bare pread of its files", || {
        bare.read_all()
    });
    time(&mut criterion, "all its system calls", || bare.call_all());
    time(&mut criterion, "sysinfo and battery", || crates.read_all());
    criterion.final_summary();
    Ok(())
}
