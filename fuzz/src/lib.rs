//! What the targets compare with: the plainest way to the same answer, and bounds of figures.

use std::collections::{BTreeSet, HashSet};

/// Parts several texts in one input; no file of the kernel's holds it.
pub const BETWEEN_TEXTS: u8 = 0x1e;
/// Parts the attributes of a power supply.
pub const BETWEEN_ATTRIBUTES: u8 = 0x1f;

/// The texts of an input, at most so many.
pub fn texts(data: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    data.split(|&byte| byte == BETWEEN_TEXTS).take(most)
}

/// Whether C's `isspace` holds.
fn is_space(byte: &u8) -> bool {
    b" \t\n\x0b\x0c\r".contains(byte)
}

fn without_padding(mut text: &[u8]) -> &[u8] {
    let is_padding = |byte: &u8| *byte == 0 || is_space(byte);
    while text.first().is_some_and(is_padding) {
        text = &text[1..];
    }
    while text.last().is_some_and(is_padding) {
        text = &text[..text.len() - 1];
    }
    text
}

/// Lines of a text without its padding.
pub fn lines(text: &[u8]) -> Vec<&[u8]> {
    without_padding(text).split(|&byte| byte == b'\n').collect()
}

/// Words of a line.
pub fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| is_space(byte))
        .filter(|word| !word.is_empty())
        .collect()
}

/// A number without a sign, by way of one that is twice as wide.
pub fn counter(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let significant: Vec<u8> = word
        .iter()
        .copied()
        .skip_while(|&byte| byte == b'0')
        .collect();
    if significant.len() > 30 {
        return None;
    }
    let wide = significant
        .iter()
        .fold(0_u128, |sum, digit| 10 * sum + u128::from(digit - b'0'));
    u64::try_from(wide).ok()
}

/// A device's name and two counters.
pub type Row = (Vec<u8>, u64, u64);

/// Whole disks and what they read and wrote, in bytes, as SEMANTICS.md has it.
pub fn disks(text: &[u8]) -> Vec<Row> {
    let rows = first_of_each(lines(text).into_iter().filter_map(|line| {
        let words = words(line);
        let bytes = |place: usize| counter(words.get(place)?)?.checked_mul(512);
        Some((words.get(2)?.to_vec(), bytes(5)?, bytes(9)?))
    }));
    let listed: HashSet<Vec<u8>> = rows.iter().map(|row| row.0.clone()).collect();
    rows.into_iter()
        .filter(|(name, ..)| !is_layer(name) && !is_partition(name, &listed))
        .collect()
}

fn is_layer(name: &[u8]) -> bool {
    ["loop", "ram", "zram", "dm-", "md", "bcache", "zd"]
        .iter()
        .any(|layer| {
            let rest = name.strip_prefix(layer.as_bytes());
            rest.and_then(|rest| rest.first())
                .is_some_and(u8::is_ascii_digit)
        })
}

fn is_partition(name: &[u8], listed: &HashSet<Vec<u8>>) -> bool {
    let ends_in_digit = |name: &[u8]| name.last().is_some_and(u8::is_ascii_digit);
    listed.iter().any(|disk| {
        let Some(rest) = name
            .strip_prefix(disk.as_slice())
            .filter(|_| !disk.is_empty())
        else {
            return false;
        };
        let number = if ends_in_digit(disk) {
            rest.strip_prefix(b"p").unwrap_or_default()
        } else {
            rest
        };
        !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    })
}

/// Interfaces that count, and what they received and sent.
pub fn interfaces(text: &[u8]) -> Vec<Row> {
    let rows = first_of_each(lines(text).into_iter().filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let start = line[..colon].iter().position(|byte| !is_space(byte))?;
        let end = line[..colon].iter().rposition(|byte| !is_space(byte))?;
        let words = words(&line[colon + 1..]);
        let name = line[start..=end].to_vec();
        Some((name, counter(words.first()?)?, counter(words.get(8)?)?))
    }));
    let is_lo = |name: &[u8]| name == b"lo";
    let all_carried = rows.iter().all(|row| is_lo(&row.0) || is_carried(&row.0));
    rows.into_iter()
        .filter(|(name, ..)| !is_lo(name) && (all_carried || !is_carried(name)))
        .collect()
}

fn is_carried(name: &[u8]) -> bool {
    const KINDS: &str = "veth docker br- virbr tun tap wg bond team dummy ifb sit ip6tnl gre vxlan \
                         flannel cni cali macvtap br0 vmbr lxcbr lxdbr podman vnet tailscale";
    let is_kind = |kind: &str| name.starts_with(kind.as_bytes());
    KINDS.split(' ').any(is_kind) || name.contains(&b'.') || name.contains(&b'@')
}

fn first_of_each(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    rows.filter(|row| seen.insert(row.0.clone())).collect()
}

/// Fails unless a share of a hundred is one.
pub fn assert_percent(percent: Option<f64>) {
    assert!(
        percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)),
        "{percent:?} is no percentage"
    );
}

/// Fails unless a figure is finite and not negative.
pub fn assert_amount(amount: Option<f64>) {
    assert!(
        amount.is_none_or(|amount| amount >= 0.0 && amount.is_finite()),
        "{amount:?} is no amount"
    );
}
