"""The quiet thread of a sync manager: sends when something may go, and sleeps else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from deferpower.constraints import Constraints
from deferpower.quiet import QuietThread, Trouble
from deferpower.store import sync_items as rows
from deferpower.store import sync_queues as queues
from deferpower.store.sync_items import ItemState
from deferpower.sync.conditions import NOTHING, Gate
from deferpower.task import Task, TaskClass, Verdict

if TYPE_CHECKING:
    import apsw

    from deferpower.scheduler import IntelligentScheduler
    from deferpower.sync.queue import SyncQueue
    from deferpower.thresholds import SyncLines
    from deferpower.types import Reading

_log = logging.getLogger("deferpower.sync")

_EXECUTE_NOW = list(Verdict).index(Verdict.EXECUTE_NOW)
_ASK_NETWORK_S = 10.0
"""How often to ask about the network, which only Python can ask."""
_DEAD_CHECK_S = 15.0
_GATHER_S = 0.05
"""What is queued within this time of each other goes together."""


class Service(QuietThread):
    """Runs rounds on a thread of its own."""

    def __init__(
        self,
        send: Callable[[Callable[[], bool]], object],
        queue: SyncQueue,
        scheduler: IntelligentScheduler,
        gate: Callable[[Reading], Gate],
        lines: SyncLines,
    ) -> None:
        """Open the watch; the thread starts with `start`.

        Args:
            send: sends what may go, until what it is given says that it should stop.
            queue: whose items.
            scheduler: what the watch judges the machine by.
            gate: what may go by a reading.
            lines: where levels are drawn.
        """
        trouble = Trouble(_log, "sync", "nothing is sent")
        watch = scheduler.open_watch()
        super().__init__("deferpower-sync", watch, queue.database.wal_path, trouble)
        self._send = send
        self._queue = queue
        self._scheduler = scheduler
        self._device = scheduler.device
        self._gate = gate
        # Only what wakes: the gate decides. It opens with the charger or, where nobody can tell
        # whether there is one, with the level.
        wanted = [Constraints(charging=True)]
        wanted += [Constraints(battery_above=max(line - 1, 0)) for line in lines]
        self._power_sets = [
            scheduler.compile(
                Task(task_class=TaskClass.NORMAL, constraints=constraints, created_s=0.0)
            )
            for constraints in wanted
        ]

    def _go_round(self) -> None:
        self._send(self._stopping.is_set)
        self._wait()

    def _wait(self) -> None:
        if self._stopping.is_set():
            return
        reading = self._device.read()
        self._scheduler.observe(reading)
        gate = self._gate(reading)
        watched, until_s = self._queue.database.read(lambda cursor: self._outlook(cursor, gate))
        verdicts = self._scheduler.evaluate(running=False)
        waiting = [set_id for set_id in watched if verdicts[set_id][0] != _EXECUTE_NOW]
        told = self._scheduler.told(reading)
        self._trouble.over()
        self._device.take(self._watch.wait(waiting, [], [], told, until_s))
        self._stopping.wait(_GATHER_S)
        # The log is written before what is in it can be seen: on a slow disk much later.
        self._queue.database.wait_for_commit()

    def _outlook(self, cursor: apsw.Cursor, gate: Gate) -> tuple[list[int], float | None]:
        """What of the machine to wait for, and when to look again whatever happens."""
        now_s = self._device.wall_clock()
        moments = []
        if rows.count(cursor, self._queue.id, ItemState.SENDING):
            # By another process, which may die without a word: nobody else takes up what it held.
            moments.append(now_s + _DEAD_CHECK_S)
        lowest_waiting = rows.lowest_waiting(cursor, self._queue.id)
        if lowest_waiting is None:
            return [], min(moments, default=None)
        paused_until_s = queues.get(cursor, self._queue.id).paused_until_s
        if paused_until_s > now_s:
            return [], paused_until_s
        if gate.lowest > NOTHING:
            due_s = rows.next_due_s(cursor, self._queue.id, gate.lowest)
            moments += [] if due_s is None else [due_s]
        kept_back = lowest_waiting > gate.lowest
        if kept_back and gate.network_keeps:
            moments.append(now_s + _ASK_NETWORK_S)
        watched = self._power_sets if kept_back and gate.power_keeps else []
        return watched, min(moments, default=None)
