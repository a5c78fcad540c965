"""What a worker costs that has nothing to do: processor time, and how often it wakes up."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

from benches.comparison import OURS, Comparison, Target, below, count
from benches.machine import LAPTOP, battery_prefix
from benches.peers.contenders import APSCHEDULER, HUEY, PERSIST_QUEUE, PERSIST_QUEUE_ACK
from benches.peers.effort import Effort
from benches.peers.process import Process, Used

SETTLED_S = 3.0
PER_DAY_TARGET_S = 1.0
PURE = f"{OURS}, pure"
HOW = {
    HUEY: "its loop looks for signals ten times a second, its scheduler each second",
    APSCHEDULER: "sleeps until the first job is due; notices nothing that another process adds",
    PERSIST_QUEUE: "a thread in get(), which looks every 10 s",
    PERSIST_QUEUE_ACK: "the same",
}
NOTHING, LATER, IDLE = "nothing parked", "one task parked", "one task parked for idleness"
PARKED = {NOTHING: None, LATER: "park", IDLE: "park_for_idleness"}
WHO = {
    NOTHING: (OURS, PURE, HUEY, PERSIST_QUEUE, PERSIST_QUEUE_ACK, APSCHEDULER),
    LATER: (OURS, PURE, HUEY, APSCHEDULER),
    IDLE: (OURS, PURE),
}


class Worker(NamedTuple):
    """A worker that is watched, and what it had used when that began."""

    what: str
    name: str
    process: Process
    before: Used


def compare(place: Path, effort: Effort) -> list[Comparison]:
    """All at the same time, on a laptop's battery so that something can wait for the charger."""
    prefix = battery_prefix()
    environment = {} if prefix else {"DEFERPOWER_ROOT": str(LAPTOP)}
    with contextlib.ExitStack() as stack:
        processes = []
        for what, names in WHO.items():
            for name in names:
                process = Process(
                    OURS if name == PURE else name,
                    place / what / name,
                    prefix=prefix,
                    environment={
                        **environment,
                        "DEFERPOWER_BACKEND": "pure" if name == PURE else "native",
                    },
                )
                processes.append((what, name, stack.enter_context(process)))
                if parking := PARKED[what]:
                    process(parking, 1)
                process("listen")
        time.sleep(SETTLED_S)
        workers = [Worker(*one, one[2].used()) for one in processes]
        time.sleep(effort.idle_s)
        return comparisons(workers, effort.idle_s)


def comparisons(workers: list[Worker], seconds: float) -> list[Comparison]:
    found = []
    for what, names in WHO.items():
        cpu_s, wake_ups = {}, {}
        for worker in workers:
            if worker.what == what:
                after = worker.process.used()
                cpu_s[worker.name] = [(after.cpu_s - worker.before.cpu_s) * 86_400 / seconds]
                per_hour = (after.wake_ups - worker.before.wake_ups) * 3600 / seconds
                wake_ups[worker.name] = [per_hour]
        ours = [name for name in names if name in (OURS, PURE)]
        cpu_targets = [below(cpu_s, name, PER_DAY_TARGET_S, per_day) for name in ours]
        none = [Target(name, "none", wake_ups[name] == [0]) for name in ours if what == NOTHING]
        found += [
            Comparison(f"idle worker, {what}: processor time", cpu_s, per_day, cpu_targets),
            Comparison(f"idle worker, {what}: wake-ups", wake_ups, per_hour_text, none),
        ]
    return [Comparison(one.what, one.costs, one.show, one.targets, remarks=HOW) for one in found]


def per_day(seconds: float) -> str:
    return f"{seconds:.2f} s a day"


def per_hour_text(number: float) -> str:
    return f"{count(number)} an hour"
