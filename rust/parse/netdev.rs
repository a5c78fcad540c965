//! `/proc/net/dev`: what each network interface received and sent.

use memchr::memchr;

use super::devices::{Devices, Format, Line};
use super::number::{counter, is_space, lines, words};

/// Traffic of these also passes through an interface of hardware.
const CARRIED: [&[u8]; 26] = [
    b"veth",
    b"docker",
    b"br-",
    b"virbr",
    b"tun",
    b"tap",
    b"wg",
    b"bond",
    b"team",
    b"dummy",
    b"ifb",
    b"sit",
    b"ip6tnl",
    b"gre",
    b"vxlan",
    b"flannel",
    b"cni",
    b"cali",
    b"macvtap",
    b"br0",
    b"vmbr",
    b"lxcbr",
    b"lxdbr",
    b"podman",
    b"vnet",
    b"tailscale",
];

/// Bytes received and bytes sent of each interface that counts.
pub fn parse_netdev(data: &[u8], interfaces: &mut Devices) {
    let format = Format {
        counters,
        select: outer_interfaces,
    };
    interfaces.refill(lines(data).filter_map(interface), format);
}

fn interface(line: &[u8]) -> Option<Line<'_>> {
    let colon = memchr(b':', line)?;
    let start = line[..colon].iter().position(|&byte| !is_space(byte))?;
    let end = line[..colon].iter().rposition(|&byte| !is_space(byte))?;
    Some((&line[start..=end], &line[colon + 1..]))
}

fn counters(text: &[u8]) -> Option<(u64, u64)> {
    // Eight counters of what was received, bytes first, then those of what was sent.
    let mut words = words(text);
    let received = words.next()?;
    let sent = words.nth(7)?;
    Some((counter(received)?, counter(sent)?))
}

/// No loopback, and nothing that another carries, unless (inside a container, say) all of it is.
fn outer_interfaces(names: &[&[u8]]) -> Vec<bool> {
    let is_lo = |name: &&[u8]| *name == b"lo";
    let only_carried = names.iter().all(|name| is_lo(name) || is_carried(name));
    names
        .iter()
        .map(|name| !is_lo(name) && (only_carried || !is_carried(name)))
        .collect()
}

fn is_carried(name: &[u8]) -> bool {
    CARRIED.iter().any(|kind| name.starts_with(kind)) || memchr::memchr2(b'.', b'@', name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n";

    fn line(name: &str) -> String {
        format!("{name}: 1000 1 0 0 0 0 0 0 2000 2 0 0 0 0 0 0\n")
    }

    fn parsed(text: &str) -> Vec<(String, u64, u64)> {
        let mut interfaces = Devices::default();
        parse_netdev(text.as_bytes(), &mut interfaces);
        let rows = interfaces.traffic().iter();
        rows.map(|(name, received, sent)| {
            (String::from_utf8(name.to_vec()).unwrap(), received, sent)
        })
        .collect()
    }

    fn counted(names: &[&str]) -> Vec<String> {
        let text: String = names.iter().map(|name| line(name)).collect();
        parsed(&text).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn bytes_received_and_sent_are_told() {
        let text = format!("{HEAD}{}{}", line("    lo"), line("  eth0"));
        assert_eq!(parsed(&text), [("eth0".to_owned(), 1000, 2000)]);
        assert_eq!(
            parsed("eth0:5 1 0 0 0 0 0 0 6"),
            [("eth0".to_owned(), 5, 6)],
            "old kernels leave out the blank"
        );
    }

    #[test]
    fn carried_traffic_counts_only_where_there_is_no_other() {
        let carried = [
            "veth1a",
            "docker0",
            "br-12",
            "virbr0",
            "br0",
            "tun0",
            "wg0",
            "bond0",
            "eth0.100",
            "macvtap0",
            "sit0@NONE",
        ];
        assert_eq!(
            counted(&[&carried[..], &["lo", "wlan0", "bridge"]].concat()),
            ["wlan0", "bridge"]
        );
        assert_eq!(counted(&[&["lo"], &carried[..]].concat()), carried);
        assert!(counted(&["lo"]).is_empty());
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let text = "eth0: 1 2 3 4 5 6 7 8\neth1: x 2 3 4 5 6 7 8 9\neth2: 1 2 3 4 5 6 7 8 -9\n : 1 2 3 4 5 6 7 8 9\nwlan0 1 2 3 4 5 6 7 8 9\n";
        assert_eq!(parsed(text), []);
        assert_eq!(
            parsed("eth0: x 2 3 4 5 6 7 8 9\neth0: 1 2 3 4 5 6 7 8 9\n"),
            [("eth0".to_owned(), 1, 9)]
        );
    }
}
