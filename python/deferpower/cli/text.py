"""Figures in words, for people; programs take JSON."""

from __future__ import annotations

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
    if value is None:
        return UNKNOWN
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value /= 1024
        unit = larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


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
