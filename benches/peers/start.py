"""From submitting to the start of the task, after a second in which nothing happened."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from benches.comparison import OURS, Comparison, below, duration
from benches.peers.contenders import APSCHEDULER, HUEY, PERSIST_QUEUE
from benches.peers.effort import Effort
from benches.peers.process import Process

TARGET_S = 5e-3
FROM = {
    "the same process": [OURS, HUEY, PERSIST_QUEUE, APSCHEDULER],
    "another process": [OURS, HUEY],  # the others do not notice what another process has added
}


def compare(place: Path, effort: Effort) -> list[Comparison]:
    delays: dict[str, dict[str, list[float]]] = {where: {} for where in FROM}
    with contextlib.ExitStack() as stack:
        pairs = []
        for where, names in FROM.items():
            for name in names:
                worker = stack.enter_context(Process(name, place / where / name))
                poster = worker
                if where == "another process":
                    poster = stack.enter_context(Process(name, place / where / name))
                worker("listen")
                pairs.append((delays[where].setdefault(name, []), worker, poster))
        for round_number in range(effort.starts + 1):
            time.sleep(1.0)
            for found, worker, poster in pairs:
                delay_s = one_delay(worker, poster)
                if round_number > 0:  # the first one makes what stays
                    found.append(delay_s)
    return [
        Comparison(
            f"submit to start, from {where}",
            found,
            duration,
            [below(found, OURS, TARGET_S, duration)],
            remarks={HUEY: "looks every 0.1 to 10 s, seldomer while nothing comes"},
        )
        for where, found in delays.items()
    ]


def one_delay(worker: Process, poster: Process) -> float:
    poster.tell("post")
    answers = [worker.answer(), poster.answer()]
    seen = {key: value for answer in answers for key, value in answer.items()}
    return float(seen["started_s"] - seen["at_s"])
