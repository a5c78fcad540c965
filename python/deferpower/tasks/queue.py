"""The durable queue: adding tasks and asking about them. `Worker` runs what it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from deferpower.constraints import ANYTIME
from deferpower.errors import QueueFull, TaskError
from deferpower.store import logs
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
_ENQUEUED = State.ENQUEUED


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


class _Known(NamedTuple):
    """A spec, and what is needed of it for each of its tasks.

    Attributes:
        lane: where its tasks wait that have no preference and no deadline.
        prefers: whether they have preferences, and so lanes by their age.
    """

    spec: Spec
    id: int
    lane: int
    rank: int
    prefers: bool


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
        self._specs_known: dict[int, _Known] = {}

    def _store_id(self) -> str:
        select = "SELECT value FROM meta WHERE name = 'store_id'"
        found: str | None = self.database.read(lambda cursor: cursor.execute(select).get)
        if found is not None:
            return found
        insert = "INSERT INTO meta VALUES ('store_id', ?) ON CONFLICT DO NOTHING"

        def work(cursor: apsw.Cursor) -> str:
            cursor.execute(insert, (os.urandom(16).hex(),))
            made: str = cursor.execute(select).get
            return made

        return self.database.write(work)

    def add(self, call: Call, now_s: float) -> int:
        """Add a task; its id, durable when this returns.

        Raises:
            QueueFull: there is no room for it.
            TaskError: it waits for a task that does not exist.
            StoreError: the file cannot be written.
        """
        task = self._new_task(call, now_s)
        if call.key is None and not call.after:
            return self.database.write(lambda cursor: self._add_plain(cursor, task))
        return self.database.write(lambda cursor: self._add_one(cursor, call, task, now_s))

    def add_alike(self, call: Call, payloads: Sequence[str], now_s: float) -> list[int]:
        """Add a task for each payload, alike in everything else, all or none; their ids.

        Raises:
            QueueFull, TaskError, StoreError: as for `add`.
        """
        task = self._new_task(call, now_s)

        def work(cursor: apsw.Cursor) -> list[int]:
            if call.key is None and not call.after:
                self._make_room(cursor, len(payloads))
                return rows.add_alike(cursor, task, payloads)
            return [
                self._add_one(cursor, call, task._replace(payload=text), now_s) for text in payloads
            ]

        return self.database.write(work)

    def _new_task(self, call: Call, now_s: float) -> NewTask:
        spec, payload, due_s, life_s, key, _, _, metadata = call
        known = self._specs_known.get(id(spec)) or self._know(spec, now_s)
        at: int | None = known.lane
        wake_s: float | None = None
        if life_s is not None or known.prefers:
            at, wake_s = self.lanes.place(spec, now_s, life_s, now_s)
        if due_s is None:
            due_s = now_s
        elif due_s > now_s:
            at, wake_s = None, due_s
        return NewTask(
            known.id,
            _ENQUEUED,
            at,
            known.rank,
            now_s,
            due_s,
            life_s,
            wake_s,
            payload,
            key,
            metadata,
        )

    def _know(self, spec: Spec, now_s: float) -> _Known:
        lane, _ = self.lanes.place(spec, now_s, None, now_s)
        spec_id = self.specs.id_of(spec.to_text())
        if len(self._specs_known) > _MOST_NOTED:
            self._specs_known.clear()
        known = _Known(spec, spec_id, lane, spec.rank, spec.prefer != ANYTIME)
        # By identity, since hashing a spec takes longer than the rest; so the spec is held, too.
        self._specs_known[id(spec)] = known
        return known

    def lane_of(
        self, spec: Spec, created_s: float, life_s: float | None, now_s: float
    ) -> tuple[int, float | None]:
        """The lane of a task of this age, and when to ask again. Opens transactions of its own."""
        known = self._specs_known.get(id(spec)) or self._know(spec, now_s)
        if life_s is not None or known.prefers:
            return self.lanes.place(spec, created_s, life_s, now_s)
        return known.lane, None

    def _add_plain(self, cursor: apsw.Cursor, task: NewTask) -> int:
        self._make_room(cursor, 1)
        return rows.add(cursor, task)

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
            return rows.add(cursor, task)
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
        added = rows.add(cursor, task)
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
            Call(spec, payload(spec.name, (), {}), due_s, key=key, on_conflict="replace"), now_s
        )

    def log(self, task_id: int, start: int = 0) -> tuple[bytes, int]:
        """The output of a command from a place on, and the place where it ends at present.

        Raises:
            TaskError: there is no such task.
        """
        data, end = self.database.read(lambda cursor: logs.read(cursor, task_id, start))
        if not end:
            self.row(task_id)
        return data, end

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
