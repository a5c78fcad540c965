"""What would let a waiting task start now: found by trying machines that differ in one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.task import Task
from deferpower.types import Network, Storage

if TYPE_CHECKING:
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.types import Reading


class _Moment(NamedTuple):
    """A machine, as it is or as it might be."""

    reading: Reading
    local_minute: int
    holds: dict[str, bool]


class _Change(NamedTuple):
    """One thing that might be otherwise, in words, and what makes it so."""

    words: str
    make: Callable[[_Moment], _Moment]


def what_would_start(task: Task, scheduler: IntelligentScheduler, reading: Reading) -> str:
    """The single change that would let a task start now, or all that it takes, in words.

    Args:
        task: one that waits; its class must be set.
        scheduler: what decides about it.
        reading: the machine as it is.
    """
    minute = scheduler.local_minute(reading.wall_s)
    now = _Moment(reading, minute, scheduler.held())

    def starts(moment: _Moment) -> bool:
        return scheduler.suppose(task, *moment).execute_now

    if starts(now):
        # Only what was seen before keeps it: a line that was fallen below, a charger just found.
        is_plugged = reading.power is not None and reading.power.plugged
        return "the charger to stay plugged in" if is_plugged else "a fuller battery"
    changes = list(_changes(task, now))
    alone = [change.words for change in changes if starts(change.make(now))]
    if alone:
        return " or ".join(alone)
    needed = _fewest(changes, now, starts)
    if needed is None:
        return "setting it to run by hand"
    return " and ".join(change.words for change in needed) + " together"


def _fewest(
    changes: list[_Change], now: _Moment, starts: Callable[[_Moment], bool]
) -> list[_Change] | None:
    """Changes none of which can be left out; ``None`` if all of them are not enough."""

    def made(some: list[_Change]) -> _Moment:
        moment = now
        for change in some:
            moment = change.make(moment)
        return moment

    if not starts(made(changes)):
        return None
    for change in reversed(changes):
        others = [other for other in changes if other is not change]
        if starts(made(others)):
            changes = others
    return changes


def _changes(task: Task, now: _Moment) -> Iterator[_Change]:
    """What might be otherwise, the likeliest first."""
    power = now.reading.power
    if power is not None and power.present:
        if power.plugged is not True:
            yield _Change("external power", _plugged)
        yield _Change("a fuller battery", _full)
    if now.reading.idle_since_s is None:
        yield _Change("an idle machine", _idle)
    if any(asked.network for asked in (task.constraints, task.prefer)):
        yield _Change("a network that costs nothing", _networked)
    yield _Change("room in memory, processor and storage", _roomy)
    for window in task.windows:
        if not window.contains(now.local_minute):
            yield _Change(f"the hours {window}", _at(window.start_minute))
    for name in dict.fromkeys((*task.constraints.custom, *task.prefer.custom)):
        if not now.holds[name]:
            yield _Change(f"condition {name!r} to hold", _holding(name))


def _at(minute: int) -> Callable[[_Moment], _Moment]:
    return lambda moment: moment._replace(local_minute=minute)


def _holding(name: str) -> Callable[[_Moment], _Moment]:
    return lambda moment: moment._replace(holds=moment.holds | {name: True})


def _plugged(moment: _Moment) -> _Moment:
    return _power(moment, plugged=True, state="charging")


def _full(moment: _Moment) -> _Moment:
    return _power(moment, percent=100.0)


def _power(moment: _Moment, **changes: Any) -> _Moment:
    power = moment.reading.power
    assert power is not None
    return _read(moment, power=power._replace(**changes))


def _idle(moment: _Moment) -> _Moment:
    return _read(moment, idle_since_s=moment.reading.wall_s, user=None)


def _networked(moment: _Moment) -> _Moment:
    return _read(moment, network=Network(None, None, connected=True, metered=False))


def _roomy(moment: _Moment) -> _Moment:
    return _read(moment, memory=None, cpu=None, storage={"/": Storage(0.0, 1 << 40)})


def _read(moment: _Moment, **changes: Any) -> _Moment:
    return moment._replace(reading=moment.reading._replace(**changes))
