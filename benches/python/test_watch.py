"""The quiet wait: how soon it ends, and what it uses while nothing happens.

Whoever ends a wait writes down when; the thread that waited takes the time as it returns. So a
latency holds the wake-up of the sleeping thread, and for Python that of the interpreter.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower import Device
from deferpower._contract import Backend, Rules, Watch
from deferpower.thresholds import Thresholds

TOLD = (720, (None, None), False, 0)
PAUSE_S = 0.01
WRITER = """
import os, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for _ in sys.stdin:
    print(time.monotonic(), flush=True)
    os.write(log, b"x")
"""


@pytest.fixture
def rules(backend: str) -> Rules:
    module = cast(Backend, importlib.import_module(f"deferpower._{backend}"))
    return module.Rules(Thresholds().lines(), Thresholds().relaxation())


@pytest.fixture
def watch(backend: str, rules: Rules) -> Iterator[Watch]:
    watch = Device(backend=backend).open_watch(rules)
    yield watch
    watch.close()


@contextmanager
def ending(watch: Watch, end: Callable[[], float]) -> Iterator[Callable[[], float]]:
    """A function that ends one wait of another thread, and tells in how many seconds."""
    returned: list[float] = []
    done = threading.Event()
    back = threading.Event()

    def run() -> None:
        while not done.is_set():
            watch.wait([], [], [], TOLD, None)
            returned.append(time.monotonic())
            back.set()

    thread = threading.Thread(target=run)
    thread.start()

    def once() -> float:
        time.sleep(PAUSE_S)  # so that it sleeps as deeply as it does in earnest
        back.clear()
        ended_s = end()
        assert back.wait(10)
        return returned[-1] - ended_s

    try:
        yield once
    finally:
        done.set()
        watch.wake()
        thread.join()


def record(benchmark: BenchmarkFixture, latencies_s: list[float]) -> None:
    """Put the latencies beside the bench, which times the pause too."""
    cuts = statistics.quantiles(latencies_s, n=100)
    benchmark.extra_info["p50_us"] = round(cuts[49] * 1e6, 1)
    benchmark.extra_info["p99_us"] = round(cuts[98] * 1e6, 1)
    print(f"\n{benchmark.name}: {benchmark.extra_info}")


@pytest.mark.benchmark(group="a wait ended by another thread")
def test_wake(benchmark: BenchmarkFixture, watch: Watch) -> None:
    def end() -> float:
        now_s = time.monotonic()
        watch.wake()
        return now_s

    latencies_s: list[float] = []
    with ending(watch, end) as once:
        benchmark.pedantic(lambda: latencies_s.append(once()), rounds=500)  # type: ignore[no-untyped-call]
    record(benchmark, latencies_s)


@pytest.mark.benchmark(group="a wait ended by another process that writes")
def test_write_of_another_process(
    benchmark: BenchmarkFixture, watch: Watch, tmp_path: Path
) -> None:
    log = tmp_path / "tasks.db-wal"
    log.touch()
    watch.follow(str(log))
    latencies_s: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, log],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        stdin, stdout = writer.stdin, writer.stdout

        def end() -> float:
            stdin.write("\n")
            stdin.flush()
            return float(stdout.readline())

        with ending(watch, end) as once:
            benchmark.pedantic(lambda: latencies_s.append(once()), rounds=500)  # type: ignore[no-untyped-call]
        stdin.close()
    record(benchmark, latencies_s)


@pytest.mark.benchmark(group="10 s of waiting for the charger")
def test_idle_wait(benchmark: BenchmarkFixture, backend: str, rules: Rules) -> None:
    charging = rules.compile((3, None, False, (1, 0.0, 0, 0, 0), (0, 0.0, 0, 0, 0)))
    device = Device(backend=backend)
    watch = device.open_watch(rules)
    reading = device.read(max_age_s=0)
    moment = (reading.monotonic_s, reading.wall_s, 720)
    rules.observe((moment, (True, 50.0, False), (None,) * 3, False, (None, None), 0))

    def usage() -> tuple[float, int]:
        status = Path("/proc/thread-self/status").read_text()
        return time.process_time(), int(status.split("voluntary_ctxt_switches:")[1].split()[0])

    def wait() -> None:
        before_s, before = usage()
        assert watch.wait([charging], [], [], TOLD, time.time() + 10)[0] == 0
        after_s, after = usage()
        benchmark.extra_info["cpu_ms"] = round((after_s - before_s) * 1e3, 2)
        benchmark.extra_info["sleeps"] = after - before

    benchmark.pedantic(wait, rounds=1)  # type: ignore[no-untyped-call]
    watch.close()
    print(f"\n{benchmark.name}: {benchmark.extra_info}")
