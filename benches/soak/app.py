"""The program of a soak: its functions and its manager, for ``deferpower worker --app``.

Each run writes down that it begins and how it ends, each time in one write of a line.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import apsw
from benches.soak.place import PROCESS, Place

from deferpower import BackgroundTaskManager, Policy
from deferpower.tasks.context import Context, Stopped

MOST_QUEUED = 1500
BACKOFF_S = 0.2
MOST_ATTEMPTS = 3
BEAT_S = 3.0
ANYTIME: dict[str, Any] = {"override": "execute_now"}


def append_to(path: os.PathLike[str]) -> int:
    """A descriptor whose writes go to the end of a file, each whole."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class Notes:
    """Writes down what becomes of runs."""

    def __init__(self, place: Place) -> None:
        self._descriptor = append_to(place.runs)
        self._process = os.environ[PROCESS]

    def note(self, run: Context, what: str) -> None:
        """Write that a run has begun, or how it ends."""
        words = (run.id, run.name, run.attempt, self._process, time.monotonic_ns(), what)
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())

    def noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its runs written down."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def on_loop(run: Context, *args: Any) -> Any:
                self.note(run, "begins")
                try:
                    value = await function(run, *args)
                except BaseException as error:
                    self.note(run, _how(error))
                    raise
                self.note(run, "returned")
                return value

            return on_loop

        @functools.wraps(function)
        def in_thread(run: Context, *args: Any) -> Any:
            self.note(run, "begins")
            try:
                value = function(run, *args)
            except BaseException as error:
                self.note(run, _how(error))
                raise
            self.note(run, "returned")
            return value

        return in_thread


def _how(error: BaseException) -> str:
    return "stopped" if isinstance(error, Stopped | asyncio.CancelledError) else "raised"


def quick(run: Context) -> int:
    """Over at once."""
    return run.id


def steps(run: Context, count: int) -> int:
    """Take steps, keep each, and give way between them."""
    done = run.resumed_from or 0
    while done < count:
        if run.wait_for_stop(0.02):
            run.stop_if_asked()
        done += 1
        run.checkpoint(done)
    return done


async def gentle(run: Context, for_s: float) -> None:
    """Sleep on the event loop."""
    await asyncio.sleep(for_s)


def shaky(run: Context, failures: int) -> int:
    """Fail so many times."""
    if run.attempt <= failures:
        raise ValueError(f"as told, {run.attempt} of {failures}")
    return run.attempt


def once(run: Context) -> None:
    """Never a second time."""


def late(run: Context) -> None:
    """Wait until told that the time is over."""
    run.wait_for_stop(30)
    run.stop_if_asked()


def beat(run: Context) -> None:
    """Again and again."""


def open_queue(place: Place) -> BackgroundTaskManager:
    """The queue, with all functions registered."""
    manager = BackgroundTaskManager(
        place.queue, policy=Policy.load(place.policy), max_queued=MOST_QUEUED
    )
    options: dict[str, Any] = {
        "pass_context": True,
        "max_attempts": MOST_ATTEMPTS,
        "backoff_s": BACKOFF_S,
    }
    notes = Notes(place)
    for function in (quick, steps, gentle, shaky):
        manager.task(notes.noted(function), **options)
    manager.task(notes.noted(once), at_most_once=True, **options)
    manager.task(notes.noted(late), timeout_s=0.3, **{**options, "max_attempts": 1})
    manager.task(notes.noted(beat), every_s=BEAT_S, flex_s=BEAT_S / 2, **options, **ANYTIME)
    return manager


def tell_of_sqlite(place: Place) -> None:
    """Write down every second how much memory SQLite uses here."""
    path = place.sqlite_kib(os.getpid())
    while True:
        path.write_text(f"{apsw.memory_used() / 1024:.0f}")
        time.sleep(1)


manager = open_queue(Place.here())
threading.Thread(target=tell_of_sqlite, args=(Place.here(),), daemon=True).start()
