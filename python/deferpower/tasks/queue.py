"""The durable queue, and asking about what is in it. `Intake` fills it, `Worker` runs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.constraints import ANYTIME
from deferpower.errors import TaskError
from deferpower.store import chains, counts, logs
from deferpower.store import tasks as rows
from deferpower.store.database import Database, Durability
from deferpower.store.records import (
    ENDED,
    State,
    TaskRow,
    checked_limit,
    damaged,
    is_row_number,
)
from deferpower.store.schema import MIGRATIONS
from deferpower.store.texts import MOST_NOTED, Texts
from deferpower.tasks.foresight import Foresight
from deferpower.tasks.lanes import Lanes
from deferpower.tasks.record import TaskRecord, TaskState
from deferpower.tasks.spec import Spec

if TYPE_CHECKING:
    import apsw

    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler


class Known(NamedTuple):
    """What a queue needs to know of a spec for each of its tasks.

    Attributes:
        token: of the queue that knows it.
        lane: where its tasks wait that have no preference and no deadline.
        prefers: whether they have preferences, and so lanes by their age.
    """

    token: object
    id: int
    lane: int
    rank: int
    prefers: bool


class Queue:
    """The tasks of one store.

    Attributes:
        database: where they are kept.
        foresight: what is known of the device's habits.
        lanes: what they ask of the machine.
        id: names this queue among all.
        latest_s: the latest moment that this program wrote or acted upon, by the wall clock: what
            is earlier now shows that it was set back.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        scheduler: IntelligentScheduler,
        device: Device,
        *,
        durability: Durability,
    ) -> None:
        """Open the queue.

        Raises:
            StoreError: the file cannot be used.
        """
        self.database = Database(path, MIGRATIONS, durability=durability)
        self.specs = Texts(self.database, "specs")
        self.foresight = Foresight(self.database, device)
        self.lanes = Lanes(scheduler, Texts(self.database, "lanes"), self.foresight)
        self.id = self._store_id()
        self.latest_s = 0.0
        self._specs_by_id: dict[int, Spec] = {}
        self._token = object()

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

    def note_time(self, now_s: float) -> None:
        """Note that something is written by the wall clock as it is now."""
        if now_s > self.latest_s:
            self.latest_s = now_s

    def known(self, spec: Spec, now_s: float) -> Known:
        """What is known of a spec. Opens transactions of its own, for one that is new."""
        # Noted on the spec, and gone with it: a call with options of its own makes one for itself.
        found: Known | None = getattr(spec, "_known", None)
        if found is None or found.token is not self._token:
            lane, _ = self.lanes.place(spec, now_s, None, now_s)
            spec_id = self.specs.id_of(spec.to_text())
            found = Known(self._token, spec_id, lane, spec.rank, spec.prefer != ANYTIME)
            object.__setattr__(spec, "_known", found)
        return found

    def spec_id(self, cursor: apsw.Cursor, spec: Spec, known_id: int) -> int:
        """The id of a spec now, which is added again if another program has pruned it."""
        if self.specs.has(cursor, known_id):
            return known_id
        text = spec.to_text()
        self.specs.forget(text)
        object.__setattr__(spec, "_known", None)
        return self.specs.add(cursor, text)

    def lane_of(
        self, spec: Spec, created_s: float, life_s: float | None, now_s: float
    ) -> tuple[int, float | None]:
        """The lane of a task of this age, and when to ask again. Opens transactions of its own."""
        known = self.known(spec, now_s)
        if life_s is not None or known.prefers:
            return self.lanes.place(spec, created_s, life_s, now_s)
        return known.lane, None

    def spec_of(self, spec_id: int, cursor: apsw.Cursor | None = None) -> Spec:
        """The spec of an id, looked up in the transaction of a cursor or one of its own.

        Raises:
            DamagedError: there is none, or it cannot be understood.
        """
        spec = self._specs_by_id.get(spec_id)
        if spec is None:
            text = self.specs.text_of(spec_id, cursor)
            try:
                spec = Spec.from_text(text)
            except TaskError as error:
                raise damaged(f"specs {spec_id}", str(error)) from error
            if len(self._specs_by_id) >= MOST_NOTED:
                self._specs_by_id.clear()
            self._specs_by_id[spec_id] = spec
        return spec

    def record(self, row: TaskRow, cursor: apsw.Cursor | None = None) -> TaskRecord:
        """What a row says; with a cursor, in the transaction that has found it."""
        return TaskRecord.of(row, self.spec_of(row.spec, cursor), self.idempotency_key(row.id))

    def idempotency_key(self, task_id: int) -> str:
        """A key that names this task among all tasks of all queues."""
        return f"{self.id}-{task_id}"

    def row(self, task_id: int) -> TaskRow:
        """The row of a task.

        Raises:
            TaskError: there is none.
        """
        number = _number(task_id)
        found = self.database.read(lambda cursor: rows.get(cursor, number))
        if found is None:
            raise _no_such(task_id)
        return found

    def get(self, task_id: int) -> TaskRecord:
        """One task.

        Raises:
            TaskError: there is none.
        """
        number = _number(task_id)

        def work(cursor: apsw.Cursor) -> TaskRecord | None:
            row = rows.get(cursor, number)
            return None if row is None else self.record(row, cursor)

        found = self.database.read(work)
        if found is None:
            raise _no_such(task_id)
        return found

    def cancel(self, task_id: int, now_s: float) -> tuple[TaskState, list[int]]:
        """Cancel a task that waits, or ask a running one to stop.

        Returns:
            Its state before, and the tasks that failed since they waited for it.

        Raises:
            TaskError: there is none.
        """
        number = _number(task_id)
        self.note_time(now_s)

        def work(cursor: apsw.Cursor) -> tuple[State | None, list[int]]:
            state = rows.state_of(cursor, number)
            if state is None or state in ENDED:
                return state, []
            return state, chains.cancel(cursor, [number], now_s)

        state, cascade = self.database.write(work)
        if state is None:
            raise _no_such(task_id)
        return TaskState.of(state), cascade

    def list(
        self, states: Sequence[TaskState] | None, limit: int, before: int | None
    ) -> list[TaskRecord]:
        """The newest tasks of some states, or all."""
        wanted = None if states is None else [state.stored for state in states]
        most = checked_limit(limit)
        older = None if before is None else _number(before, "before")

        def work(cursor: apsw.Cursor) -> list[TaskRecord]:
            found = rows.find(cursor, wanted, most, older)
            return [self.record(row, cursor) for row in found]

        return self.database.read(work)

    def log(self, task_id: int, start: int = 0) -> tuple[bytes, int]:
        """The output of a command from a place on, and the place where it ends at present.

        Raises:
            TaskError: there is no such task.
        """
        number = _number(task_id)
        data, end = self.database.read(lambda cursor: logs.read(cursor, number, start))
        if not end:
            self.row(task_id)
        return data, end

    def stats(self) -> dict[TaskState, int]:
        """How many tasks there are in each state."""
        found = self.database.read(counts.by_state)
        return {TaskState.of(state): number for state, number in found.items()}

    def prune(self, ended_before_s: float) -> int:
        """Delete what ended before then, and specs that no task is left of; how many tasks."""
        deleted = 0
        while True:
            # In shares, so that nobody waits long for the file.
            done = self.database.write(lambda cursor: rows.prune(cursor, ended_before_s, 1000))
            deleted += done
            if done < 1000:
                break
        if deleted:
            self._prune_specs()
        return deleted

    def _prune_specs(self) -> None:
        # Found while others write, who need not wait for that.
        unused, last = self.database.read(rows.unused_specs)
        if unused:
            self.database.write(lambda cursor: rows.delete_specs(cursor, unused, last))
        for spec_id in unused:
            self._specs_by_id.pop(spec_id, None)


def _number(task_id: object, name: str = "task_id") -> int:
    """What was given, if it is a number: SQLite would take texts for one, too."""
    if type(task_id) is not int:
        raise TaskError(
            f"{name}: {task_id!r:.80} is not the number of a task; a handle has it as its id"
        )
    if not is_row_number(task_id):
        raise _no_such(task_id)
    return task_id


def _no_such(task_id: int) -> TaskError:
    return TaskError(f"task {task_id}: there is no such task; it may have been pruned")
