"""What each parser makes of the kernel's text, and of what only looks like it."""

from __future__ import annotations

import pytest

from backend.machine import NETDEV_HEAD, process_line
from deferpower._contract import Backend
from deferpower.errors import SensorError

U64_MAX = 2**64 - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"cpu  10 20 30 400 50 6 7 8 900 900\ncpu0 1\ncpu1 1\nintr 5 0\n", (81, 450, 2)),
        pytest.param(b"cpu 1 2 3 4", (6, 4, 1), id="four counters, no processor lines"),
        pytest.param(b"cpu 1 2 3 4 5 6 7\n", (19, 9, 1), id="no steal before 2.6.11"),
        pytest.param(b"cpu 1 2 3 4 5 6 7 8 x y\n", (27, 9, 1), id="guest time is not looked at"),
        pytest.param(b"\0\0\n cpu 1 1 1 1\n cpu5 1\n\0", (3, 1, 1), id="padding"),
        pytest.param(b"cpu1 1\ncpu 1 1 1 1\ncpufreq 9\ncpu 9 9 9 9\n", (3, 1, 1), id="first line"),
        pytest.param(b"cpu\v1\f1\r1\t1", (3, 1, 1), id="white space of C"),
        pytest.param(b"cpu %d 0 0 %d\n" % (U64_MAX, U64_MAX), (U64_MAX, U64_MAX, 1), id="largest"),
        pytest.param(b"cpu " + b"0" * 5000 + b"7 0 0 1\n", (7, 1, 1), id="leading zeros"),
    ],
)
def test_stat(backend: Backend, text: bytes, expected: tuple[int, int, int]) -> None:
    assert backend.parse_stat(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 4096,
        b"cpu0 1 2 3 4\n",
        b"cpu 1 2 3\n",
        b"cpu 1 2 3 -4\n",
        b"cpu 1 2 3 4 5 6 7 x\n",
        b"cpu 1_0 2 3 4\n",
        "cpu 1 2 3 \u0664\n".encode(),
        b"cpu 1 2 3 %d\n" % (U64_MAX + 1),
        b"cpu %d 1 0 0\n" % U64_MAX,
        b"cpu 0 0 0 %d 1\n" % U64_MAX,
        b"cpu x\ncpu 1 2 3 4\n",
    ],
)
def test_stat_that_cannot_be_understood(backend: Backend, text: bytes) -> None:
    with pytest.raises(SensorError, match=r"^proc/stat: "):
        backend.parse_stat(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"MemTotal: 16 kB\nMemFree: 9 kB\nMemAvailable:    4 kB\n", (16384, 4096)),
        pytest.param(b"MemTotal: 16 kB\nMemFree: 9 kB\n", (16384, None), id="before Linux 3.14"),
        pytest.param(b"", (None, None), id="blank in a container"),
        pytest.param(b"\0" * 512, (None, None), id="NUL alone"),
        pytest.param(b"\0\0MemTotal: 1 kB\0\0", (1024, None), id="NUL before"),
        pytest.param(b"MemTotal: 1 kB\0\n", (1024, None), id="NUL behind"),
        pytest.param(b"MemTotal: 1\0 kB\n", (None, None), id="NUL within"),
        pytest.param(b"MemTotal: 0 kB\nMemAvailable: 4 kB\n", (None, 4096), id="no memory"),
        pytest.param(b"MemTotal: 4 kB\nMemAvailable: 5 kB\n", (4096, None), id="more than all"),
        pytest.param(b"MemTotal: 4 kB\nMemAvailable: 4 kB\n", (4096, 4096), id="all"),
        pytest.param(b"MemTotal: 4 kB\nMemAvailable: 0 kB\n", (4096, 0), id="none left"),
        pytest.param(b"MemTotal:\nMemAvailable: kB\n", (None, None), id="no numbers"),
        pytest.param(b"MemTotal: -4 kB\n", (None, None), id="sign"),
        pytest.param(b"MemTotal: x\nMemTotal: 4 kB\n", (None, None), id="first line, bad"),
        pytest.param(b"MemTotal: 8 kB\nMemTotal: 4 kB\n", (8192, None), id="first line, good"),
        pytest.param(b"MemTotal: %d kB\n" % 2**53, (None, None), id="2^63 bytes"),
        pytest.param(b"MemTotal: %d kB\n" % (2**53 - 1), (2**63 - 1024, None), id="just below"),
        pytest.param(b"MemTotal: 1000000000000000000 kB\n", (None, None), id="absurd"),
    ],
)
def test_meminfo(backend: Backend, text: bytes, expected: tuple[int | None, int | None]) -> None:
    assert backend.parse_meminfo(text) == expected


def diskstats(*names: str) -> bytes:
    return "".join(f" 8 {i} {n} 1 2 3 4 5 6 7 8 9 10 11\n" for i, n in enumerate(names)).encode()


