"""What puts tasks into the queue: new calls, periodic functions, and tasks that are retried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from deferpower.errors import QueueFull, TaskError
from deferpower.store import chains
from deferpower.store import tasks as rows
from deferpower.store.records import ENDED, State
from deferpower.store.tasks import NewTask
from deferpower.tasks.payload import payload
from deferpower.tasks.spec import MOST_CRASHES, Spec
from deferpower.thresholds import is_number

if TYPE_CHECKING:
    import apsw

    from deferpower.tasks.queue import Queue

OnConflict = Literal["keep", "replace", "append"]
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
        not_before_s: ``due_s``, if that was asked for as a moment of the wall clock.
    """

    spec: Spec
    payload: str
    due_s: float | None = None
    life_s: float | None = None
    key: str | None = None
    on_conflict: OnConflict = "keep"
    after: tuple[int, ...] = ()
    metadata: str | None = None
    not_before_s: float | None = None


class Added(NamedTuple):
    """What adding tasks did.

    Attributes:
        ids: the tasks, in order; one that held its key already stands for its call.
        failed: tasks that failed thereby: what they waited for was replaced, or had failed.
        cancelled: tasks that were replaced.
    """

    ids: list[int]
    failed: Sequence[int] = ()
    cancelled: Sequence[int] = ()


