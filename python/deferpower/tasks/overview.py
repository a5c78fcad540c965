"""The whole queue at a glance: what runs, and what waits for what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import TaskError
from deferpower.planning import HELD_BACK, without_planned
from deferpower.store import counts, turns
from deferpower.store import tasks as rows
from deferpower.store.records import TaskRow
from deferpower.task import Reason, Task
from deferpower.tasks import reasons as words
from deferpower.tasks.record import TaskRecord, TaskState

if TYPE_CHECKING:
    import apsw

    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.queue import Queue
    from deferpower.tasks.spec import Spec
    from deferpower.types import Reading

_MOST_WOKEN = 500
_MOST_RUNNING = 100


class Waiting(NamedTuple):
    """Tasks that wait for the same.

    Attributes:
        reasons: everything that keeps them; empty if nothing does but that nobody has begun them.
        size: how many they are.
        names: of their functions, sorted; empty where they were not looked at one by one.
        first: the number of one of them.
        next_s: when time alone may change the reasons, seconds since the epoch; ``None`` if it
            will not.
    """

    reasons: tuple[Reason, ...]
    size: int
    names: tuple[str, ...]
    first: int
    next_s: float | None

    @property
    def sentence(self) -> str:
        """The reasons in one line, for people."""
        return "; ".join(reason.sentence for reason in self.reasons) or "may run now"


class Overview(NamedTuple):
    """A queue at one moment.

    Attributes:
        counts: how many tasks there are in each state.
        running: what some worker runs, the oldest first; the first 100 of them.
        held: how many of them this manager runs, or has claimed to run next.
        waiting: what waits for what, the largest group first.
        next_s: the first moment at which a task is due or drops a preference; ``None`` for none.
        workers: processes that run tasks of this queue now.
    """

    counts: Mapping[TaskState, int]
    running: tuple[TaskRecord, ...]
    held: int
    waiting: tuple[Waiting, ...]
    next_s: float | None
    workers: tuple[int, ...]


class _Facts(NamedTuple):
    """What one look at the store tells."""

    counts: Mapping[TaskState, int]
    running: list[TaskRecord]
    held: int
    lanes: list[counts.LaneCount]
    later: list[counts.Later]
    woken: list[tuple[TaskRow, Spec]]
    more_woken: int
    blocked: int | None
    next_s: float | None


def overview(
    queue: Queue,
    scheduler: IntelligentScheduler,
    reading: Reading,
    now_s: float,
    *,
    knows_function: Callable[[str], bool],
    worker: int | None,
    workers: Iterable[int],
) -> Overview:
    """The queue as of a reading.

    Args:
        queue: what to look at.
        scheduler: judges what waits for the machine.
        reading: the machine, a moment ago.
        now_s: the time on the wall clock.
        knows_function: whether a function of this name can be run.
        worker: the id of this manager's worker, if it has one.
        workers: process ids of those that run tasks.
    """
    facts = queue.database.read(lambda cursor: _facts(queue, cursor, now_s, worker))
    groups = _Groups(scheduler, reading, knows_function)
    for lane in facts.lanes:
        known = queue.lanes[lane.lane]
        advice = queue.lanes.advice(lane.lane)
        task = known.task if advice is None else without_planned(known.task)
        is_held = advice is not None and not advice.start
        groups.add_judged(task, known.name, lane.size, lane.first, is_held=is_held)
    for row, spec in facts.woken:
        groups.add_judged(spec.task(row.created_s, row.life_s), spec.name, 1, row.id)
    if facts.more_woken:
        groups.add((words.WOKEN,), facts.more_woken, (), facts.woken[0][0].id, None)
    for later in facts.later:
        reason = words.none_due(
            later.first_s - now_s, after_failure=later.after_failure, periodic=later.periodic
        )
        groups.add((reason,), later.size, (), later.first, later.first_s)
    if facts.blocked is not None:
        groups.add((words.AFTER_OTHERS,), facts.counts[TaskState.BLOCKED], (), facts.blocked, None)
    return Overview(
        facts.counts,
        tuple(facts.running),
        facts.held,
        groups.largest_first(),
        facts.next_s,
        tuple(workers),
    )


def _facts(queue: Queue, cursor: apsw.Cursor, now_s: float, worker: int | None) -> _Facts:
    woken = [rows.get(cursor, row.id) for row in turns.woken(cursor, now_s, _MOST_WOKEN)]
    runs = [rows.get(cursor, task_id) for task_id in counts.running(cursor, _MOST_RUNNING)]
    states = {TaskState.of(state): n for state, n in counts.by_state(cursor).items()}
    return _Facts(
        states,
        [queue.record(row, cursor) for row in runs if row is not None],
        0 if worker is None else counts.held(cursor, worker),
        counts.in_lanes(cursor, now_s),
        counts.later(cursor, now_s),
        [(row, queue.spec_of(row.spec, cursor)) for row in woken if row is not None],
        counts.woken(cursor, now_s) - len(woken),
        counts.first_blocked(cursor) if states[TaskState.BLOCKED] else None,
        turns.next_wake_s(cursor),
    )


class _Groups:
    """Tasks by what they wait for."""

    def __init__(
        self,
        scheduler: IntelligentScheduler,
        reading: Reading,
        knows_function: Callable[[str], bool],
    ) -> None:
        self._scheduler = scheduler
        self._reading = reading
        self._knows_function = knows_function
        self._groups: dict[tuple[Reason, ...], Waiting] = {}

    def add_judged(
        self, task: Task, name: str, count: int, first: int, *, is_held: bool = False
    ) -> None:
        """Add tasks that wait for the machine, for a better moment, or for nothing."""
        reasons, next_s = self._judged(task)
        if is_held and not reasons:
            reasons = (HELD_BACK,)
        if not self._knows_function(name):
            reasons = (*reasons, words.unknown_function(name))
        self.add(reasons, count, (name,), first, next_s)

    def _judged(self, task: Task) -> tuple[tuple[Reason, ...], float | None]:
        try:
            decision = self._scheduler.schedule_task(task, self._reading)
        except TaskError:
            unknown = self._scheduler.unknown_conditions(task)
            return (words.unknown_conditions(unknown),), None
        if decision.execute_now:
            return (), None
        return decision.reasons, decision.scheduled_time

    def add(
        self,
        reasons: tuple[Reason, ...],
        count: int,
        names: tuple[str, ...],
        first: int,
        next_s: float | None,
    ) -> None:
        known = self._groups.get(reasons)
        if known is not None:
            count += known.size
            names = tuple(sorted({*names, *known.names}))
            first = min(first, known.first)
            next_s = min((s for s in (next_s, known.next_s) if s is not None), default=None)
        self._groups[reasons] = Waiting(reasons, count, names, first, next_s)

    def largest_first(self) -> tuple[Waiting, ...]:
        return tuple(sorted(self._groups.values(), key=lambda group: (-group.size, group.first)))
