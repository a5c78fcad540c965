"""A week as a map of 7 x 24 hours, and the hours to come as bars, in characters.

Pure functions from shares (0-1, ``None`` where nothing is known) to lines of text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TextIO

from deferpower.cli.text import one_line

Share = float | None

NARROWEST = 40
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_HOURS = 24
_WIDEST_CELL = 4
_MARGIN = len("Mon ")
_WIDEST_BAR = 40
_SHADES = " ░▒▓█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
# From nearly black over green to yellow: steps that differ in brightness too, for those who do not
# tell colours apart.
_RAMP_RGB = ((24, 24, 56), (36, 74, 112), (30, 128, 120), (94, 178, 80), (214, 210, 60))
_RAMP_256 = (234, 17, 24, 30, 36, 35, 71, 113, 149, 185, 227)
_RESET = "\x1b[0m"


class Style(NamedTuple):
    """What a terminal can show.

    Attributes:
        colors: ``"rgb"``, ``"256"``, or ``"none"``: then shares are shades or digits.
        unicode: block characters can be shown.
    """

    colors: Literal["rgb", "256", "none"]
    unicode: bool

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str] = os.environ) -> Style:
        """What a stream can show: no colours where it is no terminal, or ``NO_COLOR`` is set."""
        unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        term = environment.get("TERM", "dumb")
        if not stream.isatty() or environment.get("NO_COLOR") or term == "dumb":
            return cls("none", unicode)
        if environment.get("COLORTERM") in ("truecolor", "24bit"):
            return cls("rgb", unicode)
        return cls("256" if "256" in term else "none", unicode)


class HourRow(NamedTuple):
    """One hour to come: what to call it, and the chances in it that the device is as said."""

    label: str
    idle_and_charging: Share
    idle: Share
    charging: Share


def week(title: str, cells: Sequence[Sequence[Share]], width: int, style: Style) -> list[str]:
    """A week as lines: a title, the hours, a line for each day from Monday on, a key.

    Args:
        title: what the shares are of.
        cells: 7 days of 24 shares.
        width: columns that there are; with fewer than `NARROWEST` the lines are as for that many.
        style: what can be shown.
    """
    cell_width = max(min((width - _MARGIN) // _HOURS, _WIDEST_CELL), 1)
    step = 6 if cell_width == 1 else 3
    hours = "".join(f"{hour:<{step * cell_width}}" for hour in range(0, _HOURS, step)).rstrip()
    lines = [one_line(title), " " * _MARGIN + hours]
    for day, shares in zip(DAYS, cells, strict=True):
        row = "".join(_cell(share, cell_width, style) for share in shares)
        lines.append(f"{day} {row}".rstrip())
    ramp = "".join(_cell(step / 9, 1, style) for step in range(10))
    return [*lines, f"{'':{_MARGIN}}0 % {ramp} 100 %  {_cell(None, 1, style)} not known"]


def next_hours(rows: Sequence[HourRow], width: int, style: Style) -> list[str]:
    """A line for each hour: its name, a bar for idle and charging at once, and the chances.

    Args:
        rows: the hours.
        width: columns that there are; with fewer than `NARROWEST` the lines are as for that many.
        style: what can be shown.
    """
    label_width = max((len(row.label) for row in rows), default=0)
    told_width = len(_told(HourRow("", 1.0, 1.0, 1.0)))
    room = max(width, NARROWEST) - label_width - told_width - 1
    bar_width = max(min(room, _WIDEST_BAR), 1)
    lines = [f"{'':{label_width + 1 + bar_width}}{'both':>6}{'idle':>7}{'charging':>10}"]
    for row in rows:
        bar = _bar(row.idle_and_charging or 0.0, bar_width, style)
        lines.append(f"{row.label:<{label_width}} {bar}{_told(row)}")
    return lines


def _told(row: HourRow) -> str:
    both, idle, charging = (
        "?" if share is None else f"{share:.0%}".replace("%", " %") for share in row[1:]
    )
    return f"{both:>6}{idle:>7}{charging:>10}"


def _cell(share: Share, width: int, style: Style) -> str:
    if share is None:
        return f"{'·' if style.unicode else '.':<{width}}"
    if style.colors != "none":
        return f"\x1b[48;{_color(share, style)}m{'':{width}}{_RESET}"
    if style.unicode:
        return _SHADES[round(share * (len(_SHADES) - 1))] * width
    return f"{min(int(share * 10), 9):<{width}}"


def _bar(share: float, width: int, style: Style) -> str:
    if not style.unicode:
        return f"{'#' * round(share * width):<{width}}"
    whole, eighths = divmod(round(share * width * 8), 8)
    bar = "█" * whole + _EIGHTHS[eighths].strip()
    if style.colors != "none":
        return f"\x1b[38;{_color(share, style)}m{bar}{_RESET}" + " " * (width - len(bar))
    return f"{bar:<{width}}"


def _color(share: float, style: Style) -> str:
    """The colour of a share, as the end of a control sequence."""
    if style.colors == "256":
        return f"5;{_RAMP_256[round(share * (len(_RAMP_256) - 1))]}"
    place = share * (len(_RAMP_RGB) - 1)
    below = min(int(place), len(_RAMP_RGB) - 2)
    pairs = zip(_RAMP_RGB[below], _RAMP_RGB[below + 1], strict=True)
    return "2;" + ";".join(str(round(low + (high - low) * (place - below))) for low, high in pairs)
