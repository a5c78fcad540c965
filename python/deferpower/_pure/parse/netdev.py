"""``/proc/net/dev``: what each network interface received and sent."""

from __future__ import annotations

from collections.abc import Iterable

from deferpower._pure.parse.number import counter, trim

_COUNTERS = 9
# Traffic of these also passes through an interface of hardware.
_CARRIED = (
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
)


def parse_netdev(data: bytes, /) -> list[tuple[bytes, int, int]]:
    listed: dict[bytes, tuple[int, int]] = {}
    for line in trim(data).split(b"\n"):
        head, colon, tail = line.partition(b":")
        name = head.strip()
        words = tail.split(None, _COUNTERS)
        if not colon or not name or len(words) < _COUNTERS or name in listed:
            continue
        received, sent = counter(words[0]), counter(words[8])
        if received is not None and sent is not None:
            listed[name] = (received, sent)
    return [(name, *listed[name]) for name in outer_interfaces(listed)]


def outer_interfaces(listed: Iterable[bytes]) -> list[bytes]:
    """The names that count, in their order: no loopback, nothing that another carries.

    Where all that is there is carried by others (inside a container, say), all of it counts.
    """
    names = [name for name in listed if name != b"lo"]
    return [name for name in names if not _is_carried(name)] or names


def _is_carried(name: bytes) -> bool:
    return name.startswith(_CARRIED) or b"." in name or b"@" in name
