"""What a worker's look at its queue costs while tasks wait that may not run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from benches.comparison import OURS, Comparison, at_most, duration
from benches.peers.contenders import APSCHEDULER, BY_HAND, HUEY, NO_FSYNC
from benches.peers.effort import Effort
from benches.peers.process import Process

TURNS, TICKS, CLAIMS = 5, 20, 400
PURE = f"{OURS}, pure"
CONTENDERS = {OURS: BY_HAND, PURE: BY_HAND, HUEY: HUEY, APSCHEDULER: APSCHEDULER}
HOW = {
    OURS: "wait for the charger in 20 ways; judges them all by the last reading",
    PURE: "the same, in Python alone",
    HUEY: "knows no parked tasks: scheduled for later, it looks each second for those that are due",
    APSCHEDULER: "the same, when the first of them is due",
}


def compare(place: Path, effort: Effort) -> list[Comparison]:
    """persist-queue has nothing that could wait."""
    ticks: dict[int, dict[str, list[float]]] = {}
    claims: dict[str, list[float]] = {}
    for count in effort.parked:
        ticks[count] = {name: [] for name in CONTENDERS}
        with contextlib.ExitStack() as stack:
            processes = {}
            for name, contender in CONTENDERS.items():
                environment = {"DEFERPOWER_BACKEND": "pure" if name == PURE else "native"}
                process = Process(
                    contender, place / str(count) / name, NO_FSYNC, environment=environment
                )
                processes[name] = stack.enter_context(process)
                process("park", count)
                process("tick_times", TICKS)
            for _ in range(TURNS):
                for name, process in processes.items():
                    ticks[count][name] += process("tick_times", TICKS)["returned"]
            claims[f"{count:,}"] = processes[OURS]("claim_times", min(CLAIMS, count))["returned"]
    few, *_, most = effort.parked
    found = []
    for count, costs in ticks.items():
        targets = []
        if count == most:
            for name in (OURS, PURE):
                beside = {name: costs[name], f"with {few:,}": ticks[few][name]}
                targets.append(at_most(beside, name, f"with {few:,}", 2.0))
        what = f"a worker's tick, {count:,} parked"
        found.append(Comparison(what, costs, duration, targets, remarks=HOW))
    for count_text, times in claims.items():
        what = f"claim a task and run it, {count_text} wait for their turn"
        found.append(Comparison(what, {OURS: times}, duration))
    return found
