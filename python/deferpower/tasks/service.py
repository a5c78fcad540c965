"""The quiet thread of a manager: takes turns when there is something to do, and sleeps else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deferpower._contract import FILE, WOKEN
from deferpower.quiet import QuietThread, Trouble
from deferpower.store import workers

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.queue import Queue
    from deferpower.tasks.runner import Runner
    from deferpower.tasks.worker import Worker
    from deferpower.types import Reading

_log = logging.getLogger("deferpower.tasks")

_ASK_AGAIN_S = 10.0
"""How often to ask what only Python can ask: the desktop, and the program's own conditions."""
_LOOK_FOR_DESKTOP_S = 300.0
"""How often to look whether there is a desktop to ask by now. Most that have none never will, and
each look is a turn; until then load tells of a user."""
_DEAD_CHECK_S = 15.0
_PRUNE_S = 600.0
_CALM_S = 0.02
"""Commits wake the thread no more often than this while it has work; and threads that were not
back for so long are held up by a long task."""


class Service(QuietThread):
    """Runs a worker on a thread of its own."""

    def __init__(
        self,
        worker: Worker,
        runner: Runner,
        queue: Queue,
        device: Device,
        scheduler: IntelligentScheduler,
        prune: Callable[[], object],
    ) -> None:
        """Open the watch; the thread starts with `start`."""
        trouble = Trouble(_log, "worker", "nothing is run")
        watch = scheduler.open_watch()
        super().__init__("deferpower-worker", watch, queue.database.wal_path, trouble)
        self._worker = worker
        self._runner = runner
        self._queue = queue
        self._device = device
        self._scheduler = scheduler
        self._prune = prune
        self._nudged = threading.Event()
        self._looked_s = float("-inf")
        self._pruned_s = float("-inf")
        self._checked_s = float("-inf")
        if queue.database.wal_path is None:
            runner.took_turn = self._watch.wake  # a file tells of turns by itself
        runner.rested = self.wake

    def wake(self) -> None:
        """Have the thread look at the queue again."""
        self._nudged.set()
        super().wake()

    def _go_round(self) -> None:
        self._nudged.clear()
        self._keep_house()
        self._worker.look_after_runs()
        if not self._threads_take_turns():
            self._looked_s = time.monotonic()
            self._worker.turn()
            self._runner.start_ready()
            self._wait()

    def _keep_house(self) -> None:
        now_s = self._device.clock()
        if now_s - self._checked_s >= _DEAD_CHECK_S:
            self._worker.adopt_orphans()
            self._checked_s = now_s
        if now_s - self._pruned_s >= _PRUNE_S:
            self._prune()
            self._pruned_s = now_s

    def _threads_take_turns(self) -> bool:
        """Whether threads that run short tasks are at it, so that there is nothing to do here."""
        if not self._runner.is_watched:
            return False
        self._stopping.wait(_CALM_S)
        return not self._stopping.is_set() and not self._runner.is_held_up(_CALM_S)

    def _wait(self) -> None:
        runs = self._worker.runs
        # A frozen command uses nothing: whatever the machine does then is someone else's work.
        at_work = [run for run in runs if not run.paused]
        self._device.set_own_work([run.pid for run in at_work if run.pid] if at_work else None)
        reading = self._device.read()
        until_s = self._until_s(reading)
        self._trouble.over()  # nothing is left that fails but the wait itself
        wake = self._watch.wait(*self._worker.watched(), self._scheduler.told(reading), until_s)
        self._device.take(wake)
        calm_s = self._looked_s + _CALM_S - time.monotonic()
        if wake[0] in (WOKEN, FILE) and runs and calm_s > 0:
            self._nudged.wait(calm_s)
        # After each wake: one for another reason may have taken note of the file, too.
        self._queue.database.wait_for_commit()

    def _until_s(self, reading: Reading) -> float | None:
        """When to look again whatever happens, on the wall clock."""
        now_s = self._device.wall_clock()
        moments = [] if self._worker.next_wake_s is None else [self._worker.next_wake_s]
        lanes = self._queue.lanes
        asked = [lanes[lane].task for lane in self._worker.waiting]
        asked += [lanes[run.lane].task for run in self._worker.runs]
        replanned_s = lanes.replanned_s(self._worker.waiting, now_s)
        if replanned_s is not None:
            moments.append(replanned_s)
        if any(task.asks_of_program for task in asked):
            moments.append(now_s + _ASK_AGAIN_S)
        if any(task.asks_of_desktop for task in asked):
            again_s = _ASK_AGAIN_S if _has_desktop(reading) else _LOOK_FOR_DESKTOP_S
            moments.append(now_s + again_s)
        monotonic_s = self._device.clock()
        for run in self._worker.runs:
            limit_s = run.times_out_s
            if limit_s is not None:
                moments.append(now_s + max(0.0, limit_s - monotonic_s))
            if run.lane_until_s is not None:
                moments.append(run.lane_until_s)
        minute = self._scheduler.local_minute(now_s)
        for task in asked:
            for window in task.windows:
                left = window.minutes_until_change(minute)
                moments.append(min((now_s // 60 + left) * 60, now_s + 3600.0))
        if self._others_run():
            moments.append(now_s + _DEAD_CHECK_S)
        return min(moments, default=None)

    def _others_run(self) -> bool:
        return bool(
            self._queue.database.read(lambda cursor: workers.others(cursor, self._worker.id))
        )


def _has_desktop(reading: Reading) -> bool:
    """Whether something told of the user or the network."""
    network = reading.network
    return reading.user is not None or (network is not None and network.connected is not None)
