//! Devices and their two byte counters, as `/proc/diskstats` and `/proc/net/dev` list them.

use std::collections::HashSet;

use crate::reading::Traffic;

/// One line: a device's name, and the text that holds its counters.
pub(super) type Line<'a> = (&'a [u8], &'a [u8]);

/// What a kind of file does with its lines.
#[derive(Clone, Copy)]
pub(super) struct Format {
    /// Bytes in and bytes out from a line's counters; a line that has none is passed over.
    pub(super) counters: fn(&[u8]) -> Option<(u64, u64)>,
    /// Which of the names (each there once) count.
    pub(super) select: fn(&[&[u8]]) -> Vec<bool>,
}

/// The counters of the devices that count, refilled at each reading.
///
/// Which devices count depends on the names alone, so it is found anew only when those change:
/// until then a refill neither allocates nor compares names with one another.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// Every name of the last text, each ended by a line feed.
    listed: Vec<u8>,
    /// For each of them, whether it counts.
    counts: Vec<bool>,
    traffic: Traffic,
}

impl Devices {
    /// The devices that count, in the order of the text.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Forgets all devices: the text cannot be read.
    pub fn clear(&mut self) {
        self.listed.clear();
        self.counts.clear();
        self.traffic.clear();
    }

    /// Takes in a text's lines.
    pub(super) fn refill<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>> + Clone,
        format: Format,
    ) {
        if !self.refill_same(lines.clone(), format.counters) {
            self.refill_changed(lines, format);
        }
    }

    /// Counters of a device that does not count are not even parsed.
    fn refill_same<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>>,
        counters: fn(&[u8]) -> Option<(u64, u64)>,
    ) -> bool {
        self.traffic.totals.clear();
        let mut expected = self.listed.as_slice();
        let mut counts = self.counts.iter();
        for (name, text) in lines {
            let Some(b'\n') = expected.strip_prefix(name).and_then(<[u8]>::first) else {
                if counters(text).is_none() {
                    continue;
                }
                return false;
            };
            if counts.next() == Some(&true) {
                let Some(totals) = counters(text) else {
                    return false;
                };
                self.traffic.totals.push(totals);
            }
            expected = &expected[name.len() + 1..];
        }
        expected.is_empty()
    }

    fn refill_changed<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>> + Clone,
        format: Format,
    ) {
        self.clear();
        let mut seen = HashSet::new();
        let lines: Vec<_> = lines
            .filter_map(|(name, text)| {
                let (bytes_in, bytes_out) = (format.counters)(text)?;
                Some((name, bytes_in, bytes_out, seen.insert(name)))
            })
            .collect();
        let names: Vec<&[u8]> = lines
            .iter()
            .filter(|line| line.3)
            .map(|line| line.0)
            .collect();
        let mut selected = (format.select)(&names).into_iter();
        for (name, bytes_in, bytes_out, is_first) in lines {
            let counts = is_first && selected.next() == Some(true);
            self.listed.extend_from_slice(name);
            self.listed.push(b'\n');
            self.counts.push(counts);
            if counts {
                self.traffic.push(name, bytes_in, bytes_out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_but_x(names: &[&[u8]]) -> Vec<bool> {
        names.iter().map(|name| *name != b"x").collect()
    }

    fn seen(devices: &Devices) -> Vec<(&[u8], u64, u64)> {
        devices.traffic().iter().collect()
    }

    fn two_digits(text: &[u8]) -> Option<(u64, u64)> {
        match text {
            [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((u64::from(a - b'0'), u64::from(b - b'0'))),
            _ => None,
        }
    }

    fn refill(devices: &mut Devices, lines: &[Line<'static>]) {
        let format = Format {
            counters: two_digits,
            select: all_but_x,
        };
        devices.refill(lines.iter().copied(), format);
    }

    #[test]
    fn the_first_of_two_lines_with_one_name_counts() {
        let mut devices = Devices::default();
        for _ in 0..2 {
            refill(
                &mut devices,
                &[(b"a", b"12"), (b"x", b"34"), (b"a", b"56"), (b"b", b"78")],
            );
            assert_eq!(seen(&devices), [(&b"a"[..], 1, 2), (b"b", 7, 8)]);
        }
    }

    #[test]
    fn a_line_without_counters_is_passed_over() {
        let mut devices = Devices::default();
        for _ in 0..2 {
            refill(
                &mut devices,
                &[(b"head", b""), (b"a", b"12"), (b"a", b"?"), (b"b", b"-")],
            );
            assert_eq!(seen(&devices), [(&b"a"[..], 1, 2)]);
        }
        refill(&mut devices, &[(b"a", b"?"), (b"a", b"34"), (b"b", b"56")]);
        assert_eq!(seen(&devices), [(&b"a"[..], 3, 4), (b"b", 5, 6)]);
        refill(&mut devices, &[(b"a", b"?"), (b"a", b"?"), (b"b", b"78")]);
        assert_eq!(seen(&devices), [(&b"b"[..], 7, 8)]);
    }

    #[test]
    fn a_list_that_changes_is_told_anew() {
        let mut devices = Devices::default();
        let lists: [&[Line<'static>]; 7] = [
            &[(b"a", b"11"), (b"b", b"22")],
            &[(b"a", b"33")],
            &[(b"ab", b"44")],
            &[(b"a", b"55"), (b"b", b"66")],
            &[(b"b", b"77"), (b"a", b"88")],
            &[],
            &[(b"", b"99")],
        ];
        for list in lists {
            refill(&mut devices, list);
            let told = |&(name, text): &Line<'static>| {
                two_digits(text).map(|(bytes_in, bytes_out)| (name, bytes_in, bytes_out))
            };
            assert_eq!(
                seen(&devices),
                list.iter().filter_map(told).collect::<Vec<_>>()
            );
        }
    }
}
