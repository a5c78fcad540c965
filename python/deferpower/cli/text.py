"""Figures in words, for people; programs take JSON."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence

from deferpower.reasons import bytes_text

UNKNOWN = "unknown"
ABSENT = "absent"


def one_line(text: str) -> str:
    """The text without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def yes_no(value: bool | None) -> str:
    """``yes``, ``no`` or ``unknown``."""
    return UNKNOWN if value is None else "yes" if value else "no"


def percent(value: float | None) -> str:
    """``41.0 %``."""
    return UNKNOWN if value is None else f"{value:.1f} %"


def size(value: float | None) -> str:
    """Bytes in binary units, such as ``7.7 GiB``."""
    return UNKNOWN if value is None else bytes_text(value)


def rate(value: float | None) -> str:
    """Bytes per second in binary units, such as ``1.5 MiB/s``."""
    return UNKNOWN if value is None else f"{size(value)}/s"


def duration(seconds: float | None) -> str:
    """The two largest units, such as ``1 h 44 min`` or ``12 s``."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    for length, unit, small_length, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= length:
            rest = whole % length // small_length
            return f"{whole // length} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def moment(wall_s: float) -> str:
    """A moment in local time, such as ``2026-11-23 19:40:01``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))


def counted(number: int, what: str) -> str:
    """``1 task`` or ``2 tasks``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def clipped(text: str, columns: int) -> str:
    """One line of at most so many columns of a terminal."""
    room = columns
    for at, character in enumerate(text):
        room -= _columns(character)
        if room < 0:
            return _clipped_at(text, at, columns)
    return text


def _clipped_at(text: str, at: int, columns: int) -> str:
    if columns < 4:
        return text[:at]
    kept = text[:at]
    while kept and sum(map(_columns, kept)) > columns - 3:
        kept = kept[:-1]
    return kept + "..."


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def in_columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Rows as lines, each column as wide as its widest cell.

    Args:
        rows: cells, as many in each row.
        right: columns whose cells stand at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
