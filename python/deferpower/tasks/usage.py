"""What a worker sees of the device while it is awake, as spans of time and as rows of history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.history import SLOT_S, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferpower.types import Reading

_STANDS_S = 300.0
"""How long what was seen stands, unless the next look shows that it went on."""
_LONGEST_S = 3900.0
"""A look so much later says nothing of the time between; parked tasks are looked at each hour."""
_STEP_S = 1.0
"""Wall clock and monotonic clock that part by more: the machine slept, or the clock was set."""
_SAME_S = 10.0


class Look(NamedTuple):
    """The device at a moment.

    Attributes:
        wall_s: seconds since the epoch.
        monotonic_s: the same on the line that never goes back.
        percent: battery level, 0-100.
        plugged: on external power; a machine without a battery is.
        activity: 1 while it is used, 0 while it is quiet.
        quiet_since_s: since when, on the wall clock.
    """

    wall_s: float
    monotonic_s: float
    percent: float | None
    plugged: bool | None
    activity: float | None
    quiet_since_s: float | None

    @classmethod
    def of(cls, reading: Reading) -> Look:
        """What a reading shows."""
        power, user = reading.power, reading.user
        if power is None:
            percent, plugged = None, None
        elif not power.present:
            percent, plugged = None, True
        else:
            percent, plugged = power.percent, power.plugged
        quiet_s = reading.quiet_since_s
        used = user is not None and user.present
        if quiet_s is not None and not used:
            quiet_wall_s = reading.wall_s - (reading.monotonic_s - quiet_s)
            if user is not None and user.idle_s is not None:
                quiet_wall_s = max(quiet_wall_s, reading.wall_s - user.idle_s)
            elif user is not None:
                quiet_wall_s = reading.wall_s
            return cls(reading.wall_s, reading.monotonic_s, percent, plugged, 0.0, quiet_wall_s)
        # The first reading has no rates: then it cannot be told.
        busy = used or (reading.cpu is not None and reading.cpu.busy_percent is not None)
        activity = 1.0 if busy else None
        return cls(reading.wall_s, reading.monotonic_s, percent, plugged, activity, None)

    @property
    def state(self) -> tuple[bool | None, float | None]:
        """What is learned of it."""
        return self.plugged, self.activity


class Span(NamedTuple):
    """A time over which nothing changed that was seen."""

    start_s: float
    end_s: float
    percent: float | None
    plugged: bool | None
    activity: float | None


def spans(before: Look, now: Look) -> Iterator[Span]:
    """What two looks say about the time between them.

    What is equal at both holds throughout, and quiet since when it began; else what was seen
    first stands for 300 s.
    """
    passed_s = now.monotonic_s - before.monotonic_s
    whole_s = now.wall_s - before.wall_s
    if whole_s <= 0.0 or passed_s <= 0.0:
        return
    if whole_s > _LONGEST_S or abs(whole_s - passed_s) > _STEP_S:
        stands_s = min(_STANDS_S, whole_s, passed_s)
        yield Span(before.wall_s, before.wall_s + stands_s, *before[2:5])
        return
    stands_until_s = before.wall_s + _STANDS_S
    quiet_s = now.wall_s if now.quiet_since_s is None else max(now.quiet_since_s, before.wall_s)
    edges = sorted({before.wall_s, min(stands_until_s, now.wall_s), quiet_s, now.wall_s})
    for start_s, end_s in pairwise(edges):
        stands = start_s < stands_until_s
        plugged = before.plugged if stands or before.plugged == now.plugged else None
        activity: float | None
        if start_s >= quiet_s:
            activity = 0.0
        elif before.activity == 1.0 and (now.activity is not None):
            activity = 1.0
        else:
            activity = before.activity if stands else None
        if plugged is not None or activity is not None:
            yield Span(start_s, end_s, before.percent, plugged, activity)


class Recorder:
    """Gathers looks into spans to learn from, and into rows to keep."""

    def __init__(self, offset: Callable[[float], int]) -> None:
        """Nothing seen yet.

        Args:
            offset: seconds that local time is ahead of UTC at a moment.
        """
        self._offset = offset
        self._before: Look | None = None
        self._slots: dict[int, _Slot] = {}

    @property
    def state(self) -> tuple[bool | None, float | None] | None:
        """What the device was like at the last look; ``None`` before the first."""
        return None if self._before is None else self._before.state

    def is_news(self, look: Look) -> bool:
        """Whether a look is worth taking: something has changed, or some seconds have passed."""
        before = self._before
        return (
            before is None
            or look.state != before.state
            or not 0.0 <= look.wall_s - before.wall_s < _SAME_S
        )

    def take(self, look: Look) -> list[Span]:
        """The time since the look before; it goes into the rows, too."""
        before, self._before = self._before, look
        if before is None:
            return []
        seen = list(spans(before, look))
        for span in seen:
            self._add(span)
        return seen

    def rows(self, until_s: float) -> list[Seen]:
        """Rows of the slots that were over by then; they stay until `forget`."""
        return [
            slot.row(start_s, self._offset(start_s))
            for start_s, slot in sorted(self._slots.items())
            if start_s + SLOT_S <= until_s
        ]

    def forget(self, rows: list[Seen]) -> None:
        """Let go of rows that are written."""
        for row in rows:
            self._slots.pop(row.start_s, None)

    def _add(self, span: Span) -> None:
        start_s = span.start_s
        while start_s < span.end_s:
            slot_s = int(start_s // SLOT_S) * SLOT_S
            end_s = min(span.end_s, slot_s + SLOT_S)
            self._slots.setdefault(slot_s, _Slot()).add(end_s - start_s, span)
            start_s = end_s


class _Slot:
    """Sums over the seen part of one slot."""

    __slots__ = ("_activity", "_level", "_plugged", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        # Weighted sum, and seconds for which it is known.
        self._level, self._plugged, self._activity = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]

    def add(self, seconds: float, span: Span) -> None:
        self._seconds += seconds
        for sums, value in (
            (self._level, span.percent),
            (self._plugged, span.plugged),
            (self._activity, span.activity),
        ):
            if value is not None:
                sums[0] += value * seconds
                sums[1] += seconds

    def row(self, start_s: int, utc_offset_s: int) -> Seen:
        level, plugged, activity = (
            total / known if known else None
            for total, known in (self._level, self._plugged, self._activity)
        )
        return Seen(
            start_s,
            min(self._seconds, float(SLOT_S)),
            utc_offset_s,
            None if level is None else min(max(level, 0.0), 100.0),
            None if plugged is None else plugged >= 0.5,
            None if activity is None else min(max(activity, 0.0), 1.0),
        )
