"""Items to sync whose rows make no sense: made dead letters, so that all others go on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deferpower.store import aside
from deferpower.store.records import fits
from deferpower.store.sync_items import LOWEST, Claimed, ItemRow, ItemState

if TYPE_CHECKING:
    import apsw

_INSTEAD = {
    "priority": LOWEST,
    "token": b"\0" * 16,
    "content_type": "application/octet-stream",
    "size_bytes": 0,
    "attempts": 0,
    "failures": 0,
}
"""What takes the place of a value that cannot be and may not be ``NULL``, but for moments."""


def set_aside(cursor: apsw.Cursor, queue: int, now_s: float) -> dict[int, str]:
    """Make dead letters of the items of a queue that make no sense; these, and why.

    The rows as they were are kept in the table ``sync_items_damaged``. Cost: looks at every item.
    """
    found = {}
    ids = cursor.execute("SELECT id FROM sync_items WHERE queue = ?", (queue,)).fetchall()
    for (item,) in ids:
        bad = [column for column in _COLUMNS if not _is_sound(cursor, item, column)]  # type: ignore[arg-type]
        if bad:
            found[item] = f"{bad[0]} of it cannot be"
            _end(cursor, item, bad, found[item], now_s)  # type: ignore[arg-type]
    return found  # type: ignore[return-value]


_COLUMNS = tuple(dict.fromkeys((*ItemRow._fields[1:], "sender", "width", "content")))


def _is_sound(cursor: apsw.Cursor, item: int, column: str) -> bool:
    try:
        value = cursor.execute(f"SELECT {column} FROM sync_items WHERE id = ?", (item,)).get
    except UnicodeDecodeError:
        return False
    match column:
        case "priority":
            return value in range(LOWEST + 1) and type(value) is int
        case "state":
            return value in list(ItemState) and type(value) is int
        case "sender":
            return value is None or type(value) is int
        case "token":
            return isinstance(value, bytes) and len(value) == 16
        case "width" | "content":
            return fits(Claimed, column, value)
    return fits(ItemRow, column, value)


def _end(cursor: apsw.Cursor, item: int, bad: Iterable[str], why: str, now_s: float) -> None:
    aside.keep(cursor, "sync_items", item)
    changed: dict[str, Any] = {column: _INSTEAD.get(column) for column in bad}
    changed |= {column: now_s for column in ("queued_s", "due_s") if column in changed}
    if "content" in changed:
        changed["content"] = cursor.execute(
            "SELECT CAST(content AS BLOB) FROM sync_items WHERE id = ?", (item,)
        ).get
    changed |= {
        "state": int(ItemState.DEAD),
        "sender": None,
        "width": 1,
        "error": f"the file is damaged ({why}); what stood there is kept in sync_items_damaged",
    }
    names = ", ".join(f"{column} = ?" for column in changed)
    cursor.execute(f"UPDATE sync_items SET {names} WHERE id = ?", (*changed.values(), item))
