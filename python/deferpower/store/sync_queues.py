"""The queues of sync in the store: how much they hold, and how their targets fare.

Every function runs inside a transaction that the caller opened, as those of `sync_items` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.records import damaged, decoded

if TYPE_CHECKING:
    import apsw


class QueueRow(NamedTuple):
    """A queue as it stands in the file.

    Attributes:
        items: how many it holds, dead ones too,
        bytes: and of how many bytes.
        failures: how often in a row its target failed.
        paused_until_s: nothing is sent before then, seconds since the epoch.
        error: what the target last said to that.
        delivered_s: when something last arrived.
    """

    id: int
    name: str
    target: str
    items: int
    bytes: int
    failures: int
    paused_until_s: float
    error: str | None
    delivered_s: float | None


_ROW = ", ".join(QueueRow._fields)


def open_queue(cursor: apsw.Cursor, name: str, target: str | None) -> QueueRow:
    """The queue of a name, made if it is not there; as it was before its target was noted."""
    cursor.execute(
        "INSERT INTO sync_queues (name, target) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (name, target or ""),
    )
    row = cursor.execute(f"SELECT {_ROW} FROM sync_queues WHERE name = ?", (name,)).fetchone()
    assert row is not None
    found = decoded(QueueRow, row, "sync queue")
    if target not in (None, found.target):
        cursor.execute("UPDATE sync_queues SET target = ? WHERE id = ?", (target, found.id))
    return found


def get(cursor: apsw.Cursor, queue: int) -> QueueRow:
    """A queue."""
    row = cursor.execute(f"SELECT {_ROW} FROM sync_queues WHERE id = ?", (queue,)).fetchone()
    if row is None:
        raise damaged(f"sync queue {queue}", "there is no such row")
    return decoded(QueueRow, row, "sync queue")


def names(cursor: apsw.Cursor) -> list[str]:
    """The names of all queues of the file."""
    rows = cursor.execute("SELECT name FROM sync_queues WHERE typeof(name) = 'text' ORDER BY name")
    return [str(row[0]) for row in rows]


def take_room(
    cursor: apsw.Cursor, queue: int, items: int, size_bytes: int, most: tuple[int, int]
) -> int | None:
    """Make room for so many more items and bytes, if ``most`` of each allow it.

    Returns:
        A number for the last of these items; those right before it are for the others, and nobody
        else's in any queue. ``None`` if there is no room.
    """
    last: int | None = cursor.execute(
        "UPDATE sync_queues SET items = items + ?1, bytes = bytes + ?2,"
        " last_item = max((SELECT max(CAST(last_item AS INTEGER)) FROM sync_queues),"
        " (SELECT coalesce(max(id), 0) FROM sync_items)) + max(?1, 1)"
        " WHERE id = ?3 AND items + ?1 <= ?4 AND bytes + ?2 <= ?5 RETURNING last_item",
        (items, size_bytes, queue, *most),
    ).get
    if last is not None and type(last) is not int:
        raise damaged(f"sync queue {queue}", "the number of its last item cannot be")
    return last


def mend(cursor: apsw.Cursor, queue: int) -> None:
    """Find anew what a queue holds, and forget how its target fared."""
    cursor.execute(
        "UPDATE sync_queues SET items = (SELECT count(*) FROM sync_items WHERE queue = ?1),"
        " bytes = (SELECT coalesce(sum(size_bytes), 0) FROM sync_items WHERE queue = ?1),"
        " failures = 0, paused_until_s = 0, error = NULL, delivered_s = NULL,"
        " target = CASE typeof(target) WHEN 'text' THEN target ELSE '' END WHERE id = ?1",
        (queue,),
    )


def give_room(cursor: apsw.Cursor, queue: int, items: int, size_bytes: int) -> None:
    """Give back the room of items that are gone."""
    cursor.execute(
        "UPDATE sync_queues SET items = items - ?, bytes = bytes - ? WHERE id = ?",
        (items, size_bytes, queue),
    )


def note_answer(cursor: apsw.Cursor, queue: int, delivered_s: float | None) -> None:
    """The target works; ``delivered_s``: when it took something, ``None`` if it only answered."""
    cursor.execute(
        "UPDATE sync_queues SET failures = 0, paused_until_s = 0, error = NULL,"
        " delivered_s = coalesce(?, delivered_s) WHERE id = ?",
        (delivered_s, queue),
    )


def pause(
    cursor: apsw.Cursor, queue: int, failures: int, until_s: float, error: str | None
) -> None:
    """Send nothing before a moment; ``error`` of ``None`` leaves the last one."""
    cursor.execute(
        "UPDATE sync_queues SET failures = ?, paused_until_s = ?, error = coalesce(?, error)"
        " WHERE id = ?",
        (failures, until_s, error, queue),
    )


def hasten(cursor: apsw.Cursor, queue: int, latest_s: float) -> None:
    """Have a pause end at this moment, if it would end later."""
    cursor.execute(
        "UPDATE sync_queues SET paused_until_s = ?1 WHERE id = ?2 AND paused_until_s > ?1",
        (latest_s, queue),
    )
