"""Tasks in the store: adding, claiming, finishing, and what becomes of them in between.

Every function runs inside a transaction that the caller opened (see `database.Database.write`) and
takes its cursor; so a worker's whole turn is one commit.

A waiting task lies in a *lane*: with all others that ask the same of the machine at present. What
may start is decided for lanes, so a million parked tasks cost no more than one. A task is touched
only when its moment comes (``wake_s``): it is due, drops a preference, or reaches its deadline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Claimed(NamedTuple):
    """A task that was taken to be run; its attempt is written."""

    id: int
    spec: int
    payload: str
    attempts: int
    crashes: int
    created_s: float
    due_s: float
    life_s: float | None
    checkpoint: str | None


class Ended(NamedTuple):
    """What became of a task that ran.

    Attributes:
        state: `State.ENQUEUED` to have it run again.
        due_s: not before then; for those that run again.
        created_s: when its life begins anew; for the next run of a periodic one.
        attempts: how many it has used; those that failed for no fault of its own do not count.
        failed: whether the attempt is noted as a failure, with ``error``.
    """

    id: int
    state: State
    ended_s: float
    due_s: float | None = None
    created_s: float | None = None
    attempts: int = 0
    result: str | None = None
    error: str | None = None
    failed: bool = False


_INSERT = f"INSERT INTO tasks ({', '.join(NewTask._fields)}) VALUES ({', '.join('?' * 12)})"


def add(cursor: apsw.Cursor, task: NewTask) -> int:
    """Add a task; its id."""
    cursor.execute(_INSERT, task)
    return cursor.connection.last_insert_rowid()


_PAYLOAD = NewTask._fields.index("payload")


def add_alike(cursor: apsw.Cursor, task: NewTask, payloads: Sequence[str]) -> list[int]:
    """Add a task for each payload, all like this one otherwise; their ids, in order."""
    before, after = task[:_PAYLOAD], task[_PAYLOAD + 1 :]
    cursor.executemany(_INSERT, [(*before, payload, *after) for payload in payloads])
    last = cursor.connection.last_insert_rowid()
    # No other connection writes inside this transaction, so they follow one another.
    return list(range(last - len(payloads) + 1, last + 1))


def link(cursor: apsw.Cursor, task: int, before: Sequence[int]) -> None:
    """Note that a task goes after others; their number is its ``blockers``."""
    cursor.executemany(
        "INSERT INTO links (before, after, place) VALUES (?, ?, ?)",
        [(first, task, place) for place, first in enumerate(before)],
    )


def count_open(cursor: apsw.Cursor) -> int:
    """How many tasks have not ended. Cost: two index scans, some ms for a million."""
    (total,) = cursor.execute(
        "SELECT (SELECT count(*) FROM tasks)"
        " - (SELECT count(*) FROM tasks WHERE finished_s IS NOT NULL)"
    ).fetchone()  # type: ignore[misc]
    return int(total)


def lanes_in_use(cursor: apsw.Cursor) -> list[int]:
    """Lanes in which a task waits. Cost: one look-up for each, however many wait."""
    lanes = []
    lane = cursor.execute("SELECT min(lane) FROM tasks WHERE lane IS NOT NULL").get
    while lane is not None:
        lanes.append(lane)
        lane = cursor.execute("SELECT min(lane) FROM tasks WHERE lane > ?", (lane,)).get
    return lanes


def next_wake_s(cursor: apsw.Cursor) -> float | None:
    """The first moment at which a task is to be touched."""
    moment: float | None = cursor.execute(
        "SELECT min(wake_s) FROM tasks WHERE wake_s IS NOT NULL"
    ).get
    return moment


class Woken(NamedTuple):
    """A task whose moment has come."""

    id: int
    spec: int
    created_s: float
    due_s: float
    life_s: float | None
    wake_s: float


def woken(cursor: apsw.Cursor, now_s: float, limit: int) -> list[Woken]:
    """Tasks whose moment has come, the earliest first."""
    return [
        Woken._make(row)
        for row in cursor.execute(
            "SELECT id, spec, created_s, due_s, life_s, wake_s FROM tasks"
            " WHERE wake_s <= ? ORDER BY wake_s LIMIT ?",
            (now_s, limit),
        )
    ]


class Move(NamedTuple):
    """Where a task whose moment has come goes: into a lane, until it is to be touched again."""

    lane: int
    wake_s: float | None
    id: int
    woken_s: float


def move(cursor: apsw.Cursor, moves: Sequence[Move]) -> None:
    """Put waiting tasks into lanes, but those that somebody else has touched meanwhile."""
    cursor.executemany(
        f"UPDATE tasks SET lane = ?, wake_s = ? WHERE id = ? AND state = {State.ENQUEUED:d}"
        " AND wake_s = ?",
        moves,
    )


_CLAIM = """
UPDATE tasks SET state = {running}, lane = NULL, wake_s = NULL, worker = ?, attempts = attempts + 1,
    started_s = ?, note = NULL
