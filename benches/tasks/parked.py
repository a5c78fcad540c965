"""Prints what a worker's look at its queue costs, with few and with a million tasks that wait.

    python -m benches.tasks.parked [--most 1000000]

The device is set by hand: a reading of sensors in the figures would hide a difference.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches.python.table import Row, duration, machine, print_table

from deferpower import BackgroundTaskManager, Constraints
from deferpower.testing import FakeDevice

BACKENDS = ("native", "pure")
FEW = 1_000
KINDS = 20
TICKS, CLAIMS = 101, 401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=1_000_000, help="how many wait at most")
    most = parser.parse_args().most
    print(machine())
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for backend in BACKENDS:
            queues = {
                count: Parked(Path(place, f"{count}.db"), count, backend) for count in (FEW, most)
            }
            rows += beside(backend, "tick, nothing may start", TICKS, queues, Parked.tick, 2.0)
            for queue in queues.values():
                queue.device.plug_in()
                queue.device.clock.advance(5)
            rows += beside(backend, "claim one and run it", CLAIMS, queues, Parked.run, None)
            for queue in queues.values():
                queue.tasks.close()
    print_table(rows)


class Parked:
    """A queue in which tasks of several kinds wait for the charger."""

    def __init__(self, path: Path, count: int, backend: str) -> None:
        self.device = FakeDevice(plugged=False, percent=60, backend=backend)
        self.tasks = BackgroundTaskManager(path, device=self.device, durability="process")
        kinds = [
            self.tasks.task(
                nothing,
                name=f"kind {kind}",
                constraints=Constraints(charging=True, battery_above=kind),
            )
            for kind in range(KINDS)
        ]
        if not self.tasks.list(states=["enqueued"], limit=1):
            for kind in kinds:
                self.tasks.submit_many(kind, [(number,) for number in range(count // KINDS)])

    def tick(self) -> None:
        assert not self.tasks.process_background_tasks(1)

    def run(self) -> None:
        assert len(self.tasks.process_background_tasks(1)) == 1


def nothing(number: int) -> None:
    """The empty task."""


def beside(
    backend: str,
    what: str,
    rounds: int,
    queues: dict[int, Parked],
    call: Callable[[Parked], None],
    target: float | None,
) -> list[Row]:
    times: dict[int, list[float]] = {count: [] for count in queues}
    for _ in range(rounds):
        for count, queue in queues.items():
            start = time.perf_counter()
            call(queue)
            times[count].append(time.perf_counter() - start)
    median = {count: statistics.median(values) for count, values in times.items()}
    few, most = queues
    ratio = median[most] / median[few]
    row = Row(backend, f"{what}: {most:,}", duration(median[most]), f"{ratio:.2f}x that of {few:,}")
    if target is not None:
        row = row._replace(target=f"{target:g}x", met=ratio <= target)
    return [Row(backend, f"{what}: {few:,}", duration(median[few])), row]


if __name__ == "__main__":
    main()
