"""A worker's side of the store: what waits, claiming it, and what became of it.

Every function runs inside a transaction that the caller opened, so a whole turn is one commit.

A waiting task lies in a *lane*: with all others that ask the same of the machine at present. What
may start is decided for lanes, so a million parked tasks cost no more than one. A task is touched
only when its moment comes (``wake_s``): it is due, drops a preference, or reaches its deadline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store.records import ENDED, State, damaged, decoded

if TYPE_CHECKING:
    import apsw


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
        touch_s: when to look at it again at the latest, if that is before it is due.
        created_s: when its life begins anew; for the next run of a periodic one.
        attempt: which one has ended.
        attempts: how many it has used; those that failed for no fault of its own do not count.
        failed: whether the attempt is noted as a failure, with ``error``.
    """

    id: int
    state: State
    ended_s: float
    due_s: float | None = None
    touch_s: float | None = None
    created_s: float | None = None
    attempt: int = 0
    attempts: int = 0
    result: str | None = None
    error: str | None = None
    failed: bool = False


def lanes_in_use(cursor: apsw.Cursor) -> list[int]:
    """Lanes in which a task waits. Cost: one look-up for each, however many wait."""
    lanes = []
    lane = cursor.execute("SELECT min(lane) FROM tasks WHERE lane IS NOT NULL").get
    while lane is not None:
        lanes.append(lane)
        lane = cursor.execute("SELECT min(lane) FROM tasks WHERE lane > ?", (lane,)).get
    if any(type(lane) is not int for lane in lanes):
        raise damaged("tasks", f"the lane of one is {lanes[-1]!a:.80}")
    return lanes


def next_wake_s(cursor: apsw.Cursor) -> float | None:
    """The first moment at which a task is to be touched."""
    moment: float | None = cursor.execute(
        "SELECT min(wake_s) FROM tasks WHERE wake_s IS NOT NULL"
    ).get
    if moment is not None and not (isinstance(moment, float) and abs(moment) <= 1e15):
        raise damaged("tasks", f"wake_s of one is {moment!a:.80}")
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
        decoded(Woken, row, "task")
        for row in cursor.execute(
            "SELECT id, spec, created_s, due_s, life_s, wake_s FROM tasks"
            " WHERE wake_s <= ? ORDER BY wake_s LIMIT ?",
            (now_s, limit),
        )
    ]


class Move(NamedTuple):
    """Where a task whose moment has come goes, until it is to be touched again.

    Attributes:
        lane: ``None`` if it is not due yet.
    """

    lane: int | None
    wake_s: float | None
    id: int
    woken_s: float


def move(cursor: apsw.Cursor, moves: Sequence[Move]) -> None:
    """Put waiting tasks into lanes, but those that somebody else has touched meanwhile.

    One that is blocked has no lane, and nothing to be touched for until it is free.
    """
    cursor.executemany(
        f"UPDATE tasks SET lane = CASE state WHEN {State.ENQUEUED:d} THEN ? END,"
        f" wake_s = CASE state WHEN {State.ENQUEUED:d} THEN ? END WHERE id = ? AND wake_s = ?",
        moves,
    )


class Lapse(NamedTuple):
    """What becomes of a task whose deadline came before it could run.

    Attributes:
        due_s: when the next run of a periodic one is due; ``None`` ends the task.
    """

    id: int
    woken_s: float
    due_s: float | None


_EXPIRED = "its deadline came before it could run"


def lapse(cursor: apsw.Cursor, lapses: Sequence[Lapse], now_s: float) -> list[int]:
    """Give up waiting tasks whose deadline has come, but those that somebody else has touched.

    Returns:
        Ids of those that ended.
    """
    cursor.executemany(
        f"UPDATE tasks SET due_s = ?, created_s = ?, wake_s = ?, since_s = ?, lane = NULL,"
        f" attempts = 0, crashes = 0, checkpoint = NULL, error = '{_EXPIRED}'"
        " WHERE id = ? AND wake_s = ?",
        [
            (row.due_s, row.due_s, row.due_s, now_s, row.id, row.woken_s)
            for row in lapses
            if row.due_s is not None
        ],
    )
    ended = []
    for row in lapses:
        if row.due_s is None:
            cursor.execute(
                "UPDATE tasks SET state = ?, finished_s = ?, lane = NULL, wake_s = NULL,"
                f" error = coalesce(error || char(10), '') || '{_EXPIRED}'"
                " WHERE id = ? AND wake_s = ?",
                (State.EXPIRED, now_s, row.id, row.woken_s),
            )
            if cursor.connection.changes():
                ended.append(row.id)
    return ended


def take_back_future(cursor: apsw.Cursor, now_s: float) -> int:
    """Count from now what was written by a clock that was later set back; how many tasks.

    A task knows the moment at which it began to wait. If that is still to come, the clock was set
    back, and all its moments move with it, but for one that was asked for by the wall clock.

    Cost: grows with the number of tasks that are to be touched later.
    """
    back = "(coalesce(since_s, created_s) - ?1)"
    cursor.execute(
        f"UPDATE tasks SET created_s = created_s - {back}, since_s = ?1,"
        f" due_s = max(due_s - {back}, coalesce(not_before_s, 0)),"
        f" wake_s = CASE state WHEN {State.ENQUEUED:d} THEN ?1 ELSE wake_s - {back} END"
        " WHERE wake_s > ?1 AND coalesce(since_s, created_s) > ?1 + ?2",
        (now_s, CLOCK_STEP_S),
    )
    return cursor.connection.changes()


CLOCK_STEP_S = 1.0
"""A clock that goes back less than this is being adjusted, not set."""


