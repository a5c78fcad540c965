"""The history of the device in the store: what was seen of it, a row for each 5 minutes at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

if TYPE_CHECKING:
    from deferpower.store.database import Database

SLOT_S = 300
"""Rows begin at multiples of this."""
KEPT_S = 8 * 604_800.0
"""How long rows are kept."""


class Seen(NamedTuple):
    """What was seen of the device in one slot of `SLOT_S` seconds.

    Attributes:
        start_s: when the slot begins, seconds since the epoch.
        seconds: how long the device was observed in it.
        utc_offset_s: seconds that local time was ahead of UTC.
        percent: battery level, 0-100.
        plugged: on external power for at least half of the time for which that is known.
        activity: share of the known time in which the device was used, 0-1.
    """

    start_s: int
    seconds: float
    utc_offset_s: int | None
    percent: float | None
    plugged: bool | None
    activity: float | None


class Loaded(NamedTuple):
    """The rows of a history.

    Attributes:
        rows: in order of time.
        complaint: what was wrong with the history that was set aside; ``None`` for nothing.
    """

    rows: list[Seen]
    complaint: str | None


class _DamageError(Exception):
    """A row that cannot be, or a page of the table that cannot be read."""


def load(database: Database, since_s: float = 0.0) -> Loaded:
    """What was seen from a moment on.

    A damaged history is set aside under another name, where nothing looks at it again, and a new
    one is begun.
    """
    try:
        return Loaded(database.read(lambda cursor: list(_rows(cursor, since_s))), None)
    except _DamageError as damage:
        aside = database.write(_set_aside)
        return Loaded(
            [], f"the history of the device is damaged ({damage}); set aside as table {aside}"
        )


def add(cursor: apsw.Cursor, rows: Iterable[Seen]) -> None:
    """Write rows; of two about the same slot, the one that observed more of it stays."""
    cursor.executemany(
        "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (start_s) DO UPDATE SET"
        " seconds = excluded.seconds, utc_offset_s = excluded.utc_offset_s,"
        " percent = excluded.percent, plugged = excluded.plugged, activity = excluded.activity"
        " WHERE excluded.seconds > seconds",
        rows,
    )


def prune(cursor: apsw.Cursor, before_s: float) -> int:
    """Delete the rows of slots that began before then; how many."""
    cursor.execute("DELETE FROM history WHERE start_s < ?", (before_s,))
    return cursor.connection.changes()


def _rows(cursor: apsw.Cursor, since_s: float) -> Iterator[Seen]:
    try:
        for row in cursor.execute(
            "SELECT start_s, seconds, utc_offset_s, percent, plugged, activity FROM history"
            " WHERE start_s >= ? OR typeof(start_s) != 'integer' ORDER BY start_s",
            (since_s,),
        ):
            yield _checked(row)
    except (apsw.CorruptError, UnicodeDecodeError) as error:
        raise _DamageError(str(error)) from error


def _checked(row: Sequence[Any]) -> Seen:
    start_s, seconds, utc_offset_s, percent, plugged, activity = row
    fits = (
        type(start_s) is int
        and start_s >= 0
        and start_s % SLOT_S == 0
        and _is_within(seconds, 0, SLOT_S)
        and (utc_offset_s is None or type(utc_offset_s) is int)
        and (percent is None or _is_within(percent, 0, 100))
        and plugged in (None, 0, 1)
        and (activity is None or _is_within(activity, 0, 1))
    )
    if not fits:
        raise _DamageError(f"a row that cannot be: {', '.join(map(repr, row))}")
    return Seen(
        start_s, seconds, utc_offset_s, percent, None if plugged is None else plugged == 1, activity
    )


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and low <= value <= high


def _set_aside(cursor: apsw.Cursor) -> str:
    script: str = cursor.execute("SELECT sql FROM sqlite_schema WHERE name = 'history'").get
    taken = {row[0] for row in cursor.execute("SELECT name FROM sqlite_schema")}
    number = 1
    while (aside := f"history_damaged_{number}") in taken:
        number += 1
    cursor.execute(f"ALTER TABLE history RENAME TO {aside}")
    cursor.execute(script)
    return aside