@pytest.mark.parametrize(
    ("listed", "counted"),
    [
        (["sda", "sda1", "sda2", "sda15"], ["sda"]),
        (["nvme0n1", "nvme0n1p1", "nvme0n1p12", "nvme1n1"], ["nvme0n1", "nvme1n1"]),
        (["mmcblk0", "mmcblk0p1", "mmcblk0boot0"], ["mmcblk0", "mmcblk0boot0"]),
        (["vdb", "vda", "vda1"], ["vdb", "vda"]),
        (["loop0", "ram0", "zram0", "dm-0", "md127", "bcache0", "zd16", "sda"], ["sda"]),
        (["loop0", "loop0p1"], []),
        (["md_d0", "loopy", "ramdisk", "dm-crypt"], ["md_d0", "loopy", "ramdisk", "dm-crypt"]),
        # Without the whole disk its partitions are all there is (a container, Xen).
        (["sda1", "sda2"], ["sda1", "sda2"]),
        (["xvda1", "xvda15"], ["xvda1", "xvda15"]),
        (["sd", "sda", "sda1b"], ["sd", "sda", "sda1b"]),
        (["sdp", "sdp1", "sd", "sd0p1"], ["sdp", "sd", "sd0p1"]),
        (["sd", "sdp1"], ["sd", "sdp1"]),
        (["a1", "a12", "a1p2", "a1p"], ["a1", "a12", "a1p"]),
        (["p", "p1", "1", "1p1", "11"], ["p", "1", "11"]),
        ([], []),
    ],
)
def test_which_disks_count(backend: Backend, listed: list[str], counted: list[str]) -> None:
    rows = backend.parse_diskstats(diskstats(*listed))
    assert rows == [(name.encode(), 3 * 512, 7 * 512) for name in counted]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"8 0 sda 1 2 3 4 5 6 7", [(b"sda", 1536, 3584)]),
        pytest.param(
            b"8 0 sda 1 2 3 4 5 6\n8 1 sdb 0 0 1 0 0 0 1\n", [(b"sdb", 512, 512)], id="short"
        ),
        # The short line says nothing, so sda is not listed and sda1 is not its partition.
        pytest.param(
            b"8 0 sda 1\n8 1 sda1 0 0 1 0 0 0 1\n", [(b"sda1", 512, 512)], id="short disk"
        ),
        pytest.param(b"8 0 sda 0 0 -3 0 0 0 7\n", [], id="sign"),
        pytest.param(
            b"8 0 sda 0 0 x 0 0 0 7\n8 0 sda 0 0 1 0 0 0 1\n", [(b"sda", 512, 512)], id="first good"
        ),
        pytest.param(b"a b sda x y 3 z z z 7\n", [(b"sda", 1536, 3584)], id="unused fields"),
        pytest.param(
            b"8 0 sda 0 0 1000000000000000000 0 0 0 7\n", [], id="beyond 64 bits of bytes"
        ),
        pytest.param(
            b"8 0 sda 0 0 %d 0 0 0 %d\n" % (2**55 - 1, 0), [(b"sda", 2**64 - 512, 0)], id="largest"
        ),
        pytest.param(b"8 0 s\xff\xfe 0 0 1 0 0 0 1\n", [(b"s\xff\xfe", 512, 512)], id="any bytes"),
        pytest.param(
            b"8 0 sda 0 0 1 0 0 0 1\n8 0 sda 0 0 2 0 0 0 2\n", [(b"sda", 512, 512)], id="twice"
        ),
        pytest.param(b"\0\0\0", [], id="NUL"),
    ],
)
def test_diskstats(backend: Backend, text: bytes, expected: list[tuple[bytes, int, int]]) -> None:
    assert backend.parse_diskstats(text) == expected


def netdev(*names: str) -> bytes:
    lines = (f"{name}: 5 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n" for name in names)
    return (NETDEV_HEAD + "".join(lines)).encode()


