"""Running what a manager may run now, in the thread of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deferpower.tasks.manager import BackgroundTaskManager
    from deferpower.tasks.record import TaskRecord

_MOST = 100_000


def run_until_idle(manager: BackgroundTaskManager) -> list[TaskRecord]:
    """Run everything that may run at this moment, also what becomes free thereby.

    Nothing is waited for and no time passes: what is due later, or waits for the machine, waits on.

    Args:
        manager: one that was not started.

    Returns:
        The runs, in order, as their tasks stood afterwards; a task that ran twice is there twice.

    Raises:
        RuntimeError: there is no end to it, as with a task that enqueues itself.
    """
    ran = manager.process_background_tasks(_MOST)
    if len(ran) == _MOST:
        raise RuntimeError(f"{_MOST} tasks ran and there are still more; does one enqueue itself?")
    return ran
