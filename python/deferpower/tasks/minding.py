"""Looking after tasks that run: each is told what machine, clock and user mean for it."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING

from deferpower.store import turns

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.store.turns import Claimed
    from deferpower.tasks.events import Events
    from deferpower.tasks.lanes import Outcome
    from deferpower.tasks.queue import Queue
    from deferpower.tasks.runs import Run
    from deferpower.tasks.spec import Spec


class Minder:
    """Looks after the running tasks of one worker."""

    def __init__(
        self, queue: Queue, device: Device, scheduler: IntelligentScheduler, events: Events
    ) -> None:
        self._queue = queue
        self._device = device
        self._scheduler = scheduler
        self._events = events
        self._found: dict[int, Outcome] = {}

    def look_after(self, runs: Collection[Run], worker_id: int) -> None:
        """Tell tasks to stop whose conditions do not hold any more, or whose time is over.

        One that was told to stop, and has not, goes on when they hold again.
        """
        asked = self._queue.database.read(lambda cursor: turns.asked_to_stop(cursor, worker_id))
        for run in runs:
            if run.id in asked and not run.cancelled:
                run.cancelled = True
                run.context.ask_to_stop("cancelled", final=True)
                self._events.emit("stopping", run.id, run.spec.name, "cancelled")
        now_s = self._device.wall_clock()
        for run in runs:
            if run.lane_until_s is not None and now_s >= run.lane_until_s:
                run.lane, run.lane_until_s = lane_of(self._queue, run.claimed, run.spec, now_s)
        self._found = self._queue.lanes.goes_on({run.lane for run in runs})
        for run in runs:
            self._tell(run)

    def _tell(self, run: Run) -> None:
        outcome = self._found.get(run.lane)
        holds = outcome is None or outcome.may_run
        stopped_before = run.context.should_stop
        run.look_after(holds, self._device.clock(), functools.partial(self._reason, run))
        if run.context.should_stop and not stopped_before:
            reason = run.context.stop_reason or ""
            self._events.emit("stopping", run.id, run.spec.name, reason)
        elif stopped_before and not run.context.should_stop:
            self._events.emit("resumed", run.id, run.spec.name)

    def _reason(self, run: Run) -> str:
        row = run.claimed
        decision = self._scheduler.schedule_task(
            run.spec.task(row.created_s, row.life_s), self._device.latest, running=True
        )
        return "; ".join(reason.sentence for reason in decision.reasons)

    def found(self, runs: Collection[Run]) -> tuple[set[int], set[int]]:
        """Requirements that tasks run with, by what they were told last: to run, and to stop."""
        running: set[int] = set()
        stopped: set[int] = set()
        for run in runs:
            if not run.heeds_machine:
                continue
            outcome = self._found.get(run.lane)
            if outcome is not None:
                (running if outcome.may_run else stopped).add(outcome.set_id)
            # One that began since is taken to hold, as it did when it was claimed.
            elif (set_id := self._queue.lanes.set_id(run.lane)) is not None:
                running.add(set_id)
        return running, stopped


def lane_of(queue: Queue, row: Claimed, spec: Spec, now_s: float) -> tuple[int, float | None]:
    """What a task that runs asks of the machine, and until when."""
    lane, until_s = queue.lane_of(spec, row.created_s, row.life_s, now_s)
    if until_s is not None and row.life_s is not None and spec.expires:
        # It has begun in time: its deadline does not matter any more.
        deadline_s = row.created_s + row.life_s
        until_s = None if until_s >= deadline_s else until_s
    return lane, until_s
