"""What a device's past tells of its next hours; SEMANTICS.md, "Predicting"."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence

from deferpower._contract import HourRow, LocalHour, OutlookRow
from deferpower._pure.usage.estimates import CELLS, EVENTS, HORIZONS, LEVELS, Estimates
from deferpower.errors import ConfigError

_AWAKE = EVENTS
_IDLE, _PLUGGED, _GOOD = range(EVENTS)

_GROWTH = 1.001376238172691
"""What an hour weighs more than the one before: doubles in 504 h, three weeks."""
_ERA_H = 8064
"""After this many hours, 16 half-lives, all sums are scaled down."""
_ERA_SCALE = 1.0 / 65536.0

_QUIET_ACTIVITY = 0.1
_PLUGGED_SHARE = 11.0 / 12.0 - 1e-9
_BRIDGED_S = 900.0
_LONGEST_ABSENCE_H = 168
_LAST_SHARE = 0.6
_MATURE_S = 3600.0

_LATEST_S = 1e11
"""No moment lies later: every era up to it is gone through."""

_ROW = struct.Struct("<4d")
_MAGIC = b"deferpower usage"
_VERSION = 1
_HEADER = struct.Struct("<16sHI")
# What of the present state is stored, beside the sums: see `UsageTable.to_bytes`.
_PRESENT = 10 + 6 * EVENTS + HORIZONS * EVENTS
_UNKNOWN, _FALSE, _TRUE = -1.0, 0.0, 1.0


class UsageTable:
    """The contract's `UsageTable`."""

    def __init__(self) -> None:
        self._estimates = Estimates()
        self._end_s = -1.0
        self._era = 0.0
        self._hour = (-1.0, -1.0, 0)  # start and end of the open hour, hour of the week
        self._clear_hour()
        self._state = [_UNKNOWN] * EVENTS
        self._age_s = [0.0] * EVENTS
        self._share = [_UNKNOWN] * EVENTS  # of the hour before the open one
        self._surprises = [[math.nan] * EVENTS for _ in range(HORIZONS)]  # newest first
        self._levels = [0] * EVENTS

    def _clear_hour(self) -> None:
        self._activity = [0.0, 0.0]  # seconds with a known activity; activity times seconds
        self._power = [0.0, 0.0]
        self._seen_s = 0.0
        self._known_s = [0.0] * EVENTS
        self._held_s = [0.0] * EVENTS

    @property
    def end_s(self) -> float | None:
        """The contract's `UsageTable.end_s`."""
        return None if self._end_s < 0.0 else self._end_s

    def evidence(self) -> tuple[float, float, float]:
        """The contract's `UsageTable.evidence`."""
        idle, plugged, good = (
            self._estimates.seen_h(event) + self._known_s[event] / 3600.0 for event in range(EVENTS)
        )
        return idle, plugged, good

    def learn(self, hours: Sequence[LocalHour], rows: bytes) -> tuple[float, float]:
        """The contract's `UsageTable.learn`."""
        table = list(_ROW.iter_unpack(rows)) if len(rows) % _ROW.size == 0 else None
        if table is None:
            raise ConfigError(f"rows: {len(rows)} bytes are no whole number of rows of 32")
        _check_hours(hours)
        for number, row in enumerate(table):
            _check_row(number, row, hours)
        counted_s = repeated_s = 0.0
        place = 0
        for start_s, seconds, activity, plugged in table:
            end_s = start_s + seconds
            if start_s < self._end_s:
                repeated_s += min(end_s, self._end_s) - start_s
                start_s = self._end_s
            while start_s < end_s:
                while hours[place + 1][0] <= start_s:
                    place += 1
                self._reach(hours, place, start_s)
                stop_s = min(end_s, hours[place + 1][0])
                self._observe(stop_s - start_s, activity, plugged)
                counted_s += stop_s - start_s
                self._end_s = start_s = stop_s
        return counted_s, repeated_s

    def _reach(self, hours: Sequence[LocalHour], place: int, start_s: float) -> None:
        """Come to a moment at which something is observed again."""
        gap_s = start_s - self._end_s
        if self._end_s >= 0.0 and gap_s > _BRIDGED_S:
            for event in range(EVENTS):
                self._end_run(event)
                self._state[event] = _UNKNOWN
        if self._hour[0] != hours[place][0]:
            self._close_hour(hours, place)
            self._open_hour(hours, place)

    def _end_run(self, event: int) -> None:
        if self._age_s[event] > 0.0:
            self._estimates.add_end(event, self._age_s[event], self._levels[event])
        self._age_s[event] = 0.0

    def _close_hour(self, hours: Sequence[LocalHour], place: int) -> None:
        """Learn from the open hour, and from those in which nothing was observed."""
        start_s, end_s, hour_of_week = self._hour
        if end_s < 0.0:
            return
        at = self._estimates
        activity_s, active = self._activity
        power_s, plugged = self._power
        idle = active <= _QUIET_ACTIVITY * activity_s
        powered = plugged >= _PLUGGED_SHARE * power_s
        for event, seconds, held in (
            (_IDLE, activity_s, idle),
            (_PLUGGED, power_s, powered),
            (_GOOD, min(activity_s, power_s), idle and powered),
        ):
            if seconds > 0.0:
                weight = at.unit * seconds / 3600.0
                self._learn_outcome(event, hour_of_week, 1.0 if held else 0.0, weight)
        at.add_hour(
            _AWAKE,
            hour_of_week,
            at.unit * self._seen_s / 3600.0,
            at.unit * (end_s - start_s) / 3600.0,
        )
        for event in range(EVENTS):
            known_s = self._known_s[event]
            self._share[event] = self._held_s[event] / known_s if known_s > 0.0 else _UNKNOWN
        missed = place
        while missed > 0 and hours[missed - 1][0] >= end_s:
            missed -= 1
        if missed < place:
            self._share = [_UNKNOWN] * EVENTS
        for absent in range(missed, place):
            self._surprises = [[math.nan] * EVENTS, *self._surprises[:-1]]
            if place - missed <= _LONGEST_ABSENCE_H:
                length_h = (hours[absent + 1][0] - hours[absent][0]) / 3600.0
                at.add_hour(_AWAKE, hours[absent][1], 0.0, at.unit * length_h)

    def _learn_outcome(self, event: int, hour_of_week: int, held: float, weight: float) -> None:
        at = self._estimates
        clock = at.anomaly(event, hour_of_week)
        rest = held - at.clock(event, hour_of_week)
        for horizon, surprises in enumerate(self._surprises):
            if surprises[event] == surprises[event]:
                at.add_outcome(event, horizon, clock, surprises[event], rest, weight)
        at.add_hour(event, hour_of_week, weight * held, weight)

    def _open_hour(self, hours: Sequence[LocalHour], place: int) -> None:
        last_hour_of_week = self._hour[2]
        self._clear_hour()
        self._hour = (hours[place][0], hours[place + 1][0], hours[place][1])
        self._enter_era()
        at = self._estimates
        # A device that was not there when the hour began made no forecast then.
        is_fresh = self._end_s >= 0.0 and hours[place][0] - self._end_s <= _BRIDGED_S
        surprises = [math.nan] * EVENTS
        for event in range(EVENTS):
            self._levels[event] = at.level(event, self._hour[2])
            if is_fresh and self._state[event] != _UNKNOWN and self._share[event] != _UNKNOWN:
                surprises[event] = (
                    _LAST_SHARE * self._state[event]
                    + (1.0 - _LAST_SHARE) * self._share[event]
                    - at.clock(event, last_hour_of_week)
                )
        self._surprises = [surprises, *self._surprises[:-1]]

    def _enter_era(self) -> None:
        """Set what an observation of the open hour weighs."""
        hour = int(self._hour[0] / 3600.0)
        era = float(hour // _ERA_H)
        at = self._estimates
        while self._era < era:
            at.cells = [cell * _ERA_SCALE for cell in at.cells]
            self._era += 1.0
        factor, left = _GROWTH, max(hour - int(self._era) * _ERA_H, 0)
        at.unit = 1.0
        while left:
            if left & 1:
                at.unit *= factor
            factor *= factor
            left >>= 1

    def _observe(self, seconds: float, activity: float, plugged: float) -> None:
        """Take in a piece of the open hour."""
        idle = powered = good = _UNKNOWN
        hours = self._estimates.unit / 3600.0 * seconds
        self._seen_s += seconds
        if activity == activity:
            self._activity[0] += seconds
            self._activity[1] += activity * seconds
            idle = _TRUE if activity <= _QUIET_ACTIVITY else _FALSE
        if plugged == plugged:
            self._power[0] += seconds
            self._power[1] += plugged * seconds
            powered = _TRUE if plugged >= _PLUGGED_SHARE else _FALSE
        if idle >= 0.0 and powered >= 0.0:
            good = idle * powered
        for event, state in ((_IDLE, idle), (_PLUGGED, powered), (_GOOD, good)):
            self._state[event] = state
            if state == _TRUE:
                at, age_s = self._estimates, self._age_s[event]
                at.add_at_risk(event, age_s, self._levels[event], hours)
                self._age_s[event] = age_s + seconds
                self._known_s[event] += seconds
                self._held_s[event] += seconds
            elif state == _FALSE:
                self._end_run(event)
                self._known_s[event] += seconds
            else:
                self._age_s[event] = 0.0

    def forecast(self, hours: Sequence[LocalHour]) -> list[HourRow]:
        """The contract's `UsageTable.forecast`."""
        _check_hours(hours)
        at = self._estimates
        surprises = self._present_surprises()
        rows: list[HourRow] = []
        for start_s, hour_of_week in hours:
            ahead = (start_s - self._end_s) / 3600.0
            horizon = int(min(ahead, HORIZONS)) if ahead >= 0.0 else HORIZONS
            idle, plugged, good = (
                at.chance(event, horizon, hour_of_week, surprises[event]) for event in range(EVENTS)
            )
            seen = [at.seen_h(event, hour_of_week) for event in range(EVENTS)]
            rows.append((idle, plugged, min(good, idle, plugged), seen[0], seen[1], seen[2]))
        return rows

    def _present_surprises(self) -> list[float | None]:
        """How far the present state of each event lies from what the clock says."""
        start_s, _, hour_of_week = self._hour
        past_s = self._end_s - start_s
        surprises: list[float | None] = []
        for event in range(EVENTS):
            if self._end_s < 0.0 or self._state[event] == _UNKNOWN:
                surprises.append(None)
                continue
            before = self._share[event]
            held_s, known_s = self._held_s[event], self._known_s[event]
            if before != _UNKNOWN and past_s < 3600.0:
                held_s += before * (3600.0 - past_s)
                known_s += 3600.0 - past_s
            surprises.append(
                _LAST_SHARE * self._state[event]
                + (1.0 - _LAST_SHARE) * (held_s / known_s)
                - self._estimates.clock(event, hour_of_week)
            )
        return surprises

    def outlook(
        self, now_s: float, duration_s: float, hours: Sequence[LocalHour]
    ) -> tuple[tuple[float, float, float], tuple[float, float, float], list[OutlookRow]]:
        """The contract's `UsageTable.outlook`."""
        _check_hours(hours)
        if not 0.0 <= now_s < math.inf or hours[0][0] > now_s:
            raise ConfigError("now_s: no time since the epoch within or after the first hour")
        if not 0.0 < duration_s < math.inf:
            raise ConfigError("duration_s: no duration above 0")
        known = list(hours)
        at = self._estimates
        is_fresh = self._end_s >= 0.0 and now_s - self._end_s <= _BRIDGED_S
        live = [
            at.hold(event, self._age_s[event], now_s, duration_s, known)
            if is_fresh and self._state[event] == _TRUE
            else 0.0
            for event in range(EVENTS)
        ]
        rows: list[OutlookRow] = []
        for place, (start_s, hour_of_week) in enumerate(known):
            awake = at.clock(_AWAKE, hour_of_week)
            cells: list[float] = []
            for event in range(EVENTS):
                cells += (
                    at.clock(event, hour_of_week) * awake,
                    at.hold(event, _MATURE_S, start_s, 3600.0, known[place:]),
                    at.hold(event, _MATURE_S, start_s, duration_s, known[place:]),
                )
            rows.append(tuple(cells))  # type: ignore[arg-type]
        ages_s = [self._age_s[event] if live[event] > 0.0 else 0.0 for event in range(EVENTS)]
        return (live[0], live[1], live[2]), (ages_s[0], ages_s[1], ages_s[2]), rows

    def restart(self) -> None:
        """The contract's `UsageTable.restart`."""
        self._end_s = -1.0
        self._hour = (-1.0, -1.0, 0)
        self._clear_hour()
        self._state = [_UNKNOWN] * EVENTS
        self._age_s = [0.0] * EVENTS
        self._share = [_UNKNOWN] * EVENTS
        self._surprises = [[math.nan] * EVENTS for _ in range(HORIZONS)]
        self._levels = [0] * EVENTS

    def merge(self, data: bytes) -> None:
        """The contract's `UsageTable.merge`."""
        other = UsageTable.from_bytes(data)
        mine, theirs = self._estimates, other._estimates
        while other._era < self._era:
            theirs.cells = [cell * _ERA_SCALE for cell in theirs.cells]
            other._era += 1.0
        while self._era < other._era:
            mine.cells = [cell * _ERA_SCALE for cell in mine.cells]
            self._era += 1.0
        summed = [a + b for a, b in zip(mine.cells, theirs.cells, strict=True)]
        if other._end_s > self._end_s:
            # What this one has of its open hour stays out: the other has gone on since.
            self._restore(other._present())
        mine.cells = summed
        if self._hour[0] >= 0.0:
            self._enter_era()

    def to_bytes(self) -> bytes:
        """The contract's `UsageTable.to_bytes`."""
        values = [*self._present(), *self._estimates.cells]
        body = struct.pack(f"<{len(values)}d", *values)
        return _HEADER.pack(_MAGIC, _VERSION, zlib.crc32(body)) + body

    @staticmethod
    def from_bytes(data: bytes) -> UsageTable:
        """The contract's `UsageTable.from_bytes`."""
        if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER.size:
            raise ConfigError("history: these bytes are no table of usage")
        _, version, checksum = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise ConfigError(
                f"history: version {version} is not known here, only {_VERSION}; "
                "it was written by another version of deferpower"
            )
        body = data[_HEADER.size :]
        if len(body) != 8 * (_PRESENT + CELLS) or zlib.crc32(body) != checksum:
            raise ConfigError("history: damaged, its checksum does not match")
        values = struct.unpack(f"<{_PRESENT + CELLS}d", body)
        table = UsageTable()
        if _is_present(values[:_PRESENT]):
            table._estimates.cells = list(values[_PRESENT:])
            table._restore(list(values[:_PRESENT]))
            if table._estimates.are_sums():
                return table
        raise ConfigError("history: damaged, it holds a number that cannot be")

    def _present(self) -> list[float]:
        """All but the sums, as numbers, in the order of SEMANTICS.md."""
        start_s, end_s, hour_of_week = self._hour
        numbers = [self._end_s, self._era, start_s, end_s, float(hour_of_week)]
        numbers += [*self._activity, *self._power]
        for event in range(EVENTS):
            numbers += [self._known_s[event], self._held_s[event], self._state[event]]
            numbers += [self._age_s[event], self._share[event], float(self._levels[event])]
        for surprises in self._surprises:
            numbers += surprises
        return [*numbers, self._seen_s]

    def _restore(self, numbers: list[float]) -> None:
        self._end_s, self._era = numbers[:2]
        self._hour = (numbers[2], numbers[3], int(numbers[4]))
        self._activity, self._power = numbers[5:7], numbers[7:9]
        for event in range(EVENTS):
            at = 9 + 6 * event
            self._known_s[event], self._held_s[event], self._state[event] = numbers[at : at + 3]
            self._age_s[event], self._share[event] = numbers[at + 3 : at + 5]
            self._levels[event] = int(numbers[at + 5])
        first = 9 + 6 * EVENTS
        self._surprises = [
            numbers[first + EVENTS * hour : first + EVENTS * (hour + 1)] for hour in range(HORIZONS)
        ]
        self._seen_s = numbers[-1]
        if self._hour[0] >= 0.0:
            self._enter_era()


def _is_present(numbers: Sequence[float]) -> bool:
    """Whether these are numbers of a present: a checksum is no proof that a table was written."""

    def is_amount(number: float) -> bool:
        return 0.0 <= number <= _LATEST_S

    def is_below(number: float, end: float) -> bool:
        return 0.0 <= number < end and number == int(number)

    def is_run(run: Sequence[float]) -> bool:
        known_s, held_s, state, age_s, share, level = run
        return (
            all(map(is_amount, (known_s, held_s, age_s)))
            and state in (_UNKNOWN, _FALSE, _TRUE)
            and (state == _UNKNOWN or known_s > 0.0)
            and (share == _UNKNOWN or 0.0 <= share <= 1.0)
            and is_below(level, LEVELS)
        )

    end_s, era, hour_start_s, hour_end_s, hour_of_week = numbers[:5]
    has_hour = is_amount(hour_start_s) and is_amount(hour_end_s) and hour_start_s < hour_end_s
    runs, surprises = numbers[9 : 9 + 6 * EVENTS], numbers[9 + 6 * EVENTS : -1]
    return (
        (end_s == _UNKNOWN or is_amount(end_s))
        and is_below(era, _LATEST_S / (3600 * _ERA_H))
        and (has_hour or hour_start_s == hour_end_s == _UNKNOWN)
        and is_below(hour_of_week, 168)
        and all(map(is_amount, (*numbers[5:9], numbers[-1])))
        and all(is_run(runs[at : at + 6]) for at in range(0, len(runs), 6))
        and all(surprise != surprise or abs(surprise) <= 2.0 for surprise in surprises)
    )


def _check_hours(hours: Sequence[LocalHour]) -> None:
    before_s = -1.0
    if not hours:
        raise ConfigError("hours: none given")
    for start_s, hour_of_week in hours:
        if not before_s < start_s < _LATEST_S or not 0 <= hour_of_week < 168:
            raise ConfigError(
                "hours: starts must rise from 0 on, to below 1e11; hours of the week be 0 to 167"
            )
        before_s = start_s


def _check_row(
    number: int, row: tuple[float, float, float, float], hours: Sequence[LocalHour]
) -> None:
    start_s, seconds, activity, plugged = row
    if not (hours[0][0] <= start_s and seconds > 0.0 and start_s + seconds <= hours[-1][0]):
        raise ConfigError(f"rows[{number}]: its time does not lie within the hours given")
    # NaN stands for what was not observed.
    if not (0.0 <= activity <= 1.0 or activity != activity):
        raise ConfigError(f"rows[{number}]: activity is no number from 0 to 1")
    if not (0.0 <= plugged <= 1.0 or plugged != plugged):
        raise ConfigError(f"rows[{number}]: plugged is no share from 0 to 1")
