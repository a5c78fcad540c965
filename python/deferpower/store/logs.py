"""Output of commands in the store: bytes in pieces, the beginning and the end kept.

The place of a piece is the number of bytes that came before it, so what was left out between two
pieces shows in their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.store.records import decoded

if TYPE_CHECKING:
    import apsw

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 768 * 1024
"""How much of the beginning and of the end is kept; a task's log is never larger than both."""
_PIECE_BYTES = 32 * 1024


class Piece(NamedTuple):
    """Bytes of a log that follow one another.

    Attributes:
        place: how many bytes came before them.
        data: the bytes.
    """

    place: int
    data: bytes

    @property
    def end(self) -> int:
        """The place after the last of them."""
        return self.place + len(self.data)


class Tape:
    """What a command has said and the store does not hold yet. Never holds more than is kept.

    Small pieces are made one as they come: the last piece of the store is written anew, longer.
    """

    def __init__(self, last: Piece | None) -> None:
        """Go on after the last piece that the store holds."""
        self._last = last or Piece(0, b"")
        self._head = bytearray()
        self._tail = bytearray()
        self._end = self._last.end

    def add(self, data: bytes) -> None:
        """Take in what came next."""
        room = max(0, HEAD_BYTES - self._end)
        self._head += data[:room]
        self._tail += data[room:]
        self._end += len(data)
        del self._tail[:-TAIL_BYTES]

    @property
    def is_empty(self) -> bool:
        """Whether the store holds everything."""
        return not self._head and not self._tail

    @property
    def line_is_open(self) -> bool:
        """Whether the last line has not ended."""
        newest = self._tail or self._head or self._last.data
        return bool(newest) and not newest.endswith(b"\n")

    def pieces(self) -> list[Piece]:
        """What to write; `written` when it is."""
        found: list[Piece] = []
        tail_place = self._end - len(self._tail)
        for place, data in ((self._last.end, self._head), (tail_place, self._tail)):
            if data:
                found += self._cut(Piece(place, bytes(data)))
        return found

    def _cut(self, new: Piece) -> list[Piece]:
        last = self._last
        if last.end == new.place != HEAD_BYTES and 0 < len(last.data) < _PIECE_BYTES:
            new = Piece(last.place, last.data + new.data)
        return [
            Piece(new.place + start, new.data[start : start + _PIECE_BYTES])
            for start in range(0, len(new.data), _PIECE_BYTES)
        ]

    def written(self, pieces: Sequence[Piece]) -> None:
        """Note that the store holds these, which are all that there were."""
        self._last = pieces[-1]
        self._head.clear()
        self._tail.clear()


def last_piece(cursor: apsw.Cursor, task: int) -> Piece | None:
    """The last piece of a task's log; ``None`` if it has none."""
    row = cursor.execute(
        "SELECT place, data FROM logs WHERE task = ? ORDER BY place DESC LIMIT 1", (task,)
    ).fetchone()
    return None if row is None else decoded(Piece, row, "a log, at")


def write(cursor: apsw.Cursor, worker: int, task: int, pieces: Sequence[Piece]) -> None:
    """Keep pieces of the output of a task that this worker runs, and forget those in between.

    Nothing is kept when the task was taken from the worker meanwhile.
    """
    owned = "SELECT 1 FROM tasks WHERE id = ? AND worker = ?"
    if cursor.execute(owned, (task, worker)).fetchone() is None:
        return
    cursor.executemany(
        "INSERT OR REPLACE INTO logs (task, place, data) VALUES (?, ?, ?)",
        [(task, *piece) for piece in pieces],
    )
    cursor.execute(
        "DELETE FROM logs WHERE task = ? AND place >= ? AND place + length(data) <= ?",
        (task, HEAD_BYTES, pieces[-1].end - TAIL_BYTES),
    )


def read(cursor: apsw.Cursor, task: int, start: int = 0) -> tuple[bytes, int]:
    """The log of a task from a place on, and the place where it ends at present.

    Where bytes were left out, a line says how many.
    """
    last = last_piece(cursor, task)
    if last is None or last.end <= start:
        return b"", start
    kept_from = max(HEAD_BYTES, last.end - TAIL_BYTES)
    found = bytearray()
    expected = start
    for row in cursor.execute(
        "SELECT place, data FROM logs WHERE task = ? AND place + length(data) > ? ORDER BY place",
        (task, start),
    ):
        place, data = decoded(Piece, row, "a log, at")
        # Whole pieces are forgotten, so the first of the end may begin too early.
        skip = max(expected, kept_from if place >= HEAD_BYTES else 0) - place
        if skip > 0:
            place, data = place + skip, data[skip:]
        if place > expected:
            found += _gap(place - expected, bool(found) and not found.endswith(b"\n"))
        found += data
        expected = place + len(data)
    return bytes(found), expected


def _gap(size: int, line_is_open: bool) -> bytes:
    return b"\n" * line_is_open + b"[deferpower: %d bytes left out]\n" % size
