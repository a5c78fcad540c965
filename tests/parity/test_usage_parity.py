"""Native and pure learn and foresee the same, to the last bit, in any zone and any story."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from deferpower._contract import UsageTable
from deferpower._native import UsageTable as NativeTable
from deferpower._pure.usage import UsageTable as PureTable
from deferpower.errors import ConfigError
from deferpower.localtime import hours_between, offset_of

ZONES = (
    *("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "Antarctica/Troll"),
)
NAN = math.nan

# Days around which clocks change somewhere, and any other day since 1970.
starts = st.sampled_from(
    [1_111_885_200, 1_130_630_400, 1_325_239_200, 1_667_000_000, 1_679_792_400]
) | st.integers(0, 4_000_000_000)
activities = st.sampled_from([NAN, 0.0, 0.05, 0.1, 0.11, 1.0]) | st.floats(0, 1)
shares = st.sampled_from([NAN, 0.0, 1.0, 11 / 12, 0.9]) | st.floats(0, 1)
steps = st.tuples(
    st.sampled_from([0.0, 0.0, 0.0, 1.0, 901.0, 7200.0, 90_000.0, 700_000.0, 3e7]),
    st.sampled_from([300.0, 60.0, 3600.0, 14_400.0, 40_000.0]) | st.floats(0.001, 10_000),
    activities,
    shares,
)


def answer(table: UsageTable, name: str, *arguments: Any) -> Any:
    try:
        return getattr(table, name)(*arguments)
    except ConfigError as error:
        return str(error)


def compare(tables: tuple[UsageTable, UsageTable], name: str, *arguments: Any) -> None:
    native, pure = (answer(table, name, *arguments) for table in tables)
    assert native == pure, (name, arguments)


@given(st.sampled_from(ZONES), starts, st.lists(st.lists(steps, max_size=30), max_size=4))
def test_any_life(zone: str, start_s: int, story: list[list[Any]]) -> None:
    offset = offset_of(zone)
    tables = (NativeTable(), PureTable())
    at_s = float(start_s)
    for chapter in story:
        rows = []
        known_s, first_s = at_s, None
        for gap_s, seconds, activity, plugged in chapter:
            at_s += gap_s
            first_s = at_s if first_s is None else first_s
            rows.append((at_s, seconds, activity, plugged))
            at_s += seconds
        if first_s is None:
            continue
        begin_s = first_s if first_s - known_s > 1e6 else max(known_s - 1.0, 0.0)
        last_s = at_s + 1.0
        hours = (
            hours_between(offset, begin_s, last_s)
            if last_s - begin_s < 5e6
            else [
                (float(h * 3600), h % 168)
                for h in range(int(begin_s) // 3600, int(last_s) // 3600 + 2)
            ][:3000]
        )
        data = b"".join(struct.pack("<4d", *row) for row in rows)
        compare(tables, "learn", hours, data)
        compare(tables, "learn", hours, data)
        compare(tables, "evidence")
        coming = hours_between(offset, at_s, at_s + 30 * 3600)
        compare(tables, "forecast", coming)
        compare(tables, "forecast", hours[:30])
        compare(tables, "outlook", at_s, 3600.0, coming)
        compare(tables, "outlook", at_s, 12_345.6, coming[:2])
        native, pure = (table.to_bytes() for table in tables)
        assert native == pure
    merged: tuple[UsageTable, UsageTable] = (
        NativeTable.from_bytes(tables[1].to_bytes()),
        PureTable.from_bytes(tables[0].to_bytes()),
    )
    merged[0].merge(tables[0].to_bytes())
    merged[1].merge(tables[1].to_bytes())
    assert merged[0].to_bytes() == merged[1].to_bytes()
    for table in tables:
        table.restart()
    assert tables[0].to_bytes() == tables[1].to_bytes()


@given(st.binary(max_size=60), st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_nonsense(data: bytes, one: float, other: float) -> None:
    tables = (NativeTable(), PureTable())
    hours = [(0.0, 0), (3600.0, 1)]
    compare(tables, "learn", hours, data)
    compare(tables, "learn", hours, struct.pack("<4d", one, other, 0.5, 1.0))
    compare(tables, "learn", hours, struct.pack("<4d", 0.0, 300.0, one, other))
    compare(tables, "outlook", one, other, hours)
    compare(tables, "forecast", [(one, 3), (other, 4)])
    compare(tables, "merge", data)


@given(st.sampled_from(ZONES), starts)
def test_local_hours_are_those_of_the_zone(zone: str, start_s: int) -> None:
    hours = hours_between(offset_of(zone), start_s, start_s + 100 * 3600)
    assert hours[0][0] <= start_s < hours[1][0]
    for (begin_s, hour_of_week), (end_s, _) in pairwise(hours):
        assert 0 < end_s - begin_s <= 3600
        for at_s in (begin_s, (begin_s + end_s) // 2, end_s - 1):
            local = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(zone))
            assert hour_of_week == local.weekday() * 24 + local.hour
