"""Who sends items: registering senders, so that what dead ones held is recognized.

Apart from the workers of tasks, who are not there to send, nor these to run tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferpower.store.workers import Owner, process_of

if TYPE_CHECKING:
    import apsw


def register(cursor: apsw.Cursor, owner: Owner) -> int:
    """A new sender of this process; its id, which is never used again."""
    cursor.execute(
        "INSERT INTO sync_senders (boot_id, pid, pid_namespace, started) VALUES (?, ?, ?, ?)", owner
    )
    return cursor.connection.last_insert_rowid()


def owner_of(cursor: apsw.Cursor, sender: int) -> Owner | None:
    """The process of a sender; ``None`` if it was struck off."""
    row = cursor.execute(
        "SELECT boot_id, pid, pid_namespace, started FROM sync_senders WHERE id = ?", (sender,)
    ).fetchone()
    return None if row is None else process_of(row)


def forget(cursor: apsw.Cursor, sender: int) -> None:
    """Strike a sender off that holds no item any more."""
    cursor.execute("DELETE FROM sync_senders WHERE id = ?", (sender,))
