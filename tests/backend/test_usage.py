"""What a table of usage learns, foresees and keeps, on each backend."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable

import pytest

from deferpower._contract import Backend, LocalHour, UsageTable
from deferpower.errors import ConfigError

MONDAY_S = 1_700_438_400.0  # 0:00 UTC
HOUR_S = 3600.0
NAN = math.nan


def hours_of(first: int, count: int) -> list[LocalHour]:
    return [(MONDAY_S + hour * HOUR_S, hour % 168) for hour in range(first, first + count)]


def packed(rows: Iterable[tuple[float, float, float, float]]) -> bytes:
    return b"".join(struct.pack("<4d", *row) for row in rows)


def nights(days: int, first_day: int = 0) -> bytes:
    """Idle and plugged from 0 to 8 h, in use on battery for the rest of the day."""
    rows = []
    for slot in range(first_day * 288, (first_day + days) * 288):
        is_night = slot // 12 % 24 < 8
        rows.append((MONDAY_S + slot * 300.0, 300.0, 0.0 if is_night else 0.5, float(is_night)))
    return packed(rows)


@pytest.fixture
def table(backend: Backend) -> UsageTable:
    return backend.UsageTable()


def test_before_anything_was_seen_the_prior_speaks(table: UsageTable) -> None:
    at_night, at_noon = table.forecast(hours_of(3, 10))[0], table.forecast(hours_of(3, 10))[9]
    assert at_night[:3] == pytest.approx((0.9, 0.37, 0.333))
    assert at_noon[:3] == pytest.approx((0.45, 0.37, 0.1665))
    assert table.end_s is None
    assert table.evidence() == (0.0, 0.0, 0.0)


def test_a_life_by_the_clock_is_foreseen(table: UsageTable) -> None:
    assert table.learn(hours_of(0, 14 * 24 + 1), nights(14)) == (14 * 86_400.0, 0.0)
    for hour, row in enumerate(table.forecast(hours_of(14 * 24, 24))):
        assert (row[0] > 0.8, row[1] > 0.8, row[2] > 0.8) == (hour < 8,) * 3, hour
        assert hour < 8 or row[2] < 0.2, hour


def test_the_present_state_counts_for_the_near_hours(backend: Backend) -> None:
    def after(plugged: float) -> list[float]:
        table = backend.UsageTable()
        rows = packed((MONDAY_S + n * 300.0, 300.0, NAN, plugged) for n in range(24))
        table.learn(hours_of(0, 3), rows)
        return [row[1] for row in table.forecast(hours_of(2, 24))]

    on, off = after(1.0), after(0.0)
    difference = [a - b for a, b in zip(on, off, strict=True)]
    assert difference[0] > 0.5
    assert difference[0] > difference[3] > difference[8] > 0.0


def test_observed_seconds_weigh(backend: Backend) -> None:
    short, long = backend.UsageTable(), backend.UsageTable()
    short.learn(hours_of(0, 2), packed([(MONDAY_S, 300.0, 0.0, 1.0)]))
    long.learn(hours_of(0, 2), packed([(MONDAY_S, 3600.0, 0.0, 1.0)]))
    assert short.evidence()[2] == pytest.approx(1 / 12)
    assert long.evidence()[2] == pytest.approx(1.0)


def test_evidence_fades_by_half_in_three_weeks(table: UsageTable) -> None:
    table.learn(hours_of(0, 25), nights(1))
    table.learn(hours_of(24, 2), packed([(MONDAY_S + 86_400, 3600.0, NAN, NAN)]))
    before = table.evidence()[0]
    later = 24 + 504
    table.learn(hours_of(later, 2), packed([(MONDAY_S + later * HOUR_S, 3600.0, NAN, NAN)]))
    assert table.evidence()[0] == pytest.approx(before / 2, rel=1e-9)


def test_nothing_counts_twice(table: UsageTable) -> None:
    table.learn(hours_of(0, 25), nights(1))
    before = table.to_bytes()
    assert table.learn(hours_of(0, 25), nights(1)) == (0.0, 86_400.0)
    assert table.to_bytes() == before
    overlapping = packed([(MONDAY_S + 86_300.0, 300.0, 0.0, 1.0)])
    assert table.learn(hours_of(0, 26), overlapping) == (200.0, 100.0)


def test_an_hour_that_occurs_twice_is_two(table: UsageTable) -> None:
    hours = [(MONDAY_S, 2), (MONDAY_S + HOUR_S, 2), (MONDAY_S + 2 * HOUR_S, 3)]
    hours.append((MONDAY_S + 3 * HOUR_S, 4))
    rows = packed((MONDAY_S + n * 300.0, 300.0, 0.0, 1.0) for n in range(36))
    assert table.learn(hours, rows) == (3 * HOUR_S, 0.0)
    table.learn([hours[3], (MONDAY_S + 4 * HOUR_S, 5)], packed([(hours[3][0], 300.0, 0.0, 1.0)]))
    assert table.forecast([(MONDAY_S + 9e5, 2)])[0][3] == pytest.approx(2.0, rel=0.01)
    assert table.forecast([(MONDAY_S + 9e5, 3)])[0][3] == pytest.approx(1.0, rel=0.01)


def test_unknown_signals_are_not_guessed(table: UsageTable) -> None:
    rows = packed((MONDAY_S + n * 300.0, 300.0, NAN, 1.0) for n in range(24))
    table.learn(hours_of(0, 3), rows)
    assert table.evidence() == pytest.approx((0.0, 2.0, 0.0), rel=0.01)


def test_an_old_run_is_surer_to_last_than_a_new_one(backend: Backend) -> None:
    def live(minutes: int) -> tuple[float, float, float]:
        table = backend.UsageTable()
        rows = packed((MONDAY_S + n * 60.0, 60.0, 0.0, 1.0) for n in range(minutes))
        table.learn(hours_of(0, 10), rows)
        return table.outlook(MONDAY_S + minutes * 60.0, 3600.0, hours_of(0, 12))[0]

    assert 0.0 < live(2)[2] < live(20)[2] < live(200)[2] < 1.0


@pytest.mark.parametrize(("gap_s", "is_unbroken"), [(900.0, True), (1200.0, False)])
def test_a_run_does_not_outlast_an_absence(
    backend: Backend, gap_s: float, is_unbroken: bool
) -> None:
    table = backend.UsageTable()
    rows = [(MONDAY_S + n * 300.0, 300.0, 0.0, 1.0) for n in range(24)]
    back_s = MONDAY_S + 7200.0 + gap_s
    table.learn(hours_of(0, 5), packed([*rows, (back_s, 60.0, 0.0, 1.0)]))
    live = table.outlook(back_s + 60.0, 3600.0, hours_of(0, 6))[0][2]
    assert (live > 0.85) is is_unbroken, live


def test_without_observation_nothing_holds_now(table: UsageTable) -> None:
    table.learn(hours_of(0, 2), packed([(MONDAY_S, 3600.0, 0.0, 1.0)]))
    assert table.outlook(MONDAY_S + 3600.0 + 900.0, 60.0, hours_of(0, 3))[0][2] > 0.0
    assert table.outlook(MONDAY_S + 3600.0 + 901.0, 60.0, hours_of(0, 3))[0] == (0.0, 0.0, 0.0)


def test_absence_lowers_what_is_to_be_expected(table: UsageTable) -> None:
    for day in range(7):
        half = nights(1, first_day=day)[: 32 * 144]
        table.learn(hours_of(max(day * 24 - 13, 0), 40), half)
    _, _, rows = table.outlook(MONDAY_S + 7 * 86_400.0, 3600.0, hours_of(7 * 24, 24))
    observed, absent = rows[4], rows[18]
    assert observed[6] > 0.7
    assert absent[6] < 0.05


def test_merging_adds_up(backend: Backend) -> None:
    first, second, whole = (backend.UsageTable() for _ in range(3))
    first.learn(hours_of(0, 49), nights(2))
    second.learn(hours_of(72, 49), nights(2, first_day=3))
    whole.learn(hours_of(0, 49), nights(2))
    whole.learn(hours_of(48, 73), nights(2, first_day=3))
    second.merge(first.to_bytes())
    assert second.end_s == whole.end_s
    # The first one's last hour was open, and is not among what it adds.
    assert second.evidence()[0] == pytest.approx(whole.evidence()[0] - 1.0, abs=0.15)
    merged = second.forecast(hours_of(6 * 24, 24))
    for ours, theirs in zip(merged, whole.forecast(hours_of(6 * 24, 24)), strict=True):
        assert ours[0] == pytest.approx(theirs[0], abs=0.15)


def test_bytes_hold_all_of_it(backend: Backend, table: UsageTable) -> None:
    table.learn(hours_of(0, 60), nights(2) + packed([(MONDAY_S + 2 * 86_400, 300.0, 0.0, 1.0)]))
    copy = backend.UsageTable.from_bytes(table.to_bytes())
    assert copy.to_bytes() == table.to_bytes()
    assert len(table.to_bytes()) < 20_000
    more = nights(1, first_day=3)
    assert copy.learn(hours_of(48, 60), more) == table.learn(hours_of(48, 60), more)
    assert copy.to_bytes() == table.to_bytes()


@pytest.mark.parametrize("place", [0, 16, 18, 22, 5000, -1])
def test_damaged_bytes_are_refused(backend: Backend, table: UsageTable, place: int) -> None:
    data = bytearray(table.to_bytes())
    data[place] ^= 0x10
    with pytest.raises(ConfigError, match="history"):
        backend.UsageTable.from_bytes(bytes(data))
    before = table.to_bytes()
    for wrong in (bytes(data), b"", data[:100]):
        with pytest.raises(ConfigError, match="history"):
            table.merge(bytes(wrong))
    assert table.to_bytes() == before


def forged(data: bytes, changes: dict[int, float]) -> bytes:
    """Bytes of a table with other numbers in places, and the checksum that fits."""
    numbers = list(struct.unpack(f"<{(len(data) - 22) // 8}d", data[22:]))
    for place, number in changes.items():
        numbers[place] = number
    body = struct.pack(f"<{len(numbers)}d", *numbers)
    return data[:18] + struct.pack("<I", zlib.crc32(body)) + body


@pytest.mark.parametrize(
    "changes",
    [
        {0: NAN},  # the end
        {0: 1e300},
        {1: -1e300},  # the era, up to which there is a step for each
        {1: 1e300},
        {1: 0.5},
        {2: math.inf},  # the open hour
        {2: 1e300, 3: 2e300},
        {3: MONDAY_S - 1.0},
        {4: 168.0},
        {4: -1.0},
        {5: NAN},
        {9: -5.0},  # the run of an event
        {9: 0.0},  # of which a state is known
        {11: 0.5},
        {12: math.inf},
        {13: 1.5},
        {14: 4.0},
        {14: 1e18},
        {27: 3.0},  # a surprise
        {99: NAN},  # seconds seen
        {100: NAN},  # the sums
        {100: -1.0},
        {500: math.inf},
        {487: 1e6},  # of which no regression can be told
        {-1: 1e300},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused_though_the_checksum_fits(
    backend: Backend, table: UsageTable, changes: dict[int, float]
) -> None:
    table.learn(hours_of(0, 60), nights(2) + packed([(MONDAY_S + 2 * 86_400, 300.0, 0.0, 1.0)]))
    data = table.to_bytes()
    assert backend.UsageTable.from_bytes(forged(data, {})).to_bytes() == data
    for take in (backend.UsageTable.from_bytes, table.merge):
        with pytest.raises(ConfigError, match="history: damaged, it holds a number"):
            take(forged(data, changes))
    assert table.to_bytes() == data


GOOD_ROW = (MONDAY_S, 300.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD_ROW, (MONDAY_S, 300.0, 1.5, 1.0)], r"rows\[1\]: activity"),
        ([(MONDAY_S, 300.0, -0.1, 1.0)], r"rows\[0\]: activity"),
        ([(MONDAY_S, 300.0, 0.0, 2.0)], r"rows\[0\]: plugged"),
        ([(MONDAY_S, 0.0, 0.0, 1.0)], r"rows\[0\]: its time"),
        ([(NAN, 300.0, 0.0, 1.0)], r"rows\[0\]: its time"),
        ([(MONDAY_S, NAN, 0.0, 1.0)], r"rows\[0\]: its time"),
        ([(MONDAY_S - 1.0, 300.0, 0.0, 1.0)], r"rows\[0\]: its time"),
        ([(MONDAY_S + 3500.0, 300.0, 0.0, 1.0)], r"rows\[0\]: its time"),
    ],
)
def test_wrong_rows_are_named_and_teach_nothing(
    table: UsageTable, rows: list[tuple[float, float, float, float]], message: str
) -> None:
    before = table.to_bytes()
    with pytest.raises(ConfigError, match=message):
        table.learn(hours_of(0, 2), packed(rows))
    assert table.to_bytes() == before


def test_other_wrong_arguments(table: UsageTable) -> None:
    with pytest.raises(ConfigError, match="whole number of rows"):
        table.learn(hours_of(0, 2), b"x" * 33)
    for hours in (
        [],
        [(5.0, 1), (5.0, 2)],
        [(NAN, 0)],
        [(0.0, 168)],
        [(math.inf, 0)],
        [(1e300, 0)],
    ):
        with pytest.raises(ConfigError, match="hours"):
            table.forecast(hours)
    with pytest.raises(ConfigError, match="now_s"):
        table.outlook(MONDAY_S - 1.0, 3600.0, hours_of(0, 2))
    for duration_s in (0.0, NAN, math.inf):
        with pytest.raises(ConfigError, match="duration_s"):
            table.outlook(MONDAY_S, duration_s, hours_of(0, 2))


def test_restart_keeps_what_was_learned(table: UsageTable) -> None:
    table.learn(hours_of(0, 25), nights(1))
    closed = table.forecast([(MONDAY_S + 1e6, 3)])[0][3]
    table.restart()
    assert table.end_s is None
    assert table.forecast([(MONDAY_S + 1e6, 3)])[0][3] == closed
    assert table.learn(hours_of(0, 2), packed([(MONDAY_S, 300.0, 0.0, 1.0)])) == (300.0, 0.0)
