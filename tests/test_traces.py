"""Traces: what is read is what was written, and what cannot be read is named by its line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferpower.errors import ConfigError
from deferpower.traces import COLUMNS, SLOT_S, Slot, parse_trace, read_trace, write_trace

HEADER = ",".join(COLUMNS)

slots = st.builds(
    Slot,
    device_id=st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=8),
    start_s=st.just(0),
    utc_offset_s=st.none() | st.integers(-86_400, 86_400),
    percent=st.none() | st.floats(0, 100),
    plugged=st.none() | st.booleans(),
    activity=st.none() | st.floats(0, 1),
)


def parsed(*lines: str) -> list[Slot]:
    return list(parse_trace([line + "\n" for line in lines], "phone.csv"))


def test_a_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        f"{HEADER}\n"
        "phone,1488315600,7200,87,1,0.25\n"
        "phone,1488315900,10800,87.5,0,\n"
        "\n"
        "laptop,1488315900,,,,1\n"
    )
    assert list(read_trace(path)) == [
        Slot("phone", 1488315600, 7200, 87.0, True, 0.25),
        Slot("phone", 1488315900, 10800, 87.5, False, None),
        Slot("laptop", 1488315900, None, None, None, 1.0),
    ]


def test_columns_in_any_order_and_number() -> None:
    assert parsed("note,plugged, timestamp_utc", "x,1.0, 1.488315600e9") == [
        Slot("", 1488315600, None, None, True, None)
    ]


def test_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b'\xef\xbb\xbftimestamp_utc,device_id\r\n300,"a, ""b"""\r\n')
    assert list(read_trace(path)) == [Slot('a, "b"', 300, None, None, None, None)]


@given(st.lists(slots, max_size=5))
def test_what_is_written_is_read_back(told: list[Slot]) -> None:
    told = [slot._replace(start_s=number * SLOT_S) for number, slot in enumerate(told)]
    file = io.StringIO()
    write_trace(told, file)
    assert list(parse_trace(io.StringIO(file.getvalue()), "")) == told


def test_slots_come_one_by_one() -> None:
    slots = parse_trace(iter(["timestamp_utc\n", "0\n", "300\n", "never\n"]), "phone.csv")
    assert [next(slots).start_s, next(slots).start_s] == [0, 300]
    with pytest.raises(ConfigError, match="line 4"):
        next(slots)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "phone.csv: line 1: there is no column timestamp_utc; the first line must name"),
        (["a,b", "1,2"], "phone.csv: line 1: there is no column timestamp_utc"),
        (["timestamp_utc,plugged,plugged"], "line 1: column plugged stands there twice; leave"),
        ([HEADER, "p,300,0,1,1"], "line 2: 5 fields where the header has 6; is a comma missing"),
        ([HEADER, "p,0,0,,,", "p,300,0,50,1,0,0"], "line 3: 7 fields where the header has 6"),
        (["timestamp_utc,active", ",1"], "line 2: timestamp_utc: it is empty; write seconds"),
        (["timestamp_utc", "soon"], "line 2: timestamp_utc: 'soon' is no number from 0 to"),
        (["timestamp_utc", "nan"], "line 2: timestamp_utc: 'nan' is no number"),
        (["timestamp_utc", "1_500"], "line 2: timestamp_utc: '1_500' is no number"),
        (["timestamp_utc", "-300"], "line 2: timestamp_utc: '-300' is no number from 0"),
        (["timestamp_utc", "1e300"], "line 2: timestamp_utc: '1e300' is no number from 0"),
        (["timestamp_utc", "301"], "line 2: timestamp_utc: 301 is no multiple of 300; a line"),
        (["timestamp_utc", "300", "300"], "line 3: timestamp_utc: 300 does not come after 300"),
        (["timestamp_utc", "300", "0"], "line 3: timestamp_utc: 0 does not come after 300"),
        (["timestamp_utc,plugged", "0,yes"], "line 2: plugged: 'yes' is no number from 0 to 1"),
        (["timestamp_utc,plugged", "0,0.5"], "line 2: plugged: 0.5 is neither 0 nor 1; leave"),
        (["timestamp_utc,active", "0,1.1"], "line 2: active: '1.1' is no number from 0 to 1"),
        (["timestamp_utc,active", "0,-0.1"], "line 2: active: '-0.1' is no number from 0 to 1"),
        (["timestamp_utc,battery_percent", "0,101"], "line 2: battery_percent: '101' is no number"),
        (["timestamp_utc,local_utc_offset", "0,90000"], "line 2: local_utc_offset: '90000' is no"),
        (["timestamp_utc,local_utc_offset", "0,0.5"], "line 2: local_utc_offset: 0.5 is no whole"),
        (["timestamp_utc,device_id", '0,"a\x07"'], "line 2: device_id: 'a\\x07' is no plain UTF-8"),
        (["timestamp_utc,device_id", '0,"a'], "line 2: unexpected end of data"),
    ],
)
def test_a_line_that_cannot_be_used(lines: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        parsed(*lines)
    assert complaint in str(told.value)
    assert str(told.value).startswith("phone.csv: line ")


def test_devices_may_be_mixed() -> None:
    slots = parsed("device_id,timestamp_utc", "a,300", "b,0", "a,600", "b,300")
    assert [(slot.device_id, slot.start_s) for slot in slots] == [
        ("a", 300),
        ("b", 0),
        ("a", 600),
        ("b", 300),
    ]


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"device_id,timestamp_utc\na,0\n\xff\xfe,300\n")
    with pytest.raises(ConfigError, match=r"line 3: device_id: .* is no plain UTF-8 text"):
        list(read_trace(path))


@pytest.mark.parametrize(("name", "why"), [("none.csv", "no such file"), ("", "is a directory")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"trace: cannot read '{tmp_path}.*': {why}"):
        list(read_trace(tmp_path / name))
