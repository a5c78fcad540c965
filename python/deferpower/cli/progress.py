"""A bar on the terminal for what takes its time; nothing where standard error is no terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Self

_SHOW_AFTER_S = 0.3
_REDRAW_AFTER_S = 0.1
_WIDEST = 40


class Bar:
    """Shows which part of something is done, from when it has taken 0.3 s to its end."""

    def __init__(self, what: str) -> None:
        """Begin; nothing is shown yet.

        Args:
            what: what is being done, in a word or two.
        """
        self._what = what
        self._can_draw = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._next_s = time.monotonic() + _SHOW_AFTER_S
        self._is_shown = False

    def __enter__(self) -> Self:
        """The bar."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it off the terminal."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, part: float, figures: str = "") -> None:
        """Say which part is done, 0-1, and in figures; drawn ten times a second at most."""
        if not self._can_draw or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _REDRAW_AFTER_S
        self._is_shown = True
        what = f"{self._what} {figures}" if figures else self._what
        line = bar_text(what, part, shutil.get_terminal_size().columns)
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def bar_text(what: str, part: float, columns: int) -> str:
    """A bar, with what is done before it and how much of it after it, that fits a line."""
    width = max(min(columns - len(what) - len(" [] 100 % "), _WIDEST), 1)
    done = "#" * int(part * width)
    return f"{what} [{done:<{width}}] {100 * part:3.0f} %"
