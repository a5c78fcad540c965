"""How late an asyncio loop gets that ticks every millisecond, beside somebody who samples.

The loop is measured alone and beside a thread that takes a full, fresh reading every 100 ms: a
device on each backend, and psutil asked for the same figures. No worker samples that often by
itself, so it is also measured beside a real one: a started manager whose task waits for the machine
to be idle, and another whose function, an empty one, is deferred every 100 ms.

On a machine that others use, their load is in every figure; as root, ``chrt -f 10`` before the
command keeps it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benches.comparison import OURS, Comparison, Target, duration, more
from benches.machine import REPOSITORY
from benches.peers.effort import Effort
from benches.peers.readers import read_with_psutil

TICK_S, SAMPLE_S = 0.001, 0.1
TARGET_S = 100e-6
ALONE, PSUTIL = "the loop alone", "psutil reading"
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
COMPARED = ("p50", "p99", "p99.9")


@contextlib.contextmanager
def every_100_ms(call: Callable[[], object]) -> Iterator[None]:
    """A thread that makes a call again and again."""
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            call()

    thread = threading.Thread(target=sample)
    thread.start()
    yield
    over.set()
    thread.join()


@contextlib.contextmanager
def device(backend: str) -> Iterator[None]:
    from deferpower import Device

    opened = Device(backend=backend)
    with every_100_ms(lambda: opened.read(max_age_s=0)):
        yield


@contextlib.contextmanager
def worker(backend: str, *, busy: bool) -> Iterator[None]:
    from deferpower import BackgroundTaskManager, Constraints, Device, Verdict

    with tempfile.TemporaryDirectory() as place:
        tasks = BackgroundTaskManager(Path(place, "lag.db"), device=Device(backend=backend))
        idle = tasks.task(print, name="idle", constraints=Constraints(idle=True))
        now = tasks.task(int, name="now", override=Verdict.EXECUTE_NOW)
        idle.defer()
        with tasks, every_100_ms(now.defer) if busy else contextlib.nullcontext():
            yield
        tasks.close()


BESIDE: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    ALONE: contextlib.nullcontext,
    OURS: lambda: device("native"),
    f"{OURS}, pure": lambda: device("pure"),
    PSUTIL: lambda: every_100_ms(read_with_psutil),
    f"{OURS}, a worker, idle wanted": lambda: worker("native", busy=False),
    f"{OURS}, pure, a worker, idle wanted": lambda: worker("pure", busy=False),
    f"{OURS}, a worker, a task every 100 ms": lambda: worker("native", busy=True),
}


def compare(place: Path, effort: Effort) -> list[Comparison]:
    seen: dict[str, dict[str, list[float]]] = {
        label: {name: [] for name in BESIDE} for label in COMPARED
    }
    for _ in range(effort.lag_rounds):
        for name in BESIDE:
            command = [sys.executable, "-m", "benches.peers.lag", name, str(effort.lag_s)]
            run = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
            found = quantiles(json.loads(run.stdout))
            for label in COMPARED:
                seen[label][name].append(found[label])
    return [
        Comparison(
            f"lag of an asyncio loop, {label}",
            costs,
            duration,
            [
                within(name, costs[name], costs[ALONE])
                for name in costs
                if name not in (ALONE, PSUTIL) and label != "p50"
            ],
            frozenset({ALONE}),
            {PSUTIL: "asked for the same figures every 100 ms, in a thread"},
        )
        for label, costs in seen.items()
    ]


def within(name: str, costs: list[float], alone: list[float]) -> Target:
    more_s = more(costs, alone)
    return Target(name, f"{TARGET_S * 1e6:+.0f} us: {more_s * 1e6:+.0f} us", more_s < TARGET_S)


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {label: ordered[round(share * last)] for label, share in QUANTILES.items()}


async def lags(seconds: float) -> list[float]:
    """How late each tick was."""
    loop = asyncio.get_running_loop()
    found: list[float] = []
    until_s = loop.time() + seconds
    over = loop.create_future()

    def tick(due_s: float) -> None:
        now_s = loop.time()
        found.append(now_s - due_s)
        if now_s < until_s:
            loop.call_at(now_s + TICK_S, tick, now_s + TICK_S)
        else:
            over.set_result(None)

    loop.call_at(loop.time() + TICK_S, tick, loop.time() + TICK_S)
    await over
    return found


def measure(name: str, seconds: float) -> None:
    """In a process of its own: print the lags."""
    with BESIDE[name]():
        asyncio.run(lags(1.0))  # what is opened and compiled at first is no steady state
        json.dump(asyncio.run(lags(seconds)), sys.stdout)


if __name__ == "__main__":
    measure(sys.argv[1], float(sys.argv[2]))
