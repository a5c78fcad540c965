//! `/proc/meminfo`: how much memory there is, and how much programs can still get.

use super::number::{counter, lines, words};
use crate::reading::MemoryBytes;

const KB: u64 = 1024;

/// `MemTotal` and `MemAvailable` in bytes.
pub fn parse_meminfo(data: &[u8]) -> MemoryBytes {
    let (mut total, mut available) = (None, None);
    for line in lines(data) {
        let mut words = words(line);
        let figure = match words.next() {
            Some(b"MemTotal:") => &mut total,
            Some(b"MemAvailable:") => &mut available,
            _ => continue,
        };
        if figure.is_none() {
            *figure = Some(words.next().and_then(bytes));
        }
        if total.is_some() && available.is_some() {
            break;
        }
    }
    let total = total.flatten().filter(|&bytes| bytes > 0);
    let available = available
        .flatten()
        .filter(|&bytes| total.is_none_or(|total| bytes <= total));
    MemoryBytes { total, available }
}

fn bytes(word: &[u8]) -> Option<u64> {
    counter(word)?
        .checked_mul(KB)
        .filter(|&bytes| i64::try_from(bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<u64>, Option<u64>) {
        let MemoryBytes { total, available } = parse_meminfo(text.as_bytes());
        (total, available)
    }

    #[test]
    fn kilobytes_become_bytes() {
        assert_eq!(
            parsed("MemTotal: 16 kB\nMemFree: 1 kB\nMemAvailable:   4 kB\n"),
            (Some(16384), Some(4096))
        );
    }

    #[test]
    fn containers_leave_it_blank_or_padded() {
        assert_eq!(parsed(""), (None, None));
        assert_eq!(parsed("\0\0\0\0\0"), (None, None));
        assert_eq!(parsed("\0\0MemTotal: 16 kB\n\0\0"), (Some(16384), None));
        assert_eq!(parsed("MemTotal:\nMemAvailable: kB\n"), (None, None));
    }

    #[test]
    fn nonsense_costs_that_figure_alone() {
        assert_eq!(
            parsed("MemTotal: 0 kB\nMemAvailable: 4 kB\n"),
            (None, Some(4096))
        );
        assert_eq!(
            parsed("MemTotal: 4 kB\nMemAvailable: 5 kB\n"),
            (Some(4096), None)
        );
        assert_eq!(
            parsed("MemTotal: 9007199254740992 kB\nMemAvailable: 1 kB\n"),
            (None, Some(1024))
        );
        assert_eq!(
            parsed("MemTotal: 9007199254740991 kB\n"),
            (Some(9_007_199_254_740_991 * 1024), None)
        );
        assert_eq!(
            parsed("MemTotal: x kB\nMemTotal: 4 kB\n"),
            (None, None),
            "the first line counts"
        );
    }
}
