"""The wall clock is set, the machine sleeps: nothing is lost, done twice, or stuck."""

from __future__ import annotations

import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager

HOUR_S = 3600.0


@pytest.fixture
def ran(tasks: BackgroundTaskManager) -> list[str]:
    ran: list[str] = []
    tasks.task(ran.append, name="note")
    return ran


def test_a_task_from_the_future_does_not_wait_for_it(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    tasks.submit("note", ["at once"])
    tasks.submit("note", ["in a minute"], delay_s=60)
    tasks.submit("note", ["at its deadline"], constraints=Constraints(charging=True), deadline_s=90)
    first = tasks.submit("note", ["chain"], delay_s=60)
    tasks.submit("note", ["chained"], after=first)
    run_until_idle(tasks)
    device.clock.jump(-5 * HOUR_S)
    run_until_idle(tasks)
    assert ran == ["at once"]
    device.clock.advance(60)
    run_until_idle(tasks)
    assert ran == ["at once", "in a minute", "chain", "chained"]
    device.clock.advance(30)
    run_until_idle(tasks)
    assert ran[4:] == ["at its deadline"]


def test_a_moment_of_the_wall_clock_stays_where_it_is(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    handle = tasks.submit("note", ["at five"], not_before_s=device.wall_clock() + HOUR_S)
    run_until_idle(tasks)
    device.clock.jump(-5 * HOUR_S)
    device.clock.advance(2 * HOUR_S)
    assert run_until_idle(tasks) == []
    assert handle.why().next_s == device.wall_clock() + 4 * HOUR_S
    device.clock.jump(4 * HOUR_S)
    run_until_idle(tasks)
    assert ran == ["at five"]


def test_a_pause_after_a_failure_is_no_longer_for_a_clock_that_was_set_back(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    attempts: list[float] = []

    @tasks.task(backoff_s=30, max_attempts=3)
    def fail() -> None:
        attempts.append(device.clock.monotonic())
        raise ValueError

    handle = fail.defer()
    run_until_idle(tasks)
    device.clock.jump(-5 * HOUR_S)
    run_until_idle(tasks)
    device.clock.advance(30)
    run_until_idle(tasks)
    assert len(attempts) >= 2
    device.clock.jump(-5 * HOUR_S)
    run_until_idle(tasks)
    device.clock.advance(60)
    run_until_idle(tasks)
    assert (len(attempts), handle.state) == (3, TaskState.FAILED)


def test_a_clock_set_back_while_nobody_ran_is_seen_at_the_next_start(
    make: MakeManager, device: FakeDevice
) -> None:
    before = make()
    before.submit("note", ["later"], delay_s=60)
    before.close()
    device.clock.jump(-5 * HOUR_S)
    now = make()
    ran: list[str] = []
    now.task(ran.append, name="note")
    run_until_idle(now)
    device.clock.advance(60)
    run_until_idle(now)
    assert ran == ["later"]


def test_a_clock_set_back_while_a_task_runs_does_not_hold_up_what_it_frees(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    first = tasks.task(lambda: device.clock.jump(-5 * HOUR_S), name="first").defer()
    tasks.submit("note", ["second"], after=first)
    run_until_idle(tasks)
    assert ran == ["second"]


@pytest.mark.parametrize("passes", ["jump", "suspend", "advance"])
def test_time_that_passes_however_it_does_brings_what_was_due_once(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str], passes: str
) -> None:
    for name, delay_s in (("a", 0), ("b", HOUR_S), ("c", 10 * HOUR_S)):
        tasks.submit("note", [name], delay_s=delay_s)
    run_until_idle(tasks)
    getattr(device.clock, passes)(5 * HOUR_S)
    run_until_idle(tasks)
    assert ran == ["a", "b"]
    device.clock.jump(-5 * HOUR_S)
    run_until_idle(tasks)
    assert ran == ["a", "b"], "what has run does not run again"
    device.clock.advance(10 * HOUR_S)
    run_until_idle(tasks)
    assert ran == ["a", "b", "c"]


def test_a_clock_that_was_ahead_for_a_moment_only(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    run_until_idle(tasks)
    device.clock.jump(5 * HOUR_S)
    tasks.submit("note", ["in a minute"], delay_s=60)
    device.clock.jump(-5 * HOUR_S)
    run_until_idle(tasks)
    device.clock.advance(60)
    run_until_idle(tasks)
    assert ran == ["in a minute"]
