"""The worker: claims what may start, runs it, writes what became of it, and waits quietly.

A *turn* is one transaction: results of what has ended, tasks whose moment has come, and new claims.
Whoever has nothing left to run takes the next turn, so short tasks are claimed and written in
groups without a thread ever waiting for another. One quiet thread waits for the machine.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store import chains, owner, turns, workers
from deferpower.store.records import ENDED, DamagedError, damaged
from deferpower.store.turns import Claimed, Ended, Lapse, Move, Woken
from deferpower.tasks import mending, orphans
from deferpower.tasks.claiming import Claiming
from deferpower.tasks.context import Context
from deferpower.tasks.minding import Minder, lane_of
from deferpower.tasks.payload import to_json
from deferpower.tasks.runs import Run, next_due_s
from deferpower.tasks.spec import COMMAND

if TYPE_CHECKING:
    import apsw

    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.events import Events
    from deferpower.tasks.function import Registry
    from deferpower.tasks.queue import Queue

_MOST_WOKEN = 500


class _Turn(NamedTuple):
    """What a turn wrote; ``touched`` counts the tasks whose moment had come and that it changed."""

    written: list[Ended]
    expired: list[int]
    cascade: list[int]
    claimed: list[Claimed]
    next_wake_s: float | None
    touched: int


class Watched(NamedTuple):
    """Requirements, by their ids, as they were found when they were last acted upon.

    Attributes:
        waiting: those that keep tasks waiting.
        running: those that let tasks run that do.
        stopped: those that tasks run with, and that do not let them.
    """

    waiting: list[int]
    running: list[int]
    stopped: list[int]


class Worker:
    """Runs the tasks of one queue in this process.

    Attributes:
        id: its number in the store.
        waiting: lanes in which tasks wait, as of the last turn.
        next_wake_s: when the next task is to be touched, seconds since the epoch.
        has_left: whether it has given up its place among the workers.
    """

    def __init__(
        self,
        queue: Queue,
        registry: Registry,
        device: Device,
        scheduler: IntelligentScheduler,
        events: Events,
        slots: Callable[[], int],
        *,
        in_threads: bool = True,
    ) -> None:
        """Take its place among the workers of the store.

        Args:
            queue: where tasks come from.
            registry: functions by name.
            device: the machine.
            scheduler: decides which lanes may start.
            events: where to tell what happens.
            slots: how many tasks may run at once now.
            in_threads: whether plain functions run in threads that come back for more; only for
                those tasks are claimed ahead.
        """
        self._queue = queue
        self._registry = registry
        self._device = device
        self._scheduler = scheduler
        self._events = events
        self._slots = slots
        self._lock = threading.RLock()
        self._claimed: deque[Claimed] = deque()
        self._ready: deque[Run] = deque()
        self._running: dict[int, Run] = {}
        self._ended: deque[tuple[Run, Ended]] = deque()
        self._claiming = Claiming(queue, registry, device, scheduler, slots, in_threads=in_threads)
        self._minder = Minder(queue, device, scheduler, events)
        self._retired = False
        self.has_left = False
        self._untouched: Woken | None = None
        self.next_wake_s: float | None = None
        self.waiting: list[int] = []

        def work(cursor: apsw.Cursor) -> int:
            turns.take_back_future(cursor, device.wall_clock())
            return workers.register(cursor, owner.this_process())

        self.id = queue.database.write(work)

    @property
    def runs(self) -> list[Run]:
        """What runs now, or is claimed to run next."""
        return list(self._running.values())

    @property
    def ready(self) -> int:
        """How many are claimed and have not begun."""
        return len(self._ready)

    @property
    def resting(self) -> int:
        """How many are frozen, or wait for others; they take no place from those."""
        return sum(run.is_resting for run in self.runs)

    @property
    def places(self) -> int:
        """How many tasks may run at once now."""
        return self._slots()

    @property
    def suspect(self) -> int | None:
        """The task that runs now of those whose worker died before."""
        return self._claiming.suspect

    def is_behind(self) -> bool:
        """Whether a turn has something to do at once, such as what the last one has freed."""
        return self.next_wake_s is not None and self.next_wake_s <= self._device.wall_clock()

    @property
    def has_news(self) -> bool:
        """Whether ends are known that are not written yet."""
        return bool(self._ended)

    def turn(self, most: int | None = None, only: int | None = None) -> int:
        """Write what has ended, and claim what may start; how many were claimed.

        Args:
            most: most tasks to claim; ``None`` for as many as seems good.
            only: claim no other task than this.

        Raises:
            StoreError: the file cannot be read or written, or is damaged beyond a row.
        """
        with self._lock:
            try:
                self._refuse_damage()
                return self._turn(most, only)
            except DamagedError as error:
                runs = [run for run, _ in self._ended if run.damage is not None]
                self.mend(error, [*(row.id for row in self._claimed), *(run.id for run in runs)])
                for run in runs:
                    run.damage = None
                return self._turn(most, only)

    def _refuse_damage(self) -> None:
        """Raise what a run has found to be wrong with its row."""
        for run, _ in [*self._ended]:
            if run.damage is not None:
                raise run.damage

    def mend(self, error: DamagedError, held: Iterable[int] = ()) -> None:
        """Set aside what makes no sense; raise ``error`` again if nothing was found.

        Args:
            error: why.
            held: tasks to look at though a worker holds them.
        """
        now_s = self._device.wall_clock()
        mended = mending.heal(self._queue, self._events, error, held, now_s)
        self._claimed = deque(row for row in self._claimed if row.id not in mended.set_aside)

    def _turn(self, most: int | None, only: int | None) -> int:
        reading = self._device.read()
        self._scheduler.observe(reading)
        self._queue.foresight.look(reading)
        now_s = self._device.wall_clock()
        if now_s < self._queue.latest_s - turns.CLOCK_STEP_S:
            self._queue.database.write(lambda cursor: turns.take_back_future(cursor, now_s))
        self._queue.latest_s = now_s
        woken, lanes, self.next_wake_s = self._queue.database.read(
            lambda cursor: (
                turns.woken(cursor, now_s, _MOST_WOKEN),
                turns.lanes_in_use(cursor),
                turns.next_wake_s(cursor),
            )
        )
        self._refuse_standstill(woken)
        self._untouched = None
        self._take_up(now_s)
        ended = self._take_ended()
        try:
            turn = self._carry_out(ended, woken, lanes, now_s, most, only)
        except BaseException:
            self._ended.extendleft(reversed(ended))
            self._running.update((run.id, run) for run, _ in ended)
            raise
        if turn is None:
            return 0
        self.next_wake_s = turn.next_wake_s
        self._untouched = woken[0] if woken and not turn.touched else None
        self._claimed.extend(turn.claimed)
        self._report({run.id: run for run, _ in ended}, turn)
        self._take_up(now_s)
        return len(turn.claimed)

    def _carry_out(
        self,
        ended: Sequence[tuple[Run, Ended]],
        woken: Sequence[Woken],
        lanes: Iterable[int],
        now_s: float,
        most: int | None,
        only: int | None,
    ) -> _Turn | None:
        """Write a turn; ``None`` if there was nothing to do."""
        moves, lapses = self._moves(woken, now_s)
        self.waiting = sorted({*lanes, *(move.lane for move in moves if move.lane is not None)})
        self._claiming.look(self.waiting)
        # What stops since the worker shuts down must not be claimed anew.
        groups = (
            []
            if self._retired
            else self._claiming.groups(self.waiting, self.runs, list(self._ready), most)
        )
        if not (ended or woken or groups):
            return None

        def work(cursor: apsw.Cursor) -> _Turn:
            written = turns.finish(cursor, self.id, [row for _, row in ended])
            changes = cursor.connection.total_changes()
            expired = turns.lapse(cursor, lapses, now_s)
            turns.move(cursor, moves)
            touched = cursor.connection.total_changes() - changes
            done = [row.id for row in written if row.state in ENDED]
            cascade = chains.settle(cursor, done + expired, now_s) if done or expired else []
            if only is None:
                claimed = self._claiming.claim(cursor, self.id, groups, now_s, most)
            else:
                lanes = [lane for group in groups for lane in group.lanes]
                claimed = turns.claim_one(cursor, self.id, now_s, only, lanes)
            next_wake_s = turns.next_wake_s(cursor)
            return _Turn(written, expired, cascade, claimed, next_wake_s, touched)

        return self._queue.database.write(work)

    def _take_ended(self) -> list[tuple[Run, Ended]]:
        """What has ended and is to be written; its places are free."""
        ended = []
        while self._ended:  # threads go on adding to it
            ended.append(self._ended.popleft())
        for run, _ in ended:
            self._running.pop(run.id, None)
            self._claiming.let_go(run.id)
        return ended

    def _refuse_standstill(self, woken: Sequence[Woken]) -> None:
        """Raise `StoreError` if the last turn was to touch the same tasks and could not.

        Then what the index says is not what stands in the rows, and every turn would be the same.
        """
        if woken and woken[0] == self._untouched:
            raise damaged(f"task {woken[0].id}", "its moment has come, and it cannot be moved")

    def _moves(self, woken: Sequence[Woken], now_s: float) -> tuple[list[Move], list[Lapse]]:
        """Where tasks go whose moment has come, and which have missed their deadline."""
        moves, lapses = [], []
        for row in woken:
            spec = self._queue.spec_of(row.spec)
            is_over = row.life_s is not None and now_s >= row.created_s + row.life_s
            if is_over and spec.expires:
                next_s = spec.every_s and next_due_s(row.due_s, spec.every_s, now_s)
                lapses.append(Lapse(row.id, row.wake_s, next_s))
            elif row.due_s > now_s:
                again_s = spec.touch_s(row.due_s, row.created_s, row.life_s)
                moves.append(Move(None, again_s, row.id, row.wake_s))
            else:
                lane, relaxes_s = self._queue.lane_of(spec, row.created_s, row.life_s, now_s)
                moves.append(Move(lane, relaxes_s, row.id, row.wake_s))
        return moves, lapses

    def _take_up(self, now_s: float) -> None:
        """Get ready to run what was claimed; what fails to be read is left to the next turn."""
        while self._claimed:
            run = self._run(self._claimed[0], now_s)
            self._claimed.popleft()
            self._running[run.id] = run
            self._ready.append(run)

    def _run(self, row: Claimed, now_s: float) -> Run:
        queue = self._queue
        spec = queue.spec_of(row.spec)
        function = None if spec.name == COMMAND else self._registry[spec.name]
        context = Context(row, spec.name, queue.idempotency_key(row.id), self._save, self._results)
        return Run(row, spec, lane_of(self._queue, row, spec, now_s), function, context)

    def _save(self, task_id: int, data: Any) -> str:
        text = to_json("the checkpoint", data)
        self._queue.database.write(lambda cursor: turns.checkpoint(cursor, self.id, task_id, text))
        return text

    def _results(self, task_id: int) -> list[str | None]:
        return self._queue.database.read(lambda cursor: chains.results_before(cursor, task_id))

    def next_run(self) -> Run | None:
        """The next claimed task that has not begun."""
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def note_end(self, run: Run, ended: Ended) -> None:
        """Have what became of a run written with the next turn."""
        run.context.detach()
        self._ended.append((run, ended))

    def leave(self) -> None:
        """Give up the place among the workers, unless something still runs."""
        if not self._running and not self._claimed:
            self._queue.database.write(lambda cursor: workers.forget(cursor, self.id))
            self.has_left = True

    def retire(self) -> None:
        """Claim nothing more, and give back what has not begun."""
        with self._lock:
            self._retired = True
            self.release_ready()

    def release_ready(self) -> None:
        """Give back what was claimed and has not begun."""
        with self._lock:
            given_back: list[Run] = []
            while (run := self.next_run()) is not None:
                given_back.append(run)
            if not given_back:
                return
            ids = [run.id for run in given_back]
            now_s = self._device.wall_clock()

            def work(cursor: apsw.Cursor) -> tuple[list[int], list[int]]:
                cancelled = turns.release(cursor, self.id, ids, now_s)
                return cancelled, chains.settle(cursor, cancelled, now_s)

            try:
                cancelled, cascade = self._queue.database.write(work)
            except BaseException:
                self._ready.extendleft(reversed(given_back))
                raise
            for task_id in ids:
                del self._running[task_id]
                self._claiming.let_go(task_id)
            self._claiming.claim_no_further()
        for task_id in cancelled:
            self._events.emit("cancelled", task_id)
            self._events.release(task_id)
        self._events.failed_with_others(cascade)

    def look_after_runs(self) -> None:
        """Tell running tasks what machine, clock and user mean for them."""
        if runs := self.runs:
            self._minder.look_after(runs, self.id)

    def watched(self) -> Watched:
        """What turns and looks after running tasks have last acted upon."""
        running, stopped = self._minder.found(self.runs)
        return Watched(sorted(self._claiming.kept_by()), sorted(running), sorted(stopped))

    def charging_room(self) -> int:
        """How many more charging-only tasks may start now."""
        return self._claiming.charging_room(self.runs)

    def adapt(self, ran_s: float) -> None:
        """Have as many claimed ahead as suits tasks that take so long."""
        self._claiming.adapt(ran_s)

    def adopt_orphans(self) -> None:
        """Take back the tasks of workers that have died."""
        orphans.adopt(self._queue, self._events, self.id, self._device.wall_clock())

    def _report(self, runs: dict[int, Run], turn: _Turn) -> None:
        for row in turn.written:
            self._events.ended(runs[row.id], row)
        for task_id in turn.expired:
            self._events.emit("expired", task_id)
            self._events.release(task_id)
        self._events.failed_with_others(turn.cascade)
