"""The durable queue: adding tasks and asking about them. `Worker` runs what it holds."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from deferpower.errors import QueueFull, TaskError
from deferpower.store import tasks as rows
from deferpower.store.database import Database, Durability
from deferpower.store.records import ENDED, State, TaskRow
from deferpower.store.schema import MIGRATIONS
from deferpower.store.tasks import NewTask
from deferpower.store.texts import Texts
from deferpower.tasks.lanes import Lanes
from deferpower.tasks.payload import payload
from deferpower.tasks.record import TaskRecord, TaskState
from deferpower.tasks.spec import Spec
from deferpower.thresholds import is_number

if TYPE_CHECKING:
    import apsw

    from deferpower.scheduler import IntelligentScheduler

OnConflict = Literal["keep", "replace", "append"]
_MOST_NOTED = 1000


class Call(NamedTuple):
    """One task to be added.

    Attributes:
        spec: how it is run.
        payload: its arguments, from `payload.payload`.
        due_s: not before then, seconds since the epoch; ``None`` for now.
        life_s: seconds from now to its deadline.
        key: of all tasks with the same key, only one waits or runs.
        on_conflict: what becomes of the others: ``"keep"`` the one there is, ``"replace"`` it, or
            ``"append"``: run after it.
        after: tasks that must succeed first, whose results it is given.
        metadata: JSON of the program's own.
    """

    spec: Spec
    payload: str
    due_s: float | None = None
    life_s: float | None = None
    key: str | None = None
    on_conflict: OnConflict = "keep"
    after: tuple[int, ...] = ()
    metadata: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it takes its place whatever else is there."""
        return self.key is None and not self.after


