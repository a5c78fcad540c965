"""The manager as the sketch uses it: three queues, and what lets each of them run."""

from __future__ import annotations

from deferpower import BackgroundTaskManager, TaskState
from deferpower.testing import FakeDevice


def test_on_external_power_a_described_task_runs_at_once(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.plug_in()
    device.clock.advance(5)
    sync = tasks.task(lambda folder: f"synced {folder}", name="sync")
    handle = tasks.defer_non_critical({"type": "sync", "args": ["notes"]})
    assert (handle.state, handle.result(0)) == (TaskState.SUCCEEDED, "synced notes")
    assert sync("here") == "synced here"


def test_on_battery_it_waits_in_the_queue_that_it_belongs_to(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.unplug(40)
    ran: list[str] = []
    tasks.task(ran.append, name="sync")
    tasks.task(ran.append, name="training")
    tasks.defer_non_critical({"type": "training", "args": ["model"], "requires_charging": True})
    tasks.defer_non_critical({"type": "sync", "args": ["notes"]})
    assert [task.name for task in tasks.background_tasks] == ["sync"]
    assert [task.name for task in tasks.charging_only_tasks] == ["training"]
    assert (tasks.process_background_tasks(), ran) == ([], [])

    device.set(percent=60)
    assert [task.name for task in tasks.process_background_tasks()] == ["sync"]
    device.plug_in()
    device.clock.advance(5)
    assert [task.name for task in tasks.process_background_tasks()] == ["training"]
    assert ran == ["notes", "model"]


def test_a_critical_task_runs_at_once_on_an_empty_battery(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.unplug(3)
    tasks.task(lambda: "answered", name="ui_response")
    assert tasks.defer_non_critical({"type": "ui_response"}).result(0) == "answered"


def test_one_call_runs_a_batch_and_no_more(tasks: BackgroundTaskManager) -> None:
    count = tasks.task(lambda number: number, name="count")
    tasks.submit_many(count, [[number] for number in range(7)])
    assert [task.result for task in tasks.process_background_tasks()] == [0, 1, 2, 3, 4]
    assert [task.result for task in tasks.process_background_tasks()] == [5, 6]
