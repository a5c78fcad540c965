"""The whole queue at a glance: what waits for what, by reason."""

from __future__ import annotations

import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower.testing import FakeDevice
from tasks.conftest import MakeManager


def test_what_waits_for_the_same_is_one_group(tasks: BackgroundTaskManager) -> None:
    train = tasks.task(lambda n: n, name="train", constraints=Constraints(charging=True))
    tasks.task(lambda n: n, name="upload", constraints=Constraints(charging=True))
    tasks.submit_many(train, [[1], [2], [3]])
    tasks.submit("upload", [4])
    tasks.submit("train", [5], constraints=Constraints(battery_above=95))
    overview = tasks.overview()
    assert [(group.size, group.names, group.first) for group in overview.waiting] == [
        (4, ("train", "upload"), 1),
        (1, ("train",), 5),
    ]
    assert overview.waiting[0].sentence == "not charging: on battery at 90 %"
    assert overview.waiting[1].sentence == "battery at 90 %, needs more than 95 %"
    assert overview.counts == tasks.stats()
    assert overview.counts[TaskState.ENQUEUED] == 5


def test_the_same_reason_follows_the_machine(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.task(lambda: None, name="train", constraints=Constraints(battery_above=95))
    tasks.submit("train")
    device.set(percent=97)
    (group,) = tasks.overview().waiting
    assert (group.reasons, group.sentence) == ((), "may run now")


def test_every_kind_of_waiting_has_its_group(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.task(lambda: 1 / 0, name="broken")
    tasks.task(lambda: None, name="later")
    tasks.task(lambda: None, name="home", every_s=3600.0)
    tasks.submit("broken")
    tasks.process_background_tasks()
    tasks.submit("later", delay_s=600)
    blocked = tasks.submit("later", after=1)
    tasks.submit("nowhere", constraints=Constraints(charging=True))
    codes = {
        tuple(reason.code for reason in group.reasons): group for group in tasks.overview().waiting
    }
    assert set(codes) == {
        ("backoff",),
        ("periodic",),
        ("not_due",),
        ("after",),
        ("charging", "unknown_function"),
    }
    assert codes["not_due",].next_s == pytest.approx(device.wall_clock() + 600)
    assert codes["after",].first == blocked.id
    for_others = tasks.overview(for_others=True).waiting
    assert "unknown_function" not in {r.code for group in for_others for r in group.reasons}


def test_conditions_of_another_program_are_named(make: MakeManager) -> None:
    with_it = make(predicates={"at_home": lambda reading: True})
    with_it.submit("sync", constraints=Constraints(custom=("at_home",)))
    (group,) = make().overview(for_others=True).waiting
    assert group.sentence == (
        "this program has no condition named 'at_home'; another must judge it"
    )


def test_what_has_waited_past_its_moment_is_judged_one_by_one(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.task(lambda: None, name="soon", constraints=Constraints(charging=True))
    tasks.submit("soon", delay_s=10)
    device.clock.advance(11)
    (group,) = tasks.overview().waiting
    assert group.sentence == "not charging: on battery at 90 %"


def test_what_dropped_a_preference_is_counted_once(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    prefer = Constraints(charging=True)
    tasks.task(lambda: None, name="sync", prefer=prefer, deadline_s=1000)
    tasks.submit("sync")
    device.clock.advance(900)
    overview = tasks.overview()
    assert [(group.size, group.reasons) for group in overview.waiting] == [(1, ())]
    assert overview.counts[TaskState.ENQUEUED] == 1


def test_counts_of_every_state_agree_with_a_full_count(tasks: BackgroundTaskManager) -> None:
    tasks.task(lambda: None, name="done")
    tasks.task(lambda: 1 / 0, name="broken", max_attempts=1)
    for name in ("done", "done", "broken"):
        tasks.submit(name)
    tasks.process_background_tasks()
    first = tasks.submit("done", delay_s=5)
    tasks.submit("done", after=first)
    tasks.submit("done", after=first)
    tasks.cancel(tasks.submit("done").id)
    assert tasks.overview().counts == tasks.stats()
    assert set(tasks.stats().values()) == {0, 1, 2}


def test_failed_attempts_are_kept(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    tasks.task(lambda: 1 / 0, name="broken", max_attempts=2)
    handle = tasks.submit("broken")
    tasks.process_background_tasks()
    device.clock.advance(60)
    tasks.process_background_tasks()
    failures = tasks.failures(handle.id)
    assert [failure.attempt for failure in failures] == [1, 2]
    assert failures[0].error.endswith("ZeroDivisionError: division by zero")
