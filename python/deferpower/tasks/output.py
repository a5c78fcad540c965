"""From what a command writes to its log in the store: `Output`."""

from __future__ import annotations

import logging
import math
import os
import time
from typing import TYPE_CHECKING

from deferpower.errors import DeferpowerError
from deferpower.store import logs
from deferpower.store.logs import Tape

if TYPE_CHECKING:
    from deferpower.store.database import Database

_log = logging.getLogger("deferpower.tasks")

_FLUSH_S = 1.0
"""How long output may wait to be written; all that comes meanwhile is one commit."""
_READ_BYTES = 64 * 1024
_MOST_LEFT_BYTES = 1024 * 1024
"""How much is still read when a command has ended: what it left running may write for ever."""
_MOST_QUOTED = 200


class Output:
    """The output of one run, on its way into the log of its task.

    Attributes:
        due_s: when it is to be written, on the line of ``time.monotonic``; infinite for never.
    """

    def __init__(self, database: Database, worker: int, task: int, wall_s: float) -> None:
        """Go on where the last run has ended, after a line that says so."""
        self.due_s = math.inf
        self._database = database
        self._worker = worker
        self._task = task
        self._latest = b""
        last = database.read(lambda cursor: logs.last_piece(cursor, task))
        self._tape = Tape(last)
        if last is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))
            line_end = "\n" if self._tape.line_is_open else ""
            self._tape.add(f"{line_end}[deferpower: started again, {when}]\n".encode())

    def take(self, data: bytes) -> bool:
        """Take in what came; whether it was anything."""
        if data:
            self._tape.add(data)
            self._latest = (self._latest + data)[-4 * _MOST_QUOTED :]
            self.due_s = min(self.due_s, time.monotonic() + _FLUSH_S)
        return bool(data)

    def take_rest(self, descriptor: int) -> None:
        """Take in what can be read without waiting, and write everything."""
        os.set_blocking(descriptor, False)
        left = _MOST_LEFT_BYTES
        try:
            while left > 0 and self.take(data := os.read(descriptor, _READ_BYTES)):
                left -= len(data)
        except BlockingIOError:
            pass  # something that the command left running has it open still
        self._flush()

    def flush_if_due(self, monotonic_s: float) -> None:
        """Write what has waited for long enough. What cannot be written is tried again."""
        if monotonic_s >= self.due_s:
            self._flush()

    def _flush(self) -> None:
        self.due_s = math.inf
        if self._tape.is_empty:
            return
        pieces = self._tape.pieces()
        try:
            self._database.write(
                lambda cursor: logs.write(cursor, self._worker, self._task, pieces)
            )
        except DeferpowerError as error:
            _log.warning("task %d: its output cannot be kept: %s", self._task, error)
            self.due_s = time.monotonic() + _FLUSH_S
        else:
            self._tape.written(pieces)

    @property
    def last_line(self) -> str:
        """The last line that is not empty, as far as it can be shown; else nothing."""
        lines = self._latest.decode(errors="replace").split("\n")
        shown = ("".join(c for c in line if c.isprintable()).strip() for line in reversed(lines))
        return next((line for line in shown if line), "")[:_MOST_QUOTED]
