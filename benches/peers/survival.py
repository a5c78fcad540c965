"""Workers killed in the middle of their work, again and again: what becomes of the tasks."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benches.comparison import OURS, Comparison, Target, count
from benches.peers.contenders import APSCHEDULER, HUEY, PERSIST_QUEUE, PERSIST_QUEUE_ACK
from benches.peers.effort import Effort
from benches.peers.process import Process

NAMES = (OURS, HUEY, PERSIST_QUEUE, PERSIST_QUEUE_ACK, APSCHEDULER)
TAKES_S, LIFE_S = 0.003, (0.03, 0.15)
TASKS_A_KILL = 60
"""More than a worker gets done before it is killed, so that there is always something to do."""
PATIENCE_S = 5.0
HOW = {
    OURS: "runs again what a dead worker had in hand, with what it had done but not written down:"
    " what short tasks have done is written in groups",
    HUEY: "what was in hand is gone",
    PERSIST_QUEUE: "what was in hand is gone",
    PERSIST_QUEUE_ACK: "runs again what was not acknowledged",
    APSCHEDULER: "due jobs are taken out as they are handed to a pool, with which they die",
}


class Outcome(NamedTuple):
    """What became of the tasks: gone without having ended, still there, begun more than once."""

    lost: int
    stuck: int
    again: int


def compare(place: Path, effort: Effort) -> list[Comparison]:
    outcomes = {name: campaign(name, place / name, effort.kills) for name in NAMES}
    of = f"of {TASKS_A_KILL * effort.kills:,} tasks, {effort.kills} workers killed"
    lost = {name: [outcome.lost] for name, outcome in outcomes.items()}
    stuck = {name: [outcome.stuck] for name, outcome in outcomes.items()}
    # Whoever loses what was in hand does not begin it again, and is no better for that.
    again = {name: [outcome.again] for name, outcome in outcomes.items() if not outcome.lost}
    return [
        Comparison(f"lost, {of}", lost, count, [Target(OURS, "none", lost[OURS] == [0])]),
        Comparison(f"stuck, {of}", stuck, count, [Target(OURS, "none", stuck[OURS] == [0])]),
        Comparison(f"begun more than once, {of}", again, count, remarks=HOW),
    ]


def campaign(name: str, directory: Path, kills: int) -> Outcome:
    """Workers of one thread, one after the other, over one queue."""
    dice = random.Random(1)
    tasks = TASKS_A_KILL * kills
    directory.mkdir(parents=True)
    marks = directory / "marks"
    marks.touch()
    with Process(name, directory) as submitter:
        submitter("submit_marks", str(marks), tasks, TAKES_S)
    for _ in range(kills):
        seen_bytes = marks.stat().st_size
        with Process(name, directory) as worker:
            worker.tell("listen")
            if not grows(marks, seen_bytes, PATIENCE_S):
                break  # nothing is left that it would run
            time.sleep(dice.uniform(*LIFE_S))
    with Process(name, directory) as worker:
        worker("listen")
        seen_bytes, left = -1, tasks
        while len(ended := numbers(marks, "ended")) < tasks and grows(
            marks, seen_bytes, PATIENCE_S if left else 1.0
        ):
            seen_bytes = marks.stat().st_size
            left = worker("left")["returned"]
            time.sleep(0.1)
    unended = tasks - len(ended)
    stuck = min(unended, left)
    again = sum(1 for times in numbers(marks, "began").values() if times > 1)
    return Outcome(unended - stuck, stuck, again)


def grows(path: Path, beyond_bytes: int, patience_s: float) -> bool:
    """Whether anything is added before it is plain that nothing will be."""
    until_s = time.monotonic() + patience_s
    while path.stat().st_size <= beyond_bytes:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.001)
    return True


def numbers(marks: Path, what: str) -> Counter[str]:
    """How often each task did that."""
    lines = (line.split() for line in marks.read_text().splitlines())
    return Counter(number for kind, number in lines if kind == what)