@pytest.mark.parametrize(
    ("listed", "counted"),
    [
        (["    lo", "  eth0", "wlan0"], ["eth0", "wlan0"]),
        (["lo"], []),
        (["eth0", "veth1a2b", "docker0", "br-9f", "virbr0", "eth0.100"], ["eth0"]),
        (["tun0", "tap1", "wg0", "wlp2s0", "bond0", "team0", "eth1@if2"], ["wlp2s0"]),
        (["wwan0", "dummy0", "ifb0", "sit0", "ip6tnl0", "gre0", "gretap0", "macvtap0"], ["wwan0"]),
        (["enp3s0", "vxlan.calico", "flannel.1", "cni0", "cali12"], ["enp3s0"]),
        # In a container the carried ones are all there is.
        (["lo", "veth0", "tun0"], ["veth0", "tun0"]),
        (["lo0", "loop"], ["lo0", "loop"]),
        (["br0", "bridge"], ["bridge"]),
        (["eno1", "br0", "vmbr1", "lxcbr0", "lxdbr0", "podman0", "vnet3", "tailscale0"], ["eno1"]),
        ([], []),
    ],
)
def test_which_interfaces_count(backend: Backend, listed: list[str], counted: list[str]) -> None:
    assert backend.parse_netdev(netdev(*listed)) == [(name.encode(), 5, 9) for name in counted]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"eth0:1 2 3 4 5 6 7 8 9\n", [(b"eth0", 1, 9)], id="no blank after the colon"),
        pytest.param(b"eth0: 1 2 3 4 5 6 7 8\n", [], id="short"),
        pytest.param(b"eth0: 1 x x x x x x x 9 x\n", [(b"eth0", 1, 9)], id="unused fields"),
        pytest.param(b"eth0: -1 2 3 4 5 6 7 8 9\n", [], id="sign"),
        pytest.param(b": 1 2 3 4 5 6 7 8 9\n", [], id="no name"),
        pytest.param(b"eth0:1: 2 3 4 5 6 7 8 9\n", [], id="first colon"),
        pytest.param(b"a: 1 2 3 4 5 6 7 8 9\na: 2 2 2 2 2 2 2 2 2\n", [(b"a", 1, 9)], id="twice"),
        # A line that is passed over hides no carried interface.
        pytest.param(b"eth0: 1\ntun0: 1 2 3 4 5 6 7 8 9\n", [(b"tun0", 1, 9)], id="passed over"),
        pytest.param(
            b"eth0: %d 0 0 0 0 0 0 0 %d\n" % (U64_MAX, U64_MAX),
            [(b"eth0", U64_MAX, U64_MAX)],
            id="largest",
        ),
        pytest.param(b"eth0: %d 0 0 0 0 0 0 0 0\n" % (U64_MAX + 1), [], id="beyond 64 bits"),
    ],
)
def test_netdev(backend: Backend, text: bytes, expected: list[tuple[bytes, int, int]]) -> None:
    assert backend.parse_netdev(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"some avg10=1.53 avg60=2.00 avg300=1.00 total=9\nfull avg10=0.50\n", 1.53),
        (b"full avg10=9.00\nsome avg60=2.00 avg10=0\n", 0.0),
        (b"some avg10=100.00\n", 100.0),
        (b"some avg10=0.1\n", 0.1),
        (b"some avg10=" + b"0" * 5000 + b"1.5\n", 1.5),
        (b"some avg10=100.01\n", None),
        (b"some avg10=" + b"9" * 5000 + b"\n", None),
        *[
            (b"some avg10=" + text + b" total=1\n", None)
            for text in (
                b"",
                b".",
                b"1.",
                b".5",
                b"-1",
                b"+1",
                b"1e1",
                b"nan",
                b"inf",
                b"1_0",
                b"0x1",
            )
        ],
        (b"some\n", None),
        (b"full avg10=1.00\n", None),
        (b"some avg60=1.00\nsome avg10=1.00\n", None),
        (b"\0", None),
    ],
)
def test_pressure(backend: Backend, text: bytes, expected: float | None) -> None:
    assert backend.parse_pressure(text) == expected


@pytest.mark.parametrize("name", ["tar", "", "a b", "((", "))", "x) R 1 (y", "\n", "\xff"])
def test_process_stat_whatever_the_name(backend: Backend, name: str) -> None:
    line = f"42 ({name}) S 7 1 1 0 -1 4 9 9 0 0 1 20 300 4000 20 0 1 0\n"
    assert backend.parse_process_stat(line.encode("latin-1")) == (42, 7, 4321)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "42 tar S 7",
        "42 (tar S 7",
        "42 tar) S 7 ( 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "42 (tar) S 7 1 1 0 -1 4 9 9 0 0 1 2 3",
        "42 (tar) S 7 1 1 0 -1 4 9 9 0 0 1 2 3 x",
        "42 (tar) S 7 1 1 0 -1 4 9 9 0 0 1 2 3 -4",
        "x (tar) S 7 1 1 0 -1 4 9 9 0 0 1 2 3 4",
        "-42 (tar) S 7 1 1 0 -1 4 9 9 0 0 1 2 3 4",
        "42 (tar) S x 1 1 0 -1 4 9 9 0 0 1 2 3 4",
        f"42 (tar) S 7 1 1 0 -1 4 9 9 0 0 {2**63 - 1} 1 0 0",
    ],
)
def test_process_stat_that_is_none(backend: Backend, text: str) -> None:
    with pytest.raises(SensorError, match=r"^proc/PID/stat: "):
        backend.parse_process_stat(text.encode())


def test_a_line_of_a_real_process(backend: Backend) -> None:
    assert backend.parse_process_stat(process_line(9, 1, 150, 50).encode()) == (9, 1, 200)
