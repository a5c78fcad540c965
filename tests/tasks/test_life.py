"""The life of tasks against a simple model: whatever happens, in whatever order."""

from __future__ import annotations

import dataclasses
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deferpower import BackgroundTaskManager, Constraints, TaskError, TaskState
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import crash

BACKENDS = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")

MAX_ATTEMPTS = 2
MAX_CRASHES = 3
BACKOFF_S = 100.0
HOUR_S = 3600.0
MOST_STEPS = 40

WAITING = (TaskState.ENQUEUED, TaskState.BLOCKED)


@dataclasses.dataclass
class Model:
    """What a task should be.

    Attributes:
        parked: whether it was seen to be due; that holds, however the clock is set.
        ran: how many of its runs succeeded.
        began: whether it has ever run in this life.
    """

    id: int
    charging: bool
    after: tuple[int, ...]
    due_s: float
    since_s: float
    state: TaskState = TaskState.ENQUEUED
    parked: bool = False
    fails: bool = False
    attempts: int = 0
    crashes: int = 0
    ran: int = 0
    began: bool = False


class Life(RuleBasedStateMachine):
    """Submits, runs, failures, crashes, cancels, retries, plugs and clocks."""

    @initialize(backend=st.sampled_from(BACKENDS))
    def begin(self, backend: str) -> None:
        self.device = FakeDevice(plugged=False, percent=90, backend=backend)
        self.tasks = BackgroundTaskManager(device=self.device)
        self.models: dict[int, Model] = {}
        self.tasks.task(
            self.work,
            name="work",
            max_attempts=MAX_ATTEMPTS,
            backoff_s=BACKOFF_S,
            pass_context=True,
        )

    def teardown(self) -> None:
        if hasattr(self, "tasks"):
            self.tasks.close()

    def work(self, ctx: object) -> None:
        model = self.models[ctx.id]  # type: ignore[attr-defined]
        if model.fails:
            raise ValueError("as told")
        model.ran += 1

    @property
    def now_s(self) -> float:
        return self.device.clock.time()

    def some(self, number: int) -> Model:
        return list(self.models.values())[number % len(self.models)]

    @rule(charging=st.booleans(), fails=st.booleans(), delay_s=st.sampled_from([0.0, 0.0, 60.0]))
    def submit(self, charging: bool, fails: bool, delay_s: float) -> None:
        self.add((), charging, fails, delay_s)

    @precondition(lambda self: self.models)
    @rule(numbers=st.lists(st.integers(0, 99), min_size=1, max_size=2), fails=st.booleans())
    def submit_after(self, numbers: list[int], fails: bool) -> None:
        after = tuple(dict.fromkeys(self.some(number).id for number in numbers))
        self.add(after, False, fails, 0.0)

    def add(self, after: tuple[int, ...], charging: bool, fails: bool, delay_s: float) -> None:
        asks = Constraints(charging=charging)
        handle = self.tasks.submit("work", after=after, delay_s=delay_s, constraints=asks)
        model = Model(handle.id, charging, after, self.now_s + delay_s, self.now_s, fails=fails)
        model.parked = not delay_s
        self.models[model.id] = model
        self.settle()

    def settle(self, freed_s: float | None = None) -> None:
        """Blocked or not, failed in vain or not: all follows from what comes before."""
        for model in self.models.values():
            if model.state not in WAITING:
                continue
            before = [self.models[first].state for first in model.after]
            if any(s in (TaskState.FAILED, TaskState.CANCELLED) for s in before):
                model.state = TaskState.FAILED
            elif any(s is not TaskState.SUCCEEDED for s in before):
                model.state, model.parked = TaskState.BLOCKED, False
            elif model.state is TaskState.BLOCKED:
                model.state = TaskState.ENQUEUED
                model.due_s -= max(0.0, model.since_s - self.now_s)
                model.since_s = self.now_s

    def heal(self) -> None:
        """What was written by a clock that is now behind counts from now."""
        for model in self.models.values():
            if model.state is TaskState.ENQUEUED and not model.parked:
                back_s = model.since_s - self.now_s
                if back_s > 1:
                    model.due_s -= back_s
                    model.since_s = self.now_s
                model.parked = model.due_s <= self.now_s

    def may_run(self, model: Model) -> bool:
        plugged = self.device.read().power.plugged  # type: ignore[union-attr]
        return (
            model.state is TaskState.ENQUEUED
            and (model.parked or model.due_s <= self.now_s)
            and (not model.charging or bool(plugged))
        )

    @rule(seconds=st.sampled_from([0.0, 60.0, 150.0]))
    def run(self, seconds: float) -> None:
        self.device.clock.advance(seconds)
        self.heal()
        before = {model.id: model.ran for model in self.models.values()}
        runs = [task.id for task in run_until_idle(self.tasks)]
        expected: list[int] = []
        while ready := [m for m in self.models.values() if self.may_run(m)]:
            for model in ready:
                expected.append(model.id)
                self.ran_once(model, before)
            self.settle()
        assert sorted(runs) == sorted(expected)
        assert {model.id: model.ran for model in self.models.values()} == before

    def ran_once(self, model: Model, before: dict[int, int]) -> None:
        model.attempts += 1
        model.began = True
        if not model.fails:
            model.state = TaskState.SUCCEEDED
            before[model.id] += 1
        elif model.attempts >= MAX_ATTEMPTS:
            model.state = TaskState.FAILED
        else:
            due_s = self.tasks.get(model.id).due_s
            assert self.now_s <= due_s <= self.now_s + BACKOFF_S
            # Of several attempts within this step only the last pause can be seen: there is one.
            model.due_s, model.since_s = max(due_s, self.now_s + 1e-9), self.now_s
            model.parked = False

    @rule(most=st.integers(1, 3))
    def crash(self, most: int) -> None:
        self.heal()
        ready = {model.id for model in self.models.values() if self.may_run(model)}
        held = crash(self.tasks, most)
        claimed = [task.id for task in self.tasks.list([TaskState.RUNNING])]
        assert len(claimed) == held
        assert set(claimed) <= ready
        assert claimed or not ready
        worker = self.tasks._crew().worker
        worker.adopt_orphans()
        for task_id in claimed:
            model = self.models[task_id]
            model.began = True
            model.attempts += 1
            model.crashes += 1
            model.due_s, model.since_s = min(model.due_s, self.now_s), self.now_s
            model.parked = False
            model.state = TaskState.FAILED if model.crashes >= MAX_CRASHES else TaskState.ENQUEUED
        self.settle()

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        model = self.some(number)
        assert self.tasks.cancel(model.id) is model.state
        if model.state in WAITING:
            model.state = TaskState.CANCELLED
        self.settle()

    @precondition(lambda self: self.models)
    @rule(number=st.integers(0, 99), fails=st.booleans())
    def retry(self, number: int, fails: bool) -> None:
        model = self.some(number)
        model.fails = fails
        if model.state in WAITING:
            self.tasks.retry(model.id)
            return
        revived = self.undone(model)
        can = model.state is not TaskState.SUCCEEDED and not any(
            self.models[first].state is TaskState.CANCELLED
            for one in revived
            for first in one.after
            if self.models[first] not in revived
        )
        try:
            self.tasks.retry(model.id)
        except TaskError:
            assert not can
            return
        assert can
        self.revive(revived)
        self.settle()

    def undone(self, model: Model) -> list[Model]:
        """A task and what must come back with it, before it."""
        found = [model]
        for one in found:
            for first in one.after:
                before = self.models[first]
                if before.state is TaskState.FAILED and before not in found:
                    found.append(before)
        return found

    def revive(self, revived: list[Model]) -> None:
        """And what failed for having waited for any of them."""
        for one in revived:
            revived += [
                m
                for m in self.models.values()
                if one.id in m.after
                and m.state is TaskState.FAILED
                and not m.began
                and m not in revived
            ]
        for one in revived:
            one.state = TaskState.BLOCKED if one.after else TaskState.ENQUEUED
            one.attempts = one.crashes = 0
            one.began = one.parked = False
            one.due_s = one.since_s = self.now_s

    @rule(seconds=st.sampled_from([1.0, 60.0, 150.0, HOUR_S]))
    def advance(self, seconds: float) -> None:
        self.device.clock.advance(seconds)

    @rule(hours=st.sampled_from([-5, -1, 1, 5]))
    def jump(self, hours: int) -> None:
        self.device.clock.jump(hours * HOUR_S)

    @rule(plugged=st.booleans())
    def plug(self, plugged: bool) -> None:
        self.device.set(plugged=plugged)
        self.device.clock.advance(5)
        self.tasks.overview()  # looks at the machine, so that the plug has held for long enough
        self.device.clock.advance(5)

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        if not hasattr(self, "models"):
            return
        found = {task.id: task for task in self.tasks.list()}
        assert {i: task.state for i, task in found.items()} == {
            i: model.state for i, model in self.models.items()
        }
        for task_id, model in self.models.items():
            assert (found[task_id].attempts, found[task_id].crashes) == (
                model.attempts,
                model.crashes,
            )
            why = str(self.tasks.why(task_id))
            assert ("waiting: " in why) is (model.state in WAITING)
            if model.parked:
                assert "not due" not in why
        stats = self.tasks.stats()
        assert sum(stats.values()) == len(self.models)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=MOST_STEPS, deadline=None)
