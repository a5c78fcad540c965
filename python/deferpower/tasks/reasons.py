"""What keeps a task beside the machine, in words: its time, other tasks, who runs it.

`deferpower.reasons` has the words for what the machine keeps it for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from deferpower.store.records import State
from deferpower.task import Reason
from deferpower.tasks.record import TaskRecord, TaskState

if TYPE_CHECKING:
    from deferpower.store.chains import Before

_AS = {
    State.BLOCKED: "waiting for another itself",
    State.ENQUEUED: "still waiting",
    State.RUNNING: "running",
    State.SUCCEEDED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}


def not_due(record: TaskRecord, now_s: float) -> Reason:
    """Its moment has not come."""
    left = _span(record.due_s - now_s)
    seen = f"{left} to go"
    if record.attempts and record.error is not None:
        what = record.error.splitlines()[-1]
        sentence = f"attempt {record.attempts} failed ({what}); the next one is in {left}"
        return Reason("backoff", f"a pause after attempt {record.attempts}", seen, sentence)
    if record.spec.every_s is not None and record.started_s is not None:
        sentence = f"it runs every {_span(record.spec.every_s)}; the next run is in {left}"
        return Reason("periodic", "its next period", seen, sentence)
    return Reason("not_due", "its time to come", seen, f"not due yet; {seen}")


def none_due(left_s: float, *, after_failure: bool, periodic: bool) -> Reason:
    """The moment of none of several tasks has come."""
    code, sentence = "not_due", "not due yet"
    if after_failure:
        code, sentence = "backoff", "an attempt failed; the next one comes later"
    elif periodic:
        code, sentence = "periodic", "periodic, the next time is still to come"
    return Reason(code, "its time to come", f"{_span(left_s)} to go", sentence)


def after(first: Before) -> Reason:
    """It comes after another task, or takes the place of one that has not stopped."""
    seen = TaskState.of(first.state).value
    if first.any_end:
        sentence = f"it takes the place of task {first.id}, which has not stopped yet"
        return Reason("after", f"task {first.id} ended", seen, sentence)
    sentence = f"it comes after task {first.id}, which is {_AS[first.state]}"
    return Reason("after", f"task {first.id} succeeded", seen, sentence)


AFTER_OTHERS = Reason(
    "after",
    "other tasks succeeded",
    "not yet",
    "after other tasks, which have not succeeded yet",
)
"""Several tasks come after others."""

WOKEN = Reason(
    "woken", "a look at each", "none yet", "their moment has come; a worker looks at them"
)
"""The moment of several tasks has come, and more are there than were looked at."""


def unknown_function(name: str) -> Reason:
    """This program cannot call its function."""
    sentence = f"this program has no function named {name!r}; another must run it"
    return Reason("unknown_function", f"a function named {name}", "none in this program", sentence)


def unknown_conditions(names: Iterable[str]) -> Reason:
    """It asks for conditions of another program's own."""
    told = ", ".join(map(repr, sorted(names)))
    sentence = f"this program has no condition named {told}; another must judge it"
    wanted, seen = f"a condition named {told}", "none in this program"
    return Reason("unknown_condition", wanted, seen, sentence)


def charging_batch() -> Reason:
    """The battery is to fill, too."""
    sentence = "as many charging-only tasks run as may at once, so that the battery still fills"
    wanted, seen = "fewer charging-only tasks at once", "as many as may run do"
    return Reason("charging_batch", wanted, seen, sentence)


def suspect(crashes: int, other: int) -> Reason:
    """Tasks whose workers died run apart from one another."""
    times = "once" if crashes == 1 else f"{crashes} times"
    sentence = (
        f"its worker died while it ran ({times}), and such tasks run one at a time; "
        f"task {other} runs now"
    )
    return Reason("suspect", "a turn by itself", f"task {other} has it", sentence)


def busy(places: int) -> Reason:
    """No place is free."""
    sentence = f"all {places} places are taken by tasks that run"
    return Reason("busy", "a free place", f"{places} of {places} taken", sentence)


def turn() -> Reason:
    """Nothing keeps it."""
    sentence = "nothing keeps it; the worker takes it up in a moment"
    return Reason("turn", "its turn", "next", sentence)


def other_worker(pids: Sequence[int], name: str | None) -> Reason:
    """Nothing keeps it, and it is up to others.

    Args:
        pids: their processes.
        name: the function that they must have, where it is not known whether they do.
    """
    told = ", ".join(map(str, pids))
    sentence = f"nothing keeps it; a worker runs (process {told}) and takes it in its turn"
    if name is not None:
        sentence += f", if its program has a function named {name!r}"
    return Reason("other_worker", "a worker's turn", f"process {told} runs one", sentence)


def no_worker() -> Reason:
    """Nothing keeps it, and nobody runs it."""
    sentence = (
        "nothing keeps it but that no worker runs; start one with deferpower worker, "
        "or in a program with start()"
    )
    return Reason("no_worker", "a worker", "none runs", sentence)


def settled(state: TaskState, text: str) -> Reason:
    """What became of it, or what it is up to: the last line of a text."""
    short = text.splitlines()[-1]
    return Reason(state.value, "", short, short)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
