//! Devices and their two byte counters, as `/proc/diskstats` and `/proc/net/dev` list them.

use std::collections::HashSet;

use crate::reading::Traffic;

/// One line: a device's name, bytes in and bytes out.
pub(super) type Line<'a> = (&'a [u8], u64, u64);

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

    /// Takes in a text's lines. `select` says which of the names (each there once) count.
    pub(super) fn refill<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>> + Clone,
        select: fn(&[&[u8]]) -> Vec<bool>,
    ) {
        if !self.refill_same(lines.clone()) {
            self.refill_changed(lines, select);
        }
    }

    fn refill_same<'a>(&mut self, lines: impl Iterator<Item = Line<'a>>) -> bool {
        self.traffic.totals.clear();
        let mut expected = self.listed.as_slice();
        let mut counts = self.counts.iter();
        for (name, bytes_in, bytes_out) in lines {
            let Some(b'\n') = expected.strip_prefix(name).and_then(<[u8]>::first) else {
                return false;
            };
            expected = &expected[name.len() + 1..];
            if counts.next() == Some(&true) {
                self.traffic.totals.push((bytes_in, bytes_out));
            }
        }
        expected.is_empty()
    }

    fn refill_changed<'a>(
        &mut self,
        lines: impl Iterator<Item = Line<'a>> + Clone,
        select: fn(&[&[u8]]) -> Vec<bool>,
    ) {
        self.clear();
        let mut seen = HashSet::new();
        let is_first: Vec<bool> = lines.clone().map(|(name, ..)| seen.insert(name)).collect();
        let once = |(line, &first): (Line<'a>, &bool)| first.then_some(line.0);
        let names: Vec<&[u8]> = lines.clone().zip(&is_first).filter_map(once).collect();
        let mut selected = select(&names).into_iter();
        for ((name, bytes_in, bytes_out), first) in lines.zip(is_first) {
            let counts = first && selected.next() == Some(true);
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

    fn refill(devices: &mut Devices, lines: &[Line<'static>]) {
        devices.refill(lines.iter().copied(), all_but_x);
    }

    #[test]
    fn the_first_of_two_lines_with_one_name_counts() {
        let mut devices = Devices::default();
        for _ in 0..2 {
            refill(
                &mut devices,
                &[(b"a", 1, 2), (b"x", 3, 4), (b"a", 5, 6), (b"b", 7, 8)],
            );
            assert_eq!(seen(&devices), [(&b"a"[..], 1, 2), (b"b", 7, 8)]);
        }
    }

    #[test]
    fn a_list_that_changes_is_told_anew() {
        let mut devices = Devices::default();
        let lists: [&[Line<'static>]; 7] = [
            &[(b"a", 1, 1), (b"b", 2, 2)],
            &[(b"a", 3, 3)],
            &[(b"ab", 4, 4)],
            &[(b"a", 5, 5), (b"b", 6, 6)],
            &[(b"b", 7, 7), (b"a", 8, 8)],
            &[],
            &[(b"", 9, 9)],
        ];
        for list in lists {
            refill(&mut devices, list);
            assert_eq!(seen(&devices), list);
        }
    }
}
