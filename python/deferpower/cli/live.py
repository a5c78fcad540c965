"""The queue at the bottom of a terminal, redrawn in place; what is printed goes above it."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import TextIO

from deferpower.cli import waiting
from deferpower.cli.narration import LogNotes, event_text
from deferpower.cli.progress import bar_text
from deferpower.cli.records import remark, since_s, title
from deferpower.cli.text import clipped, duration, moment, one_line, percent
from deferpower.tasks.events import Event
from deferpower.tasks.manager import BackgroundTaskManager
from deferpower.tasks.overview import Overview
from deferpower.tasks.record import TaskState
from deferpower.types import Reading

_LOUD = ("failed", "retrying", "expired", "orphaned")
_LATELY = 3
_MOST_RUNNING = 6


class Live:
    """A few lines at the bottom of the terminal: counts, what runs, what waits for what."""

    is_live = True

    def __init__(self, *, shows_progress: bool) -> None:
        """Take the terminal's bottom over, and what is printed and logged.

        Args:
            shows_progress: with a bar for what has ended of what there is.
        """
        self._shows_progress = shows_progress
        self._manager: BackgroundTaskManager | None = None
        self._lately: deque[str] = deque(maxlen=_LATELY)
        self._lock = threading.RLock()
        self._terminal: TextIO = sys.stderr
        self._drawn: list[str] = []
        self._before = sys.stdout, sys.stderr
        if sys.stdout.isatty():
            sys.stdout = _Above(self)
        sys.stderr = _Above(self)
        self._logs = LogNotes(self)

    def begin(self, manager: BackgroundTaskManager) -> None:
        """Draw for the first time with the first look."""
        self._manager = manager

    def event(self, event: Event) -> None:
        """Keep it among the latest; what went wrong stays, above."""
        if self._manager is None or event.kind == "submitted":
            return
        text = one_line(event_text(event, self._manager))
        if event.kind in _LOUD:
            self.above(f"{moment(event.wall_s)} {text}\n")
        elif event.kind != "started":
            with self._lock:
                self._lately.append(f"{moment(event.wall_s)[11:]} {text}")

    def note(self, text: str) -> None:
        """A line above."""
        self.above(f"{moment(time.time())} {one_line(text)}\n")

    def look(self, overview: Overview, reading: Reading | None, progress: tuple[int, int]) -> None:
        """Draw how the queue stands."""
        if not self._in_foreground():
            return
        columns, height = _size(self._terminal)
        lines = self._lines(overview, reading, progress, columns - 1)
        with self._lock:
            shown = [clipped(line, columns - 1) for line in lines[: max(height - 1, 1)]]
            self._write(self._over(columns) + "".join(f"{line}\x1b[K\n" for line in shown))
            self._write("\x1b[J")
            self._drawn = shown

    def _lines(
        self,
        overview: Overview,
        reading: Reading | None,
        progress: tuple[int, int],
        columns: int,
    ) -> list[str]:
        lines = []
        if self._shows_progress:
            done, of = progress
            lines.append(bar_text(f"{done} of {of} done", done / of if of else 1.0, columns))
        lines += [_counts(overview), _machine(reading)]
        lines += _running(overview)
        if overview.waiting:
            lines.append("waiting")
            lines += [f"  {n:>4}  {text}" for n, text in waiting.rows(overview, time.time())]
        with self._lock:
            lately = list(self._lately)
        if lately:
            lines += ["lately", *(f"  {text}" for text in lately)]
        return lines

    def stopping(self, signum: int) -> None:
        """Say so, and how to hurry."""
        name = signal.Signals(signum).name
        self.note(f"{name}: stopping; once more leaves what runs")

    def end(self, overview: Overview) -> None:
        """Leave what still waits on the terminal."""
        self.above(f"{moment(time.time())} ended; {_counts(overview)}\n")
        if overview.waiting:
            for size, sentence in waiting.rows(overview, time.time()):
                self.above(f"  {size:>4}  {sentence}\n")

    def above(self, text: str) -> None:
        """Whole lines, above what is drawn, which moves down with the next look."""
        with self._lock:
            columns, _ = _size(self._terminal)
            self._write(self._over(columns) + "\x1b[J" + text)
            self._drawn = [clipped(line, columns - 1) for line in self._drawn]
            self._write("".join(f"{line}\x1b[K\n" for line in self._drawn))

    def close(self) -> None:
        """Clear the bottom, and give back the streams and the log."""
        self._logs.give_back()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Above):
                stream.finish()
        with self._lock:
            columns, _ = _size(self._terminal)
            self._write(self._over(columns) + ("\x1b[J" if self._drawn else ""))
            self._drawn = []
            sys.stdout, sys.stderr = self._before

    def _over(self, columns: int) -> str:
        """Up to the first of the drawn lines.

        A terminal that has become narrower than they are may have wrapped them, or not: terminals
        differ, so nobody knows where they stand, and the screen is begun anew.
        """
        if any(len(line) > columns for line in self._drawn):
            return "\x1b[H\x1b[2J"
        return f"\r\x1b[{len(self._drawn)}A" if self._drawn else ""

    def _in_foreground(self) -> bool:
        # One that runs in the background must not draw over what stands in front.
        try:
            return os.tcgetpgrp(self._terminal.fileno()) == os.getpgrp()
        except OSError:
            return False

    def _write(self, text: str) -> None:
        try:
            self._terminal.write(text)
            self._terminal.flush()
        except (OSError, ValueError):  # the terminal is gone; SIGHUP tells
            return


class _Above(io.TextIOBase):
    """A stream whose lines go above what is drawn."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rest = ""

    def write(self, text: str) -> int:
        lines, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._live.above(lines + newline)
        return len(text)

    def finish(self) -> None:
        """Print what no line break followed."""
        if self._rest:
            self._live.above(self._rest + "\n")
            self._rest = ""

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


def _size(terminal: TextIO) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(terminal.fileno())
    except OSError:
        return 80, 24
    return columns or 80, lines or 24


def _counts(overview: Overview) -> str:
    counts = overview.counts
    parts = [f"{waiting.waiting_count(overview)} waiting", f"{counts[TaskState.RUNNING]} running"]
    parts += [
        f"{counts[state]} {state}"
        for state in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.EXPIRED)
        if counts[state]
    ]
    return ", ".join(parts)


def _machine(reading: Reading | None) -> str:
    power = None if reading is None else reading.power
    if power is None or not power.present:
        return "on external power"
    level = percent(power.percent)
    if power.plugged is None:
        return f"battery at {level}, whether on external power is unknown"
    return f"on external power, battery at {level}" if power.plugged else f"on battery at {level}"


def _running(overview: Overview) -> list[str]:
    if not overview.running:
        return []
    now_s = time.time()
    lines = ["running"]
    for record in overview.running[:_MOST_RUNNING]:
        ran = duration(max(now_s - since_s(record), 0.0))
        # What is paused says why; its command line can be looked up.
        note = remark(record, now_s)
        lines.append(
            f"  {record.id:>4}  {ran:>8}  " + (f"{note}: " if note else "") + title(record)
        )
    more = overview.counts[TaskState.RUNNING] - _MOST_RUNNING
    if more > 0:
        lines.append(f"        and {more} more")
    return lines
