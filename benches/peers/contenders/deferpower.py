"""deferpower, on the machine and the backend that the environment asks for."""

from __future__ import annotations

import logging
from pathlib import Path

from benches.peers.contenders import FSYNC
from benches.peers.contenders.contender import Contender
from benches.peers.contenders.functions import mark, nothing, tell_start

from deferpower import BackgroundTaskManager, Constraints, Device, TaskState, Verdict

UNENDED = [state for state in TaskState if state is not TaskState.SUCCEEDED]


class Deferpower(Contender):
    """Keeps a task until it is done, with its result, its attempts and what it waits for."""

    def __init__(self, directory: Path, durability: str) -> None:
        logging.getLogger("deferpower").setLevel(logging.ERROR)
        self.tasks = BackgroundTaskManager(
            directory / "deferpower.db",
            durability="full" if durability == FSYNC else "process",
            device=self.device(),
            max_workers=1,
        )
        # Whatever else runs here must not make tasks wait: that is no figure of a queue's.
        now = Verdict.EXECUTE_NOW
        self.nothing = self.tasks.task(nothing, override=now)
        self.tell_start = self.tasks.task(tell_start, override=now)
        self.mark = self.tasks.task(mark, override=now)

    def device(self) -> Device | None:
        return None

    def submit(self, count: int) -> None:
        for number in range(count):
            self.last = self.nothing.defer(number)

    def submit_together(self, count: int) -> None:
        self.last = self.tasks.submit_many(self.nothing, [(number,) for number in range(count)])[-1]

    def submit_marks(self, path: str, count: int, takes_s: float) -> None:
        self.tasks.submit_many(self.mark, [(path, number, takes_s) for number in range(count)])

    def drain(self, count: int) -> None:
        self.tasks.start()
        self.last.result()
        self.tasks.stop()
        assert not self.tasks.list(states=["enqueued"], limit=1)

    def park(self, count: int) -> None:
        self.park_for(Constraints(charging=True), count)

    def park_for_idleness(self, count: int) -> None:
        self.park_for(Constraints(idle=True), count)

    def park_for(self, wanted: Constraints, count: int, name: str = "waits") -> None:
        waits = self.tasks.task(nothing, name=name, constraints=wanted)
        for start in range(0, count, 1000):
            some = range(start, min(start + 1000, count))
            self.tasks.submit_many(waits, [(number,) for number in some])

    def tick(self) -> None:
        assert not self.tasks.process_background_tasks(1)

    def listen(self) -> None:
        self.tasks.start()

    def post(self) -> None:
        self.tell_start.defer()

    def left(self) -> int:
        return len(self.tasks.list(states=UNENDED, limit=1_000_000))
