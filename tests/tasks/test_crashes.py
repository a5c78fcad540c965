"""What becomes of tasks whose worker died while they ran."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from deferpower import BackgroundTaskManager, TaskState
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager, crash


def test_a_process_that_is_killed_leaves_its_task_to_the_next(
    tasks: BackgroundTaskManager, tmp_path: Path
) -> None:
    script = (
        "import os\n"
        "from deferpower import BackgroundTaskManager\n"
        "tasks = BackgroundTaskManager('queue.db')\n"
        "@tasks.task(pass_context=True)\n"
        "def work(ctx):\n"
        "    ctx.checkpoint('half way')\n"
        "    os.kill(os.getpid(), 9)\n"
        "work.options(override='execute_now').defer()\n"
        "tasks.process_background_tasks()\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, timeout=60)
    (task,) = tasks.list()
    assert (task.state, task.attempts) == (TaskState.RUNNING, 1)
    told: list[str] = []
    tasks.on_event(lambda event: told.append(event.kind))
    tasks.task(lambda ctx: ctx.resumed_from, name="work", pass_context=True)
    run_until_idle(tasks)
    record = tasks.get(task.id)
    assert (record.state, record.result, record.attempts, record.crashes) == (
        TaskState.SUCCEEDED,
        "half way",
        2,
        1,
    )
    assert told == ["orphaned", "started", "succeeded"]


def test_one_that_kills_its_worker_three_times_is_quarantined_until_somebody_retries_it(
    tasks: BackgroundTaskManager,
) -> None:
    told: list[tuple[str, str]] = []
    tasks.on_event(lambda event: told.append((event.kind, event.detail)))
    handle = tasks.task(lambda: "calm", name="wild").defer()
    after = tasks.task(lambda: 0, name="after").options(after=handle).defer()
    for _ in range(3):
        assert crash(tasks) == 1
        worker = tasks._crew().worker
        worker.adopt_orphans()
    assert (handle.state, handle.record.crashes) == (TaskState.FAILED, 3)
    assert str(handle.why()) == "failed: quarantined: its worker died 3 times while it ran"
    assert after.state is TaskState.FAILED
    assert [kind for kind, _ in told[2:]] == ["orphaned", "orphaned", "failed", "failed"]
    assert run_until_idle(tasks) == []
    tasks.retry(handle.id)
    run_until_idle(tasks)
    assert (handle.result(0), after.state) == ("calm", TaskState.SUCCEEDED)


def test_crashed_tasks_run_one_at_a_time_apart_from_others_of_their_kind(
    tasks: BackgroundTaskManager,
) -> None:
    at_once = []
    work = tasks.task(lambda: at_once.append(len(tasks.list(["running"]))), name="work")
    tasks.submit_many(work, [[]] * 3)
    assert crash(tasks, 3) == 3
    run_until_idle(tasks)
    assert at_once == [1, 1, 1]


def test_a_crash_is_no_attempt_that_failed_but_at_most_once_is_at_most_once(
    tasks: BackgroundTaskManager,
) -> None:
    ran: list[str] = []
    tasks.task(ran.append, name="often", max_attempts=1)
    tasks.task(ran.append, name="once", at_most_once=True)
    often, once = tasks.submit("often", ["often"]), tasks.submit("once", ["once"])
    assert crash(tasks, 2) == 2
    run_until_idle(tasks)
    assert (ran, often.state, once.state) == (["often"], TaskState.SUCCEEDED, TaskState.FAILED)
    assert once.record.error == "its worker died while it ran, and it may run at most once"
    after = tasks.submit("often", ["after"], after=once)
    tasks.retry(after.id)
    run_until_idle(tasks)
    assert (ran, once.state) == (["often", "after"], TaskState.FAILED), "not run by the way"
    tasks.retry(once.id)
    run_until_idle(tasks)
    assert ran == ["often", "after", "once"]


def test_one_that_was_to_be_cancelled_does_not_come_back(tasks: BackgroundTaskManager) -> None:
    handle = tasks.task(lambda: 0, name="work").defer()
    assert crash(tasks) == 1
    assert tasks.cancel(handle.id) is TaskState.RUNNING
    assert run_until_idle(tasks) == []
    assert handle.state is TaskState.CANCELLED


def test_a_worker_that_was_taken_for_dead_does_not_overwrite_what_came_after(
    make: MakeManager,
) -> None:
    mistaken, other = make(), make()
    other.task(lambda: "by the other", name="work")

    def work() -> str:
        crash(mistaken, 0)
        run_until_idle(other)
        return "too late"

    handle = mistaken.task(work, name="work").defer()
    crew = mistaken._crew()
    worker, runner = crew.worker, crew.runner
    worker.turn(1)
    run = worker.next_run()
    assert run is not None
    runner.run_here(run)
    worker.turn(0)
    assert handle.record.result == "by the other"


def test_a_periodic_function_that_was_quarantined_is_not_begun_anew(
    make: MakeManager, device: FakeDevice
) -> None:
    def program() -> BackgroundTaskManager:
        tasks = make()
        tasks.task(lambda: None, name="tick", every_s=60)
        tasks._begin_periodic()
        return tasks

    for _ in range(3):
        assert crash(program()) == 1
    assert run_until_idle(program()) == []
    tasks = program()
    assert run_until_idle(tasks) == []
    (task,) = tasks.list()
    assert task.state is TaskState.FAILED
    tasks.retry(task.id)
    assert len(run_until_idle(tasks)) == 1


def test_a_run_that_crashes_is_said_in_the_log(
    tasks: BackgroundTaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    handle = tasks.task(lambda: 0, name="work").defer()
    crash(tasks)
    with caplog.at_level(logging.WARNING, "deferpower"):
        run_until_idle(tasks)
    assert caplog.messages == [f"task {handle.id} orphaned: its worker died; it runs again"]
