"""Prints how late an agent's loop of a millisecond gets, with each part of deferpower beside it.

    python -m benches.tasks.agent [--seconds 3] [--rounds 7] [--loop select]

The loop is measured alone, beside each part on both backends, and beside all of them at once:

- ``worker``: a started manager whose one task waits for the machine to be idle;
- ``readings``: a full, fresh reading every 100 ms, taken in a thread;
- ``thread tasks``, ``coroutine tasks``: a started manager, and a task deferred every 100 ms;
- ``conditions``: as these, but what is deferred waits for a condition of the program's own, which
  comes and goes every 250 ms;
- ``events``: as ``thread tasks``, with a callback that hands each event to the loop;
- ``questions``: ``why`` and ``forecast``, twice a second;
- ``sync``: an item queued every 100 ms, sent to a server in another process by the manager's own
  thread (``start``) or by the loop (``async with``); ``everything`` has the first;
- ``everything, handed over``: all that as ``examples/control_loop.py`` does it. The loop only puts
  into a queue what a thread then does, and nothing wakes it up.

Each is a process of its own, in turns; figures are medians over the rounds. asyncio's usual loop
sleeps in epoll, which counts in whole milliseconds: woken up in between, it is late for its next
tick. One that sleeps in select is not (``--loop select``).

On a machine that others use, their load is in every figure; as root, ``chrt -f 10`` before the
command keeps it out.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import json
import resource
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from benches.machine import REPOSITORY, described
from benches.peers.lag import lags
from benches.sync.throughput import server
from examples.control_loop import Hands

from deferpower import BackgroundSyncManager, BackgroundTaskManager, Constraints, Device, Verdict

EVERY_S, WARM_S = 0.1, 1.0
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
ALONE = "alone"
LOOPS = {
    "epoll": asyncio.new_event_loop,
    "select": lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()),
}
BACKENDS = ("native", "pure")
NOW = Verdict.EXECUTE_NOW
DATA = {"note": 7, "text": "a hundred bytes or so, as events of a program often are"}


class Agent:
    """The parts that a loop can have beside it."""

    def __init__(self, place: Path, backend: str, url: str) -> None:
        self.device = Device(backend=backend)
        self.tasks = BackgroundTaskManager(
            place / "tasks.db",
            device=self.device,
            predicates={"at rest": lambda _: time.monotonic() % 0.5 < 0.25},
        )
        self.sync = BackgroundSyncManager(url, place / "sync.db", device=self.device)
        self.events = 0
        self.in_thread = self.tasks.task(int, name="in a thread", override=NOW)
        self.on_loop = self.tasks.task(asyncio.sleep, name="on the loop", override=NOW)
        at_rest = Constraints(custom=("at rest",))
        self.at_rest = self.tasks.task(int, name="at rest", constraints=at_rest)
        self.idle = self.tasks.task(int, name="idle", constraints=Constraints(idle=True))

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        self.idle.defer()
        async with self.tasks:
            yield

    @contextlib.asynccontextmanager
    async def readings(self) -> AsyncIterator[None]:
        async with every(EVERY_S, lambda: asyncio.to_thread(self.device.read, 0)):
            yield

    @contextlib.asynccontextmanager
    async def thread_tasks(self) -> AsyncIterator[None]:
        async with self.tasks, every(EVERY_S, lambda: self.tasks.submit_async(self.in_thread)):
            yield

    @contextlib.asynccontextmanager
    async def coroutine_tasks(self) -> AsyncIterator[None]:
        async with self.tasks, every(EVERY_S, lambda: self.tasks.submit_async(self.on_loop, [0])):
            yield

    @contextlib.asynccontextmanager
    async def conditions(self) -> AsyncIterator[None]:
        async with self.tasks, every(EVERY_S, lambda: self.tasks.submit_async(self.at_rest)):
            yield

    @contextlib.asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def count(_: object) -> None:
            self.events += 1

        def tell(event: object) -> None:
            loop.call_soon_threadsafe(count, event)

        self.tasks.on_event(tell)
        async with self.thread_tasks():
            yield
        assert self.events

    @contextlib.asynccontextmanager
    async def questions(self) -> AsyncIterator[None]:
        waits = self.idle.defer()

        async def ask() -> None:
            await asyncio.to_thread(self.tasks.why, waits.id)
            await asyncio.to_thread(self.tasks.forecast)

        async with self.tasks, every(0.5, ask):
            yield

    @contextlib.asynccontextmanager
    async def sync_in_thread(self) -> AsyncIterator[None]:
        self.sync.start()
        async with every(EVERY_S, lambda: self.sync.queue_for_sync_async(DATA)):
            yield
        await asyncio.to_thread(self.sync.stop)

    @contextlib.asynccontextmanager
    async def sync_on_loop(self) -> AsyncIterator[None]:
        async with self.sync, every(EVERY_S, lambda: self.sync.queue_for_sync_async(DATA)):
            yield

    @contextlib.asynccontextmanager
    async def everything(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for part in PARTS.values():
                if part not in (Agent.everything, Agent.handed_over, Agent.sync_on_loop):
                    await stack.enter_async_context(part(self))
            yield

    @contextlib.asynccontextmanager
    async def handed_over(self) -> AsyncIterator[None]:
        gc.freeze()
        sys.setswitchinterval(1e-4)
        hands = Hands()
        waits = await asyncio.to_thread(self.idle.defer)
        events: collections.deque[object] = collections.deque(maxlen=100)
        self.tasks.on_event(events.append)
        await asyncio.to_thread(self.tasks.start)
        await asyncio.to_thread(self.sync.start)

        async def put() -> None:
            hands.put(self.device.read, 0)
            for function, args in ((self.in_thread, ()), (self.on_loop, (0,)), (self.at_rest, ())):
                hands.put(function.defer, *args)
            hands.put(self.sync.queue_for_sync, DATA)
            if time.monotonic() % 0.5 < EVERY_S:
                hands.put(self.tasks.why, waits.id)
                hands.put(self.tasks.forecast)

        async with every(EVERY_S, put):
            yield
        for stop in (hands.close, self.tasks.stop, self.sync.stop):
            await asyncio.to_thread(stop)


PARTS: dict[str, Callable[[Agent], contextlib.AbstractAsyncContextManager[None]]] = {
    "worker": Agent.worker,
    "readings": Agent.readings,
    "thread tasks": Agent.thread_tasks,
    "coroutine tasks": Agent.coroutine_tasks,
    "conditions": Agent.conditions,
    "events": Agent.told,
    "questions": Agent.questions,
    "sync in its thread": Agent.sync_in_thread,
    "sync on the loop": Agent.sync_on_loop,
    "everything": Agent.everything,
    "everything, handed over": Agent.handed_over,
}


@contextlib.asynccontextmanager
async def every(seconds: float, call: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """A call on the loop again and again."""

    async def repeat() -> None:
        while True:
            await call()
            await asyncio.sleep(seconds)

    repeating = asyncio.create_task(repeat())
    yield
    repeating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await repeating


async def run(part: str, backend: str, url: str, seconds: float) -> dict[str, float]:
    """The lags of a loop with a part beside it, and what the process has used meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        beside: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
        if part != ALONE:
            beside = PARTS[part](Agent(Path(place), backend, url))
        async with beside:
            await lags(WARM_S)  # what is opened and compiled at first is no steady state
            before = resource.getrusage(resource.RUSAGE_SELF)
            seen = sorted(await lags(seconds))
            after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw
    found = {label: seen[round(share * (len(seen) - 1))] for label, share in QUANTILES.items()}
    return {**found, "processor": used_s / seconds, "switches": switches / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")
    parser.add_argument("--rounds", type=int, default=7, help="how often, in turns")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--loop", choices=LOOPS, default="epoll", help="what it sleeps in")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
            part, backend, url = options.measure
            json.dump(runner.run(run(part, backend, url, options.seconds)), sys.stdout)
        return
    print(described())
    contenders = [(ALONE, "")]
    contenders += [(part, backend) for part in options.parts for backend in options.backends]
    seen: dict[tuple[str, str], list[dict[str, float]]] = {one: [] for one in contenders}
    with server() as url:
        for _ in range(options.rounds):
            for part, backend in contenders:
                command = [sys.executable, "-m", "benches.tasks.agent"]
                command += ["--seconds", str(options.seconds), "--loop", options.loop]
                command += ["--measure", part, backend, url]
                done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
                seen[part, backend].append(json.loads(done.stdout))
    print_lags(seen)


def print_lags(seen: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]) -> None:
    """A line each: medians over the rounds, of lags beside those of the loop alone."""
    alone = seen[ALONE, ""]
    print(
        f"{'lag in us':30}", *(f"{column:>15}" for column in QUANTILES), "  processor  switches/s"
    )
    for (part, backend), rounds in seen.items():
        cells = []
        for column in QUANTILES:
            value = statistics.median(one[column] for one in rounds)
            pairs = zip(rounds, alone, strict=True)
            more = statistics.median(one[column] - other[column] for one, other in pairs)
            said = f"{value * 1e6:.0f}" + (f" ({more * 1e6:+.0f})" if rounds is not alone else "")
            cells.append(f"{said:>15}")
        processor = statistics.median(one["processor"] for one in rounds)
        switches = statistics.median(one["switches"] for one in rounds)
        print(f"{part + ', ' + backend:30}", *cells, f"{processor:10.1%} {switches:10.0f}")


if __name__ == "__main__":
    main()
