"""The end of the program: what runs is told to stop, and what became of it is written."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

from deferpower.errors import DeferpowerError

_log = logging.getLogger("deferpower.tasks")


class Stoppable(Protocol):
    """A manager."""

    def stop(self) -> None:
        """Begin nothing more, tell what runs to stop, and wait for it, not for ever."""


def stop_at_exit(one: Stoppable) -> None:
    """Have it stopped when the main thread ends, unless it is gone by then.

    Functions of `atexit` are called only when all threads have ended: a task that sleeps until it
    is told to stop would never be told. Executors wait for their threads in the hook used here,
    and whoever registers later is called earlier; so call this when the executor is there.
    """
    threading._register_atexit(_stop, weakref.ref(one))  # type: ignore[attr-defined]


def _stop(ref: weakref.ref[Stoppable]) -> None:
    one = ref()
    if one is not None:
        try:
            one.stop()
        except DeferpowerError as error:
            _log.error("worker: %s", error)
