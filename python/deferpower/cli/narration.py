"""What a worker tells: as log lines, or as JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, Protocol

from deferpower.cli.text import counted, moment, one_line
from deferpower.cli.waiting import overview_fields, rows, waiting_count
from deferpower.errors import DeferpowerError
from deferpower.tasks.events import Event
from deferpower.tasks.manager import BackgroundTaskManager
from deferpower.tasks.overview import Overview
from deferpower.tasks.spec import COMMAND
from deferpower.types import Reading


class Narrator(Protocol):
    """Told what happens in a worker; `event` and `note` from any thread.

    Attributes:
        is_live: whether `look` shows anything, and so should be called time and again.
    """

    is_live: bool

    def begin(self, manager: BackgroundTaskManager) -> None:
        """The shift begins."""

    def event(self, event: Event) -> None:
        """Something happened to a task."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def look(self, overview: Overview, reading: Reading | None, progress: tuple[int, int]) -> None:
        """How the queue stands, and how many of how many tasks have ended."""

    def stopping(self, signum: int) -> None:
        """A signal came."""

    def end(self, overview: Overview) -> None:
        """The shift is over."""

    def close(self) -> None:
        """Leave everything as it was."""


class Lines:
    """A line on standard error for each event: time, what happened, task, reason."""

    is_live = False

    def __init__(self) -> None:
        """Take over what the library logs."""
        self._manager: BackgroundTaskManager | None = None
        self._lock = threading.Lock()
        self._logs = LogNotes(self)

    def begin(self, manager: BackgroundTaskManager) -> None:
        """Say which queue it is, and what waits."""
        self._manager = manager
        waiting = waiting_count(manager.overview())
        self.note(f"running {manager.path}; {counted(waiting, 'task')} in the queue")

    def event(self, event: Event) -> None:
        """Say it."""
        if self._manager is not None:
            self.line(event_text(event, self._manager), event.wall_s)

    def note(self, text: str) -> None:
        """Say it."""
        self.line(text, time.time())

    def line(self, text: str, wall_s: float) -> None:
        """A line, when it happened before it."""
        write(sys.stderr, f"{moment(wall_s)} {one_line(text)}\n", self._lock)

    def look(self, overview: Overview, reading: Reading | None, progress: tuple[int, int]) -> None:
        """Nothing is shown between events."""

    def stopping(self, signum: int) -> None:
        """Say so, and how to hurry."""
        name = signal.Signals(signum).name
        self.note(f"{name}: stopping; a second signal leaves what runs")

    def end(self, overview: Overview) -> None:
        """Say what still waits, and why."""
        if not waiting_count(overview):
            self.note("ended; nothing waits")
            return
        self.note(f"ended; {counted(waiting_count(overview), 'task')} left:")
        for size, sentence in rows(overview, time.time()):
            self.note(f"  {size}: {sentence}")

    def close(self) -> None:
        """Give the log back."""
        self._logs.give_back()


class JsonLines:
    """Each event as one JSON object on a line of standard output."""

    is_live = False

    def __init__(self) -> None:
        """Keep standard output for events: what tasks print goes to standard error."""
        self._out, sys.stdout = sys.stdout, sys.stderr
        self._manager: BackgroundTaskManager | None = None
        self._lock = threading.Lock()
        self._logs = LogNotes(self)

    def begin(self, manager: BackgroundTaskManager) -> None:
        """Say which queue it is, and what waits."""
        self._manager = manager
        fields = overview_fields(manager.overview())
        self._write("worker_ready", queue=manager.path, pid=os.getpid(), **fields)

    def event(self, event: Event) -> None:
        """Say it."""
        name, title = event.name, event.name
        if self._manager is not None:
            name, title = names(event, self._manager)
        self._write(
            event.kind,
            event.wall_s,
            task=event.task_id,
            name=name,
            title=title,
            detail=event.detail,
        )

    def note(self, text: str) -> None:
        """An event of its own."""
        self._write("note", text=text)

    def look(self, overview: Overview, reading: Reading | None, progress: tuple[int, int]) -> None:
        """Nothing is shown between events."""

    def stopping(self, signum: int) -> None:
        """Say so."""
        self._write("worker_stopping", signal=signal.Signals(signum).name)

    def end(self, overview: Overview) -> None:
        """Say what still waits, and why."""
        self._write("worker_ended", **overview_fields(overview))

    def close(self) -> None:
        """Give the log and standard output back."""
        self._logs.give_back()
        sys.stdout = self._out

    def _write(self, event: str, wall_s: float | None = None, **fields: Any) -> None:
        when_s = round(time.time() if wall_s is None else wall_s, 3)
        text = json.dumps({"event": event, "wall_s": when_s, **fields})
        write(self._out, text + "\n", self._lock)


class LogNotes(logging.Handler):
    """What the library logs, as notes; not its events, which come as such."""

    def __init__(self, narrator: Narrator) -> None:
        """Take over until `give_back`."""
        super().__init__(logging.WARNING)
        self._narrator = narrator
        self._events = logging.getLogger("deferpower.tasks.events")
        self._root = logging.getLogger("deferpower")
        self._before = self._root.propagate
        self._root.propagate = False
        self._root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note it, unless an event tells it."""
        if record.name == self._events.name and record.exc_info is None:
            return
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                text += f": {type(error).__name__}: {error}"
            self._narrator.note(text)
        except Exception:  # an exception of the program's own may fail at being asked
            self.handleError(record)

    def give_back(self) -> None:
        """Let the log be as it was."""
        self._root.removeHandler(self)
        self._root.propagate = self._before


def event_text(event: Event, manager: BackgroundTaskManager) -> str:
    """An event in words: what happened, to which task, why."""
    _, title = names(event, manager)
    text = f"{event.kind} task {event.task_id}" + (f" {title}" if title else "")
    detail = event.detail.strip()
    return f"{text}: {detail.splitlines()[-1]}" if detail else text


def names(event: Event, manager: BackgroundTaskManager) -> tuple[str, str]:
    """What an event is about: the name of the function, and in its place the command if it is one.

    Both are empty if neither the event nor the queue knows.
    """
    if event.name in ("", COMMAND):
        from deferpower.cli.records import title

        with contextlib.suppress(DeferpowerError):  # it may have been forgotten meanwhile
            record = manager.get(event.task_id)
            return record.name, title(record) if record.name == COMMAND else record.name
    return event.name, event.name


def write(stream: Any, text: str, lock: threading.Lock) -> None:
    """Write a line whole. A reader that went away is no reason to end the work."""
    with lock, contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()
