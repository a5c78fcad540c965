"""Prints figures in one table, with the ratios and whether a target is met."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table; ``met`` is ``None`` where there is no target."""

    where: str
    what: str
    figure: str
    beside: str = ""
    target: str = ""
    met: bool | None = None


def faster(
    where: str, what: str, seconds: float, peer: str, peers: float, target: float | None = None
) -> Row:
    """How many times as fast as a peer."""
    ratio = peers / seconds
    row = Row(where, what, duration(seconds), f"{ratio:.1f}x as fast as {peer}, {duration(peers)}")
    return row if target is None else row._replace(target=f"{target:g}x", met=ratio >= target)


def over(
    where: str, what: str, seconds: float, floor: str, floors: float, target: float | None = None
) -> Row:
    """How many times the time of what it cannot do without."""
    ratio = seconds / floors
    row = Row(where, what, duration(seconds), f"{ratio:.2f}x {floor}, {duration(floors)}")
    return row if target is None else row._replace(target=f"{target:g}x", met=ratio <= target)


def limit(where: str, what: str, seconds: float, most: float) -> Row:
    return Row(where, what, duration(seconds), "", f"< {duration(most)}", seconds < most)


def duration(seconds: float) -> str:
    if abs(seconds) < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.1f} ms"


def machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def print_table(rows: Sequence[Row]) -> None:
    marks = {True: "yes", False: "NO", None: ""}
    lines = [("where", "what", "figure", "beside", "target", "met")]
    lines += [(*row[:-1], marks[row.met]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