class Queue:
    """The tasks of one store.

    Attributes:
        database: where they are kept.
        lanes: what they ask of the machine.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        scheduler: IntelligentScheduler,
        *,
        durability: Durability,
        max_queued: int,
    ) -> None:
        """Open the queue.

        Raises:
            StoreError: the file cannot be used.
        """
        self.database = Database(path, MIGRATIONS, durability=durability)
        self.specs = Texts(self.database, "specs")
        self.lanes = Lanes(scheduler, Texts(self.database, "lanes"))
        self.id = self._store_id()
        self._scheduler = scheduler
        self._max_queued = max_queued
        self._room = 0
        self._known: dict[int, Spec] = {}
        self._plain_lanes: dict[int, tuple[Spec, int, int]] = {}

    def _store_id(self) -> str:
        select = "SELECT value FROM meta WHERE name = 'store_id'"
        found: str | None = self.database.read(lambda cursor: cursor.execute(select).get)
        if found is not None:
            return found
        insert = "INSERT INTO meta VALUES ('store_id', ?) ON CONFLICT DO NOTHING"

        def work(cursor: apsw.Cursor) -> str:
            cursor.execute(insert, (uuid.uuid4().hex,))
            made: str = cursor.execute(select).get
            return made

        return self.database.write(work)

    def add(self, calls: Sequence[Call], now_s: float) -> list[int]:
        """Add tasks, all or none; their ids, durable when this returns.

        Raises:
            QueueFull: there is no room for all of them.
            TaskError: one waits for a task that does not exist.
            StoreError: the file cannot be written.
        """
        new = [self._new_task(call, now_s) for call in calls]
        if all(call.is_plain for call in calls):
            return self.database.write(lambda cursor: self._add_plain(cursor, new))
        return self.database.write(
            lambda cursor: [
                self._add_one(cursor, call, task, now_s)
                for call, task in zip(calls, new, strict=True)
            ]
        )

    def _new_task(self, call: Call, now_s: float) -> NewTask:
        spec = call.spec
        due_s = now_s if call.due_s is None else call.due_s
        _, spec_id, lane = self._plain_lanes.get(id(spec)) or self._plain_lane(spec, now_s)
        wake_s: float | None = None
        at: int | None = lane
        waits = due_s > now_s
        if spec.prefer_or_life(call.life_s):
            at, wake_s = self.lanes.place(spec, now_s, call.life_s, now_s)
        if waits:
            at, wake_s = None, due_s
        return NewTask(
            spec_id,
            State.ENQUEUED,
            at,
            spec.rank,
            now_s,
            due_s,
            call.life_s,
            wake_s,
            call.payload,
            call.key,
            call.metadata,
        )

    def _plain_lane(self, spec: Spec, now_s: float) -> tuple[Spec, int, int]:
        lane, _ = self.lanes.place(spec, now_s, None, now_s)
        if len(self._plain_lanes) > _MOST_NOTED:
            self._plain_lanes.clear()
        # By identity, since hashing a spec takes longer than the rest; so the spec is held, too.
        found = self._plain_lanes[id(spec)] = spec, self.specs.id_of(spec.to_text()), lane
        return found

    def lane_of(
        self, spec: Spec, created_s: float, life_s: float | None, now_s: float
    ) -> tuple[int, float | None]:
        """The lane of a task of this age, and when to ask again. Opens transactions of its own."""
        if spec.prefer_or_life(life_s):
            return self.lanes.place(spec, created_s, life_s, now_s)
        return (self._plain_lanes.get(id(spec)) or self._plain_lane(spec, now_s))[2], None

    def _add_plain(self, cursor: apsw.Cursor, new: Sequence[NewTask]) -> list[int]:
        self._make_room(cursor, len(new))
        return rows.add(cursor, new)

    def _make_room(self, cursor: apsw.Cursor, wanted: int) -> None:
        """Use up room in the queue.

        Counting takes milliseconds in a long queue, so room is counted out in shares: nearly full,
        every time.
        """
        if self._room < wanted:
            left = self._max_queued - rows.count_open(cursor)
            if left < wanted:
                raise QueueFull(
                    f"queue: {self._max_queued - left} tasks wait or run and {self._max_queued} is "
                    f"the most; no room for {wanted} more; let a worker run, or raise max_queued"
                )
            self._room = max(wanted, left // 8)
        self._room -= wanted

    def _add_one(self, cursor: apsw.Cursor, call: Call, task: NewTask, now_s: float) -> int:
        before = list(call.after)
        if call.key is not None:
            known = rows.find_unique(cursor, call.key)
            if known is not None:
                if call.on_conflict == "keep":
                    return known
                if call.on_conflict == "append":
                    before.append(known)
                elif rows.cancel(cursor, known, now_s) is not State.RUNNING:
                    rows.settle(cursor, [known], now_s)
        self._make_room(cursor, 1)
        if not before:
            return rows.add(cursor, [task])[0]
        return self._add_blocked(cursor, task, list(dict.fromkeys(before)), now_s)

    def _add_blocked(
        self, cursor: apsw.Cursor, task: NewTask, before: list[int], now_s: float
    ) -> int:
        states = [rows.state_of(cursor, first) for first in before]
        for first, state in zip(before, states, strict=True):
            if state is None:
                raise TaskError(
                    f"after: there is no task {first} (it may have been pruned); "
                    "name tasks that wait, run, or ended a short time ago"
                )
        blockers = sum(state is not State.SUCCEEDED for state in states)
        if blockers:
            task = task._replace(state=State.BLOCKED, lane=None, wake_s=None, blockers=blockers)
        added = rows.add(cursor, [task])[0]
        rows.link(cursor, added, before)
        ended = [f for f, s in zip(before, states, strict=True) if s in ENDED]
        rows.settle(
            cursor, [f for f in ended if rows.state_of(cursor, f) != State.SUCCEEDED], now_s
        )
        return added

    def spec_of(self, spec_id: int) -> Spec:
        """The spec of an id."""
        spec = self._known.get(spec_id)
        if spec is None:
            spec = self._known[spec_id] = Spec.from_text(self.specs.text_of(spec_id))
        return spec

    def record(self, row: TaskRow) -> TaskRecord:
        """What a row says."""
        return TaskRecord.of(row, self.spec_of(row.spec), self.idempotency_key(row.id))

    def idempotency_key(self, task_id: int) -> str:
        """A key that names this task among all tasks of all queues."""
        return f"{self.id}-{task_id}"

    def row(self, task_id: int) -> TaskRow:
        """The row of a task.

        Raises:
            TaskError: there is none.
        """
        found = self.database.read(lambda cursor: rows.get(cursor, task_id))
        if found is None:
            raise TaskError(f"task {task_id}: there is no such task; it may have been pruned")
        return found

    def get(self, task_id: int) -> TaskRecord:
        """One task.

        Raises:
            TaskError: there is none.
        """
        return self.record(self.row(task_id))

    def list(
        self, states: Sequence[TaskState] | None, limit: int, before: int | None
    ) -> list[TaskRecord]:
        """The newest tasks of some states, or all."""
        wanted = None if states is None else [state.stored for state in states]
        found = self.database.read(lambda cursor: rows.find(cursor, wanted, limit, before))
        return [self.record(row) for row in found]

    def cancel(self, task_id: int, now_s: float) -> TaskState:
        """Cancel a task that waits, or ask a running one to stop; its state before.

        Raises:
            TaskError: there is none.
        """

        def work(cursor: apsw.Cursor) -> State | None:
            state = rows.cancel(cursor, task_id, now_s)
            if state is not None and state not in (*ENDED, State.RUNNING):
                rows.settle(cursor, [task_id], now_s)
            return state

        state = self.database.write(work)
        if state is None:
            raise TaskError(f"task {task_id}: there is no such task; it may have been pruned")
        return TaskState.of(state)

    def retry(self, task_id: int, now_s: float) -> None:
        """Have a task that failed, expired or was cancelled wait again.

        Raises:
            TaskError: there is none, or it has not ended, or it succeeded.
        """
        if not self.database.write(lambda cursor: rows.revive(cursor, task_id, now_s)):
            state = TaskState.of(self.row(task_id).state)
            raise TaskError(
                f"task {task_id}: it {_AS_IT_IS.get(state, 'has not ended')}; "
                "only one that failed, expired or was cancelled can be retried"
            )

    def add_periodic(self, spec: Spec, now_s: float) -> None:
        """Have a periodic function run, if it does not yet, by its present spec."""
        key = f"every {spec.name}"
        known = self.database.read(lambda cursor: rows.find_unique(cursor, key))
        if known is not None and self.get(known).spec == spec:
            return
        assert spec.every_s is not None
        due_s = now_s if spec.flex_s is None else now_s + spec.every_s - spec.flex_s
        self.add(
            [Call(spec, payload(spec.name, (), {}), due_s, key=key, on_conflict="replace")], now_s
        )

    def stats(self) -> dict[TaskState, int]:
        """How many tasks there are in each state."""
        counts = self.database.read(rows.count)
        return {TaskState.of(state): number for state, number in counts.items()}

    def prune(self, ended_before_s: float) -> int:
        """Delete what ended before then; how many."""
        deleted = 0
        while True:
            # In shares, so that nobody waits long for the file.
            done = self.database.write(lambda cursor: rows.prune(cursor, ended_before_s, 1000))
            deleted += done
            if done < 1000:
                return deleted


_AS_IT_IS = {TaskState.SUCCEEDED: "succeeded", TaskState.RUNNING: "is running"}


def checked_metadata(value: Any) -> Mapping[str, Any] | None:
    """Metadata that can be kept.

    Raises:
        TaskError: it is no mapping.
    """
    if value is not None and not isinstance(value, Mapping):
        raise TaskError(f"metadata: {value!r} is no mapping from name to value")
    return value


def moment(name: str, value: float | None) -> float | None:
    """A moment or duration that can be used.

    Raises:
        TaskError: it is negative or no number.
    """
    if value is not None and not (is_number(value) and 0 <= value <= 1e15):
        raise TaskError(f"{name}: {value!r} is no number of seconds of at least 0")
    return value
