"""The worker: claims what may start, runs it, writes what became of it, and waits quietly.

A *turn* is one transaction: results of what has ended, tasks whose moment has come, and new claims.
Whoever has nothing left to run takes the next turn, so short tasks are claimed and written in
groups without a thread ever waiting for another. One quiet thread waits for the machine.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deferpower.store import chains, owner, turns, workers
from deferpower.store.records import ENDED, State, damaged
from deferpower.store.turns import Claimed, Ended, Lapse, Move, Woken
from deferpower.task import TaskClass
from deferpower.tasks.context import Context
from deferpower.tasks.payload import to_json
from deferpower.tasks.runs import Run, next_due_s
from deferpower.tasks.spec import COMMAND, MOST_CRASHES, Spec

if TYPE_CHECKING:
    import apsw

    from deferpower.device import Device
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.tasks.events import EventKind, Events
    from deferpower.tasks.function import Registry
    from deferpower.tasks.lanes import Lane, Outcome
    from deferpower.tasks.queue import Queue

_log = logging.getLogger("deferpower.tasks")

_MOST_WOKEN = 500
_MOST_SHARE = 256
_SHORT_S = 0.02
"""Tasks that are over sooner than this are claimed ahead; results wait this long for company."""


_FATES: dict[State, EventKind] = {
    State.ENQUEUED: "orphaned",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}


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
        self._in_threads = in_threads
        self._lock = threading.RLock()
        self._claimed: deque[Claimed] = deque()
        self._ready: deque[Run] = deque()
        self._running: dict[int, Run] = {}
        self._ended: deque[tuple[Run, Ended]] = deque()
        self._share = 1
        self._suspect: int | None = None
        self._retired = False
        self.has_left = False
        self._passed_over: set[int] = set()
        self._untouched: Woken | None = None
        self.next_wake_s: float | None = None
        self.waiting: list[int] = []
        self._starts: dict[int, Outcome] = {}
        self._goes_on: dict[int, Outcome] = {}

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
        return self._suspect

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
        """
        with self._lock:
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
        self._starts = self._queue.lanes.starts(self.waiting)
        # What stops since the worker shuts down must not be claimed anew.
        groups = [] if self._retired else self._groups(most)
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
            claimed = self._claim(cursor, groups, now_s, most, only)
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
            if self._suspect == run.id:
                self._suspect = None
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
            if is_over and spec.on_deadline == "expire":
                next_s = spec.every_s and next_due_s(row.due_s, spec.every_s, now_s)
                lapses.append(Lapse(row.id, row.wake_s, next_s))
            elif row.due_s > now_s:
                again_s = spec.touch_s(row.due_s, row.created_s, row.life_s)
                moves.append(Move(None, again_s, row.id, row.wake_s))
            else:
                lane, relaxes_s = self._queue.lane_of(spec, row.created_s, row.life_s, now_s)
                moves.append(Move(lane, relaxes_s, row.id, row.wake_s))
        return moves, lapses

    def _groups(self, most: int | None) -> list[tuple[list[int], int]]:
        """Lanes whose tasks may start, with how many of each group at once."""
        running = len(self._running) - self.resting
        for lane_id in self.waiting:
            if lane_id not in self._starts:
                self._pass_over(lane_id)
        slots = self._slots()
        free = max(0, slots - (running - len(self._ready)))
        # When every place is taken nothing is claimed ahead: it might be taken for hours.
        room = max(self._share, slots) - running if free else 0
        room = room if most is None else most
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
        if one_by_one or charging:
            free -= sum(self._has_free_place(run) for run in list(self._ready))
        free = free if most is None else min(free, most)
        return [
            (group, limit)
            for group, limit in (
                (together, room),
                (one_by_one, free),
                (charging, min(free, self.charging_room())),
            )
            if group and limit > 0
        ]

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
        """Say once that this program cannot run the tasks of a lane."""
        if lane_id in self._passed_over:
            return
        self._passed_over.add(lane_id)
        lane = self._queue.lanes[lane_id]
        if lane.set_id is None:
            asked = (*lane.task.constraints.custom, *lane.task.prefer.custom)
            what = f"ask for {', '.join(map(repr, asked))}, of which one is no condition"
        else:
            what = f"wait for a function named {lane.name!r}, which is not registered"
        _log.warning("tasks %s in this program; they run once it is there", what)

    def charging_room(self) -> int:
        """How many more charging-only tasks may start now."""
        reading = self._device.latest
        batch = 1 if reading is None else self._scheduler.charging_batch(reading)
        runs = sum(
            run.spec.task_class is TaskClass.CHARGING_ONLY and run.waits_for is None
            for run in self.runs
        )
        return max(0, batch - runs)

    def _claim(
        self,
        cursor: apsw.Cursor,
        groups: list[tuple[list[int], int]],
        now_s: float,
        most: int | None,
        only: int | None,
    ) -> list[Claimed]:
        if only is not None:
            lanes = [lane for group, _ in groups for lane in group]
            return turns.claim_one(cursor, self.id, now_s, only, lanes)
        claimed: list[Claimed] = []
        for lanes, room in groups:
            limit = room if most is None else min(room, most - len(claimed))
            if limit <= 0:
                break
            # One whose worker died runs apart from others of its kind, so that it shows which
            # of those that ran together was the cause.
            if self._suspect is None:
                suspects = turns.claim_suspect(cursor, self.id, now_s, lanes)
                if suspects:
                    self._suspect = suspects[0].id
                    claimed += suspects
                    limit -= 1
            claimed += turns.claim(cursor, self.id, now_s, lanes, limit)
        return claimed

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
        return Run(row, spec, self._lane(row, spec, now_s), function, context)

    def _lane(self, row: Claimed, spec: Spec, now_s: float) -> tuple[int, float | None]:
        """What a task that runs asks of the machine, and until when."""
        lane, until_s = self._queue.lane_of(spec, row.created_s, row.life_s, now_s)
        if until_s is not None and row.life_s is not None and spec.on_deadline == "expire":
            # It has begun in time: its deadline does not matter any more.
            deadline_s = row.created_s + row.life_s
            until_s = None if until_s >= deadline_s else until_s
        return lane, until_s

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
            try:
                self._queue.database.write(
                    lambda cursor: turns.release(cursor, self.id, ids, now_s)
                )
            except BaseException:
                self._ready.extendleft(reversed(given_back))
                raise
            for task_id in ids:
                del self._running[task_id]
            if self._suspect in ids:
                self._suspect = None
            self._share = 1

    def look_after_runs(self) -> None:
        """Tell running tasks to stop whose conditions do not hold any more, or whose time is over.

        One that was told to stop, and has not, goes on when they hold again.
        """
        runs = self.runs
        if not runs:
            return
        for task_id in self._queue.database.read(
            lambda cursor: turns.asked_to_stop(cursor, self.id)
        ):
            run = self._running.get(task_id)
            if run is not None and not run.cancelled:
                run.cancelled = True
                run.context.ask_to_stop("cancelled", final=True)
                self._events.emit("stopping", run.id, run.spec.name, "cancelled")
        now_s = self._device.wall_clock()
        for run in runs:
            if run.lane_until_s is not None and now_s >= run.lane_until_s:
                run.lane, run.lane_until_s = self._lane(run.claimed, run.spec, now_s)
        self._goes_on = self._queue.lanes.goes_on({run.lane for run in runs})
        for run in runs:
            outcome = self._goes_on.get(run.lane)
            holds = outcome is None or outcome.may_run
            stopped_before = run.context.should_stop
            run.look_after(holds, self._device.clock(), functools.partial(self._reason, run))
            if run.context.should_stop and not stopped_before:
                reason = run.context.stop_reason or ""
                self._events.emit("stopping", run.id, run.spec.name, reason)
            elif stopped_before and not run.context.should_stop:
                self._events.emit("resumed", run.id, run.spec.name)

    def watched(self) -> Watched:
        """What turns and looks after running tasks have last acted upon."""
        waiting = {known for outcome in self._starts.values() for known in outcome.kept_by}
        running: set[int] = set()
        stopped: set[int] = set()
        for run in self.runs:
            if not run.heeds_machine:
                continue
            outcome = self._goes_on.get(run.lane)
            if outcome is not None:
                (running if outcome.may_run else stopped).add(outcome.set_id)
            # One that began since is taken to hold, as it did when it was claimed.
            elif (set_id := self._queue.lanes.set_id(run.lane)) is not None:
                running.add(set_id)
        return Watched(sorted(waiting), sorted(running), sorted(stopped))

    def _reason(self, run: Run) -> str:
        row = run.claimed
        decision = self._scheduler.schedule_task(
            run.spec.task(row.created_s, row.life_s), self._device.latest, running=True
        )
        return "; ".join(reason.sentence for reason in decision.reasons)

    def adopt_orphans(self) -> None:
        """Take back the tasks of workers that have died."""
        found = self._queue.database.read(lambda cursor: workers.others(cursor, self.id))
        for worker, process in found.items():
            if owner.is_dead(process):
                self._adopt(worker, owner.is_of_this_boot(process))

    def _adopt(self, worker: int, same_boot: bool) -> None:
        now_s = self._device.wall_clock()
        for row in self._queue.database.read(
            lambda cursor: workers.orphans(cursor, worker, same_boot)
        ):
            self._queue.spec_of(row.spec)  # known before the transaction, which cannot look it up

        def work(cursor: apsw.Cursor) -> tuple[list[workers.Fate], list[int]]:
            fates = [self._fate(row) for row in workers.orphans(cursor, worker, same_boot)]
            cascade = chains.settle(cursor, workers.adopt(cursor, fates, now_s), now_s)
            workers.forget(cursor, worker)
            return fates, cascade

        fates, cascade = self._queue.database.write(work)
        for fate in fates:
            kind = _FATES[fate.state]
            self._events.emit(kind, fate.id, detail=fate.error or "its worker died; it runs again")
            if fate.state in ENDED:
                self._events.release(fate.id)
        self._report_cascade(cascade)

    def _fate(self, row: workers.Orphan) -> workers.Fate:
        # When the whole machine went down, no task is to blame.
        crashes = row.crashes + 1 if row.same_boot else row.crashes
        if row.asked:
            return workers.Fate(row.id, State.CANCELLED, crashes)
        error = None
        if self._queue.spec_of(row.spec).at_most_once:
            error = "its worker died while it ran, and it may run at most once"
        elif crashes >= MOST_CRASHES:
            error = f"quarantined: its worker died {crashes} times while it ran"
        state = State.ENQUEUED if error is None else State.FAILED
        return workers.Fate(row.id, state, crashes, error)

    def _report(self, runs: dict[int, Run], turn: _Turn) -> None:
        for row in turn.written:
            self._events.ended(runs[row.id], row)
        for task_id in turn.expired:
            self._events.emit("expired", task_id)
            self._events.release(task_id)
        self._report_cascade(turn.cascade)

    def _report_cascade(self, cascade: Sequence[int]) -> None:
        for task_id in cascade:
            self._events.emit("failed", task_id, detail="what it waited for did not succeed")
            self._events.release(task_id)

    def adapt(self, ran_s: float) -> None:
        """Claim further ahead while tasks are short, else no further than they can begin."""
        if ran_s < _SHORT_S:
            self._share = min(_MOST_SHARE, self._share * 2)
        else:
            self._share = 1
