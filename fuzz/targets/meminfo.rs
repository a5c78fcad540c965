//! `/proc/meminfo`: what is told can be, and is what the first line of each name says.
#![no_main]

use _native::parse::parse_meminfo;
use deferpower_fuzz::{counter, lines, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let memory = parse_meminfo(data);
    let total = first(data, b"MemTotal:").filter(|&bytes| bytes > 0);
    let available =
        first(data, b"MemAvailable:").filter(|&bytes| total.is_none_or(|total| bytes <= total));
    assert_eq!((memory.total, memory.available), (total, available));
});

fn first(data: &[u8], name: &[u8]) -> Option<u64> {
    let lines = lines(data);
    let line = lines
        .iter()
        .find(|line| words(line).first() == Some(&name))?;
    let bytes = u128::from(counter(words(line).get(1)?)?) * 1024;
    i64::try_from(bytes).ok().map(i64::unsigned_abs)
}
