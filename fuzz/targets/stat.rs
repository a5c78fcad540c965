//! `/proc/stat`: the sums, beside sums that cannot overflow; and the head that is read alone.
#![no_main]

use _native::parse::{parse_stat, stat::cpu_lines};
use deferpower_fuzz::{counter, lines, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = parse_stat(data).ok();
    let expected = sums(data);
    assert_eq!(
        parsed.map(|ticks| (ticks.busy, ticks.idle, ticks.count)),
        expected
    );
    if let Some(head) = cpu_lines(data) {
        assert!(data.starts_with(head) && head.ends_with(b"\n"));
        // Nothing behind the head has to do with the processor, but for a line with a blank before.
        assert!(
            head.split(|&byte| byte == b'\n')
                .all(|line| line.is_empty() || line.starts_with(b"cpu"))
        );
    }
});

fn sums(data: &[u8]) -> Option<(u64, u64, u64)> {
    let lines = lines(data);
    let firsts = || {
        lines
            .iter()
            .map(|line| (words(line).first().copied().unwrap_or_default(), line))
    };
    let is_processor = |name: &[u8]| {
        let number = name.strip_prefix(b"cpu").unwrap_or_default();
        !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    };
    let count = firsts().filter(|(name, _)| is_processor(name)).count() as u64;
    let (_, all) = firsts().find(|(name, _)| *name == b"cpu")?;
    let counters: Option<Vec<u128>> = words(all)[1..]
        .iter()
        .take(8)
        .map(|word| counter(word).map(u128::from))
        .collect();
    let mut counters = counters.filter(|counters| counters.len() >= 4)?;
    counters.resize(8, 0);
    let idle = counters[3] + counters[4];
    let busy = counters.iter().sum::<u128>() - idle;
    Some((busy.try_into().ok()?, idle.try_into().ok()?, count.max(1)))
}
