"""Why a task waits, or what became of it: `Why`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from deferpower.errors import TaskError
from deferpower.planning import HELD_BACK, Plan, need_of, plan_of, without_planned
from deferpower.store import chains
from deferpower.task import Reason, TaskClass
from deferpower.tasks import reasons as words
from deferpower.tasks.record import TaskRecord, TaskState
from deferpower.tasks.spec import COMMAND
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
    knows_function: bool | None,
    crew: Crew | None,
    workers: Sequence[int],
) -> Why:
    """Why a task stands where it stands, as of a reading.

    Args:
        record: the task.
        queue: where it is.
        scheduler: what decides about it.
        reading: the machine, a moment ago.
        now_s: the time on the wall clock; a reading may be older than the task.
        knows_function: whether the program that runs tasks can call its function; ``None`` if
            that is another program, and not known.
        crew: who runs tasks in this program; ``None`` if nobody does.
        workers: process ids of all that run tasks of this queue.
    """
    if record.state is TaskState.BLOCKED:
        return _blocked(record, queue)
    if record.state is not TaskState.ENQUEUED:
        return _settled(record)
    reasons, unblocks, next_s = _waits_for(record, queue, scheduler, reading, now_s)
    outlook = _outlook(record, queue, now_s) if reasons and record.due_s <= now_s else None
    if knows_function is False:
        reasons = (*reasons, words.unknown_function(record.name))
        unblocks = unblocks if len(reasons) > 1 else f"a function named {record.name!r} here"
    if not reasons:
        reason, unblocks = _next_in_turn(record, crew, workers, is_known=knows_function is True)
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
        reason = words.not_due(record, now_s)
        return (reason,), reason.seen.removesuffix(" to go"), record.due_s
    life_s = None if record.deadline_s is None else record.deadline_s - record.created_s
    task = record.spec.task(record.created_s, life_s)
    plan = plan_of(task, record.spec.task_class)
    advice = queue.foresight.advise(plan) if plan is not None and now_s < plan.until_s else None
    if advice is not None:
        task = without_planned(task)
    try:
        decision = scheduler.schedule_task(task, reading)
    except TaskError:
        unknown = words.unknown_conditions(scheduler.unknown_conditions(task))
        return (unknown,), "a worker that knows all of its conditions", None
    if decision.execute_now and advice is not None and not advice.start:
        again_s = queue.foresight.replanned_s(now_s)
        return (HELD_BACK,), "leaving its deadline out, or setting it to run by hand", again_s
    if decision.execute_now:
        return (), None, None
    unblocks = what_would_start(task, scheduler, reading)
    return decision.reasons, unblocks, decision.scheduled_time


def _next_in_turn(
    record: TaskRecord, crew: Crew | None, workers: Sequence[int], *, is_known: bool
) -> tuple[Reason, str | None]:
    """Why a task has not begun that nothing keeps, and what would begin it."""
    if crew is None:
        if not workers:
            return words.no_worker(), "a worker"
        asked = None if is_known or record.name == COMMAND else record.name
        return words.other_worker(workers, asked), "a free place at that worker"
    if record.spec.task_class is TaskClass.CHARGING_ONLY and not crew.charging_room():
        return words.charging_batch(), "the end of one of them"
    if record.crashes and crew.suspect is not None:
        return words.suspect(record.crashes, crew.suspect), f"the end of task {crew.suspect}"
    if len(crew.runs) - crew.resting >= crew.places:
        return words.busy(crew.places), "the end of one of them"
    return words.turn(), "nothing more"


def _blocked(record: TaskRecord, queue: Queue) -> Why:
    found = queue.database.read(lambda cursor: chains.blocking(cursor, record.id))
    holds = [first for first in found if first.holds]
    reasons = tuple(words.after(first) for first in holds)
    wanted = " and ".join(
        f"the {'end' if first.any_end else 'success'} of task {first.id}" for first in holds
    )
    return Why(record.id, record.state, record.since_s, reasons, wanted, record.deadline_s)


def _settled(record: TaskRecord) -> Why:
    text = record.note if record.state is TaskState.RUNNING else record.error
    reasons = (words.settled(record.state, text),) if text else ()
    return Why(record.id, record.state, record.since_s, reasons, None, None)
