"""What a program takes on by using a queue: time to start, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benches.comparison import OURS, Comparison, below, duration, mebibytes
from benches.machine import LAPTOP
from benches.peers.contenders import APSCHEDULER, HUEY, NO_FSYNC, PERSIST_QUEUE
from benches.peers.effort import Effort
from benches.peers.process import Process
from benches.timing import processor_time

IMPORT_TARGET_S, HELP_TARGET_S = 20e-3, 80e-3
PARKED, PARKED_TARGET_BYTES = 100_000, 15 * 2**20
PURE, DEVICE, LATER = f"{OURS}, pure", f"{OURS}, a Device alone", f"{OURS}, started later"
BARE = "pass"
IMPORT = {
    OURS: "from deferpower import BackgroundTaskManager",
    HUEY: "from huey import SqliteHuey",
    PERSIST_QUEUE: "from persistqueue import SQLiteQueue",
    APSCHEDULER: "from apscheduler.schedulers.background import BackgroundScheduler\n"
    "from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore",
}
OPEN = {
    OURS: "queue = BackgroundTaskManager('{place}/deferpower.db')",
    HUEY: "queue = SqliteHuey(filename='{place}/huey.db')",
    PERSIST_QUEUE: "queue = SQLiteQueue('{place}/persist', auto_commit=True, multithreading=True)",
    APSCHEDULER: "queue = BackgroundScheduler("
    "jobstores={{'default': SQLAlchemyJobStore(url='sqlite:///{place}/jobs.db')}})\n"
    "queue.start(paused=True)",
}
ONE_DEVICE = "from deferpower import Device\ndevice = Device()\ndevice.read(max_age_s=0)"
SAY = """
import os, sys
for line in open("/proc/self/smaps_rollup"):
    if line.startswith(("Rss:", "Pss:")):
        os.write(1, line.encode())
os._exit(0)
"""
ALL_PARKED = f"resident beyond bare Python, {PARKED:,} tasks parked"


class Size(NamedTuple):
    """Resident memory, and with what is shared counted by its share."""

    rss_bytes: float
    pss_bytes: float


def compare(place: Path, effort: Effort) -> list[Comparison]:
    opened = {name: f"{IMPORT[name]}\n{OPEN[name].format(place=place / name)}\n" for name in IMPORT}
    for name in IMPORT:
        (place / name).mkdir(parents=True)
    return [
        started("import deferpower", {OURS: "import deferpower"}, effort.rounds, IMPORT_TARGET_S),
        started("import what is needed", {**IMPORT, DEVICE: ONE_DEVICE}, effort.rounds),
        started("import and open a queue", opened, effort.rounds),
        help_shown(effort.rounds),
        *sized("imported", {OURS: IMPORT[OURS], DEVICE: ONE_DEVICE, **IMPORT}),
        *sized("a queue open", opened),
        with_parked(place / "parked"),
    ]


def started(
    what: str, programs: Mapping[str, str], rounds: int, target_s: float | None = None
) -> Comparison:
    """Processor time beyond bare Python's."""
    times: dict[str, list[float]] = {name: [] for name in (BARE, *programs)}
    for warm_up in (True, *[False] * rounds):
        for name, seen in times.items():
            # Threads that are left at the end would be waited for.
            code = f"{programs.get(name, BARE)}\nimport os\nos._exit(0)"
            took_s = processor_time([sys.executable, "-c", code])
            if not warm_up:
                seen.append(took_s)
    bare = times.pop(BARE)
    costs = {
        name: [took_s - bare_s for took_s, bare_s in zip(seen, bare, strict=True)]
        for name, seen in times.items()
    }
    targets = [] if target_s is None else [below(costs, OURS, target_s, duration)]
    return Comparison(f"{what}, beyond bare Python: processor time", costs, duration, targets)


def help_shown(rounds: int) -> Comparison:
    command = [sys.executable, "-m", "deferpower", "--help"]
    times = {OURS: [processor_time(command) for _ in range(rounds + 1)][1:]}
    targets = [below(times, OURS, HELP_TARGET_S, duration)]
    return Comparison("deferpower --help, in all: processor time", times, duration, targets)


def sized(what: str, programs: Mapping[str, str]) -> list[Comparison]:
    """Memory beyond bare Python's, one process at a time."""
    bare = size_of(BARE)
    sizes = {name: size_of(code) for name, code in programs.items()}
    if OURS in programs:
        sizes[PURE] = size_of(programs[OURS], {"DEFERPOWER_BACKEND": "pure"})
    resident = {name: [size.rss_bytes - bare.rss_bytes] for name, size in sizes.items()}
    share = {name: [size.pss_bytes - bare.pss_bytes] for name, size in sizes.items()}
    return [
        Comparison(f"resident beyond bare Python (RSS), {what}", resident, mebibytes),
        Comparison(f"share of memory beyond bare Python (PSS), {what}", share, mebibytes),
    ]


def size_of(code: str, environment: Mapping[str, str] | None = None) -> Size:
    shown = subprocess.run(
        [sys.executable, "-c", code + SAY],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    fields = dict(line.split(":") for line in shown.splitlines())
    return Size(*(int(fields[name].split()[0]) * 1024 for name in ("Rss", "Pss")))


def with_parked(place: Path) -> Comparison:
    """A worker stands by in the process that added them, and in one that was started later."""
    bare_bytes = size_of(BARE).rss_bytes
    environment = {"DEFERPOWER_ROOT": str(LAPTOP)}
    costs = {}
    for name in (OURS, HUEY, APSCHEDULER):
        with Process(name, place / name, NO_FSYNC, environment=environment) as process:
            process("park", PARKED)
            costs[name] = [settled_bytes(process) - bare_bytes]
        if name == OURS:
            with Process(name, place / name, NO_FSYNC, environment=environment) as process:
                costs[LATER] = [settled_bytes(process) - bare_bytes]
    targets = [below(costs, name, PARKED_TARGET_BYTES, mebibytes) for name in (OURS, LATER)]
    return Comparison(ALL_PARKED, costs, mebibytes, targets)


def settled_bytes(process: Process) -> float:
    process("listen")
    time.sleep(2.0)
    return process.resident_bytes()
