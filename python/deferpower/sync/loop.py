"""An event loop of one's own, for targets whose work is written once, in async form."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from deferpower.errors import TargetError
from deferpower.store import forking
from deferpower.store.forking import Forkable

_T = TypeVar("_T")

_inherited: list[asyncio.Runner] = []
"""Loops of a parent. To let go of one would close it, and what it polls is the parent's, too."""


class OwnLoop(Forkable):
    """Runs coroutines for callers without an event loop, one at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runner: asyncio.Runner | None = None
        forking.remember(self)

    def after_fork_in_child(self) -> None:
        """Leave the loop to the parent; the next `run` begins another."""
        self._lock = threading.Lock()
        if self._runner is not None:
            _inherited.append(self._runner)
            self._runner = None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What the coroutine returns, or raises.

        Raises:
            TargetError: this thread runs an event loop, which would stand still meanwhile.
        """
        if _runs_a_loop():
            work.close()
            raise TargetError("send would block the event loop; await send_async instead")
        with self._lock:
            if self._runner is None:
                # With a factory it does not become the thread's current loop.
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            return self._runner.run(work)

    @property
    def is_open(self) -> bool:
        """Whether there is a loop, with what was opened on it."""
        return self._runner is not None

    def close(self) -> None:
        """End the loop; the next `run` begins another."""
        with self._lock:
            if self._runner is not None:
                self._runner.close()
                self._runner = None


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
