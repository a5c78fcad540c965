//! Each parser on the text of this machine's own file.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use _native::parse::devices::Devices;
use _native::parse::{
    parse_diskstats, parse_meminfo, parse_netdev, parse_pressure, parse_process_stat, parse_stat,
};
use criterion::{Criterion, Throughput};

fn parser<R>(criterion: &mut Criterion, path: &str, mut parse: impl FnMut(&[u8]) -> R) {
    // Not every kernel has every file.
    let Ok(text) = fs::read(path) else { return };
    let mut group = criterion.benchmark_group("parse");
    group
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(300));
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function(path.trim_start_matches('/'), |bencher| {
        bencher.iter(|| parse(black_box(&text)))
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (mut disks, mut interfaces) = (Devices::default(), Devices::default());
    parser(&mut criterion, "/proc/stat", parse_stat);
    parser(&mut criterion, "/proc/meminfo", parse_meminfo);
    parser(&mut criterion, "/proc/diskstats", |text| {
        parse_diskstats(text, &mut disks)
    });
    parser(&mut criterion, "/proc/net/dev", |text| {
        parse_netdev(text, &mut interfaces)
    });
    parser(&mut criterion, "/proc/pressure/cpu", parse_pressure);
    parser(&mut criterion, "/proc/self/stat", parse_process_stat);
    criterion.final_summary();
}