WHERE id IN ({ids})
RETURNING id, spec, payload, attempts, crashes, created_s, due_s, life_s, checkpoint, priority
"""
_ONE_LANE = (
    "SELECT id FROM tasks WHERE lane = ? AND crashes = 0 ORDER BY priority DESC, due_s LIMIT ?"
)
_LANE = (
    "SELECT * FROM (SELECT id, priority, due_s FROM tasks WHERE lane = ? AND crashes = 0"
    " ORDER BY priority DESC, due_s LIMIT ?)"
)


def claim(
    cursor: apsw.Cursor, worker: int, now_s: float, lanes: Sequence[int], limit: int
) -> list[Claimed]:
    """Take up to ``limit`` tasks of these lanes: by priority, then by how long they are due.

    Cost: grows with what is taken and the number of lanes, not with what waits.
    """
    if not lanes or limit <= 0:
        return []
    if len(lanes) == 1:
        ids = _ONE_LANE
        bindings: tuple[object, ...] = (lanes[0], limit)
    else:
        union = " UNION ALL ".join([_LANE] * len(lanes))
        ids = f"SELECT id FROM ({union}) ORDER BY priority DESC, due_s LIMIT ?"
        bindings = (*(value for lane in lanes for value in (lane, limit)), limit)
    return _claimed(cursor, ids, worker, now_s, bindings)


def claim_suspect(
    cursor: apsw.Cursor, worker: int, now_s: float, lanes: Sequence[int]
) -> list[Claimed]:
    """Take one task of these lanes whose worker died before, if there is one."""
    found: list[Any] = [
        row
        for lane in lanes
        for row in cursor.execute(
            "SELECT id, priority, due_s FROM tasks WHERE lane = ? AND crashes > 0"
            " ORDER BY priority DESC, due_s LIMIT 1",
            (lane,),
        )
    ]
    if not found:
        return []
    first = min(found, key=lambda row: (-row[1], row[2], row[0]))
    return _claimed(cursor, "?", worker, now_s, (first[0],))


def claim_one(
    cursor: apsw.Cursor, worker: int, now_s: float, task: int, lanes: Sequence[int]
) -> list[Claimed]:
    """Take this task, if it waits in one of these lanes."""
    ids = "SELECT id FROM tasks WHERE id = ? AND lane IN (SELECT value FROM json_each(?))"
    return _claimed(cursor, ids, worker, now_s, (task, json.dumps(list(lanes))))


def _claimed(
    cursor: apsw.Cursor, ids: str, worker: int, now_s: float, bindings: tuple[object, ...]
) -> list[Claimed]:
    rows: list[Any] = cursor.execute(
        _CLAIM.format(running=int(State.RUNNING), ids=ids), (worker, now_s, *bindings)
    ).fetchall()
    # An UPDATE returns its rows in the order in which it found them.
    rows.sort(key=lambda row: (-row[9], row[6], row[0]))
    return [Claimed._make(row[:9]) for row in rows]


def release(cursor: apsw.Cursor, worker: int, tasks: Iterable[int]) -> None:
    """Give back tasks that were claimed and not started; the attempt does not count."""
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, attempts = attempts - 1, started_s = NULL,"
        " wake_s = due_s WHERE id = ? AND worker = ?",
        [(State.ENQUEUED, task, worker) for task in tasks],
    )


def finish(cursor: apsw.Cursor, worker: int, ended: Sequence[Ended]) -> list[int]:
    """Write what became of tasks that this worker ran.

    A task that was taken from the worker meanwhile, since it seemed dead, is left as it is.

    Returns:
        Ids of tasks that no longer wait for anything, or will never run: for `settle`.
    """
    done = [row for row in ended if row.state in ENDED]
    cursor.executemany(
        "UPDATE tasks SET state = ?, finished_s = ?, result = ?, error = ?, worker = NULL,"
        " note = NULL, checkpoint = NULL, asked = 0 WHERE id = ? AND worker = ?",
        [(row.state, row.ended_s, row.result, row.error, row.id, worker) for row in done],
    )
    again = [row for row in ended if row.state not in ENDED]
    if again:
        # Its lane is found anew when its moment comes: it may have been relaxed meanwhile.
        cursor.executemany(
            "UPDATE tasks SET state = ?, worker = NULL, due_s = ?, wake_s = ?, attempts = ?,"
            " created_s = coalesce(?, created_s), result = coalesce(?, result), error = ?,"
            " note = NULL WHERE id = ? AND worker = ?",
            [
                (
                    *(row.state, row.due_s, row.due_s, row.attempts, row.created_s),
                    *(row.result, row.error, row.id, worker),
                )
                for row in again
            ],
        )
    failures = [row for row in ended if row.failed]
    if failures:
        cursor.executemany(
            "INSERT OR REPLACE INTO failures (task, attempt, started_s, ended_s, error)"
            " SELECT id, attempts, started_s, ?, ? FROM tasks WHERE id = ?",
            [(row.ended_s, row.error or "", row.id) for row in failures],
        )
    return [row.id for row in done]


def settle(cursor: apsw.Cursor, ended: Sequence[int], now_s: float) -> list[int]:
    """Let those go on that waited for ended tasks; fail those that waited in vain, and so on.

    Returns:
        Ids of tasks that failed with them.
    """
    cascade: list[int] = []
    while ended:
        rows: list[Any] = cursor.execute(
            "SELECT links.after, links.before, first.state FROM links"
            " JOIN tasks AS first ON first.id = links.before"
            " JOIN tasks AS second ON second.id = links.after"
            " WHERE links.before IN (SELECT value FROM json_each(?)) AND second.state = ?",
            (json.dumps(list(ended)), State.BLOCKED),
        ).fetchall()
        if not rows:
            break
        free = [after for after, _, state in rows if state == State.SUCCEEDED]
        cursor.executemany(
            "UPDATE tasks SET blockers = blockers - 1,"
            " state = CASE WHEN blockers = 1 THEN ? ELSE state END,"
            " wake_s = CASE WHEN blockers = 1 THEN due_s ELSE wake_s END WHERE id = ?",
            [(State.ENQUEUED, after) for after in free],
        )
        vain = {
            after: f"task {before}, which it waited for, {_ENDED_AS[State(state)]}"
            for after, before, state in rows
            if state != State.SUCCEEDED
        }
        cursor.executemany(
            "UPDATE tasks SET state = ?, finished_s = ?, wake_s = NULL, error = ? WHERE id = ?",
            [(State.FAILED, now_s, error, after) for after, error in vain.items()],
        )
        ended = list(vain)
        cascade += ended
    return cascade


_ENDED_AS = {
    State.FAILED: "failed",
    State.CANCELLED: "was cancelled",
    State.EXPIRED: "expired",
}


def expire(cursor: apsw.Cursor, tasks: Sequence[int], now_s: float) -> None:
    """Give up waiting tasks whose deadline has come."""
    cursor.executemany(
        "UPDATE tasks SET state = ?, finished_s = ?, lane = NULL, wake_s = NULL,"
        " error = 'its deadline came before it could run' WHERE id = ? AND state = ?",
        [(State.EXPIRED, now_s, task, State.ENQUEUED) for task in tasks],
    )


def cancel(cursor: apsw.Cursor, task: int, now_s: float) -> State | None:
    """Cancel a task that waits; ask a running one to stop.

    Returns:
        Its state before; ``None`` if there is none.
    """
    row = cursor.execute("SELECT state FROM tasks WHERE id = ?", (task,)).fetchone()
    if row is None:
        return None
    state = State(row[0])
    if state is State.RUNNING:
        cursor.execute("UPDATE tasks SET asked = 1 WHERE id = ?", (task,))
    elif state not in ENDED:
        cursor.execute(
            "UPDATE tasks SET state = ?, finished_s = ?, lane = NULL, wake_s = NULL WHERE id = ?",
            (State.CANCELLED, now_s, task),
        )
    return state


def asked_to_stop(cursor: apsw.Cursor, worker: int) -> list[int]:
    """Tasks that this worker runs and that somebody wants cancelled."""
    return [
        row[0]
        for row in cursor.execute("SELECT id FROM tasks WHERE worker = ? AND asked = 1", (worker,))
    ]


def revive(cursor: apsw.Cursor, task: int, now_s: float) -> bool:
    """Have an ended task wait again, with its attempts forgotten; whether there was such a one."""
    cursor.execute(
        "UPDATE tasks SET state = ?, finished_s = NULL, attempts = 0, crashes = 0, due_s = ?,"
        " wake_s = ?, created_s = ?, error = NULL, asked = 0, blockers = 0"
        " WHERE id = ? AND finished_s IS NOT NULL AND state != ?",
        (State.ENQUEUED, now_s, now_s, now_s, task, State.SUCCEEDED),
    )
    return cursor.connection.changes() == 1


def note(cursor: apsw.Cursor, task: int, text: str | None) -> None:
    """Say what a running task is up to, for whoever asks."""
    cursor.execute("UPDATE tasks SET note = ? WHERE id = ?", (text, task))


def checkpoint(cursor: apsw.Cursor, worker: int, task: int, text: str) -> bool:
    """Keep where a running task has come to; whether the task is still this worker's."""
    cursor.execute(
        "UPDATE tasks SET checkpoint = ? WHERE id = ? AND worker = ?", (text, task, worker)
    )
    return cursor.connection.changes() == 1


