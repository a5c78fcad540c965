"""Why a task waits, or what became of it: `Why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deferpower.store import tasks as rows
from deferpower.store.records import State
from deferpower.task import Reason
from deferpower.tasks.record import TaskRecord, TaskState

if TYPE_CHECKING:
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.queue import Queue
    from deferpower.types import Reading


class Why(NamedTuple):
    """The answer to "why does it not run?". As text, one line for people.

    Attributes:
        task_id: which task.
        state: where it stands.
        since_s: since when, seconds since the epoch.
        reasons: everything that keeps it waiting, or what let it run.
        next_s: when time alone may change the answer; ``None`` if it will not.
    """

    task_id: int
    state: TaskState
    since_s: float
    reasons: tuple[Reason, ...]
    next_s: float | None

    def __str__(self) -> str:
        what = "waiting" if self.state in _WAITING else self.state.value
        text = "; ".join(reason.sentence for reason in self.reasons)
        return f"{what}: {text}" if text else what


_WAITING = (TaskState.ENQUEUED, TaskState.BLOCKED)


def explain(
    record: TaskRecord,
    queue: Queue,
    scheduler: IntelligentScheduler,
    reading: Reading,
    *,
    knows_function: bool,
    worker_runs: bool,
) -> Why:
    """Why a task stands where it stands, as of a reading."""
    if record.state is TaskState.BLOCKED:
        return _blocked(record, queue)
    if record.state is not TaskState.ENQUEUED:
        return _settled(record)
    reasons: list[Reason] = []
    next_s: float | None = None
    now_s = reading.wall_s
    if record.due_s > now_s:
        reasons.append(_not_due(record, now_s))
        next_s = record.due_s
    else:
        life_s = None if record.deadline_s is None else record.deadline_s - record.created_s
        decision = scheduler.schedule_task(record.spec.task(record.created_s, life_s), reading)
        if not decision.execute_now:
            reasons += decision.reasons
            next_s = decision.scheduled_time
    if not knows_function:
        reasons.append(
            Reason(
                "unknown_function",
                f"a function named {record.name}",
                "none in this program",
                f"this program has no function named {record.name!r}; it runs once there is one",
            )
        )
    if not reasons:
        reasons.append(_may_run(worker_runs))
    return Why(record.id, record.state, max(record.created_s, 0.0), tuple(reasons), next_s)


def _blocked(record: TaskRecord, queue: Queue) -> Why:
    found = queue.database.read(lambda cursor: rows.blocking(cursor, record.id))
    reasons = tuple(
        Reason(
            "after",
            f"task {first} succeeded",
            TaskState.of(state).value,
            f"it comes after task {first}, which is {_AS[state]}",
        )
        for first, state in found
        if state is not State.SUCCEEDED
    )
    return Why(record.id, record.state, record.created_s, reasons, None)


_AS = {
    State.BLOCKED: "waiting for another itself",
    State.ENQUEUED: "still waiting",
    State.RUNNING: "running",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}


def _settled(record: TaskRecord) -> Why:
    since_s = record.finished_s or record.started_s or record.created_s
    sentence = record.note if record.state is TaskState.RUNNING else record.error
    if not sentence:
        return Why(record.id, record.state, since_s, (), None)
    short = sentence.splitlines()[-1]
    reason = Reason(record.state.value, "", short, short)
    return Why(record.id, record.state, since_s, (reason,), None)


def _not_due(record: TaskRecord, now_s: float) -> Reason:
    left_s = record.due_s - now_s
    if record.error is not None and record.attempts:
        what = record.error.splitlines()[-1]
        return Reason(
            "backoff",
            f"a pause after attempt {record.attempts}",
            f"{left_s:.0f} s to go",
            f"attempt {record.attempts} failed ({what}); the next one is in {_span(left_s)}",
        )
    return Reason(
        "not_due",
        "its time to come",
        f"{left_s:.0f} s to go",
        f"not due yet; {_span(left_s)} to go",
    )


def _may_run(worker_runs: bool) -> Reason:
    if worker_runs:
        return Reason("turn", "a free place", "all taken", "nothing keeps it; it is next in turn")
    return Reason(
        "no_worker",
        "a worker",
        "none runs here",
        "nothing keeps it but that no worker runs in this program; start one",
    )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
