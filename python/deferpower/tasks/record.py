"""What the world sees of a task: `TaskRecord`, its state, and what went wrong with it."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from deferpower.errors import TaskError
from deferpower.store.records import State, TaskRow, damaged
from deferpower.tasks.spec import Spec


class TaskState(enum.StrEnum):
    """Where a task stands.

    Attributes:
        BLOCKED: waits for tasks that it comes after.
        ENQUEUED: waits for its moment.
        RUNNING: some worker runs it.
        SUCCEEDED: it has returned.
        FAILED: it has failed for good; kept as a dead letter, see
            `BackgroundTaskManager.retry`.
        CANCELLED: somebody cancelled it.
        EXPIRED: it gave up at its deadline.
    """

    BLOCKED = "blocked"
    ENQUEUED = "enqueued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will become of it by itself."""
        return self in _ENDED

    @property
    def stored(self) -> State:
        """The same, as the store keeps it."""
        return State[self.name]

    @classmethod
    def of(cls, state: State) -> TaskState:
        """The same, from what the store keeps."""
        return cls[state.name]


_ENDED = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED})


class TaskRecord(NamedTuple):
    """A task as it stands in the queue. Moments are seconds since the epoch.

    Attributes:
        id: its number, never used again in this queue.
        name: the name of its function, or ``"command"``.
        state: where it stands.
        spec: how it is to be run.
        args: positional arguments,
        kwargs: and named ones; of a command ``argv``, ``cwd`` and ``env``.
        created_s: when it was asked for; of a periodic one, when its period began.
        since_s: since when it is in its state.
        due_s: not before then.
        is_due: whether a worker has seen that moment come; it holds if the clock is set back.
        deadline_s: when it must have begun; ``None`` for no end.
        attempts: runs so far, the present one included.
        crashes: how often its worker died while it ran.
        started_s: when the last run began.
        finished_s: when it ended.
        result: what it returned.
        error: what went wrong last.
        checkpoint: where it has come to, in its own terms.
        note: what a running task is up to, such as being paused.
        key: its unique key.
        metadata: what the program attached to it.
        idempotency_key: the same in every attempt, and of no other task anywhere.
    """

    id: int
    name: str
    state: TaskState
    spec: Spec
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    created_s: float
    since_s: float
    due_s: float
    is_due: bool
    deadline_s: float | None
    attempts: int
    crashes: int
    started_s: float | None
    finished_s: float | None
    result: Any
    error: str | None
    checkpoint: Any
    note: str | None
    key: str | None
    metadata: Any
    idempotency_key: str

    @classmethod
    def of(cls, row: TaskRow, spec: Spec, idempotency_key: str) -> TaskRecord:
        """The record of a row.

        Raises:
            StoreError: the row makes no sense.
        """
        try:
            return cls._of(row, spec, idempotency_key)
        except (TypeError, ValueError, RecursionError) as error:
            raise damaged(f"task {row.id}", str(error)) from error

    @classmethod
    def _of(cls, row: TaskRow, spec: Spec, idempotency_key: str) -> TaskRecord:
        args, kwargs = json.loads(row.payload)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise ValueError("its arguments are none")
        return cls(
            id=row.id,
            name=spec.name,
            state=TaskState.of(row.state),
            spec=spec,
            args=tuple(args),
            kwargs=kwargs,
            created_s=row.created_s,
            since_s=_since_s(row),
            due_s=row.due_s,
            is_due=row.lane is not None,
            deadline_s=None if row.life_s is None else row.created_s + row.life_s,
            attempts=row.attempts,
            crashes=row.crashes,
            started_s=row.started_s,
            finished_s=row.finished_s,
            result=_loaded(row.result),
            error=row.error,
            checkpoint=_loaded(row.checkpoint),
            note=row.note,
            key=row.unique_key,
            metadata=_loaded(row.metadata),
            idempotency_key=idempotency_key,
        )


class Failure(NamedTuple):
    """An attempt that failed. Moments are seconds since the epoch.

    Attributes:
        attempt: which run it was, counted from 1.
        started_s: when it began; ``None`` where that is not known.
        ended_s: when it ended.
        error: what went wrong.
    """

    attempt: int
    started_s: float | None
    ended_s: float
    error: str


class TaskFailed(TaskError):
    """A task whose result is asked for has ended without one.

    Attributes:
        record: the task.
    """

    def __init__(self, record: TaskRecord) -> None:
        why = f": {record.error}" if record.error else ""
        super().__init__(f"task {record.id} ({record.name}) {record.state.value}{why}")
        self.record = record


def _since_s(row: TaskRow) -> float:
    if row.finished_s is not None:
        return row.finished_s
    moment_s = row.started_s if row.state is State.RUNNING else row.since_s
    return row.created_s if moment_s is None else moment_s


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