class Intake:
    """The way into a queue."""

    def __init__(self, queue: Queue, max_queued: int) -> None:
        self._queue = queue
        self._max_queued = max_queued
        self._room = 0

    def add(self, call: Call, now_s: float) -> Added:
        """Add a task; durable when this returns.

        Raises:
            QueueFull: there is no room for it.
            TaskError: it comes after a task that does not exist, or after the one that it
                replaces; or it would be due after its deadline.
            StoreError: the file cannot be written.
        """
        task = self._new_task(call, now_s)
        if call.key is None and not call.after:
            return self._queue.database.write(
                lambda cursor: self._add_plain(cursor, call.spec, task)
            )
        return self._queue.database.write(lambda cursor: self._add_one(cursor, call, task, now_s))

    def add_alike(self, call: Call, payloads: Sequence[str], now_s: float) -> Added:
        """Add a task for each payload, alike in everything else, all or none.

        Raises:
            QueueFull, TaskError, StoreError: as for `add`.
        """
        task = self._new_task(call, now_s)

        def work(cursor: apsw.Cursor) -> Added:
            if call.key is None and not call.after:
                self._make_room(cursor, len(payloads))
                sound = self._with_spec(cursor, call.spec, task)
                return Added(rows.add_alike(cursor, sound, payloads))
            each = [
                self._add_one(cursor, call, task._replace(payload=text), now_s) for text in payloads
            ]
            return Added(
                [task_id for added in each for task_id in added.ids],
                [task_id for added in each for task_id in added.failed],
                [task_id for added in each for task_id in added.cancelled],
            )

        return self._queue.database.write(work)

    def _new_task(self, call: Call, now_s: float) -> NewTask:
        spec, text, due_s, life_s, key, _, _, metadata, not_before_s = call
        self._queue.note_time(now_s)
        known = self._queue.known(spec, now_s)
        at: int | None = known.lane
        wake_s: float | None = None
        created_s = now_s
        since_s: float | None = None
        if due_s is None:
            due_s = now_s if spec.flex_s is None else now_s + spec.first_rest_s
        if due_s > now_s:
            if spec.every_s is not None:
                # The life of a periodic task begins with each period.
                created_s, since_s = due_s, now_s
            elif life_s is not None and now_s + life_s < due_s:
                raise TaskError(
                    f"task {spec.name}: its deadline is {life_s:g} s from now, before it is due in "
                    f"{due_s - now_s:g} s; give it a later deadline, or have it due earlier"
                )
            at, wake_s = None, spec.touch_s(due_s, created_s, life_s)
        elif life_s is not None or known.prefers:
            at, wake_s = self._queue.lanes.place(spec, now_s, life_s, now_s)
        return NewTask(
            known.id,
            _ENQUEUED,
            at,
            known.rank,
            created_s,
            max(due_s, now_s),
            life_s,
            wake_s,
            text,
            key,
            metadata,
            0,
            since_s,
            not_before_s,
        )

    def _with_spec(self, cursor: apsw.Cursor, spec: Spec, task: NewTask) -> NewTask:
        """A task whose spec is there when it is added."""
        spec_id = self._queue.spec_id(cursor, spec, task.spec)
        return task if spec_id == task.spec else task._replace(spec=spec_id)

    def _add_plain(self, cursor: apsw.Cursor, spec: Spec, task: NewTask) -> Added:
        self._make_room(cursor, 1)
        return Added([rows.add(cursor, self._with_spec(cursor, spec, task))])

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

    def _add_one(self, cursor: apsw.Cursor, call: Call, task: NewTask, now_s: float) -> Added:
        before = list(call.after)
        ends: list[int] = []
        cancelled: list[int] = []
        failed: list[int] = []
        if call.key is not None:
            held = rows.holders(cursor, call.key)
            # One that was asked to stop holds its key until it has, but it is not gone on with.
            going_on = [holder.id for holder in held if not holder.asked]
            if going_on and call.on_conflict == "keep":
                return Added(going_on[:1])
            if going_on and call.on_conflict == "append":
                before.append(going_on[0])
            else:
                self._refuse_circle(cursor, call, going_on)
                failed = chains.cancel(cursor, going_on, now_s)
                states = {holder.id: rows.state_of(cursor, holder.id) for holder in held}
                ends = [held_id for held_id, state in states.items() if state is State.RUNNING]
                cancelled = [t for t, state in states.items() if state is State.CANCELLED]
        self._make_room(cursor, 1)
        added = rows.add(cursor, self._with_spec(cursor, call.spec, task))
        if before or ends:
            failed += self._put_after(cursor, added, task, before, ends, now_s)
        return Added([added], [t for t in failed if t not in cancelled], cancelled)

    def _refuse_circle(self, cursor: apsw.Cursor, call: Call, replaced: Sequence[int]) -> None:
        first = chains.first_after(cursor, call.after, replaced) if call.after else None
        if first is not None:
            raise TaskError(
                f"after: a cycle in a chain: task {first} is, or comes after, the task of key "
                f"{call.key!r} that this one replaces, so it could never succeed; leave it out "
                "of after, or append"
            )

    def _put_after(
        self,
        cursor: apsw.Cursor,
        added: int,
        task: NewTask,
        before: Sequence[int],
        ends: Sequence[int],
        now_s: float,
    ) -> list[int]:
        """Have a new task come after others; ids of what fails at once, itself maybe."""
        for first in before:
            if first >= added or rows.state_of(cursor, first) is None:
                raise TaskError(
                    f"after: there is no task {first} (it may have been pruned); name tasks that "
                    "are there already: so there can be no cycle in a chain"
                )
        before = list(dict.fromkeys(before))
        chains.link(cursor, added, before, [first for first in ends if first not in before])
        holds = [first for first in chains.blocking(cursor, added) if first.holds]
        if holds:
            until_s = None if task.life_s is None else task.created_s + task.life_s
            rows.block(cursor, added, len(holds), until_s)
        return chains.settle(cursor, [first.id for first in holds if first.state in ENDED], now_s)

    def add_periodic(self, spec: Spec, life_s: float | None, now_s: float) -> Added | None:
        """Have a periodic function run, if it does not yet, by its present spec.

        One that killed its workers is not begun again by itself.
        """
        key = f"every {spec.name}"

        def look(cursor: apsw.Cursor) -> tuple[int | None, list[rows.Holder], bool]:
            spec_id = self._queue.specs.find(cursor, spec.to_text())
            is_quarantined = spec_id is not None and rows.has_failed(
                cursor, key, spec_id, MOST_CRASHES
            )
            return spec_id, rows.holders(cursor, key), is_quarantined

        spec_id, held, is_quarantined = self._queue.database.read(look)
        row = self._queue.row(held[0].id) if held else None
        if row is not None and not held[0].asked and (row.spec, row.life_s) == (spec_id, life_s):
            return None
        if row is None and is_quarantined:
            return None
        due_s = None
        if row is not None and row.started_s is not None and spec.every_s is not None:
            due_s = row.started_s + spec.every_s  # the new period counts from when it ran last
        text = payload(spec.name, (), {})
        call = Call(spec, text, due_s, life_s, key, on_conflict="replace")
        return self.add(call, now_s)

    def retry(self, task_id: int, now_s: float) -> list[int]:
        """Have a task that failed, expired or was cancelled wait again.

        Returns:
            Its id, and those of others that wait again with it; empty if it waits or runs already.

        Raises:
            TaskError: there is none, or it succeeded, or it comes after one that was cancelled,
                or another task holds its key now.
        """
        if self._queue.row(task_id).finished_s is None:
            return []
        self._queue.note_time(now_s)

        def work(cursor: apsw.Cursor) -> list[int]:
            revived = chains.revive(cursor, task_id, now_s)
            if task_id not in revived:
                raise self._why_not(cursor, task_id)
            self._refuse_taken(cursor, revived)
            return revived

        return self._queue.database.write(work)

    def _refuse_taken(self, cursor: apsw.Cursor, revived: Sequence[int]) -> None:
        for task_id in revived:
            row = rows.get(cursor, task_id)
            key = None if row is None else row.unique_key
            for holder in [] if key is None else rows.holders(cursor, key):
                if holder.id not in revived:
                    raise TaskError(
                        f"task {task_id}: its key {key!r} is held by task {holder.id} now; "
                        "cancel that first"
                    )

    def _why_not(self, cursor: apsw.Cursor, task_id: int) -> TaskError:
        for first in chains.blocking(cursor, task_id):
            if first.holds and first.state in ENDED:
                return TaskError(
                    f"task {task_id}: task {first.id}, which it comes after, "
                    f"{chains.ENDED_AS[first.state]}; retry that one, and this one goes on with it"
                )
        return TaskError(
            f"task {task_id}: it succeeded; only one that failed, expired or was cancelled can be "
            "retried"
        )


def checked_metadata(value: Any) -> Mapping[str, Any] | None:
    """Metadata that can be kept.

    Raises:
        TaskError: it is no mapping.
    """
    if value is not None and not isinstance(value, Mapping):
        raise TaskError(f"metadata: {value!r} is no mapping from name to value")
    return None if value is None else dict(value)


def moment(name: str, value: float | None) -> float | None:
    """A moment or duration that can be used.

    Raises:
        TaskError: it is negative or no number.
    """
    if value is not None and not (is_number(value) and 0 <= value <= 1e15):
        raise TaskError(f"{name}: {value!r} is no number of seconds of at least 0")
    return value
