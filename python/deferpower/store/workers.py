"""Who runs tasks: registering workers, and taking back what dead ones held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.records import State

if TYPE_CHECKING:
    import apsw


class Owner(NamedTuple):
    """A process, told apart from every other one that ever had its number.

    Attributes:
        boot_id: which start of the machine it belongs to.
        pid: its number,
        pid_namespace: in which namespace of numbers that is,
        started: and when it started, by the machine's own count.
    """

    boot_id: str
    pid: int
    pid_namespace: str
    started: str


class Orphan(NamedTuple):
    """A task whose worker is gone."""

    id: int
    spec: int
    attempts: int
    crashes: int
    same_boot: bool


def register(cursor: apsw.Cursor, owner: Owner) -> int:
    """A new worker of this process; its id, which is never used again."""
    cursor.execute(
        "INSERT INTO workers (boot_id, pid, pid_namespace, started) VALUES (?, ?, ?, ?)", owner
    )
    return cursor.connection.last_insert_rowid()


def others(cursor: apsw.Cursor, worker: int) -> dict[int, Owner]:
    """All workers but this one."""
    return {
        row[0]: Owner._make(row[1:])
        for row in cursor.execute(
            "SELECT id, boot_id, pid, pid_namespace, started FROM workers WHERE id != ?", (worker,)
        )
    }


def owner_of(cursor: apsw.Cursor, worker: int) -> Owner | None:
    """The process of a worker."""
    row = cursor.execute(
        "SELECT boot_id, pid, pid_namespace, started FROM workers WHERE id = ?", (worker,)
    ).fetchone()
    return None if row is None else Owner._make(row)


def orphans(cursor: apsw.Cursor, worker: int, same_boot: bool) -> list[Orphan]:
    """The tasks that a dead worker held."""
    return [
        Orphan(row[0], row[1], row[2], row[3], same_boot)
        for row in cursor.execute(
            "SELECT id, spec, attempts, crashes FROM tasks WHERE worker = ?", (worker,)
        )
    ]


class Fate(NamedTuple):
    """What becomes of an orphan.

    Attributes:
        error: why it is not run again; ``None`` if it is.
        crashes: how often it was running when its worker died by itself.
    """

    id: int
    crashes: int
    error: str | None


def adopt(cursor: apsw.Cursor, fates: Sequence[Fate], now_s: float) -> list[int]:
    """Have orphans wait again, or end them; ids of those that ended."""
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, crashes = ?, wake_s = due_s, note = NULL"
        " WHERE id = ?",
        [(State.ENQUEUED, fate.crashes, fate.id) for fate in fates if fate.error is None],
    )
    ended = [fate for fate in fates if fate.error is not None]
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, crashes = ?, finished_s = ?, error = ?,"
        " note = NULL WHERE id = ?",
        [(State.FAILED, fate.crashes, now_s, fate.error, fate.id) for fate in ended],
    )
    return [fate.id for fate in ended]


def forget(cursor: apsw.Cursor, worker: int) -> None:
    """Strike a worker off that holds no task any more."""
    cursor.execute("DELETE FROM workers WHERE id = ?", (worker,))
