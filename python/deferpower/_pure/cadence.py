"""When the machine is worth looking at again: SEMANTICS.md, "Waiting"."""

from __future__ import annotations

import math
from typing import NamedTuple

_PLUG_S = 5.0
_LEVEL_S = 5.0
_LEVEL_S_PER_POINT = 30.0  # a battery that empties or fills within an hour moves a point in 36 s
_POWER_S = 60.0  # the longest that power goes unread, events or not
_AFTER_EVENT_S = (0.0, 1.0, 5.0)  # events may come before what they announce can be read
_IDLE_S, _IDLE_MOST_S = 5.0, 30.0
_IDLE_PER_DWELL = 0.5  # who waits for a minute of quiet does not feel half a minute more
_IDLE_RUNNING_S = 2.0
_LOAD_S = 5.0
_STORAGE_S = 30.0


class Need(NamedTuple):
    """What somebody who waits for another outcome needs.

    Attributes:
        due_s: the moment of the next sample; infinite where no sample can change the outcome.
        power: whether a change of power can.
    """

    due_s: float
    power: bool


class Seen(NamedTuple):
    """What the rules know of the last sample.

    Attributes:
        sampled_s: when it was taken.
        plug_counts_s: when a charger that was seen will count.
        points_to_line: percent from the level to the nearest line; ``None`` without a battery.
    """

    sampled_s: float
    plug_counts_s: float | None
    points_to_line: float | None


class Sensed(NamedTuple):
    """What the sensors know beside it.

    Attributes:
        slow_read_s: when power was read.
        quiet_since_s: since when the machine has been quiet.
        idle_dwell_s: how long it must be.
        has_power_events: whether the kernel tells when power changes.
    """

    slow_read_s: float | None
    quiet_since_s: float | None
    idle_dwell_s: float
    has_power_events: bool


class Dues(NamedTuple):
    """The moment of the next sample, for each thing that somebody may wait for.

    Attributes:
        plug_s: a charger that comes or goes.
        level_s: a battery level.
        idle_s: the machine becoming idle.
        idle_running_s: the end of idleness that a task runs in.
        load_s: memory, processor and storage together.
        storage_s: storage alone.
    """

    plug_s: float
    level_s: float
    idle_s: float
    idle_running_s: float
    load_s: float
    storage_s: float

    def is_slow_due(self, now_s: float, power: bool) -> bool:
        """Whether power and storage are to be read at this moment.

        Args:
            now_s: the moment.
            power: whether anybody waits for a change of power.
        """
        return self.storage_s <= now_s or (power and min(self.plug_s, self.level_s) <= now_s)


def next_dues(seen: Seen, sensed: Sensed, power_event_s: float | None, user_present: bool) -> Dues:
    """The moments, from the last sample and the last event."""
    # What somebody else has read since the rules do not know of.
    read_s = sensed.slow_read_s
    power_read_s = -math.inf if read_s is None else min(read_s, seen.sampled_s)
    plug_s = level_s = _POWER_S
    if not sensed.has_power_events:
        plug_s = _PLUG_S
        if seen.points_to_line is not None:
            level_s = min(max(seen.points_to_line * _LEVEL_S_PER_POINT, _LEVEL_S), _POWER_S)
    again_s = _again_after(power_event_s, power_read_s)
    counts_s = math.inf if seen.plug_counts_s is None else _rounded_up(seen.plug_counts_s)
    return Dues(
        min(_every(plug_s, power_read_s), again_s, counts_s),
        min(_every(level_s, power_read_s), again_s),
        math.inf if user_present else _idle_s(seen, sensed),
        _every(_IDLE_RUNNING_S, seen.sampled_s),
        _every(_LOAD_S, seen.sampled_s),
        _every(_STORAGE_S, power_read_s),
    )


def _every(interval_s: float, last_s: float) -> float:
    """One interval after the last time, at a full second, where wake-ups of many meet."""
    return float(math.floor(last_s + interval_s)) if last_s > -math.inf else last_s


def _rounded_up(moment_s: float) -> float:
    return float(math.ceil(moment_s)) if moment_s < math.inf else moment_s


def _again_after(event_s: float | None, read_s: float) -> float:
    if event_s is None:
        return math.inf
    moments = (event_s + after_s for after_s in _AFTER_EVENT_S)
    return next((moment_s for moment_s in moments if moment_s > read_s), math.inf)


def _idle_s(seen: Seen, sensed: Sensed) -> float:
    """While it is quiet nothing but time is missing."""
    if sensed.quiet_since_s is not None:
        idle_s = _rounded_up(sensed.quiet_since_s + sensed.idle_dwell_s)
        if idle_s > seen.sampled_s:
            return idle_s
    again_s = min(max(sensed.idle_dwell_s * _IDLE_PER_DWELL, _IDLE_S), _IDLE_MOST_S)
    return _every(again_s, seen.sampled_s)
