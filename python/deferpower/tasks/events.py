"""What happens to tasks, told to whoever wants to know: callbacks, waiting threads, the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from deferpower.store.records import ENDED, State

if TYPE_CHECKING:
    from deferpower.store.turns import Ended
    from deferpower.tasks.runs import Run

_log = logging.getLogger("deferpower.tasks.events")

EventKind = Literal[
    "submitted",
    "started",
    "stopping",
    "resumed",
    "stopped",
    "retrying",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "orphaned",
]


class Event(NamedTuple):
    """Something that happened to a task.

    Attributes:
        kind: what: ``submitted``; ``started``; ``stopping``: told to stop or frozen, ``detail``
            says why; ``resumed``: may go on after all; ``stopped``: gave way and waits again;
            ``retrying``: failed and runs again later; ``succeeded``, ``failed``, ``cancelled``,
            ``expired``: ended; ``orphaned``: its worker died, it runs again.
        task_id: which task.
        name: the name of its function, where it is at hand.
        wall_s: when, seconds since the epoch.
        detail: more about it, in words; may be empty.
    """

    kind: EventKind
    task_id: int
    name: str
    wall_s: float
    detail: str


_ENDS: dict[State, EventKind] = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}
_LOUD = {"failed": logging.ERROR, "retrying": logging.WARNING, "orphaned": logging.WARNING}


class Events:
    """Callbacks of one manager.

    Attributes:
        release: called with each task that has ended, for those who wait for it.
    """

    def __init__(self, wall_clock: Callable[[], float], release: Callable[[int], object]) -> None:
        self._wall_clock = wall_clock
        self.release = release
        self._callbacks: list[Callable[[Event], None]] = []

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Have a callback called with each event, in the thread in which it happens."""
        self._callbacks.append(callback)

    @property
    def are_told(self) -> bool:
        """Whether anybody listens to events that are no failures."""
        return bool(self._callbacks) or _log.isEnabledFor(logging.DEBUG)

    def emit(self, kind: EventKind, task_id: int, name: str = "", detail: str = "") -> None:
        """Tell of an event. What a callback raises is logged and goes no further."""
        level = _LOUD.get(kind, logging.DEBUG)
        if _log.isEnabledFor(level):
            # One line each; where nothing handles the log, Python writes it to standard error.
            last = detail.rpartition("\n")[2]
            what = name and f" ({name})"
            _log.log(level, "task %d%s %s%s", task_id, what, kind, last and f": {last}")
            if last != detail:
                _log.debug("task %d%s %s: %s", task_id, what, kind, detail)
        if not self._callbacks:
            return
        event = Event(kind, task_id, name, self._wall_clock(), detail)
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception:
                _log.exception("a callback failed at event %s of task %d", kind, task_id)

    def failed_with_others(self, task_ids: Iterable[int]) -> None:
        """Tell of tasks that failed since others did that they waited for."""
        for task_id in task_ids:
            self.emit("failed", task_id, detail="what it waited for did not succeed")
            self.release(task_id)

    def ended(self, run: Run, row: Ended) -> None:
        """Tell what became of a run."""
        kind: EventKind
        if row.state in ENDED:
            kind = _ENDS[row.state]
        elif row.created_s is not None:  # one period is over, the next begins
            kind = "failed" if row.failed else "succeeded"
        else:
            kind = "retrying" if row.failed else "stopped"
        self.emit(kind, row.id, run.spec.name, row.error or "")
        if row.state in ENDED:
            self.release(row.id)
