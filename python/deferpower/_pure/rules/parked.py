"""Tasks that wait: which of them may start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from deferpower._contract import RelaxationRow, WaitingRow
from deferpower._pure.rules.relaxation import step

WAITS, STARTS, STARTS_ALONE, EXPIRES = range(4)
"""What becomes of a parked task; the third only within the limit on charging-only work."""


def choose(
    tasks: Iterable[WaitingRow],
    fate: Callable[[int, int], int],
    preferred: Sequence[int],
    relaxation: RelaxationRow,
    now_s: float,
    limit: int,
    charging_only: int,
) -> tuple[list[int], list[int]]:
    """Those that may start and those that have expired, by priority, then age, then id.

    Looks at every task; the native backend finds the same without.

    Args:
        tasks: all that wait.
        fate: what becomes of a task with this requirement at this step of relaxation.
        preferred: of each requirement, the steps of relaxation that drop something.
        relaxation: when soft constraints are dropped.
        now_s: time of the reading.
        limit: most tasks that may start.
        charging_only: most of them that may be charging-only work.
    """
    fates: dict[tuple[int, int], int] = {}
    open_tasks = []
    expired = []
    for task_id, set_id, priority, created_s, life_s in tasks:
        key = (set_id, step(relaxation, preferred[set_id], created_s, life_s, now_s))
        if key not in fates:
            fates[key] = fate(*key)
        if fates[key] == EXPIRES:
            expired.append((-priority, created_s, task_id))
        elif fates[key] != WAITS:
            open_tasks.append((-priority, created_s, task_id, fates[key] == STARTS_ALONE))
    start: list[int] = []
    for _, _, task_id, is_limited in sorted(open_tasks):
        if len(start) == limit:
            break
        if is_limited:
            if charging_only == 0:
                continue
            charging_only -= 1
        start.append(task_id)
    return start, [task_id for _, _, task_id in sorted(expired)]