_CLAIM = """
UPDATE tasks SET state = {running}, lane = NULL, wake_s = NULL, worker = ?, attempts = attempts + 1,
    started_s = ?, note = NULL
WHERE id IN ({ids})
RETURNING id, spec, payload, attempts, crashes, created_s, due_s, life_s, checkpoint,
    CASE typeof(priority) WHEN 'integer' THEN priority ELSE 0 END
"""
_ONE_LANE = (
    "SELECT id FROM tasks WHERE lane = ? AND crashes = 0 ORDER BY priority DESC, due_s LIMIT ?"
)
# Of each lane no more than may be taken, so the cost does not grow with what waits. There may be
# more lanes than SQLite allows selects in a UNION (500).
_LANES = (
    "SELECT tasks.id FROM json_each(?) AS lanes CROSS JOIN tasks ON tasks.id IN"
    " (SELECT first.id FROM tasks AS first WHERE first.lane = lanes.value AND first.crashes = 0"
    " ORDER BY first.priority DESC, first.due_s LIMIT ?)"
    " ORDER BY tasks.priority DESC, tasks.due_s LIMIT ?"
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
        ids = _LANES
        bindings = (json.dumps(list(lanes)), limit, limit)
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
    if any(not isinstance(value, (int, float)) for row in found for value in row):
        raise damaged("tasks", "the place of one in its lane cannot be told")
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
    found = [(row[9], decoded(Claimed, row[:9], "task")) for row in rows]
    found.sort(key=lambda row: (-row[0], row[1].due_s, row[1].id))
    return [claimed for _, claimed in found]


def release(cursor: apsw.Cursor, worker: int, tasks: Iterable[int], now_s: float) -> list[int]:
    """Give back tasks that were claimed and not started; the attempt does not count.

    Returns:
        Those that somebody wants cancelled, and that are.
    """
    asked = set(asked_to_stop(cursor, worker))
    given_back = [*tasks]
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, attempts = attempts - 1, started_s = NULL,"
        " due_s = min(due_s, ?), wake_s = ?, since_s = ? WHERE id = ? AND worker = ?",
        [(State.ENQUEUED, now_s, now_s, now_s, t, worker) for t in given_back if t not in asked],
    )
    cancelled = [task for task in given_back if task in asked]
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, attempts = attempts - 1, started_s = NULL,"
        " finished_s = ?, asked = 0 WHERE id = ?",
        [(State.CANCELLED, now_s, task) for task in cancelled],
    )
    return cancelled


def finish(cursor: apsw.Cursor, worker: int, ended: Sequence[Ended]) -> list[Ended]:
    """Write what became of tasks that this worker ran.

    A task that was taken from the worker meanwhile, since it seemed dead, is left as it is. One
    that did not succeed, and that somebody wants cancelled, is cancelled.

    Returns:
        What was written.
    """
    if not ended:
        return []
    asked: dict[int, int] = dict(
        cursor.execute(  # type: ignore[arg-type]
            "SELECT id, asked FROM tasks WHERE worker = ?", (worker,)
        ).fetchall()
    )
    written = [
        row._replace(state=State.CANCELLED)
        if asked[row.id] and row.state is not State.SUCCEEDED
        else row
        for row in ended
        if row.id in asked
    ]
    cursor.executemany(
        "UPDATE tasks SET state = ?, finished_s = ?, result = ?, error = ?, worker = NULL,"
        " note = NULL, asked = 0, checkpoint = CASE ? WHEN 1 THEN NULL ELSE checkpoint END"
        " WHERE id = ?",
        [
            (row.state, row.ended_s, row.result, row.error, row.state is State.SUCCEEDED, row.id)
            for row in written
            if row.state in ENDED
        ],
    )
    again = [row for row in written if row.state not in ENDED]
    if again:
        # Its lane is found anew when its moment comes: it may have been relaxed meanwhile. A
        # periodic one begins anew; another goes on from where it has come to.
        cursor.executemany(
            "UPDATE tasks SET state = ?, worker = NULL, due_s = ?, wake_s = ?, attempts = ?,"
            " since_s = ?, crashes = CASE WHEN ?6 IS NULL THEN crashes ELSE 0 END,"
            " checkpoint = CASE WHEN ?6 IS NULL THEN checkpoint END,"
            " created_s = coalesce(?6, created_s), result = coalesce(?7, result), error = ?8,"
            " note = NULL WHERE id = ?9",
            [
                (
                    *(row.state, row.due_s, row.due_s if row.touch_s is None else row.touch_s),
                    *(row.attempts, row.ended_s, row.created_s, row.result, row.error, row.id),
                )
                for row in again
            ],
        )
    failures = [row for row in written if row.failed]
    if failures:
        cursor.executemany(
            "INSERT OR REPLACE INTO failures (task, attempt, started_s, ended_s, error)"
            " SELECT id, ?, started_s, ?, ? FROM tasks WHERE id = ?",
            [(row.attempt, row.ended_s, row.error or "", row.id) for row in failures],
        )
    return written


def asked_to_stop(cursor: apsw.Cursor, worker: int) -> list[int]:
    """Tasks that this worker runs and that somebody wants cancelled."""
    return [
        row[0]
        for row in cursor.execute("SELECT id FROM tasks WHERE worker = ? AND asked = 1", (worker,))
    ]


def checkpoint(cursor: apsw.Cursor, worker: int, task: int, text: str) -> bool:
    """Keep where a running task has come to; whether the task is still this worker's."""
    cursor.execute(
        "UPDATE tasks SET checkpoint = ? WHERE id = ? AND worker = ?", (text, task, worker)
    )
    return cursor.connection.changes() == 1
