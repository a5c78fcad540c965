//! `/proc/diskstats`: what was read from and written to each whole disk.

use std::collections::HashSet;

use super::devices::{Devices, Format, Line};
use super::number::{counter, is_digits, lines, split_word, words};

const SECTOR_BYTES: u64 = 512;

/// What these carry reaches a disk that is counted itself, or none at all.
const LAYERS: [&[u8]; 7] = [b"loop", b"ram", b"zram", b"dm-", b"md", b"bcache", b"zd"];

/// Bytes read and bytes written of each disk that counts.
pub fn parse_diskstats(data: &[u8], disks: &mut Devices) {
    let format = Format {
        counters,
        select: whole_disks,
    };
    disks.refill(lines(data).filter_map(disk), format);
}

fn disk(line: &[u8]) -> Option<Line<'_>> {
    let (_major, rest) = split_word(line)?;
    let (_minor, rest) = split_word(rest)?;
    split_word(rest)
}

fn counters(text: &[u8]) -> Option<(u64, u64)> {
    // reads, merged, sectors read, ms, writes, merged, sectors written, ...
    let mut words = words(text);
    let read = words.nth(2)?;
    let written = words.nth(3)?;
    Some((bytes(read)?, bytes(written)?))
}

fn bytes(sectors: &[u8]) -> Option<u64> {
    counter(sectors)?.checked_mul(SECTOR_BYTES)
}

fn whole_disks(names: &[&[u8]]) -> Vec<bool> {
    let listed: HashSet<&[u8]> = names.iter().copied().collect();
    let counts = |name: &&[u8]| !is_layer(name) && !is_partition(name, &listed);
    names.iter().map(counts).collect()
}

fn is_layer(name: &[u8]) -> bool {
    let follows_digit = |layer: &&[u8]| {
        name.strip_prefix(*layer)
            .and_then(<[u8]>::first)
            .is_some_and(u8::is_ascii_digit)
    };
    LAYERS.iter().any(follows_digit)
}

/// Whether it is a part of a listed disk: `sda1` is of `sda`, `nvme0n1p2` of `nvme0n1`.
fn is_partition(name: &[u8], listed: &HashSet<&[u8]>) -> bool {
    // The disk may itself end in digits, so every split of the trailing digits is tried.
    (1..name.len()).any(|cut| {
        let (disk, digits) = name.split_at(cut);
        let ends_in_digit = |name: &[u8]| name.last().is_some_and(u8::is_ascii_digit);
        is_digits(digits)
            && match disk.strip_suffix(b"p") {
                Some(numbered) if ends_in_digit(numbered) && listed.contains(numbered) => true,
                _ => !ends_in_digit(disk) && listed.contains(disk),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, read: u64, written: u64) -> String {
        format!("   8       0 {name} 10 20 {read} 30 40 50 {written} 60 0 70 80 0 0 0 0 0 0\n")
    }

    fn parsed(text: &str) -> Vec<(String, u64, u64)> {
        let mut disks = Devices::default();
        parse_diskstats(text.as_bytes(), &mut disks);
        let rows = disks.traffic().iter();
        rows.map(|(name, read, written)| (String::from_utf8(name.to_vec()).unwrap(), read, written))
            .collect()
    }

    fn counted(names: &[&str]) -> Vec<String> {
        let text: String = names.iter().map(|name| line(name, 1, 1)).collect();
        parsed(&text).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn sectors_become_bytes() {
        assert_eq!(parsed(&line("sda", 3, 5)), [("sda".to_owned(), 1536, 2560)]);
    }

    #[test]
    fn partitions_and_layers_are_left_out() {
        let names = [
            "loop0",
            "ram1",
            "zram0",
            "sda",
            "sda1",
            "sda10",
            "nvme0n1",
            "nvme0n1p1",
            "mmcblk0",
            "mmcblk0p2",
            "dm-0",
            "md127",
            "md127p1",
            "bcache0",
            "zd16",
            "zd16p1",
            "mmcblk0boot0",
            "sr0",
            "vda",
            "xvda1",
        ];
        assert_eq!(
            counted(&names),
            [
                "sda",
                "nvme0n1",
                "mmcblk0",
                "mmcblk0boot0",
                "sr0",
                "vda",
                "xvda1"
            ]
        );
    }

    #[test]
    fn a_partition_needs_its_disk_beside_it() {
        assert_eq!(counted(&["sda1", "nvme0n1p1"]), ["sda1", "nvme0n1p1"]);
        assert_eq!(counted(&["nvme0n1p1", "nvme0n1"]), ["nvme0n1"]);
        assert_eq!(counted(&["nvme0n1", "nvme0n12"]), ["nvme0n1", "nvme0n12"]);
        assert_eq!(counted(&["sdap", "sdap1"]), ["sdap"]);
        assert_eq!(counted(&["sda", "sdap1"]), ["sda", "sdap1"]);
        assert_eq!(
            counted(&["loop", "ramdisk", "dm-x", "mdx"]),
            ["loop", "ramdisk", "dm-x", "mdx"]
        );
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let text = format!(
            "8 0 sda 1 2 3 4 5 6\n8 0 sdb 1 2 x 4 5 6 7\n8 0 sdc 1 2 3 4 5 6 -7\n8 0 sdd 1 2 36028797018963968 4 5 6 7\n\n{}",
            line("sda1", 1, 2)
        );
        assert_eq!(
            parsed(&text),
            [("sda1".to_owned(), 512, 1024)],
            "a passed over sda lists no disk"
        );
        assert_eq!(
            parsed("8 0 sde 1 2 3 4 5 6 7"),
            [("sde".to_owned(), 1536, 3584)]
        );
        assert_eq!(parsed("\0\0\0"), []);
    }
}
