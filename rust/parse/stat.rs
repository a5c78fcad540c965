//! `/proc/stat`: how long the processors were busy.

use memchr::memchr;

use super::number::{counter, is_digits, is_space, lines, words};
use crate::error::Error;
use crate::reading::Ticks;

/// user, nice, system, idle: since Linux 1.
const LEAST: usize = 4;

/// Busy and idle ticks and online processors, all processors together.
///
/// # Errors
///
/// [`Error::Sensor`]: there is no line `cpu` with at least four counters.
pub fn parse_stat(data: &[u8]) -> Result<Ticks, Error> {
    let mut all = None;
    let mut count = 0;
    for line in lines(data) {
        let start = line.iter().position(|&byte| !is_space(byte)).unwrap_or(0);
        let Some(after) = line[start..].strip_prefix(b"cpu") else {
            continue;
        };
        let end = after
            .iter()
            .position(|&byte| is_space(byte))
            .unwrap_or(after.len());
        if end == 0 {
            all = all.or(Some(after));
        } else if is_digits(&after[..end]) {
            count += 1;
        }
    }
    all.and_then(busy_and_idle)
        .map(|(busy, idle)| Ticks {
            busy,
            idle,
            count: count.max(1),
        })
        .ok_or_else(|| Error::Sensor("proc/stat: no line cpu with at least four counters".into()))
}

fn busy_and_idle(line: &[u8]) -> Option<(u64, u64)> {
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time, which follows, is within user.
    let mut counters = [0_u64; 8];
    let mut found = 0;
    for (value, word) in counters.iter_mut().zip(words(line)) {
        *value = counter(word)?;
        found += 1;
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal] = counters;
    let busy = [nice, system, irq, softirq, steal]
        .iter()
        .try_fold(user, |sum, &ticks| sum.checked_add(ticks))?;
    (found >= LEAST).then_some((busy, idle.checked_add(iowait)?))
}

/// The lines that begin with `cpu` at the head of the text, if the text reaches past them.
///
/// What follows them (`intr`) can be a hundred times as long, and is not worth copying.
pub fn cpu_lines(data: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    while data.get(end..end + 3)? == b"cpu" {
        end += memchr(b'\n', &data[end..])? + 1;
    }
    (end > 0).then(|| &data[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 5 10 15 200 25 3 3 4 4 5\ncpu1 5 10 15 200 25 3 4 4 5 5\nintr 99 0\nctxt 1\n";

    #[test]
    fn guest_time_is_not_counted_twice() {
        assert_eq!(
            parse_stat(TWO),
            Ok(Ticks {
                busy: 81,
                idle: 450,
                count: 2
            })
        );
    }

    #[test]
    fn old_kernels_have_four_counters_and_no_processor_lines() {
        assert_eq!(
            parse_stat(b"cpu 1 2 3 4\n"),
            Ok(Ticks {
                busy: 6,
                idle: 4,
                count: 1
            })
        );
    }

    #[test]
    fn a_broken_first_line_is_an_error() {
        let texts: [&[u8]; 7] = [
            b"",
            b"\0\0\0\0",
            b"cpu0 1 2 3 4\n",
            b"cpu 1 2 3\n",
            b"cpu 1 2 3 x\n",
            b"cpu 1 2 3 4 5 6 7 -8\n",
            b"cpu 18446744073709551615 1 0 0\n",
        ];
        for text in texts {
            assert!(
                matches!(parse_stat(text), Err(Error::Sensor(_))),
                "{text:?}"
            );
        }
        assert!(
            parse_stat(b"cpu 1 2 3 4 5 6 7 8 x\n").is_ok(),
            "guest time is not looked at"
        );
    }

    #[test]
    fn the_first_line_cpu_counts() {
        assert_eq!(
            parse_stat(b"cpux 9\ncpu 1 1 1 1\ncpu 9 9 9 9\ncpu7 1\n"),
            Ok(Ticks {
                busy: 3,
                idle: 1,
                count: 1
            })
        );
    }

    #[test]
    fn the_head_ends_before_the_first_other_line() {
        let head = cpu_lines(TWO).unwrap();
        assert!(head.ends_with(b"5 5\n"));
        assert_eq!(parse_stat(head), parse_stat(TWO));
        let intr = head.len();
        assert_eq!(cpu_lines(&TWO[..intr + 3]), Some(head));
        for cut in 0..intr + 3 {
            assert_eq!(
                cpu_lines(&TWO[..cut]),
                None,
                "{cut} bytes do not show where the head ends"
            );
        }
        assert_eq!(cpu_lines(b"intr 1\ncpu 1 2 3 4\n"), None);
    }
}
