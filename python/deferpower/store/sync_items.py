"""Items to sync in the store: adding, claiming, and what becomes of them.

Every function runs inside a transaction that the caller opened (see `database.Database.write`) and
takes its cursor.

A *fresh* item goes in a batch as it comes. Where something went wrong, those that were there are
*suspect*: they go later, at most ``width`` of them together, so that the one to blame is found and
harms no other. Of the items with one key at most one is being
sent and one waits; a newer one takes the place of those that wait or are dead.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store.records import damaged, decoded

if TYPE_CHECKING:
    import apsw


LOWEST = 2
"""The number of the lowest priority; 0 is the highest."""


class ItemState(enum.IntEnum):
    """Where an item stands; the numbers are those in the file."""

    WAITING = 0
    SENDING = 1
    DEAD = 2

    @classmethod
    def _missing_(cls, value: object) -> ItemState:
        raise damaged("an item", f"{value!r} is no state")


class NewItem(NamedTuple):
    """An item to be added; the names are those of the columns."""

    queue: int
    priority: int
    key: str | None
    token: bytes
    content_type: str
    size_bytes: int
    queued_s: float
    due_s: float
    content: str | bytes | None


class Claimed(NamedTuple):
    """An item that was taken to be sent; its attempt is counted."""

    id: int
    priority: int
    key: str | None
    token: bytes
    content_type: str
    size_bytes: int
    attempts: int
    failures: int
    width: int | None
    content: str | bytes | None


class ItemRow(NamedTuple):
    """An item as it stands in the file, without its content."""

    id: int
    priority: int
    state: ItemState
    key: str | None
    token: bytes
    content_type: str
    size_bytes: int
    queued_s: float
    due_s: float
    attempts: int
    failures: int
    error: str | None


class Fate(NamedTuple):
    """What becomes of an item that was sent, and is not gone.

    Attributes:
        width: with how many it may go together at most, itself among them.
        failures: how many it has of its own.
    """

    id: int
    state: ItemState
    due_s: float
    width: int
    failures: int
    error: str


class Gone(NamedTuple):
    """An item that is not in the file any more.

    Attributes:
        token: names the file that its content lay in, if any.
    """

    id: int
    size_bytes: int
    token: bytes | None


_GONE = "RETURNING id, size_bytes, iif(content IS NULL, token, NULL)"
_ITEM = ", ".join(ItemRow._fields)
_CLAIMED = ", ".join(Claimed._fields)
_INSERT = (
    f"INSERT INTO sync_items (state, id, {', '.join(NewItem._fields)})"
    f" VALUES (0, ?, {', '.join('?' * len(NewItem._fields))})"
)
# Nothing overtakes an item of its key.
_FREE = (
    "(key IS NULL OR NOT EXISTS (SELECT 1 FROM sync_items AS ahead"
    " WHERE ahead.queue = sync_items.queue AND ahead.key = sync_items.key AND ahead.state = 1))"
)
_FRESH = (
    f"SELECT {_CLAIMED} FROM sync_items WHERE queue = ? AND state = 0 AND width IS NULL"
    f" AND priority <= ? AND {_FREE} ORDER BY priority, id LIMIT ?"
)
_SUSPECT = (
    f"SELECT {_CLAIMED} FROM sync_items WHERE queue = ? AND state = 0 AND width IS NOT NULL"
    f" AND priority <= ? AND due_s <= ? AND {_FREE} ORDER BY due_s, id LIMIT ?"
)


def add(cursor: apsw.Cursor, items: Sequence[NewItem], last: int) -> list[int]:
    """Add items under the numbers up to ``last`` (see `sync_queues.take_room`); these, in order."""
    ids = list(range(last - len(items) + 1, last + 1))
    if len(items) == 1:
        cursor.execute(_INSERT, (last, *items[0]))
    else:
        cursor.executemany(
            _INSERT, [(number, *item) for number, item in zip(ids, items, strict=True)]
        )
    return ids


def of_key(cursor: apsw.Cursor, queue: int, key: str) -> list[ItemRow]:
    """Waiting and dead items of a key: what a newer one takes the place of."""
    rows = cursor.execute(
        f"SELECT {_ITEM} FROM sync_items WHERE queue = ? AND key = ? AND state != 1", (queue, key)
    )
    return [_item(row) for row in rows]


def replace(cursor: apsw.Cursor, item_id: int, item: NewItem) -> None:
    """Put a newer item in the place of one that waits: it keeps the number, nothing else."""
    cursor.execute(
        "UPDATE sync_items SET priority = ?, width = NULL, token = ?, content_type = ?,"
        " size_bytes = ?, queued_s = ?, due_s = ?, attempts = 0, failures = 0, error = NULL,"
        " content = ? WHERE id = ?",
        (
            *(item.priority, item.token, item.content_type, item.size_bytes),
            *(item.queued_s, item.due_s, item.content, item_id),
        ),
    )


def remove(cursor: apsw.Cursor, items: Iterable[int]) -> list[Gone]:
    """Delete items, whatever their state."""
    deleted = cursor.executemany(
        f"DELETE FROM sync_items WHERE id = ? {_GONE}", [(item,) for item in items]
    )
    return [decoded(Gone, row, "item") for row in deleted]


def claim(
    cursor: apsw.Cursor,
    queue: int,
    sender: int,
    *,
    lowest_priority: int,
    now_s: float,
    max_items: int,
    max_bytes: int,
    suspects_first: bool,
) -> list[Claimed]:
    """Take what goes in one request: fresh items, or suspects that may go together.

    Args:
        cursor: of the transaction.
        queue: whose items.
        sender: who takes them.
        lowest_priority: none of lower priority, that is of a higher number.
        now_s: which moments have come, for suspects.
        max_items: at most so many.
        max_bytes: and so many bytes; an item that is larger goes by itself, and so does one in a
            file.
        suspects_first: take fresh ones only where no suspect is due, not the other way round.

    Cost: grows with what is taken, not with what waits.
    """

    def fresh() -> list[Claimed]:
        return _batch(
            cursor.execute(_FRESH, (queue, lowest_priority, max_items)), max_items, max_bytes
        )

    def suspects() -> list[Claimed]:
        return _batch(
            cursor.execute(_SUSPECT, (queue, lowest_priority, now_s, max_items)),
            max_items,
            max_bytes,
        )

    claimed = (suspects() or fresh()) if suspects_first else (fresh() or suspects())
    cursor.executemany(
        "UPDATE sync_items SET state = 1, sender = ?, attempts = attempts + 1 WHERE id = ?",
        [(sender, item.id) for item in claimed],
    )
    return [item._replace(attempts=item.attempts + 1) for item in claimed]


def _batch(found: Iterable[Iterable[Any]], max_items: int, max_bytes: int) -> list[Claimed]:
    """The first ones, as many as may go together."""
    batch: list[Claimed] = []
    room, room_bytes = max_items, max_bytes
    for row in found:
        item = decoded(Claimed, row, "item")
        _check_priority(item.id, item.priority)
        in_file = item.content is None
        room = min(room, item.width or room)
        if batch and (len(batch) >= room or in_file or item.size_bytes > room_bytes):
            break
        batch.append(item)
        room_bytes -= item.size_bytes
        if in_file:
            break
    return batch


def delivered(cursor: apsw.Cursor, sender: int, items: Iterable[int]) -> list[Gone]:
    """Delete items that were acknowledged; those that this sender held."""
    deleted = cursor.executemany(
        f"DELETE FROM sync_items WHERE id = ? AND sender = ? {_GONE}",
        [(item, sender) for item in items],
    )
    return [decoded(Gone, row, "item") for row in deleted]


def put_back(cursor: apsw.Cursor, sender: int, fates: Iterable[Fate]) -> list[Gone]:
    """Have items that this sender held go again later, or keep them as dead letters.

    Returns:
        Those that are gone instead: a newer item of their key waits.
    """
    fates = list(fates)
    cursor.executemany(
        "UPDATE sync_items SET state = ?, due_s = ?, width = ?, failures = ?, error = ?,"
        " sender = NULL WHERE id = ? AND sender = ?",
        [(f.state, f.due_s, f.width, f.failures, f.error, f.id, sender) for f in fates],
    )
    return _superseded(cursor, [fate.id for fate in fates])


def release(cursor: apsw.Cursor, sender: int, items: Iterable[int]) -> list[Gone]:
    """Give back items that were claimed and not sent; the attempt does not count."""
    ids = list(items)
    cursor.executemany(
        "UPDATE sync_items SET state = 0, sender = NULL, attempts = attempts - 1"
        " WHERE id = ? AND sender = ?",
        [(item, sender) for item in ids],
    )
    return _superseded(cursor, ids)


def _superseded(cursor: apsw.Cursor, ids: Iterable[int]) -> list[Gone]:
    deleted = cursor.executemany(
        "DELETE FROM sync_items WHERE id = ? AND key IS NOT NULL AND state != 1 AND EXISTS ("
        "SELECT 1 FROM sync_items AS newer WHERE newer.queue = sync_items.queue"
        " AND newer.key = sync_items.key AND newer.id > sync_items.id AND newer.state = 0)"
        f" {_GONE}",
        [(item,) for item in ids],
    )
    return [decoded(Gone, row, "item") for row in deleted]


def senders(cursor: apsw.Cursor) -> list[int]:
    """The senders that are sending something now."""
    rows = cursor.execute("SELECT DISTINCT sender FROM sync_items WHERE sender IS NOT NULL")
    return [row[0] for row in rows]


class Held(NamedTuple):
    """An item that is being sent."""

    id: int
    queue: int
    failures: int


def held(cursor: apsw.Cursor, sender: int) -> list[Held]:
    """What a sender is sending."""
    rows = cursor.execute("SELECT id, queue, failures FROM sync_items WHERE sender = ?", (sender,))
    return [decoded(Held, row, "item") for row in rows]


def may_claim(
    cursor: apsw.Cursor, queue: int, lowest_priority: int, now_s: float, latest_s: float
) -> bool:
    """Whether `claim` may find something: fresh, due, or due beyond all measure."""
    found = cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM sync_items"
        " WHERE queue = ?1 AND state = 0 AND width IS NULL AND priority <= ?2)"
        " OR EXISTS (SELECT 1 FROM sync_items WHERE queue = ?1 AND state = 0 AND width IS NOT NULL"
        " AND (due_s <= ?3 OR due_s > ?4) AND priority <= ?2)",
        (queue, lowest_priority, now_s, latest_s),
    ).get
    return bool(found)


def next_due_s(cursor: apsw.Cursor, queue: int, lowest_priority: int) -> float | None:
    """When the next suspect is due; ``None`` if there is none."""
    due_s: float | None = cursor.execute(
        "SELECT due_s FROM sync_items WHERE queue = ? AND state = 0 AND width IS NOT NULL"
        " AND priority <= ? ORDER BY due_s LIMIT 1",
        (queue, lowest_priority),
    ).get
    if due_s is not None and not isinstance(due_s, float):
        raise damaged("items to sync", f"due_s of one is {due_s!a:.80}")
    return due_s


def waiting(cursor: apsw.Cursor, queue: int) -> dict[int, int]:
    """How many wait, by priority. Cost: an index scan, some 10 ms for a million."""
    counts: dict[int, int] = {}
    for kind in ("NULL", "NOT NULL"):
        for priority, number in cursor.execute(
            "SELECT priority, count(*) FROM sync_items"
            f" WHERE queue = ? AND state = 0 AND width IS {kind} GROUP BY priority",
            (queue,),
        ):
            counts[priority] = counts.get(priority, 0) + number
    return counts


def lowest_waiting(cursor: apsw.Cursor, queue: int) -> int | None:
    """The lowest priority, as the highest number, that anything waits with."""
    lowest: int | None = cursor.execute(
        "SELECT max(lowest) FROM (SELECT max(priority) AS lowest FROM sync_items"
        " WHERE queue = ?1 AND state = 0 AND width IS NULL"
        " UNION ALL SELECT max(priority) FROM sync_items"
        " WHERE queue = ?1 AND state = 0 AND width IS NOT NULL)",
        (queue,),
    ).get
    return lowest


def count(cursor: apsw.Cursor, queue: int, state: ItemState) -> int:
    """How many items are being sent, or are dead."""
    where = "sender IS NOT NULL" if state is ItemState.SENDING else "state = 2"
    number: int = cursor.execute(
        f"SELECT count(*) FROM sync_items WHERE {where} AND queue = ?", (queue,)
    ).get
    return number


def dead_bytes(cursor: apsw.Cursor, queue: int) -> int:
    """The length of all dead letters."""
    size_bytes: int = cursor.execute(
        "SELECT coalesce(sum(size_bytes), 0) FROM sync_items WHERE queue = ? AND state = 2",
        (queue,),
    ).get
    return size_bytes


def find(
    cursor: apsw.Cursor, queue: int, *, dead: bool, priority: int | None, limit: int
) -> list[ItemRow]:
    """Dead items, or those that wait or are being sent; the oldest first."""
    where = "state = 2" if dead else "state != 2"
    bindings: list[object] = [queue]
    if priority is not None:
        where += " AND priority = ?"
        bindings.append(priority)
    rows = cursor.execute(
        f"SELECT {_ITEM} FROM sync_items WHERE queue = ? AND {where} ORDER BY id LIMIT ?",
        (*bindings, limit),
    )
    return [_item(row) for row in rows]


def content(
    cursor: apsw.Cursor, queue: int, item: int
) -> tuple[bytes, str, str | bytes | None] | None:
    """Token, content type and content of one item; ``None`` if there is none."""
    return cursor.execute(
        "SELECT token, content_type, content FROM sync_items WHERE queue = ? AND id = ?",
        (queue, item),
    ).fetchone()


def dead_ids(cursor: apsw.Cursor, queue: int, items: Sequence[int] | None) -> list[int]:
    """The ids of dead items: all, or those of some that are dead."""
    rows = cursor.execute("SELECT id FROM sync_items WHERE queue = ? AND state = 2", (queue,))
    found = [row[0] for row in rows]
    return found if items is None else sorted({*items}.intersection(found))


def revive(cursor: apsw.Cursor, items: Iterable[int], now_s: float) -> None:
    """Have dead items wait again, each by itself, their failures forgotten."""
    cursor.executemany(
        "UPDATE sync_items SET state = 0, width = 1, due_s = ?, attempts = 0, failures = 0"
        " WHERE id = ?",
        [(now_s, item) for item in items],
    )


def hasten(cursor: apsw.Cursor, queue: int, latest_s: float) -> None:
    """Have whatever is due later than this moment be due then."""
    cursor.execute(
        "UPDATE sync_items SET due_s = ?1"
        " WHERE queue = ?2 AND state = 0 AND width IS NOT NULL AND due_s > ?1",
        (latest_s, queue),
    )


def has_file(cursor: apsw.Cursor, token: bytes) -> bool:
    """Whether the content of any item lies in the file of this token."""
    found = cursor.execute(
        "SELECT 1 FROM sync_items WHERE token = ? AND content IS NULL LIMIT 1", (token,)
    ).get
    return found is not None


def tokens_of_files(cursor: apsw.Cursor) -> list[object]:
    """The tokens of all items whose content lies in a file, or what stands in their place."""
    rows = cursor.execute("SELECT token FROM sync_items WHERE content IS NULL")
    return [row[0] for row in rows]


def _item(row: Iterable[object]) -> ItemRow:
    found = decoded(ItemRow, row, "item")
    _check_priority(found.id, found.priority)
    return found._replace(state=ItemState(found.state))


def _check_priority(item: int, priority: int) -> None:
    if not 0 <= priority <= LOWEST:
        raise damaged(f"item {item}", f"{priority} is no priority")
