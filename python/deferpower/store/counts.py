"""Counts of a long queue: from indexes, so that a million tasks are counted in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.records import State, decoded

if TYPE_CHECKING:
    import apsw


class LaneCount(NamedTuple):
    """Tasks that ask the same of the machine.

    Attributes:
        first: the smallest of their ids.
    """

    lane: int
    size: int
    first: int


class Later(NamedTuple):
    """Tasks that wait for a moment to come.

    Attributes:
        periodic: whether they have run before and come again and again,
        after_failure: or make a pause after an attempt that failed.
        first: the id of the one whose moment comes first,
        first_s: and that moment.
    """

    periodic: bool
    after_failure: bool
    size: int
    first: int
    first_s: float


def in_lanes(cursor: apsw.Cursor, now_s: float) -> list[LaneCount]:
    """Tasks that wait for the machine, by lane; without those whose moment has come meanwhile."""
    touched: dict[int, int] = dict(
        cursor.execute(  # type: ignore[arg-type]
            "SELECT lane, count(*) FROM tasks WHERE wake_s <= ? AND lane IS NOT NULL GROUP BY lane",
            (now_s,),
        ).fetchall()
    )
    found = [
        LaneCount(lane, number - touched.get(lane, 0), first)
        for lane, number, first in cursor.execute(
            "SELECT lane, count(*), min(id) FROM tasks WHERE lane IS NOT NULL GROUP BY lane"
        )
    ]
    return [lane for lane in found if lane.size]


def later(cursor: apsw.Cursor, now_s: float) -> list[Later]:
    """Tasks that are not due yet. Cost: grows with their number."""
    return [
        decoded(Later, (bool(periodic), bool(failed), *rest), "tasks that wait:")
        for periodic, failed, *rest in cursor.execute(
            # With a bare column beside min(), SQLite gives that of the row with the minimum.
            "SELECT CASE WHEN json_valid(specs.text) THEN"
            " json_extract(specs.text, '$.every_s') IS NOT NULL END AS periodic,"
            " error IS NOT NULL AND attempts > 0 AS failed, count(*), tasks.id, min(wake_s)"
            " FROM tasks JOIN specs ON specs.id = tasks.spec"
            " WHERE wake_s > ? AND lane IS NULL AND state = ?"
            " GROUP BY periodic, failed ORDER BY 1, 2",
            (now_s, State.ENQUEUED),
        )
    ]


def woken(cursor: apsw.Cursor, now_s: float) -> int:
    """How many waiting tasks' moment has come."""
    number: int = cursor.execute("SELECT count(*) FROM tasks WHERE wake_s <= ?", (now_s,)).get
    return number


def first_blocked(cursor: apsw.Cursor) -> int | None:
    """The smallest id of those that wait for other tasks."""
    found: int | None = cursor.execute(
        "SELECT min(tasks.id) FROM links JOIN tasks ON tasks.id = links.after"
        " WHERE tasks.state = ?",
        (State.BLOCKED,),
    ).get
    return found


def by_state(cursor: apsw.Cursor) -> dict[State, int]:
    """How many tasks there are in each state. Cost: no row is looked at, indexes only."""
    counts = dict.fromkeys(State, 0)
    counts.update(
        (State(state), number)
        for state, number in cursor.execute(
            "SELECT state, count(*) FROM tasks WHERE finished_s IS NOT NULL GROUP BY state"
        )
    )
    for state, condition in (
        (State.RUNNING, "worker IS NOT NULL"),
        # One that drops a preference later lies in both indexes.
        (State.ENQUEUED, "lane IS NOT NULL"),
    ):
        counts[state] = cursor.execute(f"SELECT count(*) FROM tasks WHERE {condition}").get
    counts[State.ENQUEUED] += cursor.execute(
        # One that is blocked is looked at when its life is over, too.
        "SELECT count(*) FROM tasks WHERE wake_s IS NOT NULL AND lane IS NULL AND state = ?",
        (State.ENQUEUED,),
    ).get
    total = cursor.execute("SELECT count(*) FROM tasks").get
    counts[State.BLOCKED] = total - sum(counts.values())
    return counts


def held(cursor: apsw.Cursor, worker: int) -> int:
    """How many tasks a worker has claimed, running or about to."""
    number: int = cursor.execute("SELECT count(*) FROM tasks WHERE worker = ?", (worker,)).get
    return number


def running(cursor: apsw.Cursor, limit: int) -> list[int]:
    """Ids of tasks that some worker runs, the oldest first."""
    return [
        row[0]
        for row in cursor.execute(
            "SELECT id FROM tasks WHERE worker IS NOT NULL ORDER BY id LIMIT ?", (limit,)
        )
    ]
