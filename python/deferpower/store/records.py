"""Values that the store keeps, as Python sees them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, NamedTuple

from deferpower.errors import StoreError


class State(enum.IntEnum):
    """Where a task stands; the numbers are those in the file."""

    BLOCKED = 0
    ENQUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    EXPIRED = 6

    @classmethod
    def _missing_(cls, value: object) -> State:
        raise damaged("a task", f"{value!r} is no state")


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})


class TaskRow(NamedTuple):
    """A task as it stands in the file; the names are those of the columns."""

    id: int
    spec: int
    state: State
    lane: int | None
    priority: int
    created_s: float
    since_s: float | None
    due_s: float
    not_before_s: float | None
    life_s: float | None
    wake_s: float | None
    payload: str
    attempts: int
    crashes: int
    worker: int | None
    asked: int
    blockers: int
    unique_key: str | None
    started_s: float | None
    finished_s: float | None
    result: str | None
    error: str | None
    checkpoint: str | None
    note: str | None
    metadata: str | None

    @classmethod
    def of(cls, row: Iterable[Any]) -> TaskRow:
        """The row of a query that names the columns in this order."""
        found = cls._make(row)
        return found._replace(state=State(found.state))


def damaged(where: str, why: str) -> StoreError:
    """The error for a row that makes no sense, though SQLite found nothing wrong with it."""
    return StoreError(
        f"{where}: the file is damaged ({why}); move it away, or put a backup in its place"
    )
