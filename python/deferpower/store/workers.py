"""Who runs tasks: registering workers, and taking back what dead ones held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store.records import DamagedError, State, decoded

if TYPE_CHECKING:
    import apsw


NOBODY = 0
"""No worker has this number."""


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


NO_PROCESS = Owner("", 0, "", "")
"""What a row stands for that makes no sense: a process that is gone, of who knows what boot."""


def process_of(row: Iterable[Any]) -> Owner:
    """The process that a row names."""
    try:
        return decoded(Owner, row, "worker of boot")
    except DamagedError:
        return NO_PROCESS


class Orphan(NamedTuple):
    """A task whose worker is gone."""

    id: int
    spec: int
    attempts: int
    crashes: int
    asked: int
    same_boot: bool


class _Held(NamedTuple):
    """A task that a worker holds, as it stands in the file."""

    id: int
    spec: int
    attempts: int
    crashes: int
    asked: int


def register(cursor: apsw.Cursor, owner: Owner) -> int:
    """A new worker of this process; its id, which is never used again."""
    cursor.execute(
        "INSERT INTO workers (boot_id, pid, pid_namespace, started) VALUES (?, ?, ?, ?)", owner
    )
    return cursor.connection.last_insert_rowid()


def others(cursor: apsw.Cursor, worker: int) -> dict[int, Owner]:
    """All workers but this one."""
    return {
        row[0]: process_of(row[1:])
        for row in cursor.execute(
            "SELECT id, boot_id, pid, pid_namespace, started FROM workers WHERE id != ?", (worker,)
        )
    }


def held(cursor: apsw.Cursor, worker: int) -> list[int]:
    """Ids of the tasks that a worker holds."""
    return [row[0] for row in cursor.execute("SELECT id FROM tasks WHERE worker = ?", (worker,))]


def unknown(cursor: apsw.Cursor) -> list[int]:
    """Workers that hold tasks and are not among the workers. Cost: an index scan of what runs."""
    rows = cursor.execute(
        "SELECT DISTINCT worker FROM tasks WHERE worker IS NOT NULL AND worker NOT IN"
        " (SELECT id FROM workers)"
    )
    return [row[0] for row in rows]


def owner_of(cursor: apsw.Cursor, worker: int) -> Owner | None:
    """The process of a worker."""
    row = cursor.execute(
        "SELECT boot_id, pid, pid_namespace, started FROM workers WHERE id = ?", (worker,)
    ).fetchone()
    return None if row is None else process_of(row)


def orphans(cursor: apsw.Cursor, worker: int, same_boot: bool) -> list[Orphan]:
    """The tasks that a dead worker held."""
    return [
        Orphan(*decoded(_Held, row, "task"), same_boot)
        for row in cursor.execute(
            "SELECT id, spec, attempts, crashes, asked FROM tasks WHERE worker = ?", (worker,)
        )
    ]


class Fate(NamedTuple):
    """What becomes of an orphan.

    Attributes:
        state: `State.ENQUEUED` if it runs again.
        crashes: how often it was running when its worker died by itself.
        error: why it does not run again.
    """

    id: int
    state: State
    crashes: int
    error: str | None = None


def adopt(cursor: apsw.Cursor, fates: Sequence[Fate], now_s: float) -> list[int]:
    """Have orphans wait again, or end them; ids of those that ended."""
    cursor.executemany(
        # It was due once; the clock may have been set back since.
        "UPDATE tasks SET state = ?, worker = NULL, crashes = ?, due_s = min(due_s, ?), wake_s = ?,"
        " since_s = ?, note = NULL WHERE id = ?",
        [
            (fate.state, fate.crashes, now_s, now_s, now_s, fate.id)
            for fate in fates
            if fate.state is State.ENQUEUED
        ],
    )
    ended = [fate for fate in fates if fate.state is not State.ENQUEUED]
    cursor.executemany(
        "UPDATE tasks SET state = ?, worker = NULL, crashes = ?, finished_s = ?, error = ?,"
        " note = NULL, asked = 0 WHERE id = ?",
        [(fate.state, fate.crashes, now_s, fate.error, fate.id) for fate in ended],
    )
    return [fate.id for fate in ended]


def forget(cursor: apsw.Cursor, worker: int) -> None:
    """Strike a worker off that holds no task any more."""
    cursor.execute("DELETE FROM workers WHERE id = ?", (worker,))
