"""Prints how late an asyncio loop is that ticks every millisecond, beside somebody who samples.

    python -m benches.tasks.lag [--seconds 5] [--rounds 5]

The loop is measured alone and beside a thread that takes a full, fresh reading every 100 ms: a
device on each backend, and psutil asked for the same figures. No worker samples that often by
itself, so it is also measured beside a real one: a started manager whose task waits for the machine
to be idle, and another whose function, an empty one, is deferred every 100 ms.

On a machine that others use, their load is in every figure; as root, ``chrt -f 10`` before the
command keeps it out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benches.python.table import Row, duration, machine, print_table

REPOSITORY = Path(__file__).parents[2]
TICK_S, SAMPLE_S = 0.001, 0.1
TARGET_S = 100e-6
ALONE = "alone"
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


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
def psutil_loop() -> Iterator[None]:
    from benches.python.work import read_with_psutil

    with every_100_ms(read_with_psutil):
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
    "native reading": lambda: device("native"),
    "pure reading": lambda: device("pure"),
    "psutil reading": psutil_loop,
    "native worker, idle wanted": lambda: worker("native", busy=False),
    "pure worker, idle wanted": lambda: worker("pure", busy=False),
    "native worker, a task every 100 ms": lambda: worker("native", busy=True),
}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured")
    parser.add_argument("--rounds", type=int, default=5, help="how often, in turns")
    parser.add_argument("--measure", choices=BESIDE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.seconds)
        return
    print(machine())
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in BESIDE}
    for _ in range(options.rounds):
        for name in BESIDE:
            command = [sys.executable, "-m", "benches.tasks.lag", "--measure", name]
            command += ["--seconds", str(options.seconds)]
            run = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
            seen[name].append(quantiles(json.loads(run.stdout)))
    print_table(rows(seen))


def rows(seen: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Row]:
    """Medians over the rounds, and of the differences within a round."""
    found = []
    for name, rounds in seen.items():
        for label in QUANTILES:
            value = statistics.median(one[label] for one in rounds)
            row = Row(name, label, duration(value))
            pairs = zip(rounds, seen[ALONE], strict=True)
            more_s = statistics.median(one[label] - alone[label] for one, alone in pairs)
            if name != ALONE:
                row = row._replace(beside=f"{more_s * 1e6:+.0f} us beside the loop alone")
            if label in ("p99", "p99.9") and name not in (ALONE, "psutil reading"):
                row = row._replace(target=f"< {TARGET_S * 1e6:+.0f} us", met=more_s < TARGET_S)
            found.append(row)
    return found


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {label: ordered[round(share * last)] for label, share in QUANTILES.items()}


if __name__ == "__main__":
    main()
