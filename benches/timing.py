"""Times calls and processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping


def in_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int, pause_s: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each call of each contender.

    The contenders take turns, so that whatever else this machine does hits all of them alike.
    Each call is timed by itself: a longer stretch is interrupted more often on a busy machine,
    which would flatter the quick. Without a pause, the first call of a turn is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            if pause_s:
                time.sleep(pause_s)
            else:
                call()
            for _ in range(calls):
                start_s = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start_s)
    return times


def processor_time(command: list[str]) -> float:
    """Seconds of processor time of a whole process; unlike the clock, others' work is left out."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with wait status {status}")
    return used.ru_utime + used.ru_stime
