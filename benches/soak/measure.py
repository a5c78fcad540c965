"""What long-living processes hold: memory, descriptors, threads, zombies; whether it is flat."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benches.soak.faults import looking
from benches.soak.place import Place

JUDGED_FROM_S = 300.0
"""In less time a process is still warming up, and what it holds is only shown."""


class Sample(NamedTuple):
    """What is held at a moment.

    Attributes:
        at_s: when, since the beginning.
    """

    at_s: float
    held: dict[str, float]


BOUNDS = {
    # Growth over the second half: this much, or this share of what there was.
    "RSS KiB": (math.inf, 0.0),
    "PSS KiB": (math.inf, 0.0),
    "own KiB": (1024.0, 0.03),
    "SQLite KiB": (4096.0, 0.0),
    "descriptors": (4.0, 0.0),
    "threads": (3.0, 0.0),
    "file KiB": (math.inf, 0.0),
    "used KiB": (math.inf, 0.0),
    "tasks": (math.inf, 0.0),
    "items": (math.inf, 0.0),
    "log KiB": (2048.0, 0.10),
}
"""``own`` is anonymous memory without SQLite's: a leak of 100 KiB a minute shows in 20 minutes.
SQLite's page caches fill as pages of the file are used, up to 2 MiB for each connection. RSS and
PSS hold both, and PSS also grows when a process ends that shared pages with it: they are only
shown. Threads and descriptors come and go with the tasks that run, by some 5; a leak of one a
minute shows. The queue's file is as large as the longest backlog made it, and what of it is in use
goes with the backlog, which goes with the charger and the load: whether anything is left for good
shows at the end, in `left`, when all has been done, sent and forgotten."""

LEFT_KIB = 256.0
"""What may be in use of a file that nothing waits in; 128 KiB are there from the beginning."""


def of_process(pid: int, place: Place) -> dict[str, float]:
    """What a process holds.

    Source: proc_pid_smaps(5), proc_pid_status(5); what SQLite uses, it has written down itself.
    """
    sqlite = float(place.sqlite_kib(pid).read_text())
    rollup = _table(Path(f"/proc/{pid}/smaps_rollup").read_text())
    status = _table(Path(f"/proc/{pid}/status").read_text())
    return {
        "RSS KiB": rollup["Rss"],
        "PSS KiB": rollup["Pss"],
        "own KiB": rollup["Anonymous"] - sqlite,
        "SQLite KiB": sqlite,
        "descriptors": float(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
        "threads": status["Threads"],
    }


def of_queue(path: Path) -> dict[str, float]:
    """How large the file and its log are, and what is in it."""
    with looking(path) as connection:
        pages, free, size = (
            float(connection.execute(f"PRAGMA {name}").get)
            for name in ("page_count", "freelist_count", "page_size")
        )
        found = {
            name: float(connection.execute(f"SELECT count(*) FROM {table}").get)
            for name, table in (("tasks", "tasks"), ("items", "sync_items"))
        }
    log = Path(f"{path}-wal")
    return {
        "file KiB": pages * size / 1024,
        "used KiB": (pages - free) * size / 1024,
        **found,
        "log KiB": log.stat().st_size / 1024 if log.exists() else 0.0,
    }


def left(path: Path) -> dict[str, int]:
    """How many rows each table holds, those aside that hold none."""
    with looking(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        found = {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').get for (name,) in tables
        }
    return {name: rows for name, rows in found.items() if rows}


def zombies() -> dict[int, int]:
    """Children that ended and were not waited for: their parents."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z":
                    found[int(directory.name)] = int(fields[1])
    return found


def _table(text: str) -> dict[str, float]:
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {
        name: float(rest.split()[0])
        for name, rest in lines
        if rest.split() and rest.split()[0].isdigit()
    }


class Trend(NamedTuple):
    """How one figure went.

    Attributes:
        first: median of the first eighth of the time,
        last: and of the last one.
        most: the highest of all.
        growth: slope of the second half by least squares, times its length.
        bound: the most that growth may be.
    """

    first: float
    last: float
    most: float
    growth: float
    bound: float

    @property
    def is_flat(self) -> bool:
        """Whether it has stopped growing."""
        return self.growth <= self.bound


def trend(samples: Sequence[Sample], name: str) -> Trend:
    """How a figure went over all samples."""
    values = [sample.held[name] for sample in samples]
    eighth = max(1, len(values) // 8)
    half = samples[len(samples) // 2 :]
    growth = 0.0
    if len(half) > 1:
        times = [sample.at_s for sample in half]
        slope = statistics.linear_regression(times, [s.held[name] for s in half]).slope
        growth = slope * (times[-1] - times[0])
    least, share = BOUNDS[name]
    middle = statistics.median(values[len(values) // 2 :])
    return Trend(
        statistics.median(values[:eighth]),
        statistics.median(values[-eighth:]),
        max(values),
        growth,
        max(least, share * middle),
    )
