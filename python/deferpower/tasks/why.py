"""Why a task waits, or what became of it: `Why`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from deferpower.errors import TaskError
from deferpower.planning import HELD_BACK, Plan, need_of, plan_of, without_planned
from deferpower.store import chains, owner, workers
from deferpower.store.records import State
from deferpower.task import Reason, TaskClass
from deferpower.tasks.record import TaskRecord, TaskState
from deferpower.tasks.unblocking import what_would_start

if TYPE_CHECKING:
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.foresight import Outlook
    from deferpower.tasks.queue import Queue
    from deferpower.types import Reading


class Why(NamedTuple):
    """The answer to "why does it not run?". As text, one line for people.

    Attributes:
        task_id: which task.
        state: where it stands.
        since_s: since when, seconds since the epoch.
        reasons: everything that keeps it waiting, or what became of it.
        unblocks: what would make it run now, in one sentence; ``None`` if it does not wait.
        next_s: when time alone may change the answer; ``None`` if it will not.
        probable_start_s: the full hour at which it will most likely start; ``None`` where no
            forecast tells.
        probability: that what it waits for comes by its deadline, within a day at most, 0-1;
            ``None`` likewise.
    """

    task_id: int
    state: TaskState
    since_s: float
    reasons: tuple[Reason, ...]
    unblocks: str | None
    next_s: float | None
    probable_start_s: float | None = None
    probability: float | None = None

    @property
    def prospect(self) -> str | None:
        """When it will probably start, in words and local time; ``None`` if nobody can say."""
        if self.probable_start_s is None or self.probability is None:
            return None
        start = time.strftime("%a %H:%M", time.localtime(self.probable_start_s))
        return f"probably starts around {start} ({100 * self.probability:.0f} % that it can)"

    def __str__(self) -> str:
        what = "waiting" if self.state in _WAITING else self.state.value
        text = "; ".join(reason.sentence for reason in self.reasons)
        if self.prospect is not None:
            text = f"{text}; {self.prospect}"
        return f"{what}: {text}" if text else what


class Crew(Protocol):
    """What a worker says about itself; `worker.Worker` documents each."""

    @property
    def runs(self) -> Sequence[object]: ...  # noqa: D102
    @property
    def places(self) -> int: ...  # noqa: D102
    @property
    def resting(self) -> int: ...  # noqa: D102
    @property
    def suspect(self) -> int | None: ...  # noqa: D102
    def charging_room(self) -> int: ...  # noqa: D102


_WAITING = (TaskState.ENQUEUED, TaskState.BLOCKED)


def explain(
    record: TaskRecord,
    queue: Queue,
    scheduler: IntelligentScheduler,
    reading: Reading,
    now_s: float,
    *,
    knows_function: bool,
    crew: Crew | None,
) -> Why:
    """Why a task stands where it stands, as of a reading.

    Args:
        record: the task.
        queue: where it is.
        scheduler: what decides about it.
        reading: the machine, a moment ago.
        now_s: the time on the wall clock; a reading may be older than the task.
        knows_function: whether this program can call its function.
        crew: who runs tasks in this program; ``None`` if nobody does.
    """
    if record.state is TaskState.BLOCKED:
        return _blocked(record, queue)
    if record.state is not TaskState.ENQUEUED:
        return _settled(record)
    reasons, unblocks, next_s = _waits_for(record, queue, scheduler, reading, now_s)
    outlook = _outlook(record, queue, now_s) if reasons and record.due_s <= now_s else None
    if not knows_function:
        reasons = (*reasons, _unknown_function(record.name))
        unblocks = unblocks if len(reasons) > 1 else f"a function named {record.name!r} here"
    if not reasons:
        reason, unblocks = _next_in_turn(record, queue, crew)
        reasons = (reason,)
    why = Why(record.id, record.state, record.since_s, reasons, unblocks, next_s)
    if outlook is not None:
        why = why._replace(probable_start_s=outlook.start_s, probability=outlook.probability)
    return why


def _outlook(record: TaskRecord, queue: Queue, now_s: float) -> Outlook | None:
    """When what a task waits for will probably come, within a day if it has no deadline."""
    spec = record.spec
    task = spec.task(record.created_s, None)
    deadline_s = now_s + _DAY_S if record.deadline_s is None else record.deadline_s
    need = need_of(task, spec.task_class)
    if deadline_s <= now_s or (need is None and spec.task_class is not TaskClass.BACKGROUND):
        return None
    return queue.foresight.outlook(Plan(need, deadline_s))


_DAY_S = 86_400.0


def _waits_for(
    record: TaskRecord,
    queue: Queue,
    scheduler: IntelligentScheduler,
    reading: Reading,
    now_s: float,
) -> tuple[tuple[Reason, ...], str | None, float | None]:
    """What time or the machine keeps it for; what would end that; when to ask again."""
    if record.due_s > now_s and not record.is_due:
        reason = _not_due(record, now_s)
        return (reason,), f"time alone: {reason.seen}", record.due_s
    life_s = None if record.deadline_s is None else record.deadline_s - record.created_s
    task = record.spec.task(record.created_s, life_s)
    plan = plan_of(task, record.spec.task_class)
    advice = queue.foresight.advise(plan) if plan is not None and now_s < plan.deadline_s else None
    if advice is not None:
        task = without_planned(task)
    try:
        decision = scheduler.schedule_task(task, reading)
    except TaskError as error:
        sentence = f"this program cannot judge it: {error}"
        reason = Reason("unknown_condition", "every condition by name", "one is missing", sentence)
        return (reason,), "a worker that knows all of its conditions", None
    if decision.execute_now and advice is not None and not advice.start:
        again_s = queue.foresight.replanned_s(now_s)
        return (HELD_BACK,), "leaving its deadline out, or setting it to run by hand", again_s
    if decision.execute_now:
        return (), None, None
    unblocks = what_would_start(task, scheduler, reading)
    return decision.reasons, unblocks, decision.scheduled_time


def _not_due(record: TaskRecord, now_s: float) -> Reason:
    left = _span(record.due_s - now_s)
    if record.attempts and record.error is not None:
        what = record.error.splitlines()[-1]
        return Reason(
            "backoff",
            f"a pause after attempt {record.attempts}",
            f"{left} to go",
            f"attempt {record.attempts} failed ({what}); the next one is in {left}",
        )
    if record.spec.every_s is not None and record.started_s is not None:
        every = _span(record.spec.every_s)
        sentence = f"it runs every {every}; the next run is in {left}"
        return Reason("periodic", "its next period", f"{left} to go", sentence)
    return Reason("not_due", "its time to come", f"{left} to go", f"not due yet; {left} to go")


def _unknown_function(name: str) -> Reason:
    return Reason(
        "unknown_function",
        f"a function named {name}",
        "none in this program",
        f"this program has no function named {name!r}; it runs once there is one",
    )


def _next_in_turn(record: TaskRecord, queue: Queue, crew: Crew | None) -> tuple[Reason, str | None]:
    """Why a task has not begun that nothing keeps, and what would begin it."""
    if crew is None:
        return _no_worker_here(queue)
    if record.spec.task_class is TaskClass.CHARGING_ONLY and not crew.charging_room():
        return Reason(
            "charging_batch",
            "fewer charging-only tasks at once",
            "as many as may run do",
            "as many charging-only tasks run as may at once, so that the battery still fills",
        ), "the end of one of them"
    if record.crashes and crew.suspect is not None:
        return Reason(
            "suspect",
            "a turn by itself",
            f"task {crew.suspect} has it",
            f"its worker died while it ran ({_times(record.crashes)}), and such tasks run one at "
            f"a time; task {crew.suspect} runs now",
        ), f"the end of task {crew.suspect}"
    places = crew.places
    if len(crew.runs) - crew.resting >= places:
        return Reason(
            "busy",
            "a free place",
            f"{places} of {places} taken",
            f"all {places} places are taken by tasks that run",
        ), "the end of one of them"
    sentence = "nothing keeps it; the worker takes it up in a moment"
    return Reason("turn", "its turn", "next", sentence), "nothing more"


def _no_worker_here(queue: Queue) -> tuple[Reason, str | None]:
    found = queue.database.read(lambda cursor: workers.others(cursor, workers.NOBODY))
    here = owner.this_process()
    pids = sorted(
        process.pid for process in found.values() if process != here and not owner.is_dead(process)
    )
    if pids:
        sentence = f"nothing keeps it here; it is up to the worker of process {pids[0]}"
        reason = Reason("other_worker", "a worker's turn", f"process {pids[0]} runs one", sentence)
        return reason, "a free place at that worker"
    return Reason(
        "no_worker",
        "a worker",
        "none runs",
        "nothing keeps it but that no worker runs; start one",
    ), "a worker"


def _blocked(record: TaskRecord, queue: Queue) -> Why:
    found = queue.database.read(lambda cursor: chains.blocking(cursor, record.id))
    holds = [first for first in found if first.holds]
    reasons = tuple(
        Reason(
            "after",
            f"task {first.id} {'ended' if first.any_end else 'succeeded'}",
            TaskState.of(first.state).value,
            f"it takes the place of task {first.id}, which has not stopped yet"
            if first.any_end
            else f"it comes after task {first.id}, which is {_AS[first.state]}",
        )
        for first in holds
    )
    wanted = " and ".join(
        f"the {'end' if first.any_end else 'success'} of task {first.id}" for first in holds
    )
    return Why(record.id, record.state, record.since_s, reasons, wanted, record.deadline_s)


_AS = {
    State.BLOCKED: "waiting for another itself",
    State.ENQUEUED: "still waiting",
    State.RUNNING: "running",
    State.SUCCEEDED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}


def _settled(record: TaskRecord) -> Why:
    sentence = record.note if record.state is TaskState.RUNNING else record.error
    reasons: tuple[Reason, ...] = ()
    if sentence:
        short = sentence.splitlines()[-1]
        reasons = (Reason(record.state.value, "", short, short),)
    return Why(record.id, record.state, record.since_s, reasons, None, None)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
