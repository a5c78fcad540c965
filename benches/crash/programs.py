"""The processes that are killed: one that submits tasks, and workers that run them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from deferpower import BackgroundTaskManager, QueueFull
from deferpower.tasks.context import Context
from deferpower.tasks.handle import Handle

Durability = Literal["full", "process"]

# Keeps the backlog, and so the time that the last workers take for it, within bounds.
_MOST_QUEUED = 300
_FULL_PAUSE_S = 0.02
_LONGEST_STEP_S = 0.02
_ANYTIME: dict[str, Any] = {"override": "execute_now", "pass_context": True}


class Place(NamedTuple):
    """The files of one round."""

    directory: Path
    durability: Durability

    @property
    def queue(self) -> Path:
        return self.directory / "queue.db"

    @property
    def runs(self) -> Path:
        """A line for each run of a task: see `evidence.Line`."""
        return self.directory / "runs"

    @property
    def promises(self) -> Path:
        """The ids that a submit has returned."""
        return self.directory / "promises"

    @property
    def log(self) -> Path:
        """What the processes say on standard error."""
        return self.directory / "log"

    def open(self, mark: Mark | None = None) -> BackgroundTaskManager:
        """The queue, with its functions registered."""
        manager = BackgroundTaskManager(
            self.queue, durability=self.durability, max_queued=_MOST_QUEUED
        )
        _register(manager, mark or Mark(-1, -1))
        return manager


class Mark:
    """Writes down that a task runs: one line by one write, so that it is there whole or not."""

    def __init__(self, descriptor: int, process: int) -> None:
        self._descriptor = descriptor
        self._process = process

    def __call__(self, run: Context, gave_way: bool = False) -> None:
        key, now_ns = run.idempotency_key, time.monotonic_ns()
        line = f"{run.id} {key} {run.attempt} {self._process} {now_ns} {gave_way:d}\n"
        os.write(self._descriptor, line.encode())


def _register(manager: BackgroundTaskManager, mark: Mark) -> None:
    def quick(run: Context) -> None:
        mark(run)

    def slow(run: Context, before_s: float, after_s: float) -> int:
        time.sleep(before_s)
        mark(run)
        time.sleep(after_s)
        return run.id

    async def gentle(run: Context, before_s: float, after_s: float) -> None:
        try:
            await asyncio.sleep(before_s)
            mark(run)
            await asyncio.sleep(after_s)
        except asyncio.CancelledError:
            mark(run, gave_way=True)
            raise

    def once(run: Context) -> None:
        mark(run)

    for function in (quick, slow, gentle):
        manager.task(function, **_ANYTIME)
    manager.task(once, at_most_once=True, **_ANYTIME)


def make(place: Place) -> NoReturn:
    """Make the file, and end."""
    place.open().close()
    os._exit(0)


def work(place: Place, process: int) -> NoReturn:
    """Run tasks until killed, or told to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    manager = place.open(Mark(_append_to(place.runs), process))
    manager.start()
    signal.sigwait({signal.SIGTERM})
    manager.close()
    os._exit(0)


def submit(place: Place, seed: int) -> NoReturn:
    """Submit tasks until killed; note the ids of those whose submit has returned."""
    dice = random.Random(seed)
    promises = _append_to(place.promises)
    manager = place.open()
    last: Handle | None = None
    while True:
        try:
            handles = _submit_some(manager, dice, last)
        except QueueFull:
            time.sleep(_FULL_PAUSE_S)
            continue
        # What comes after a task that may run at most once fails with it, and no retry helps.
        last = handles[-1] if handles[-1].record.name != "once" else None
        os.write(promises, "".join(f"{handle.id}\n" for handle in handles).encode())
        time.sleep(dice.uniform(0, 0.005))


def _submit_some(
    manager: BackgroundTaskManager, dice: random.Random, last: Handle | None
) -> list[Handle]:
    steps = [dice.uniform(0, _LONGEST_STEP_S), dice.uniform(0, _LONGEST_STEP_S)]
    options: dict[str, Any] = {}
    if last is not None and dice.random() < 0.1:
        options["after"] = last
    match dice.choice(("quick", "quick", "many", "slow", "gentle", "once")):
        case "many":
            return manager.submit_many("quick", [()] * dice.randint(2, 20), **options)
        case "slow" | "gentle" as name:
            return [manager.submit(name, steps, **options)]
        case name:
            return [manager.submit(name, **options)]


def _append_to(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
