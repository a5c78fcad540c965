"""Functions that run again and again."""

from __future__ import annotations

import threading
from typing import Any, Literal

import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskError, TaskState
from deferpower.tasks.context import Context
from deferpower.tasks.events import Event
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager, crash

HOUR_S = 3600.0


class Diary:
    """Notes at which moment it was called, in seconds since it was made."""

    def __init__(self, device: FakeDevice) -> None:
        self._clock = device.clock
        self._start_s = device.clock.time()
        self.moments: list[float] = []
        self.fails = False

    def __call__(self) -> None:
        self.moments.append(self._clock.time() - self._start_s)
        if self.fails:
            raise ValueError("no luck")


@pytest.fixture
def diary(device: FakeDevice) -> Diary:
    return Diary(device)


def pass_time(tasks: BackgroundTaskManager, device: FakeDevice, hours: float) -> None:
    for _ in range(int(hours * 4)):
        device.clock.advance(HOUR_S / 4)
        run_until_idle(tasks)


def test_it_runs_at_once_and_then_on_its_beat(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    told: list[str] = []
    tasks.on_event(lambda event: told.append(event.kind))
    tasks.task(diary, name="tick", every_s=HOUR_S)
    assert tasks.list() == [], "nothing is written before somebody runs tasks"
    run_until_idle(tasks)
    pass_time(tasks, device, 2.5)
    assert diary.moments == [0, HOUR_S, 2 * HOUR_S]
    (task,) = tasks.list()
    assert (task.state, task.attempts) == (TaskState.ENQUEUED, 0)
    assert str(tasks.why(task.id)) == "waiting: it runs every 60 min; the next run is in 30 min"
    assert told == ["submitted", *["started", "succeeded"] * 3]


def test_it_starts_in_the_last_part_of_each_period(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    tasks.task(diary, name="tick", every_s=HOUR_S, flex_s=HOUR_S / 4)
    run_until_idle(tasks)
    pass_time(tasks, device, 3)
    assert diary.moments == [0.75 * HOUR_S, 1.75 * HOUR_S, 2.75 * HOUR_S]


def test_what_was_missed_in_sleep_is_run_once(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    tasks.task(diary, name="tick", every_s=HOUR_S)
    run_until_idle(tasks)
    device.clock.suspend(10.5 * HOUR_S)
    run_until_idle(tasks)
    pass_time(tasks, device, 1)
    assert diary.moments == [0, 10.5 * HOUR_S, 11 * HOUR_S]


@pytest.mark.parametrize("hours", [-5, -50, 5])
def test_a_clock_that_is_set_neither_piles_up_runs_nor_holds_them_up(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary, hours: int
) -> None:
    tasks.task(diary, name="tick", every_s=HOUR_S)
    run_until_idle(tasks)
    device.clock.jump(hours * HOUR_S)
    run_until_idle(tasks)
    pass_time(tasks, device, 3)
    assert 4 <= len(diary.moments) <= 5


def test_a_new_period_counts_from_the_last_run(
    make: MakeManager, device: FakeDevice, diary: Diary
) -> None:
    before = make()
    before.task(diary, name="tick", every_s=10 * HOUR_S)
    run_until_idle(before)
    pass_time(before, device, 1)
    now = make()
    now.task(diary, name="tick", every_s=2 * HOUR_S)
    run_until_idle(now)
    assert len(now.list(["enqueued"])) == 1
    pass_time(now, device, 3)
    assert diary.moments == [0, 2 * HOUR_S, 4 * HOUR_S]
    same = make()
    same.task(diary, name="tick", every_s=2 * HOUR_S)
    assert run_until_idle(same) == []


def test_one_that_fails_goes_on(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    told: list[str] = []
    tasks.on_event(lambda event: told.append(event.kind))
    tasks.task(diary, name="tick", every_s=HOUR_S, max_attempts=2, backoff_s=0)
    diary.fails = True
    run_until_idle(tasks)
    assert diary.moments == [0, 0]
    (task,) = tasks.list()
    assert (task.state, task.attempts) == (TaskState.ENQUEUED, 0)
    assert [failure.attempt for failure in tasks.failures(task.id)] == [1, 2]
    diary.fails = False
    pass_time(tasks, device, 1)
    assert diary.moments == [0, 0, HOUR_S]
    assert told[1:] == ["started", "retrying", "started", "failed", "started", "succeeded"]


def test_a_period_without_a_chance_is_left_out_or_run_at_its_deadline(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    at_deadline = Diary(device)
    endings: list[tuple[str, Diary, Literal["run", "expire"]]] = [
        ("skip", diary, "expire"),
        ("run", at_deadline, "run"),
    ]
    for name, function, on_deadline in endings:
        tasks.task(
            function,
            name=name,
            every_s=4 * HOUR_S,
            constraints=Constraints(charging=True),
            deadline_s=HOUR_S,
            on_deadline=on_deadline,
        )
    run_until_idle(tasks)
    pass_time(tasks, device, 6)
    assert (diary.moments, at_deadline.moments) == ([], [HOUR_S, 5 * HOUR_S])
    device.plug_in()
    pass_time(tasks, device, 2.5)
    assert diary.moments == [8 * HOUR_S]


@pytest.mark.parametrize("has_chance", [True, False], ids=["ran", "left out"])
def test_each_period_begins_anew_however_the_one_before_ended(
    tasks: BackgroundTaskManager, device: FakeDevice, has_chance: bool
) -> None:
    found: list[object] = []

    def tick(context: Context) -> None:
        found.append(context.resumed_from)
        context.checkpoint(len(found))
        if len(found) == 1:
            raise ValueError("no luck")

    tasks.task(
        tick,
        name="tick",
        pass_context=True,
        every_s=4 * HOUR_S,
        constraints=Constraints(charging=True),
        deadline_s=HOUR_S,
        on_deadline="expire",
        backoff_s=0,
    )
    device.plug_in()
    tasks.process_background_tasks(1)
    assert crash(tasks) == 1
    if not has_chance:
        device.unplug(90)
        device.clock.advance(5)
    run_until_idle(tasks)
    pass_time(tasks, device, 1.5)
    (task,) = tasks.list()
    assert (task.state, task.attempts, task.crashes) == (TaskState.ENQUEUED, 0, 0)
    assert found == [None, 1][: 1 + has_chance]
    device.plug_in()
    pass_time(tasks, device, 3)
    assert found[1 + has_chance :] == [None]


def test_cancelling_ends_it_and_a_run_by_hand_is_apart(
    make: MakeManager, device: FakeDevice, diary: Diary
) -> None:
    tasks = make()
    tick = tasks.task(diary, name="tick", every_s=HOUR_S)
    by_hand = tick.defer()
    run_until_idle(tasks)
    assert (by_hand.state, len(diary.moments)) == (TaskState.SUCCEEDED, 2)
    (series,) = tasks.list(["enqueued"])
    tasks.cancel(series.id)
    pass_time(tasks, device, 2)
    assert len(diary.moments) == 2
    again = make()
    again.task(diary, name="tick", every_s=HOUR_S)
    run_until_idle(again)
    assert len(diary.moments) == 3, "a program that starts anew begins it anew"


def test_one_that_is_cancelled_while_it_runs_does_not_come_again(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    def tick() -> None:
        (running,) = tasks.list(["running"])
        tasks.cancel(running.id)

    tasks.task(tick, name="tick", every_s=HOUR_S)
    run_until_idle(tasks)
    (task,) = tasks.list()
    assert task.state is TaskState.CANCELLED


def test_one_registered_while_a_worker_runs_begins(
    tasks: BackgroundTaskManager, diary: Diary
) -> None:
    run_until_idle(tasks)
    tasks.task(diary, name="tick", every_s=HOUR_S)
    run_until_idle(tasks)
    assert diary.moments == [0]


def test_one_that_another_thread_registers_while_the_first_begins_is_not_forgotten(
    tasks: BackgroundTaskManager, device: FakeDevice, diary: Diary
) -> None:
    late = Diary(device)

    def register(event: Event) -> None:
        if event.kind == "submitted" and event.name == "tick":
            thread = threading.Thread(
                target=tasks.task, args=(late,), kwargs={"name": "late", "every_s": HOUR_S}
            )
            thread.start()
            thread.join()

    tasks.on_event(register)
    tasks.task(diary, name="tick", every_s=HOUR_S)
    run_until_idle(tasks)
    run_until_idle(tasks)
    assert (diary.moments, late.moments) == ([0], [0])


def test_periods_that_cannot_be_are_refused(tasks: BackgroundTaskManager) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"every_s": 0}, "every_s is 0; it must be a number of seconds above 0"),
        ({"every_s": -1.0}, "every_s is -1.0"),
        ({"flex_s": 5}, "flex_s is 5; it must be a part of every_s"),
        ({"every_s": 5, "flex_s": 6}, "flex_s is 6"),
        ({"every_s": 5, "at_most_once": True}, "exclude each other"),
    ]
    for options, complaint in wrong:
        with pytest.raises(TaskError, match=complaint):
            tasks.task(lambda: 0, name="tick", **options)
