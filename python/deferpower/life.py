"""`Life`: the trace of one device as an unbroken course of time, and as readings."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from deferpower import _backend
from deferpower.errors import ConfigError
from deferpower.traces import SLOT_S, Slot
from deferpower.types import BackendName, Power, Reading

_DAY_S = 86_400


class Stretch(NamedTuple):
    """A time over which nothing changes that the trace tells.

    Attributes:
        start_s: its first moment, seconds since the epoch.
        end_s: the first moment after it.
        is_known: the trace has lines for it; where it has none, nothing else is known either.
        percent: battery level, 0-100.
        plugged: on external power.
        quiet: nobody used the device.
    """

    start_s: int
    end_s: int
    is_known: bool
    percent: float | None
    plugged: bool | None
    quiet: bool | None


class Scene(NamedTuple):
    """What a reading shows from a moment on.

    Attributes:
        start_s: that moment.
        power: the part `power`.
        quiet_since_s: since when nobody has used the device.
        is_idle: that has lasted long enough.
    """

    start_s: float
    power: Power | None
    quiet_since_s: float | None
    is_idle: bool

    def reading(self, at_s: float, backend: BackendName) -> Reading:
        """The reading at a moment; all that a trace does not tell is ``None``."""
        return Reading(
            power=self.power,
            cpu=None,
            memory=None,
            disk=None,
            network=None,
            user=None,
            power_saver=None,
            storage={},
            idle_since_s=self.quiet_since_s if self.is_idle else None,
            quiet_since_s=self.quiet_since_s,
            monotonic_s=at_s,
            wall_s=at_s,
            backend=backend,
        )


class Life:
    """What a trace tells of one device, gaps included.

    Attributes:
        slots: the trace's lines about it.
        stretches: the same without holes; neighbours differ.
        start_s: when it begins, seconds since the epoch.
        end_s: when it ends.
        known_s: seconds of it that the trace has lines for.
        tells_plugged: the charger is known at some time; likewise
        tells_percent: the battery level,
        tells_activity: the activity, and
        tells_local_time: the offset from UTC.
    """

    def __init__(self, slots: Iterable[Slot]) -> None:
        """Take in the slots of one device, in order of time.

        Raises:
            ConfigError: there are none, or they tell of neither power nor activity.
        """
        self.slots = tuple(slots)
        if not self.slots:
            raise ConfigError("trace: it has no lines beside its header; name one that has")
        self.start_s = self.slots[0].start_s
        self.end_s = self.slots[-1].start_s + SLOT_S
        self.known_s = SLOT_S * len(self.slots)
        self.tells_plugged = any(slot.plugged is not None for slot in self.slots)
        self.tells_percent = any(slot.percent is not None for slot in self.slots)
        self.tells_activity = any(slot.activity is not None for slot in self.slots)
        if not (self.tells_power or self.tells_activity):
            raise ConfigError(
                "trace: plugged, battery_percent and active are all empty; fill in at least one"
            )
        self.stretches = tuple(_stretches(self.slots))
        self._starts = [stretch.start_s for stretch in self.stretches]
        self._on_battery = self._totals(lambda stretch: stretch.plugged is False)
        self._power_known = self._totals(lambda stretch: stretch.plugged is not None)
        self._offsets = list(_changed_offsets(self.slots))
        self.tells_local_time = bool(self._offsets)

    @property
    def tells_power(self) -> bool:
        """The charger or the level is known at some time; if not, it has no battery."""
        return self.tells_plugged or self.tells_percent

    @property
    def has_holes(self) -> bool:
        """There are times that the trace has no lines for."""
        return self.known_s < self.end_s - self.start_s

    def is_known(self, at_s: float) -> bool:
        """Whether the trace has a line for a moment."""
        return self.start_s <= at_s < self.end_s and self.stretches[self._place(at_s)].is_known

    def utc_offset_s(self, at_s: float) -> int:
        """Seconds that local time was ahead of UTC, as last told; 0 if it is never told."""
        if not self._offsets:
            return 0
        place = bisect.bisect_right(self._offsets, at_s, key=lambda change: change[0])
        return self._offsets[max(place - 1, 0)][1]

    def local_minute(self, at_s: float) -> int:
        """Minute of the local day, 0-1439."""
        return int((at_s + self.utc_offset_s(at_s)) // 60 % 1440)

    def clock_moments(self, minute: int) -> Iterator[float]:
        """Every moment at which the local clock comes to a minute of the day, or is set past it."""
        offsets = self._offsets or [(self.start_s, 0)]
        ends = [*(start_s for start_s, _ in offsets[1:]), self.end_s]
        start_s = self.start_s
        for (_, offset_s), end_s in zip(offsets, ends, strict=True):
            yield start_s
            first_s = start_s + (minute * 60 - start_s - offset_s) % _DAY_S
            yield from range(first_s, end_s, _DAY_S)
            start_s = end_s

    def stretches_within(self, start_s: float, end_s: float) -> tuple[Stretch, ...]:
        """The stretches that a time touches; the first and the last may reach out of it."""
        return self.stretches[self._place(start_s) : bisect.bisect_left(self._starts, end_s)]

    def on_battery_s(self, start_s: float, end_s: float) -> float:
        """Seconds between two moments of this life in which it was told to be on battery."""
        return self._until(self._on_battery, end_s) - self._until(self._on_battery, start_s)

    def power_known_s(self, start_s: float, end_s: float) -> float:
        """Seconds between two moments of this life in which the charger is told, in or out."""
        return self._until(self._power_known, end_s) - self._until(self._power_known, start_s)

    def scenes(self, idle_after_s: float) -> Iterator[Scene]:
        """What readings show, from moment to moment.

        Args:
            idle_after_s: how long quiet must last to be idle.
        """
        quiet_since_s = None
        for stretch in self.stretches:
            power = self._power(stretch)
            if not stretch.quiet:
                quiet_since_s = None
                yield Scene(stretch.start_s, power, None, False)
                continue
            if quiet_since_s is None:
                quiet_since_s = stretch.start_s
            idle_s = quiet_since_s + idle_after_s
            if idle_s > stretch.start_s:
                yield Scene(stretch.start_s, power, quiet_since_s, False)
            if idle_s < stretch.end_s:
                yield Scene(max(idle_s, stretch.start_s), power, quiet_since_s, True)

    def _power(self, stretch: Stretch) -> Power | None:
        if not self.tells_power:
            return None
        percent, plugged = stretch.percent, stretch.plugged
        return Power(True, percent, plugged, "unknown", battery_count=1)

    def _place(self, at_s: float) -> int:
        return max(bisect.bisect_right(self._starts, at_s) - 1, 0)

    def _totals(self, counts: Callable[[Stretch], bool]) -> list[tuple[float, bool]]:
        """For each stretch: the seconds before it that count, and whether it counts itself."""
        totals, total_s = [], 0.0
        for stretch in self.stretches:
            totals.append((total_s, counts(stretch)))
            total_s += (stretch.end_s - stretch.start_s) * counts(stretch)
        return totals

    def _until(self, totals: list[tuple[float, bool]], at_s: float) -> float:
        place = self._place(at_s)
        total_s, counts = totals[place]
        return total_s + (at_s - self._starts[place]) * counts


def backend_name() -> BackendName:
    """The backend that stands in readings of a life: the one that decides by them."""
    return _backend.choose().module.NAME


def _stretches(slots: Iterable[Slot]) -> Iterator[Stretch]:
    """Stretches that follow on each other, equal neighbours taken together."""
    latest: Stretch | None = None
    for stretch in _without_holes(slots):
        if latest is not None and latest[2:] == stretch[2:]:
            latest = latest._replace(end_s=stretch.end_s)
            continue
        if latest is not None:
            yield latest
        latest = stretch
    if latest is not None:
        yield latest


def _without_holes(slots: Iterable[Slot]) -> Iterator[Stretch]:
    end_s = None
    for slot in slots:
        if end_s is not None and slot.start_s > end_s:
            yield Stretch(end_s, slot.start_s, False, None, None, None)
        end_s = slot.start_s + SLOT_S
        quiet = None if slot.activity is None else slot.activity == 0
        yield Stretch(slot.start_s, end_s, True, slot.percent, slot.plugged, quiet)


def _changed_offsets(slots: Iterable[Slot]) -> Iterator[tuple[int, int]]:
    """When the offset from UTC is told first or is another, and what it is then."""
    latest_s = None
    for slot in slots:
        if slot.utc_offset_s is not None and slot.utc_offset_s != latest_s:
            latest_s = slot.utc_offset_s
            yield slot.start_s, latest_s
