"""Both backends make the same of any text: equal figures, or `SensorError` from both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.nearly import NATIVE, PURE, blanks, good_numbers, numbers, rows, word_on

PARSERS = [
    "parse_stat",
    "parse_meminfo",
    "parse_diskstats",
    "parse_netdev",
    "parse_pressure",
    "parse_process_stat",
]
mostly_good = st.one_of(good_numbers, good_numbers, good_numbers, numbers)


def same_word(parser: str, data: bytes) -> None:
    said = [word_on(lambda b=b: getattr(b, parser)(data)) for b in (NATIVE, PURE)]  # type: ignore[misc]
    assert said[0] == said[1]


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\0" * 100)
def test_any_bytes(parser: str, data: bytes) -> None:
    same_word(parser, data)


@given(
    rows(
        st.tuples(
            st.sampled_from(
                [b"cpu", b"cpu", b"cpu0", b"cpu12", b"cpux", b"cp", b"intr", b" cpu", b""]
            ),
            st.lists(mostly_good, max_size=11),
        ).map(lambda line: [line[0], *line[1]])
    )
)
def test_stat(data: bytes) -> None:
    same_word("parse_stat", data)


@given(
    rows(
        st.tuples(
            st.sampled_from(
                [b"MemTotal:", b"MemAvailable:", b"MemFree:", b"MemTotal", b"memtotal:"]
            ),
            mostly_good,
            st.sampled_from([b"kB", b"", b"MB"]),
        ).map(list)
    )
)
def test_meminfo(data: bytes) -> None:
    same_word("parse_meminfo", data)


disk_names = st.one_of(
    st.sampled_from(
        [
            b"sda",
            b"sda1",
            b"sdb",
            b"nvme0n1",
            b"nvme0n1p1",
            b"loop0",
            b"loop0p1",
            b"md127",
            b"dm-0",
            b"zram0",
            b"zd0",
            b"zd0p1",
            b"ram",
            b"mmcblk0",
            b"mmcblk0boot0",
            b"bcache0",
            b"md_d0",
        ]
    ),
    st.from_regex(rb"(sd|p|1|md|a){1,3}[0-9p]{0,4}", fullmatch=True),
    st.binary(min_size=1, max_size=4),
)


@given(
    rows(
        st.tuples(disk_names, st.lists(mostly_good, min_size=5, max_size=12)).map(
            lambda line: [b"8", b"0", line[0], *line[1]]
        )
    )
)
def test_diskstats(data: bytes) -> None:
    same_word("parse_diskstats", data)


interface_names = st.one_of(
    st.sampled_from(
        [
            b"lo",
            b"eth0",
            b"wlan0",
            b"veth1",
            b"docker0",
            b"br-1",
            b"br0",
            b"eth0.7",
            b"a@b",
            b"tun0",
            b"lo0",
            b"wg0",
            b"bond0",
            b"macvtap1",
            b"gretap0",
            b"Veth1",
            b"",
            b"\xff",
        ]
    ),
    st.binary(max_size=4),
)


@given(
    rows(
        st.tuples(
            interface_names,
            st.sampled_from([b":", b":", b"", b" :", b"::"]),
            st.lists(mostly_good, min_size=7, max_size=17),
        ).map(lambda line: [line[0] + line[1], *line[2]])
    )
)
def test_netdev(data: bytes) -> None:
    same_word("parse_netdev", data)


decimals = st.one_of(
    st.floats(0, 130).map(lambda value: f"{value:.2f}".encode()),
    st.tuples(numbers, st.sampled_from([b".", b"", b".."]), numbers).map(b"".join),
    st.integers(0, 10**60).map(lambda value: b"0." + str(value).encode()),
    numbers,
)


@given(
    rows(
        st.tuples(
            st.sampled_from([b"some", b"some", b"full", b"somewhat"]),
            st.lists(
                st.tuples(
                    st.sampled_from([b"avg10=", b"avg10=", b"avg60=", b"avg10", b""]), decimals
                ),
                max_size=3,
            ),
        ).map(lambda line: [line[0], *(key + value for key, value in line[1])])
    )
)
def test_pressure(data: bytes) -> None:
    same_word("parse_pressure", data)


@given(
    pid=mostly_good,
    name=st.one_of(
        st.sampled_from([b"(tar)", b"()", b"(x) R 1 (y)", b"(", b")", b")("]), st.binary(max_size=6)
    ),
    parent=mostly_good,
    between=st.lists(numbers, min_size=8, max_size=10),
    times=st.lists(mostly_good, min_size=3, max_size=6),
    blank=blanks,
)
def test_process_stat(
    pid: bytes, name: bytes, parent: bytes, between: list[bytes], times: list[bytes], blank: bytes
) -> None:
    filled = [word or b"0" for word in between]
    words: list[Any] = [pid, name, b"S", parent, *filled, *times, b"20"]
    same_word("parse_process_stat", (blank or b" ").join(words))
    same_word("parse_process_stat", b" ".join([pid, b"(tar)", b"S", parent, *([b"0"] * 9), *times]))
