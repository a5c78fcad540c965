"""Values that the store keeps, as Python sees them."""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

from deferpower.errors import ConfigError, StoreError

R = TypeVar("R", bound=tuple[Any, ...])


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
        """The row of a query that names the columns in this order.

        Raises:
            DamagedError: it makes no sense.
        """
        found = decoded(cls, row, "task")
        return found._replace(state=State(found.state))


class DamagedError(StoreError):
    """A row makes no sense, though SQLite found nothing wrong with it."""


def damaged(where: str, why: str) -> DamagedError:
    """The error for such a row."""
    return DamagedError(
        f"{where}: the file is damaged ({why}); move it away, or put a backup in its place"
    )


def is_row_number(value: object) -> bool:
    """Whether a row may have this number; SQLite also finds rows by a text or a float."""
    return type(value) is int and value.bit_length() < 64


def checked_limit(limit: object) -> int:
    """How many rows at most, which must be told: SQLite takes -1 for all of them.

    Raises:
        ConfigError: it is no such number.
    """
    if type(limit) is not int or not 0 <= limit < 1 << 63:
        raise ConfigError(f"limit: {limit!r:.80} is not a whole number of 0 or more")
    return limit


_MOST = 1e15
"""No moment or duration is larger, in seconds."""


def decoded(kind: type[R], row: Iterable[Any], what: str) -> R:
    """A row as a named tuple, every value of the type of its field.

    Args:
        kind: a `NamedTuple` whose fields are the columns in their order, the number first.
        row: from a query. SQLite keeps any type in any column.
        what: a row, in words: the number follows.

    Raises:
        DamagedError: a value is of another type, or no moment of any clock.

    Cost: some 0.5 us.
    """
    values = tuple(row)
    shape = tuple(map(type, values))
    known, moments = _shapes(kind)
    if shape in known:
        for place in moments:
            moment_s = values[place]
            if moment_s is not None and not -_MOST <= moment_s <= _MOST:
                break
        else:
            return tuple.__new__(kind, values)
    for name, value in zip(kind._fields, values, strict=True):  # type: ignore[attr-defined]
        if not fits(kind, name, value):
            raise damaged(f"{what} {values[0]}", f"{name} is {value!a:.80}")
    known.add(shape)
    return tuple.__new__(kind, values)


def fits(kind: type[R], field: str, value: object) -> bool:
    """Whether a value can stand in a field of a named tuple."""
    if isinstance(value, float) and not -_MOST <= value <= _MOST:
        return False
    return type(value) in _types(kind)[field]


@functools.cache
def _shapes(kind: type[R]) -> tuple[set[tuple[type, ...]], list[int]]:
    """Types of rows that were found to fit, and the places of moments."""
    allowed = _types(kind).values()
    return set(), [place for place, types_ in enumerate(allowed) if float in types_]


@functools.cache
def _types(kind: type[R]) -> dict[str, frozenset[type]]:
    """The types that SQLite may give for each field."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        types_ = set(get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
        if any(issubclass(one, int) for one in types_):
            types_.add(int)
        if float in types_:
            types_.add(int)
        found[name] = frozenset(types_)
    return found
