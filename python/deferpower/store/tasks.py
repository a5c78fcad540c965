"""Tasks in the store, as programs see them: adding, finding, cancelling, deleting.

Every function runs inside a transaction that the caller opened (see `database.Database.write`) and
takes its cursor. What a worker does with them stands in `turns`, what links them in `chains`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.records import ENDED, State, TaskRow

if TYPE_CHECKING:
    import apsw

_ROW = ", ".join(TaskRow._fields)


class NewTask(NamedTuple):
    """A task to be added; the names are those of the columns."""

    spec: int
    state: State
    lane: int | None
    priority: int
    created_s: float
    due_s: float
    life_s: float | None
    wake_s: float | None
    payload: str
    unique_key: str | None = None
    metadata: str | None = None
    blockers: int = 0
    since_s: float | None = None
    not_before_s: float | None = None


_INSERT = f"INSERT INTO tasks ({', '.join(NewTask._fields)}) VALUES ({', '.join('?' * 14)})"


def add(cursor: apsw.Cursor, task: NewTask) -> int:
    """Add a task; its id."""
    cursor.execute(_INSERT, task)
    return cursor.connection.last_insert_rowid()


_INSERT_ALIKE = (
    f"INSERT INTO tasks ({', '.join(NewTask._fields)}) SELECT "
    + ", ".join("value" if name == "payload" else "?" for name in NewTask._fields)
    + " FROM json_each(?)"
)
_PAYLOAD = NewTask._fields.index("payload")
_SHARE = 100


def add_alike(cursor: apsw.Cursor, task: NewTask, payloads: Sequence[str]) -> list[int]:
    """Add a task for each payload, all like this one otherwise; their ids, in order."""
    alike = (*task[:_PAYLOAD], *task[_PAYLOAD + 1 :])
    # To bind each column of each row takes three times as long as a list that SQLite goes through;
    # in shares, since there is a limit to the size of a value.
    for start in range(0, len(payloads), _SHARE):
        share = json.dumps(payloads[start : start + _SHARE], ensure_ascii=False)
        cursor.execute(_INSERT_ALIKE, (*alike, share))
    last = cursor.connection.last_insert_rowid()
    # No other connection writes inside this transaction, so they follow one another.
    return list(range(last - len(payloads) + 1, last + 1))


def count_open(cursor: apsw.Cursor) -> int:
    """How many tasks have not ended. Cost: two index scans, some ms for a million."""
    (total,) = cursor.execute(
        "SELECT (SELECT count(*) FROM tasks)"
        " - (SELECT count(*) FROM tasks WHERE finished_s IS NOT NULL)"
    ).fetchone()  # type: ignore[misc]
    return int(total)


def block(cursor: apsw.Cursor, task: int, blockers: int, until_s: float | None) -> None:
    """Have a new task wait for so many others; it is looked at when its life is over, too."""
    cursor.execute(
        "UPDATE tasks SET state = ?, lane = NULL, wake_s = ?, blockers = ? WHERE id = ?",
        (State.BLOCKED, until_s, blockers, task),
    )


def note(cursor: apsw.Cursor, task: int, text: str | None) -> None:
    """Say what a running task is up to, for whoever asks."""
    cursor.execute("UPDATE tasks SET note = ? WHERE id = ?", (text, task))


def get(cursor: apsw.Cursor, task: int) -> TaskRow | None:
    """Everything about one task."""
    row = cursor.execute(f"SELECT {_ROW} FROM tasks WHERE id = ?", (task,)).fetchone()
    return None if row is None else TaskRow.of(row)


def state_of(cursor: apsw.Cursor, task: int) -> State | None:
    """Where a task stands; ``None`` if there is none."""
    state: int | None = cursor.execute("SELECT state FROM tasks WHERE id = ?", (task,)).get
    return None if state is None else State(state)


def ended_of(cursor: apsw.Cursor, tasks: Sequence[int]) -> list[int]:
    """Which of these have ended, or are not there any more."""
    open_ones = {
        row[0]
        for row in cursor.execute(
            "SELECT id FROM tasks"
            " WHERE id IN (SELECT value FROM json_each(?)) AND finished_s IS NULL",
            (json.dumps(tasks),),
        )
    }
    return [task for task in tasks if task not in open_ones]


def find(
    cursor: apsw.Cursor,
    states: Sequence[State] | None,
    limit: int,
    before: int | None = None,
) -> list[TaskRow]:
    """The newest tasks, of some states or all, with ids below ``before``."""
    conditions = []
    bindings: list[object] = []
    if states is not None:
        conditions.append(f"state IN ({', '.join('?' * len(states))})")
        bindings += states
    if before is not None:
        conditions.append("id < ?")
        bindings.append(before)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = cursor.execute(
        f"SELECT {_ROW} FROM tasks{where} ORDER BY id DESC LIMIT ?", (*bindings, limit)
    )
    return [TaskRow.of(row) for row in rows]


class Holder(NamedTuple):
    """A task that has not ended and holds a key.

    Attributes:
        asked: whether it runs and somebody wants it cancelled.
    """

    id: int
    spec: int
    asked: bool


def holders(cursor: apsw.Cursor, key: str) -> list[Holder]:
    """The tasks of a key that have not ended, the newest first."""
    return [
        Holder(row[0], row[1], bool(row[2]))
        for row in cursor.execute(
            "SELECT id, spec, asked FROM tasks WHERE unique_key = ? AND finished_s IS NULL"
            " ORDER BY id DESC",
            (key,),
        )
    ]


def has_failed(cursor: apsw.Cursor, key: str, spec: int, crashes: int) -> bool:
    """Whether the newest failed task of a key was of this spec and killed that many workers.

    Cost: grows with the number of tasks that have failed.
    """
    row = cursor.execute(
        "SELECT spec, crashes FROM tasks WHERE state = ? AND finished_s IS NOT NULL"
        " AND unique_key = ? ORDER BY id DESC LIMIT 1",
        (State.FAILED, key),
    ).fetchone()
    return row is not None and row[0] == spec and row[1] >= crashes


def failures(cursor: apsw.Cursor, task: int) -> list[tuple[int, float | None, float, str]]:
    """Attempts of a task that failed: attempt, start, end, error."""
    return cursor.execute(  # type: ignore[return-value]
        "SELECT attempt, started_s, ended_s, error FROM failures WHERE task = ?"
        " ORDER BY ended_s, attempt",
        (task,),
    ).fetchall()


def prune(cursor: apsw.Cursor, ended_before_s: float, limit: int) -> int:
    """Delete tasks that ended before then, the newest task of all left; how many.

    It ends when there are no more or ``limit`` is reached, which the last step may pass.
    """
    # Ids must not be used again: the newest is kept, since the next id follows it. What others
    # wait for is kept, and what they would need to be run again.
    of_no_use = (
        "SELECT id FROM tasks"
        f" WHERE state IN ({', '.join(str(int(state)) for state in ENDED)})"
        " AND finished_s < ? AND id < (SELECT max(id) FROM tasks)"
        " AND NOT EXISTS (SELECT 1 FROM links JOIN tasks AS later ON later.id = links.after"
        " WHERE links.before = tasks.id AND NOT links.any_end AND later.state != ?)"
    )
    asked = (ended_before_s, State.SUCCEEDED)
    found = cursor.execute(f"{of_no_use} LIMIT ?", (*asked, limit)).fetchall()
    deleted = 0
    while found:
        ids = json.dumps([task for (task,) in found])
        befores = cursor.execute(
            "SELECT DISTINCT before FROM links WHERE after IN (SELECT value FROM json_each(?))",
            (ids,),
        ).fetchall()
        cursor.execute("DELETE FROM tasks WHERE id IN (SELECT value FROM json_each(?))", (ids,))
        deleted += len(found)
        if deleted >= limit:
            break
        # What only they had kept.
        found = cursor.execute(
            f"{of_no_use} AND id IN (SELECT value FROM json_each(?))",
            (*asked, json.dumps([task for (task,) in befores])),
        ).fetchall()
    return deleted


def unused_specs(cursor: apsw.Cursor) -> tuple[list[int], int]:
    """Specs that no task is of, the newest of all left, and the newest task that was looked at.

    Cost: looks at every task.
    """
    query = (
        "SELECT id FROM specs WHERE id < (SELECT max(id) FROM specs)"
        " AND id NOT IN (SELECT spec FROM tasks)"
    )
    unused = [row[0] for row in cursor.execute(query)]
    return unused, cursor.execute("SELECT coalesce(max(id), 0) FROM tasks").get


def delete_specs(cursor: apsw.Cursor, unused: Sequence[int], last: int) -> None:
    """Delete what `unused_specs` found, unless a task added since then is of it."""
    cursor.execute(
        "DELETE FROM specs WHERE id IN (SELECT value FROM json_each(?))"
        " AND id NOT IN (SELECT spec FROM tasks WHERE id > ?)",
        (json.dumps(unused), last),
    )
