"""Adding tasks that survive, and running them, at the same durability."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benches.comparison import OURS, Comparison, Target, at_most, below, duration, times_cheaper
from benches.peers.contenders import (
    APSCHEDULER,
    BARE,
    BARE_SQLITE3,
    BY_HAND,
    CONTENDERS,
    FSYNC,
    HUEY,
    NO_FSYNC,
    PERSIST_QUEUE,
    PERSIST_QUEUE_ACK,
)
from benches.peers.effort import Effort
from benches.peers.process import Process

FLOORS = frozenset({BARE, BARE_SQLITE3})
HAVE_BULK = {OURS, BARE, BARE_SQLITE3}
DRAIN_TARGET = {FSYNC: 3.0, NO_FSYNC: 1.5}
CPU_TARGET_S = 60e-6
TRACED = 100
SYNCS = "fsync,fdatasync,sync_file_range,msync,sync,syncfs"
HOW = {
    OURS: "apsw; group commit; keeps a task until it is done, writes results and attempts",
    BARE: "its rows, indexes, statements and commits, and nothing else",
    BARE_SQLITE3: "the same by Python's own module",
    HUEY: "takes a task out as it hands it out; writes results",
    PERSIST_QUEUE: "takes a task out as it hands it out",
    PERSIST_QUEUE_ACK: "keeps a task until it is acknowledged",
    APSCHEDULER: "rollback journal; takes a job out as it hands it to a pool",
}


class Times(NamedTuple):
    """Seconds per task of one contender, a figure for each round.

    ``submit_cpu`` and ``cpu`` are processor time: of submitting, and of submitting and draining.
    """

    submit: list[float]
    submit_cpu: list[float]
    together: list[float]
    drain: list[float]
    cpu: list[float]


def compare(place: Path, effort: Effort) -> list[Comparison]:
    found = []
    for durability in (FSYNC, NO_FSYNC):
        names = [
            name
            for name, contender in CONTENDERS.items()
            if durability in contender.durabilities and name != BY_HAND
        ]
        times = take_turns(place / durability, durability, names, effort.rounds)
        found += comparisons(durability, times)
        if shutil.which("strace"):
            found += synced(place / f"traced {durability}", durability, names)
    return found


def take_turns(
    directory: Path, durability: str, names: Sequence[str], rounds: int
) -> dict[str, Times]:
    counts = dict.fromkeys(names, 300 if durability == FSYNC else 2000)
    counts[APSCHEDULER] = 50
    times = {name: Times([], [], [], [], []) for name in names}
    with all_running(names, directory, durability) as processes:
        for warm_up in (True, *[False] * rounds):
            for name, process in processes.items():
                seen = times[name] if not warm_up else Times([], [], [], [], [])
                one_round(process, name, counts[name], seen)
    return times


def one_round(process: Process, name: str, count: int, seen: Times) -> None:
    took = process("submit", count)
    seen.submit.append(took["wall_s"] / count)
    seen.submit_cpu.append(took["cpu_s"] / count)
    if name == APSCHEDULER:
        return  # its scheduler runs jobs on other threads, and is not made for draining a queue
    cpu_s = took["cpu_s"] / count
    # What is left from this round is drained with what follows: a longer run measures better.
    together = 9 * count if name in HAVE_BULK else 0
    if together:
        seen.together.append(process("submit_together", together)["wall_s"] / together)
    total = count + together
    took = process("drain", total)
    seen.drain.append(took["wall_s"] / total)
    seen.cpu.append(cpu_s + took["cpu_s"] / total)


@contextlib.contextmanager
def all_running(
    names: Sequence[str], directory: Path, durability: str
) -> Iterator[dict[str, Process]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Process(name, directory / name, durability)) for name in names
        }


def comparisons(durability: str, times: Mapping[str, Times]) -> list[Comparison]:
    submit, together, drain, cpu = (
        costs(times, field) for field in ("submit", "together", "drain", "cpu")
    )
    keepers = [name for name in drain if name != OURS and name not in FLOORS]
    drained = times_cheaper(drain, keepers, DRAIN_TARGET[durability])
    lean = [below(cpu, OURS, CPU_TARGET_S, duration)] if durability == NO_FSYNC else []
    rows: list[tuple[str, dict[str, list[float]], list[Target]]] = [
        ("submit a task", submit, [at_most(submit, OURS, BARE, 1.3)]),
        ("submit a task: processor time", costs(times, "submit_cpu"), []),
        ("submit one of many in a commit", together, [at_most(together, OURS, BARE, 1.3)]),
        ("drain an empty task", drain, [drained]),
        ("submit and drain a task: processor time", cpu, lean),
    ]
    return [
        Comparison(f"{what}, {durability}", figures, duration, targets, FLOORS, HOW)
        for what, figures, targets in rows
    ]


def costs(times: Mapping[str, Times], field: str) -> dict[str, list[float]]:
    return {name: getattr(seen, field) for name, seen in times.items() if getattr(seen, field)}


def synced(place: Path, durability: str, names: Sequence[str]) -> list[Comparison]:
    """How often a commit asks that it reach the disk, counted from outside."""
    submits: dict[str, list[float]] = {}
    drains: dict[str, list[float]] = {}
    for name in names:
        trace = place / name / "trace"
        trace.parent.mkdir(parents=True)
        prefix = ["strace", "-f", "-qq", "-e", f"trace={SYNCS}", "-o", str(trace)]
        with Process(name, trace.parent, durability, prefix=prefix) as process:
            process("submit", TRACED)  # what is made at first is no steady state
            submits[name] = [syncs_of(process, trace, "submit") / TRACED]
            if name != APSCHEDULER:
                drains[name] = [syncs_of(process, trace, "drain", 2) / (2 * TRACED)]
            process.end()
    return [
        Comparison(f"{what}, {durability}", counts, "{:.2f}".format, [], FLOORS, HOW)
        for what, counts in (
            ("syncs to the disk of a submit", submits),
            ("syncs to the disk of a drained task", drains),
        )
    ]


def syncs_of(process: Process, trace: Path, method: str, times: int = 1) -> int:
    before = trace.read_text().count("(")
    process(method, times * TRACED)
    return trace.read_text().count("(") - before