def get(cursor: apsw.Cursor, task: int) -> TaskRow | None:
    """Everything about one task."""
    row = cursor.execute(f"SELECT {_ROW} FROM tasks WHERE id = ?", (task,)).fetchone()
    return None if row is None else TaskRow.of(row)


def state_of(cursor: apsw.Cursor, task: int) -> State | None:
    """Where a task stands; ``None`` if there is none."""
    state: int | None = cursor.execute("SELECT state FROM tasks WHERE id = ?", (task,)).get
    return None if state is None else State(state)


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


def find_unique(cursor: apsw.Cursor, key: str) -> int | None:
    """The newest task of this key that has not ended."""
    found: int | None = cursor.execute(
        "SELECT max(id) FROM tasks WHERE unique_key = ? AND finished_s IS NULL", (key,)
    ).get
    return found


def blocking(cursor: apsw.Cursor, task: int) -> list[tuple[int, State]]:
    """What a task waits for or waited for, and how that stands, in its order."""
    return [
        (first, State(state))
        for first, state in cursor.execute(
            "SELECT tasks.id, tasks.state FROM links JOIN tasks ON tasks.id = links.before"
            " WHERE links.after = ? ORDER BY links.place",
            (task,),
        )
    ]


def results_before(cursor: apsw.Cursor, task: int) -> list[str | None]:
    """Results of the tasks that a task waited for, in its order."""
    return [
        row[0]
        for row in cursor.execute(
            "SELECT tasks.result FROM links JOIN tasks ON tasks.id = links.before"
            " WHERE links.after = ? ORDER BY links.place",
            (task,),
        )
    ]


