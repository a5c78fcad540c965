"""What ``deferpower run`` says on standard error while it waits, pauses and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from deferpower.cli.facts import as_fields
from deferpower.cli.text import duration, one_line
from deferpower.task import Decision

Event = Literal["started", "paused", "resumed", "timed_out", "exited", "cancelled"]


class Reporter(Protocol):
    """Told of every turn of a run, and of every look at the machine while nothing runs."""

    def waiting(self, decision: Decision, pid: int | None) -> None:
        """The command may not run now; ``pid`` once it was started and is paused."""

    def turn(self, event: Event, decision: Decision | None = None, **fields: Any) -> None:
        """Something happened; the fields of each event stand in ``deferpower run --help``."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def hide(self) -> None:
        """Leave the terminal clean, for it goes to someone else."""

    def show(self) -> None:
        """The terminal is back, or has another width."""


class JsonLines:
    """Every turn as one JSON object on a line."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self._codes: tuple[str, ...] = ()

    def waiting(self, decision: Decision, pid: int | None) -> None:
        """Say so when the reasons are others than before."""
        if (codes := _codes(decision)) != self._codes:
            self._codes = codes
            _write_json("waiting", pid=pid, **as_fields(decision))

    def turn(self, event: Event, decision: Decision | None = None, **fields: Any) -> None:
        """Say it; signals by name, lengths of time to the millisecond."""
        for name, value in fields.items():
            if name.endswith("_s"):
                fields[name] = round(value, 3)
            elif name == "signal" and value is not None:
                fields[name] = _signal_name(value)
        if decision is not None:
            self._codes = _codes(decision)
            fields.update(as_fields(decision))
        _write_json(event, **fields)

    def note(self, text: str) -> None:
        """An event of its own."""
        _write_json("note", text=text)

    def hide(self) -> None:
        """Nothing stands on the terminal."""

    def show(self) -> None:
        """Nothing stands on the terminal."""


class Words:
    """One quiet line, redrawn in place; where it cannot be, a plain line when reasons change."""

    def __init__(self, in_foreground: Callable[[], bool]) -> None:
        """Look at the terminal.

        Args:
            in_foreground: whether this process's job has the terminal; one in the background
                must not draw over what stands in front.
        """
        self._in_foreground = in_foreground
        self._can_draw = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._dim = not os.environ.get("NO_COLOR")
        self._line = ""
        self._drawn = False
        self._codes: tuple[str, ...] = ()
        self._since_s = time.time()
        self._said_anything = False

    def waiting(self, decision: Decision, pid: int | None) -> None:
        """Draw what is waited for, since when."""
        state = "waiting" if pid is None else "paused"
        line, self._line = (
            self._line,
            f"{state} since {_clock_time(self._since_s)} - {_why(decision)}",
        )
        if self._draws:
            if not self._drawn or line != self._line:
                self._draw()
        elif (codes := _codes(decision)) != self._codes:
            self._codes = codes
            self.note(f"{state}: {_why(decision)}")

    def turn(self, event: Event, decision: Decision | None = None, **fields: Any) -> None:
        """Draw the line anew, or clear it; what the command tells itself needs no words."""
        self.hide()
        self._line = ""
        self._codes = ()
        if event == "paused" and decision is not None:
            self._since_s = time.time()
            if self._draws:
                # Fills the line that the command left unfinished and so moves to the next; where
                # there is none, the cursor ends up at the same place.
                _write(" " * _columns() + "\r")
            self.waiting(decision, fields["pid"])
        elif event == "timed_out":
            self.note(f"it ran for {duration(fields['ran_s'])}, its timeout; ending it")
        elif event in ("started", "resumed") and self._said_anything and not self._can_draw:
            self.note(f"{event}: {_why(decision)}" if decision else event)

    def note(self, text: str) -> None:
        """A line of its own."""
        self.hide()
        self._said_anything = True
        _write(f"deferpower: {one_line(text)}\n")

    def hide(self) -> None:
        """Clear the line, if one is drawn."""
        if self._drawn:
            self._drawn = False
            _write("\r\x1b[K")

    def show(self) -> None:
        """Draw the line again."""
        if self._line and self._draws:
            self._draw()

    @property
    def _draws(self) -> bool:
        return self._can_draw and self._in_foreground()

    def _draw(self) -> None:
        self._drawn = True
        text = one_line(f"deferpower: {self._line}")[: _columns() - 1]
        _write(f"\r\x1b[2m{text}\x1b[0m\x1b[K" if self._dim else f"\r{text}\x1b[K")


def _codes(decision: Decision) -> tuple[str, ...]:
    return tuple(reason.code for reason in decision.reasons)


def _why(decision: Decision) -> str:
    return "; ".join(reason.sentence for reason in decision.reasons)


def _clock_time(wall_s: float) -> str:
    today = time.time() - wall_s < 86_400
    return time.strftime("%H:%M" if today else "%b %d %H:%M", time.localtime(wall_s))


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a realtime signal
        return f"SIG{signum}"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _write_json(event: str, **fields: Any) -> None:
    _write(json.dumps({"event": event, "wall_s": round(time.time(), 3), **fields}) + "\n")


def _write(text: str) -> None:
    # A reader of standard error that went away is no reason to end the command.
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
