"""Cancelling wins, at whatever moment of a run it comes."""

from __future__ import annotations

from deferpower import BackgroundTaskManager, TaskState
from deferpower.testing import run_until_idle
from tasks.conftest import MakeManager


def test_what_was_claimed_and_cancelled_does_not_wait_again_when_its_worker_stops(
    make: MakeManager,
) -> None:
    ran: list[int] = []
    told: list[tuple[str, int]] = []
    tasks = make()
    tasks.on_event(lambda event: told.append((event.kind, event.task_id)))
    work = tasks.task(ran.append, name="work", override="execute_now")
    first, second = work.defer(1), work.defer(2)
    later = tasks.submit(work, [3], after=first)
    crew = tasks._crew()
    assert crew.worker.turn(2) == 2
    assert tasks.cancel(first.id) is TaskState.RUNNING
    tasks.stop()
    other = make()
    other.task(ran.append, name="work", override="execute_now")
    assert [other.get(task.id).state for task in (first, second, later)] == [
        TaskState.CANCELLED,
        TaskState.ENQUEUED,
        TaskState.FAILED,
    ]
    assert ("cancelled", first.id) in told
    assert ("failed", later.id) in told
    run_until_idle(other)
    assert ran == [2]


def test_what_was_cancelled_and_raises_at_last_is_cancelled(tasks: BackgroundTaskManager) -> None:
    def fail() -> None:
        tasks.cancel(handle.id)
        raise ValueError("at last")

    handle = tasks.task(fail, name="fail", max_attempts=1).defer()
    run_until_idle(tasks)
    assert handle.state is TaskState.CANCELLED
    (failure,) = tasks.failures(handle.id)
    assert "at last" in failure.error


def test_what_was_cancelled_and_returns_has_succeeded(tasks: BackgroundTaskManager) -> None:
    def cancel_oneself() -> int:
        tasks.cancel(handle.id)
        return 7

    handle = tasks.task(cancel_oneself, name="late").defer()
    run_until_idle(tasks)
    assert (handle.state, handle.record.result) == (TaskState.SUCCEEDED, 7)
