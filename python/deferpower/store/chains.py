"""Tasks that come after others: what frees them, what fails with them, what is revived with them.

Every function runs inside a transaction that the caller opened. A link leads from a task to one
that exists already, so chains are never circles.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store.records import ENDED, State

if TYPE_CHECKING:
    import apsw

_ENDED = ", ".join(str(int(state)) for state in sorted(ENDED))
# Whether a link holds its task up, by the state of what comes before.
_HOLDS = (
    f"CASE WHEN links.any_end THEN first.state NOT IN ({_ENDED})"
    f" ELSE first.state != {State.SUCCEEDED:d} END"
)
ENDED_AS = {State.FAILED: "failed", State.CANCELLED: "was cancelled", State.EXPIRED: "expired"}
"""How a task ended that did not succeed, in words."""


def link(cursor: apsw.Cursor, task: int, before: Sequence[int], ends: Sequence[int] = ()) -> None:
    """Note that a task goes after others; their number is its ``blockers``.

    Args:
        cursor: of a transaction.
        task: which one.
        before: those that must succeed,
        ends: and those that must have ended in whatever way.
    """
    links = [(first, task, place, 0) for place, first in enumerate(before)]
    links += [(first, task, -1, 1) for first in ends]
    cursor.executemany(
        "INSERT INTO links (before, after, place, any_end) VALUES (?, ?, ?, ?)", links
    )


def settle(cursor: apsw.Cursor, ended: Iterable[int], now_s: float) -> list[int]:
    """Let those go on that waited for ended tasks; fail those that waited in vain, and so on.

    Returns:
        Ids of tasks that failed with them.
    """
    cascade: list[int] = []
    ended = list(ended)
    while ended:
        rows: list[Any] = cursor.execute(
            "SELECT links.after, links.before, first.state, links.any_end FROM links"
            " JOIN tasks AS first ON first.id = links.before"
            " JOIN tasks AS second ON second.id = links.after"
            f" WHERE links.before IN (SELECT value FROM json_each(?)) AND first.state IN ({_ENDED})"
            " AND second.state = ? ORDER BY links.after, links.place",
            (json.dumps(ended), State.BLOCKED),
        ).fetchall()
        freed = [after for after, _, state, any_end in rows if any_end or state == State.SUCCEEDED]
        _free(cursor, freed, now_s)
        vain: dict[int, str] = {}
        for after, before, state, any_end in rows:
            if not any_end and state != State.SUCCEEDED:
                text = f"task {before}, which it waited for, {ENDED_AS[State(state)]}"
                vain.setdefault(after, text)
        cursor.executemany(
            "UPDATE tasks SET state = ?, finished_s = ?, wake_s = NULL, error = ? WHERE id = ?",
            [(State.FAILED, now_s, error, after) for after, error in vain.items()],
        )
        ended = list(vain)
        cascade += ended
    return cascade


def _free(cursor: apsw.Cursor, freed: Sequence[int], now_s: float) -> None:
    """Count one blocker less for each; what has none left is looked at in the next turn.

    The count only says when to look: one that ended long ago, or for the second time since it was
    retried, is counted twice. So a task goes on when nothing holds it, not when the count says so.
    """
    cursor.executemany(
        "UPDATE tasks SET blockers = blockers - 1 WHERE id = ?", [(t,) for t in freed]
    )
    cursor.executemany(
        # What was written before the clock was set back counts from now.
        f"UPDATE tasks SET state = {State.ENQUEUED:d}, wake_s = ?1, since_s = ?1,"
        " due_s = max(due_s - max(0, coalesce(since_s, created_s) - ?1), coalesce(not_before_s, 0))"
        f" WHERE id = ?2 AND state = {State.BLOCKED:d} AND blockers <= 0"
        " AND NOT EXISTS (SELECT 1 FROM links JOIN tasks AS first ON first.id = links.before"
        f" WHERE links.after = tasks.id AND {_HOLDS})",
        [(now_s, task) for task in dict.fromkeys(freed)],
    )


def cancel(cursor: apsw.Cursor, tasks: Sequence[int], now_s: float) -> list[int]:
    """Cancel tasks that wait, and ask those that run to stop; one that has ended is left alone.

    Returns:
        Ids of tasks that fail since they waited for one of them.
    """
    cursor.executemany(
        f"UPDATE tasks SET asked = 1 WHERE id = ? AND state = {State.RUNNING:d}",
        [(task,) for task in tasks],
    )
    cursor.executemany(
        "UPDATE tasks SET state = ?, finished_s = ?, lane = NULL, wake_s = NULL"
        f" WHERE id = ? AND state IN ({State.BLOCKED:d}, {State.ENQUEUED:d})",
        [(State.CANCELLED, now_s, task) for task in tasks],
    )
    return settle(cursor, tasks, now_s)


class Before(NamedTuple):
    """A task that another comes after.

    Attributes:
        any_end: whether it need not succeed, but only end.
    """

    id: int
    state: State
    any_end: bool

    @property
    def holds(self) -> bool:
        """Whether the other must still wait for it."""
        return self.state not in ENDED if self.any_end else self.state is not State.SUCCEEDED


def blocking(cursor: apsw.Cursor, task: int) -> list[Before]:
    """What a task waits for or waited for, and how that stands, in its order."""
    return [
        Before(first, State(state), bool(any_end))
        for first, state, any_end in cursor.execute(
            "SELECT tasks.id, tasks.state, links.any_end FROM links"
            " JOIN tasks ON tasks.id = links.before WHERE links.after = ? ORDER BY links.place",
            (task,),
        )
    ]


def results_before(cursor: apsw.Cursor, task: int) -> list[str | None]:
    """Results of the tasks that a task came after, in its order."""
    return [
        row[0]
        for row in cursor.execute(
            "SELECT tasks.result FROM links JOIN tasks ON tasks.id = links.before"
            " WHERE links.after = ? AND links.place >= 0 ORDER BY links.place",
            (task,),
        )
    ]


def first_after(cursor: apsw.Cursor, tasks: Sequence[int], of: Sequence[int]) -> int | None:
    """The first of these tasks that is one of some others, or comes after one, however far."""
    found: int | None = cursor.execute(
        "WITH RECURSIVE later (id) AS (SELECT value FROM json_each(?)"
        " UNION SELECT links.after FROM links JOIN later ON links.before = later.id)"
        " SELECT min(id) FROM later WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(of)), json.dumps(list(tasks))),
    ).get
    return found


def revive(cursor: apsw.Cursor, task: int, now_s: float) -> list[int]:
    """Have an ended task wait again, and what failed or expired with it.

    That is what came before it, and what failed for having waited for any of them.

    What may run at most once does not come back with another. Nobody can tell whether it was
    done, so those that are to run again do not wait for it any more.

    Returns:
        Ids of those that wait again; without this one if it succeeded, has not ended, or comes
        after one that was cancelled.
    """
    revived = _not_done_before(cursor, task)
    cursor.execute(
        "UPDATE links SET any_end = 1 WHERE after IN (SELECT value FROM json_each(?))"
        " AND before IN (SELECT tasks.id FROM tasks JOIN specs ON specs.id = tasks.spec"
        f" WHERE tasks.state = ? AND {_AT_MOST_ONCE}"
        "  AND tasks.id IN (SELECT before FROM links WHERE after IN"
        "   (SELECT value FROM json_each(?)))) AND before NOT IN (SELECT value FROM json_each(?))",
        (json.dumps(revived), State.FAILED, json.dumps(revived), json.dumps(revived)),
    )
    cursor.executemany(_REVIVE, [(now_s, one) for one in revived])
    wanted = revived
    while wanted:
        # A task that failed and never ran failed for what came before it.
        wanted = [
            row[0]
            for row in cursor.execute(
                "SELECT DISTINCT tasks.id FROM links JOIN tasks ON tasks.id = links.after"
                " WHERE links.before IN (SELECT value FROM json_each(?)) AND NOT links.any_end"
                " AND tasks.state = ? AND tasks.started_s IS NULL",
                (json.dumps(wanted), State.FAILED),
            )
        ]
        cursor.executemany(_REVIVE, [(now_s, one) for one in wanted])
        revived += wanted
    cursor.executemany(
        "UPDATE tasks SET blockers = (SELECT count(*) FROM links JOIN tasks AS first"
        f" ON first.id = links.before WHERE links.after = tasks.id AND {_HOLDS}) WHERE id = ?",
        [(one,) for one in revived],
    )
    cursor.executemany(
        "UPDATE tasks SET state = ?, wake_s = created_s + life_s WHERE id = ? AND blockers > 0",
        [(State.BLOCKED, one) for one in revived],
    )
    failed = [
        first.id
        for one in revived
        for first in blocking(cursor, one)
        if first.holds and first.state in ENDED
    ]
    # What waits for yet another one that failed has nothing to wait for.
    again = settle(cursor, failed, now_s)
    return [one for one in revived if one not in again]


_REVIVE = (
    f"UPDATE tasks SET state = {State.ENQUEUED:d}, finished_s = NULL, attempts = 0, crashes = 0,"
    " due_s = ?1, wake_s = ?1, created_s = ?1, since_s = ?1, not_before_s = NULL,"
    " started_s = NULL, error = NULL, asked = 0, blockers = 0 WHERE id = ?2"
)


_AT_MOST_ONCE = (
    "coalesce(CASE WHEN json_valid(specs.text)"
    " THEN json_extract(specs.text, '$.at_most_once') END, 0)"
)


def _not_done_before(cursor: apsw.Cursor, task: int) -> list[int]:
    """A task that ended without success, and those before it that may come back with it."""
    return [
        row[0]
        for row in cursor.execute(
            "WITH RECURSIVE undone (id) AS (SELECT id FROM tasks"
            " WHERE id = ? AND finished_s IS NOT NULL AND state != ?"
            " UNION SELECT first.id FROM links JOIN undone ON links.after = undone.id"
            " JOIN tasks AS first ON first.id = links.before"
            " JOIN specs ON specs.id = first.spec"
            " WHERE NOT links.any_end AND first.state IN (?, ?)"
            f" AND NOT {_AT_MOST_ONCE})"
            " SELECT id FROM undone",
            (task, State.SUCCEEDED, State.FAILED, State.EXPIRED),
        )
    ]
