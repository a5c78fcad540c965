"""What a durable queue must be able to do to be measured."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from pathlib import Path


class Contender(abc.ABC):
    """A durable queue in a directory."""

    @abc.abstractmethod
    def __init__(self, directory: Path, durability: str) -> None: ...

    @abc.abstractmethod
    def submit(self, count: int) -> None:
        """Add empty tasks, one commit each."""

    def submit_together(self, count: int) -> None:
        """Add empty tasks in one commit."""
        raise NotImplementedError

    def submit_marks(self, path: str, count: int, takes_s: float) -> None:
        """Add tasks that write down when they begin and end."""
        raise NotImplementedError

    def drain(self, count: int) -> None:
        """Run that many tasks, all that there are, and have it written that they are done."""
        raise NotImplementedError

    def park(self, count: int) -> None:
        """Add tasks that wait, none of which may run today."""
        raise NotImplementedError

    def tick(self) -> None:
        """Do what a worker does to see that nothing may run."""
        raise NotImplementedError

    def tick_times(self, rounds: int) -> list[float]:
        return times(self.tick, rounds)

    def listen(self) -> None:
        """Have a worker of one thread run what is there and what comes."""
        raise NotImplementedError

    def post(self) -> None:
        """Add one task that tells when it starts."""
        raise NotImplementedError

    def left(self) -> int:
        """Tasks in the queue that have not ended well, whatever became of them."""
        raise NotImplementedError


def times(call: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        call()
        found.append(time.perf_counter() - start_s)
    return found
