"""A robot whose control loop ticks every millisecond, with all of deferpower beside it.

    python examples/control_loop.py STATE_DIRECTORY [--ticks 5000] [--send-to URL]

Every 100 ms it wants a fresh reading, two tasks, and an entry of its journal sent; every second it
asks why its slowest task still waits. None of that may hold up the loop. What keeps it on time:

- All is imported, opened and used once before the loop begins.
- The loop never waits for a thread, and no thread wakes it up. What is to be done it puts into a
  queue; what became of it lies in a deque when the loop finds the time to look.
- Managers are started with ``with``: coroutines and requests run on event loops of their own.
- The loop sleeps in select, which counts in microseconds. asyncio's usual epoll counts in whole
  milliseconds, so a loop that was woken up in between is late for its next tick.
- The interpreter hands itself over every 0.1 ms, and not only every 5 ms, if a thread computes.
- What lives as long as the program is kept from the garbage collector, which else looks through
  all of it now and then, for 30 ms.

Work that computes for long in Python belongs in another process: give the manager
``executor=ProcessPoolExecutor()``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import queue
import selectors
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deferpower import (
    BackgroundSyncManager,
    BackgroundTaskManager,
    Constraints,
    Device,
    Event,
    Reading,
)

TICK_S = 0.001


class Hands:
    """A thread that does what others put into its queue."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None]
        self._calls = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hands")
        self._thread.start()

    def put(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called soon. Cost: some 10 us; never waits."""
        self._calls.put((function, args))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, args = call
            function(*args)

    def close(self) -> None:
        """Do what is left, and end."""
        self._calls.put(None)
        self._thread.join()


class Robot:
    """What the loop is there for; it moves for one half of each second, and rests for the other."""

    def __init__(self) -> None:
        self.ticks = 0
        self.lags_s: list[float] = []

    def tick(self, late_s: float) -> None:
        """Move the joints a little."""
        self.ticks += 1
        self.lags_s.append(late_s)

    @property
    def is_at_rest(self) -> bool:
        """Whether it does not move now."""
        return self.ticks % 1000 >= 500


async def control(robot: Robot, ticks: int, beside: Callable[[], None]) -> None:
    """Tick on time; every 100 ticks there is something to be done beside."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def tick(due_s: float) -> None:
        robot.tick(loop.time() - due_s)
        if robot.ticks % 100 == 0:
            beside()
        if robot.ticks < ticks:
            next_s = max(due_s + TICK_S, loop.time())
            loop.call_at(next_s, tick, next_s)
        else:
            over.set_result(None)

    loop.call_soon(tick, loop.time())
    await over


def main() -> None:
    """Set all up, begin the loop, and tell how it went."""
    parser = argparse.ArgumentParser(description="Tick every millisecond, and do much else.")
    parser.add_argument("state", type=Path, help="directory for the queues")
    parser.add_argument("--ticks", type=int, default=5000)
    parser.add_argument("--send-to", metavar="URL", help="where the journal goes")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)

    robot = Robot()
    device = Device()
    tasks = BackgroundTaskManager(
        options.state / "robot.db",
        device=device,
        predicates={"at rest": lambda _: robot.is_at_rest},
    )
    sent: list[object] = []
    journal = BackgroundSyncManager(
        options.send_to or sent.append, options.state / "robot.db", device=device
    )

    @tasks.task(constraints=Constraints(custom=("at rest",)))
    def tidy_up(tick: int) -> int:
        return tick

    @tasks.task(type="user_action")  # critical: runs at once, on a busy machine as well
    async def announce(tick: int) -> int:
        await asyncio.sleep(0.01)  # on a loop of the manager's own
        return tick

    @tasks.task(constraints=Constraints(charging=True))
    def learn() -> str:
        return "learned"

    events: deque[Event] = deque()  # append() and popleft() of a deque need no lock
    tasks.on_event(events.append)
    readings: deque[Reading] = deque(maxlen=1)  # the latest

    def read() -> None:
        readings.append(device.read(max_age_s=0))

    hands = Hands()
    seen: Counter[str] = Counter()
    lesson = learn.options(key="learn").defer()  # the one that waits, if it was left from last time

    def look() -> None:
        while events:
            event = events.popleft()
            seen[f"{event.kind} {event.name}"] += 1

    def beside() -> None:
        """What the loop itself does about all this: next to nothing."""
        hands.put(read)
        hands.put(tidy_up.defer, robot.ticks)
        hands.put(announce.defer, robot.ticks)
        hands.put(journal.queue_for_sync, {"tick": robot.ticks})
        if robot.ticks % 1000 == 0:
            hands.put(lambda: print(lesson.why(), flush=True))
        look()

    with tasks, journal:
        # Once before it counts: threads start, files are opened, modules imported.
        read()
        announce.defer(0).result()
        journal.queue_for_sync({"tick": 0})
        str(lesson.why())

        gc.collect()
        gc.freeze()
        sys.setswitchinterval(1e-4)
        selector = selectors.SelectSelector()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(control(robot, options.ticks, beside))
        hands.close()

    look()
    for what, times in sorted(seen.items()):
        print(f"{what}: {times}")
    lags_us = sorted(late_s * 1e6 for late_s in robot.lags_s)
    print(f"{len(lags_us)} ticks")
    for name, share in {"half": 0.5, "99 %": 0.99, "99.9 %": 0.999, "all": 1.0}.items():
        most_us = lags_us[int(share * len(lags_us)) - 1]
        print(f"{name} of them late by less than {most_us:.0f} us")


if __name__ == "__main__":
    main()
