"""The whole life of tasks: several managers on one file, policies that change, every option.

Where `test_life` foretells each state of simple tasks, this watches that every step changes only
what it may, that each figure follows from the step, and that what `why` says is what a turn does.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deferpower import BackgroundTaskManager, Constraints, Policy, TaskError
from deferpower.store.records import ENDED, State
from deferpower.tasks.context import Context, Stopped
from deferpower.tasks.crew import Crew
from deferpower.testing import FakeDevice, run_until_idle

BACKENDS = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")

# Closing a file brings it to the disk, which is not what is tested here.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112
MANAGERS = 3
PLACES = 50
MAX_CRASHES = 3
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MOST_STEPS = 40
WAITING = (State.ENQUEUED, State.BLOCKED)
FREE = {"turn", "no_worker", "other_worker"}
"""What keeps a task that nothing keeps; nobody is started here."""

POLICIES = (
    "",
    "[scheduling]\nbattery_threshold = 80\nnormal_above = 90\nrelax_idle = 0.1\nplug_dwell_s = 0",
    "[scheduling]\nsuspend_non_critical = 30\nbattery_threshold = 60\nrelax_idle = 0.05\n"
    "relax_battery = 0.1\nrelax_network = 0.15\nrelax_charging = 0.2\n"
    "charging_only_threshold = 10\nmax_background_batch = 2\ndefault_life_s = 1000",
)
FUNCTIONS: tuple[dict[str, Any], ...] = (
    {"max_attempts": 2, "backoff_s": 10.0},
    {"max_attempts": 3, "backoff_s": 1000.0, "task_class": "background"},
    {"max_attempts": 1, "prefer": Constraints(idle=True), "deadline_s": 2 * HOUR_S},
)
PERIODS_S = (600.0, 900.0, 600.0)

NOTHING = Constraints()
ASKS = (
    NOTHING,
    NOTHING,
    Constraints(charging=True),
    Constraints(idle=True),
    Constraints(battery_above=60),
    Constraints(resources_ok=True),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "task_class": st.sampled_from(["normal", "background", "charging_only", "critical"]),
        "constraints": st.sampled_from(ASKS),
        "prefer": st.sampled_from(ASKS),
        "deadline_s": st.sampled_from([30.0, 300.0, HOUR_S]),
        "on_deadline": st.sampled_from(["run", "expire"]),
        "delay_s": st.sampled_from([0.0, 20.0, 200.0]),
        "key": st.sampled_from(["a", "b"]),
        "on_conflict": st.sampled_from(["keep", "replace", "append"]),
        "at_most_once": st.just(True),
        "priority": st.sampled_from(["high", "low"]),
        "override": st.sampled_from(["execute_now", "defer_to_background"]),
    },
)
GIVEN = {"task_class", "on_deadline", "at_most_once", "override", "constraints", "prefer"}
WHICH = st.integers(0, MANAGERS - 1)
NUMBER = st.integers(0, 99)
HOW = st.sampled_from(["return", "return", "raise", "stop", "unasked stop"])


class Row(NamedTuple):
    """A task as it stands in the file."""

    id: int
    state: State
    attempts: int
    crashes: int
    worker: int | None
    asked: int
    lane: int | None
    wake_s: float | None
    key: str | None
    created_s: float
    since_s: float | None
    life_s: float | None
    finished_s: float | None
    blockers: int


SELECT = (
    "SELECT id, state, attempts, crashes, worker, asked, lane, wake_s, unique_key, created_s,"
    " since_s, life_s, finished_s, blockers FROM tasks"
)
LINKS = (
    "SELECT links.after, first.id, first.state FROM links JOIN tasks AS first"
    " ON first.id = links.before WHERE NOT links.any_end"
)


class WholeLife(RuleBasedStateMachine):
    """Everything that can be done to a queue."""

    @initialize(backend=st.sampled_from(BACKENDS))
    def begin(self, backend: str) -> None:
        self.place = tempfile.TemporaryDirectory(dir=MEMORY)
        self.device = FakeDevice(plugged=False, percent=90, backend=backend)
        self.how = "return"
        self.seen: dict[int, list[int]] = {}
        self.ended: dict[int, str] = {}
        self.dead: set[int] = set()
        self.managers = [self.open(0, 0) for _ in range(MANAGERS)]
        self.rows: dict[int, Row] = {}

    def teardown(self) -> None:
        if not hasattr(self, "managers"):
            return
        try:
            self.nothing_is_stuck()
        finally:
            for manager in self.managers:
                manager.close()
            self.place.cleanup()

    def open(self, policy: int, function: int) -> BackgroundTaskManager:
        manager = BackgroundTaskManager(
            Path(self.place.name, "queue.db"),
            device=self.device,
            policy=Policy(POLICIES[policy]),
            durability="process",
            max_workers=PLACES,
        )
        manager.task(self.work, name="work", pass_context=True, **FUNCTIONS[function])
        manager.task(
            self.work, name="beat", pass_context=True, every_s=PERIODS_S[function], max_attempts=2
        )
        return manager

    def work(self, ctx: Context) -> None:
        self.seen.setdefault(ctx.id, []).append(ctx.attempt)
        if self.how == "raise":
            raise ValueError("as told")
        if self.how == "stop":
            ctx.ask_to_stop("as told")
        if self.how.endswith("stop"):
            raise Stopped("as told")

    @property
    def now_s(self) -> float:
        return self.device.clock.time()

    def crew(self, which: int) -> Crew:
        """Who runs tasks for a manager; a new worker sees at once whether the clock went back."""
        crew = self.managers[which]._crew()
        for old, new in self.changed():
            assert old.state in WAITING
            assert new.created_s <= old.created_s
            moved = {"created_s", "since_s", "wake_s"}
            assert {n for n in Row._fields if getattr(old, n) != getattr(new, n)} <= moved
        return crew

    def look(self) -> dict[int, Row]:
        def work(cursor: apsw.Cursor) -> list[Row]:
            return [Row(row[0], State(row[1]), *row[2:]) for row in cursor.execute(SELECT)]

        return {row.id: row for row in self.managers[0]._queue.database.read(work)}

    def changed(self) -> list[tuple[Row, Row]]:
        """What is not as it was, of the tasks that were there; from here on this is as it was."""
        before, self.rows = self.rows, self.look()
        assert before.keys() <= self.rows.keys(), "a task is lost"
        return [(row, self.rows[i]) for i, row in before.items() if row != self.rows[i]]

    def some(self, number: int) -> int:
        return list(self.rows)[number % len(self.rows)]

    def fails_with_another(self, before: Row, after: Row) -> bool:
        """Whether a task has failed for what it comes after; that has been looked at apart."""
        return (before.state, after.state) == (State.BLOCKED, State.FAILED)

    def was_touched(self, old: Row, new: Row) -> None:
        """What a turn does with those that wait: moved, freed, expired, or failed with another."""
        assert old.state in WAITING
        if new.state is State.EXPIRED:
            assert self.is_given_up(old)
        elif new.state is not old.state:
            assert old.state is State.BLOCKED
            assert new.state in (State.ENQUEUED, State.FAILED)
        assert (new.attempts, new.crashes) == (old.attempts, old.crashes)

    @rule(
        which=WHICH,
        options=OPTIONS,
        after=st.lists(NUMBER, max_size=2),
        has_after=st.booleans(),
    )
    def submit(
        self, which: int, options: dict[str, Any], after: list[int], has_after: bool
    ) -> None:
        before = self.rows
        firsts = {self.some(number) for number in after} if self.rows and has_after else set()
        key = options.get("key")
        if key is None:
            options.pop("on_conflict", None)
        try:
            handle = self.managers[which].submit("work", after=sorted(firsts), **options)
        except TaskError as error:
            if not any(text in str(error) for text in ("its deadline is", "a cycle in a chain")):
                raise
            assert not self.changed()
            return
        record = handle.record
        for old, new in self.changed():
            replaced = old.key == key is not None and options.get("on_conflict") == "replace"
            if old.state is State.RUNNING:
                assert replaced
                assert old._replace(asked=1) == new
            elif new.state is State.CANCELLED:
                assert replaced
            else:
                assert self.fails_with_another(old, new)
        if handle.id in before:
            assert options.get("on_conflict", "keep") == "keep"
            assert before[handle.id].key == key
        else:
            for name in GIVEN & options.keys():
                assert getattr(record.spec, name) == options[name]
            new = self.rows[handle.id]
            assert new.attempts == new.crashes == 0
            assert self.rows.keys() == before.keys() | {handle.id}

    @rule(which=WHICH, most=st.sampled_from([None, None, 1, 3]))
    def claim(self, which: int, most: int | None) -> None:
        """A turn; before it everybody is asked why."""
        crew, manager = self.crew(which), self.managers[which]
        self.device.read()
        whys = {
            task_id: {reason.code for reason in manager.why(task_id).reasons}
            for task_id, row in self.rows.items()
            if row.state in WAITING
        }
        room = crew.worker.charging_room()
        crew.worker.turn(most)
        claimed = []
        for old, new in self.changed():
            if new.state is State.RUNNING and old.state is State.ENQUEUED:
                claimed.append(new.id)
                assert new.worker == crew.worker.id
                assert (new.attempts, new.crashes) == (old.attempts + 1, old.crashes)
                codes = whys[new.id]
                assert codes <= FREE or self.is_ahead_of_time(old), (codes, old)
            elif old.state is State.RUNNING:
                self.was_written(which, old, new)
            else:
                self.was_touched(old, new)
        if most is None:
            for task_id, codes in whys.items():
                row = self.rows[task_id]
                if codes <= FREE and not self.waits_for_company(which, row, room):
                    assert task_id in claimed, (row, codes)
        else:
            assert len(claimed) <= most

    def is_given_up(self, row: Row) -> bool:
        """Whether a task that waits has passed the deadline at which it is given up."""
        spec = self.managers[0].get(row.id).spec
        expires = spec.on_deadline == "expire" and spec.override is None
        is_over = row.life_s is not None and self.now_s >= row.created_s + row.life_s
        return expires and spec.task_class != "critical" and is_over

    def is_ahead_of_time(self, row: Row) -> bool:
        """Whether it began to wait by a clock that was set back since, so all its moments move."""
        return (row.since_s or row.created_s) > self.now_s

    def waits_for_company(self, which: int, row: Row, charging_room: int) -> bool:
        """Whether only some of its kind may run at once: then this one may have to wait."""
        task_class = self.managers[which].get(row.id).spec.task_class
        return row.crashes > 0 or task_class == "charging_only"

    def was_written(self, which: int, old: Row, new: Row) -> None:
        """What became of a run, in the turn that writes it."""
        record = self.managers[which].get(old.id)
        spec, how = record.spec, self.ended.pop(old.id)
        attempts, state = old.attempts, State.ENQUEUED
        again = spec.every_s is not None
        if how == "return":
            state = State.ENQUEUED if again else State.SUCCEEDED
            attempts = 0 if again else attempts
        elif how == "stop":
            attempts -= 1
        elif spec.at_most_once or attempts >= spec.max_attempts:
            state = State.ENQUEUED if again else State.FAILED
            attempts = 0 if again else attempts
        if old.asked and state is not State.SUCCEEDED:
            state, attempts = State.CANCELLED, old.attempts
        if state is State.ENQUEUED and not again and self.is_given_up(old):
            state = State.EXPIRED  # written and looked at in one turn
        assert (new.state, new.attempts, new.worker) == (state, attempts, None), (how, spec)

    @rule(which=WHICH, how=HOW)
    def end(self, which: int, how: str) -> None:
        """A run ends; the next turn writes that, unless its worker dies first."""
        crew = self.crew(which)
        run = crew.worker.next_run()
        if run is None:
            return
        self.how, self.seen = how, {}
        crew.runner.run(run)
        assert self.seen == {run.id: [self.rows[run.id].attempts]}
        self.ended[run.id] = how
        assert not self.changed()

    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """The process of a manager dies; here another one begins in its place."""
        manager = self.managers[which]
        worker = self.crew(which).worker

        def die(cursor: apsw.Cursor) -> None:
            cursor.execute("UPDATE workers SET started = 'long ago' WHERE id = ?", (worker.id,))

        manager._queue.database.write(die)
        manager._crews.clear()
        self.dead.add(worker.id)
        for row in self.rows.values():
            if row.worker == worker.id:
                self.ended.pop(row.id, None)
        assert not self.changed()

    @rule(which=WHICH)
    def adopt(self, which: int) -> None:
        """A living worker takes back what dead ones held."""
        self.crew(which).worker.adopt_orphans()
        before = self.rows
        changes = self.changed()
        for old, new in changes:
            if old.worker is None:
                self.was_touched(old, new)
                continue
            assert old.worker in self.dead
            self.was_adopted(which, old, new)
        held = {row.id for row in before.values() if row.worker in self.dead}
        assert held <= {old.id for old, _ in changes}
        self.dead.clear()

    def was_adopted(self, which: int, old: Row, new: Row) -> None:
        crashes = old.crashes + 1
        once = self.managers[which].get(old.id).spec.at_most_once
        state = State.FAILED if once or crashes >= MAX_CRASHES else State.ENQUEUED
        if old.asked:
            state = State.CANCELLED
        assert (new.state, new.attempts, new.crashes, new.worker) == (
            *(state, old.attempts, crashes, None),
        )

    @rule(which=WHICH, how=HOW)
    def drain(self, which: int, how: str) -> None:
        """Everything runs that may, and what was taken from the dead."""
        self.how, self.seen = how if how in ("return", "raise") else "return", {}
        before = self.rows
        for old in before.values():
            if old.worker == self.crew(which).worker.id and old.id not in self.ended:
                return  # claimed and not begun: that is for `end`
        run_until_idle(self.managers[which])
        self.dead.clear()
        for old, new in self.changed():
            assert old.state not in ENDED
            if old.state is State.RUNNING and old.id not in self.seen:
                assert old.worker == new.worker or new.worker is None
            attempts = self.seen.get(old.id, [])
            assert (
                attempts == list(range(attempts[0], attempts[0] + len(attempts)))
                or (self.managers[which].get(old.id).spec.every_s)
                if attempts
                else True
            )
        for task_id in list(self.ended):
            if self.rows[task_id].state is not State.RUNNING:
                del self.ended[task_id]
        for task_id, row in self.rows.items():
            if row.state is State.ENQUEUED:
                codes = {reason.code for reason in self.managers[which].why(task_id).reasons}
                assert not codes <= FREE, row

    @precondition(lambda self: self.rows)
    @rule(which=WHICH, number=NUMBER)
    def cancel(self, which: int, number: int) -> None:
        task_id = self.some(number)
        self.managers[which].cancel(task_id)
        for old, new in self.changed():
            if old.id != task_id:
                assert self.fails_with_another(old, new) or old.state is State.BLOCKED
            elif old.state is State.RUNNING:
                assert new == old._replace(asked=1)
            else:
                assert old.state in WAITING
                assert new.state is State.CANCELLED
        assert self.rows[task_id].asked or self.rows[task_id].state in ENDED

    @precondition(lambda self: self.rows)
    @rule(which=WHICH, number=NUMBER)
    def retry(self, which: int, number: int) -> None:
        task_id = self.some(number)
        with contextlib.suppress(TaskError):
            self.managers[which].retry(task_id)
        for old, new in self.changed():
            assert old.state in (State.FAILED, State.EXPIRED, State.CANCELLED)
            assert new.state in (*WAITING, State.FAILED)
            assert new.attempts == new.crashes == 0 or new.state is State.FAILED

    @rule(which=WHICH, hours=st.sampled_from([0, 1, 24]))
    def prune(self, which: int, hours: int) -> None:
        before = self.rows
        self.managers[which].prune(hours * HOUR_S)
        self.rows = self.look()
        for task_id, row in before.items():
            if task_id in self.rows:
                assert self.rows[task_id] == row
            else:
                assert row.finished_s is not None
                assert row.finished_s <= self.now_s - hours * HOUR_S

    @rule(which=WHICH, policy=st.integers(0, 2), function=st.integers(0, 2))
    def restart(self, which: int, policy: int, function: int) -> None:
        """The program ends in good order, and begins anew with other lines and other options."""
        worker = self.crew(which).worker.id
        self.managers[which].close()
        self.managers[which] = self.open(policy, function)
        for old, new in self.changed():
            if old.worker is None:
                self.was_touched(old, new)
                continue
            assert old.worker == worker
            if old.id in self.ended:
                self.was_written(which, old, new)
            else:
                state = State.EXPIRED if self.is_given_up(old) else State.ENQUEUED
                if old.asked:
                    state = State.CANCELLED
                assert (new.state, new.attempts) == (state, old.attempts - 1)

    @rule(
        plugged=st.booleans(),
        percent=st.sampled_from([5, 25, 45, 65, 95]),
        idle=st.booleans(),
        cpu=st.sampled_from([0.0, 0.0, 95.0]),
        held_s=st.sampled_from([0, 10]),
    )
    def machine(self, plugged: bool, percent: int, idle: bool, cpu: float, held_s: int) -> None:
        self.device.set(plugged=plugged, percent=percent, idle=idle, cpu_percent=cpu)
        for manager in self.managers:
            manager.overview()  # each looks, so that the plug is seen to have held
        self.device.clock.advance(held_s)
        assert not self.changed()

    @rule(seconds=st.sampled_from([1.0, 20.0, 200.0, 1000.0, HOUR_S]))
    def advance(self, seconds: float) -> None:
        self.device.clock.advance(seconds)
        assert not self.changed()

    @rule(hours=st.sampled_from([-5.0, -0.01, 0.5, 5.0]))
    def jump(self, hours: float) -> None:
        self.device.clock.jump(hours * HOUR_S)
        assert not self.changed()

    @invariant()
    def each_is_in_one_place(self) -> None:
        if not hasattr(self, "rows"):
            return
        links = self.links()
        for row in self.rows.values():
            places = (row.lane is not None, row.wake_s is not None, row.worker is not None)
            ended = row.finished_s is not None
            match row.state:
                case State.ENQUEUED:
                    assert places in ((1, 0, 0), (0, 1, 0), (1, 1, 0)), row
                case State.RUNNING:
                    assert places == (0, 0, 1), row
                case State.BLOCKED:
                    assert (places[0], places[2]) == (0, 0), row
                    assert row.blockers > 0, row
                case _:
                    assert places == (0, 0, 0), row
            assert ended is (row.state in ENDED), row
            if row.state in (State.ENQUEUED, State.RUNNING):
                assert all(state is State.SUCCEEDED for state in links.get(row.id, ())), row

    def links(self) -> Mapping[int, Sequence[State]]:
        found: dict[int, list[State]] = {}

        def work(cursor: apsw.Cursor) -> None:
            for after, _, state in cursor.execute(LINKS):
                found.setdefault(after, []).append(State(state))

        self.managers[0]._queue.database.read(work)
        return found

    @invariant()
    def what_runs_is_held_by_one(self) -> None:
        if not hasattr(self, "rows"):
            return
        held: dict[int, int] = {}
        for manager in self.managers:
            worker = manager._worker
            for run in [] if worker is None else worker.runs:
                assert worker is not None
                assert run.id not in held, "two workers have it"
                held[run.id] = worker.id
        held.update((row.id, row.worker) for row in self.rows.values() if row.worker in self.dead)
        running = {row.id: row.worker for row in self.rows.values() if row.worker is not None}
        assert held == running

    @invariant()
    def a_key_has_one_holder(self) -> None:
        if not hasattr(self, "rows"):
            return
        held = [
            row.key
            for row in self.rows.values()
            if row.key is not None and row.state in (State.ENQUEUED, State.RUNNING)
        ]
        assert len(held) == len(set(held)), held

    def nothing_is_stuck(self) -> None:
        """Once all is well everything comes to its end, whatever was done before."""
        self.device.set(plugged=True, percent=100, idle=True, cpu_percent=0)
        for which in range(MANAGERS):
            self.restart(which, which, which)
        for row in self.rows.values():
            if self.managers[0].get(row.id).spec.override == "defer_to_background":
                self.managers[0].cancel(row.id)  # nothing else would ever end its waiting
        self.how = "return"
        for _ in range(MAX_CRASHES + 3):
            self.device.clock.advance(DAY_S)
            self.device.set(idle=False)
            self.device.set(idle=True)
            for manager in self.managers:
                manager.overview()
            self.device.clock.advance(10)
            for manager in self.managers:
                run_until_idle(manager)
        left = {
            row.id: str(self.managers[0].why(row.id))
            for row in self.look().values()
            if row.state not in ENDED and row.key != "every beat"
        }
        assert not left


TestWholeLife = WholeLife.TestCase
TestWholeLife.settings = settings(
    max_examples=int(os.environ.get("DEFERPOWER_LIFE_EXAMPLES", "40")),
    stateful_step_count=MOST_STEPS,
    deadline=None,
)
