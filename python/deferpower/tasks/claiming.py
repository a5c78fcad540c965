"""Which tasks a worker may claim now, and how many of them at once."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.store import turns
from deferpower.task import TaskClass
from deferpower.tasks.spec import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.store.turns import Claimed
    from deferpower.tasks.function import Registry
    from deferpower.tasks.lanes import Lane, Outcome
    from deferpower.tasks.queue import Queue
    from deferpower.tasks.runs import Run

_log = logging.getLogger("deferpower.tasks")

_MOST_SHARE = 256
_SHORT_S = 0.02
"""Tasks that are over sooner than this are claimed ahead."""


class Group(NamedTuple):
    """Lanes whose tasks may start, and how many of all of them."""

    lanes: list[int]
    most: int


class Claiming:
    """What one worker may claim.

    Attributes:
        suspect: the task that runs now of those whose worker died before.
    """

    def __init__(
        self,
        queue: Queue,
        registry: Registry,
        device: Device,
        scheduler: IntelligentScheduler,
        slots: Callable[[], int],
        *,
        in_threads: bool,
    ) -> None:
        """Nothing is known of the lanes yet. Arguments as for `worker.Worker`."""
        self._queue = queue
        self._registry = registry
        self._device = device
        self._scheduler = scheduler
        self._slots = slots
        self._in_threads = in_threads
        self._share = 1
        self._passed_over: set[str | tuple[str, ...]] = set()
        self._starts: dict[int, Outcome] = {}
        self.suspect: int | None = None

    def look(self, lanes: Sequence[int]) -> None:
        """See which of the lanes in which tasks wait may start now."""
        self._starts = self._queue.lanes.starts(lanes)

    def kept_by(self) -> set[int]:
        """Requirements that were seen to keep tasks waiting."""
        return {set_id for outcome in self._starts.values() for set_id in outcome.kept_by}

    def groups(
        self,
        lanes: Sequence[int],
        runs: Collection[Run],
        ready: Collection[Run],
        most: int | None,
    ) -> list[Group]:
        """What may be claimed, as of the last look.

        Args:
            lanes: those that it looked at.
            runs: what runs, or is claimed to run next,
            ready: of which these have not begun.
            most: most tasks to claim; ``None`` for as many as seems good.
        """
        for lane_id in lanes:
            if lane_id not in self._starts:
                self._pass_over(lane_id)
        running = sum(not run.is_resting for run in runs)
        slots = self._slots()
        free = max(0, slots - (running - len(ready)))
        # When every place is taken nothing is claimed ahead: it might be taken for hours.
        room = max(self._share, slots) - running if free else 0
        room = room if most is None else most
        together, one_by_one, charging = self._sorted()
        if one_by_one or charging:
            free -= sum(self._has_free_place(run) for run in ready)
        free = free if most is None else min(free, most)
        groups = (
            Group(together, room),
            Group(one_by_one, free),
            Group(charging, min(free, self.charging_room(runs))),
        )
        return [group for group in groups if group.lanes and group.most > 0]

    def _sorted(self) -> tuple[list[int], list[int], list[int]]:
        """Lanes that may start: claimed ahead, for free places only, and charging-only ones."""
        together: list[int] = []
        one_by_one: list[int] = []
        charging: list[int] = []
        for lane_id, outcome in self._starts.items():
            lane = self._queue.lanes[lane_id]
            if not outcome.may_run or not self._knows(lane_id, lane):
                continue
            if lane.task.task_class is TaskClass.CHARGING_ONLY and lane.task.override is None:
                charging.append(lane_id)
            elif lane.at_most_once or self._is_never_ahead(lane.name):
                one_by_one.append(lane_id)
            else:
                together.append(lane_id)
        return together, one_by_one, charging

    def _is_never_ahead(self, name: str) -> bool:
        """Whether tasks of this name are claimed for free places only: they may take long."""
        function = self._registry.get(name)
        return function is None or function.is_async or not self._in_threads

    def _has_free_place(self, run: Run) -> bool:
        """Whether it was claimed for a free place, and not ahead."""
        spec = run.spec
        by_class = spec.task_class is TaskClass.CHARGING_ONLY
        return by_class or spec.at_most_once or self._is_never_ahead(spec.name)

    def _knows(self, lane_id: int, lane: Lane) -> bool:
        """Whether this program has the function of a lane."""
        if lane.name == COMMAND or self._registry.get(lane.name) is not None:
            return True
        self._pass_over(lane_id)
        return False

    def _pass_over(self, lane_id: int) -> None:
        """Say that this program cannot run the tasks of a lane, once for all lanes of one cause."""
        lane = self._queue.lanes[lane_id]
        conditions = (*lane.task.constraints.custom, *lane.task.prefer.custom)
        cause = lane.name if lane.set_id is not None else conditions
        if cause in self._passed_over:
            return
        self._passed_over.add(cause)
        if lane.set_id is None:
            what = f"ask for {', '.join(map(repr, conditions))}, of which one is no condition"
        else:
            what = f"wait for a function named {lane.name!r}, which is not registered"
        _log.warning("tasks %s in this program; they run once it is there", what)

    def charging_room(self, runs: Collection[Run]) -> int:
        """How many more charging-only tasks may start now."""
        reading = self._device.latest
        batch = 1 if reading is None else self._scheduler.charging_batch(reading)
        running = sum(
            run.spec.task_class is TaskClass.CHARGING_ONLY and run.waits_for is None for run in runs
        )
        return max(0, batch - running)

    def claim(
        self,
        cursor: apsw.Cursor,
        worker_id: int,
        groups: Sequence[Group],
        now_s: float,
        most: int | None,
    ) -> list[Claimed]:
        """Claim tasks of these groups, at most so many of all."""
        claimed: list[Claimed] = []
        for lanes, room in groups:
            limit = room if most is None else min(room, most - len(claimed))
            if limit <= 0:
                break
            # One whose worker died runs apart from others of its kind, so that it shows which
            # of those that ran together was the cause.
            if self.suspect is None:
                suspects = turns.claim_suspect(cursor, worker_id, now_s, lanes)
                if suspects:
                    self.suspect = suspects[0].id
                    claimed += suspects
                    limit -= 1
            claimed += turns.claim(cursor, worker_id, now_s, lanes, limit)
        return claimed

    def let_go(self, task_id: int) -> None:
        """Note that a task has ended here, or was given back."""
        if self.suspect == task_id:
            self.suspect = None

    def adapt(self, ran_s: float) -> None:
        """Claim further ahead while tasks are short, else no further than they can begin."""
        if ran_s < _SHORT_S:
            self._share = min(_MOST_SHARE, self._share * 2)
        else:
            self.claim_no_further()

    def claim_no_further(self) -> None:
        """Claim no more than can begin."""
        self._share = 1