def failures(cursor: apsw.Cursor, task: int) -> list[tuple[int, float | None, float, str]]:
    """Attempts of a task that failed: attempt, start, end, error."""
    return cursor.execute(  # type: ignore[return-value]
        "SELECT attempt, started_s, ended_s, error FROM failures WHERE task = ?"
        " ORDER BY ended_s, attempt",
        (task,),
    ).fetchall()


def count(cursor: apsw.Cursor) -> dict[State, int]:
    """How many tasks there are in each state."""
    counts = dict.fromkeys(State, 0)
    for state, number in cursor.execute("SELECT state, count(*) FROM tasks GROUP BY state"):
        counts[State(state)] = number
    return counts


def prune(cursor: apsw.Cursor, ended_before_s: float, limit: int) -> int:
    """Delete tasks that ended before then, the newest task of all left; how many."""
    # Ids must not be used again: the newest is kept, since the next id follows it.
    cursor.execute(
        "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks"
        f" WHERE state IN ({', '.join(str(int(state)) for state in ENDED)})"
        " AND finished_s < ? AND id < (SELECT max(id) FROM tasks)"
        " AND NOT EXISTS (SELECT 1 FROM links JOIN tasks AS later ON later.id = links.after"
        " WHERE links.before = tasks.id AND later.finished_s IS NULL) LIMIT ?)",
        (ended_before_s, limit),
    )
    return cursor.connection.changes()
