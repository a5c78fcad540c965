"""Tasks that come after others, and tasks of which only one may be there."""

from __future__ import annotations

import pytest

from deferpower import BackgroundTaskManager, TaskError, TaskState
from deferpower.tasks.context import Context
from deferpower.tasks.handle import Handle
from deferpower.testing import FakeDevice, run_until_idle

WAITING = (TaskState.ENQUEUED, TaskState.BLOCKED)


@pytest.fixture
def ran(tasks: BackgroundTaskManager) -> list[str]:
    """What ran, by the argument of ``note``; one that begins with "bad" fails for good."""
    ran: list[str] = []

    def note(name: str) -> str:
        ran.append(name)
        if name.startswith("bad"):
            raise ValueError(name)
        return name.upper()

    tasks.task(note, name="note", max_attempts=1)
    return ran


def test_results_are_handed_on_in_the_order_of_after(
    tasks: BackgroundTaskManager, ran: list[str]
) -> None:
    @tasks.task(pass_context=True)
    def join(ctx: Context) -> str:
        return " ".join(ctx.results)

    one, two = tasks.submit("note", ["one"]), tasks.submit("note", ["two"], delay_s=0)
    both = join.options(after=[two, one.id, two]).defer()
    assert both.state is TaskState.BLOCKED
    last = join.options(after=both).defer()
    run_until_idle(tasks)
    assert (both.result(0), last.result(0)) == ("TWO ONE", "TWO ONE")
    assert join.options(after=[one, two]).defer().state is TaskState.ENQUEUED


def test_what_comes_after_a_failure_fails_and_says_why_and_is_retried_with_it(
    tasks: BackgroundTaskManager, ran: list[str]
) -> None:
    told: list[tuple[str, int]] = []
    first = tasks.submit("note", ["bad first"])
    second = tasks.submit("note", ["second"], after=first)
    third = tasks.submit("note", ["third"], after=[second])
    tasks.on_event(lambda event: told.append((event.kind, event.task_id)))
    run_until_idle(tasks)
    assert [h.state for h in (first, second, third)] == [TaskState.FAILED] * 3
    assert str(second.why()) == f"failed: task {first.id}, which it waited for, failed"
    assert str(third.why()) == f"failed: task {second.id}, which it waited for, failed"
    ended = [("failed", handle.id) for handle in (first, second, third)]
    assert told == [("started", first.id), *ended]
    late = tasks.submit("note", ["late"], after=third)
    assert late.state is TaskState.FAILED, "it could only wait in vain"

    tasks.retry(second.id)
    assert [h.state for h in (first, second, third, late)] == [
        TaskState.ENQUEUED,
        *[TaskState.BLOCKED] * 3,
    ]
    run_until_idle(tasks)
    assert second.state is TaskState.FAILED, "it failed again"


def test_a_retry_frees_the_whole_chain(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    outcomes = [ValueError("once"), None]
    order: list[str] = []

    def first() -> str:
        error = outcomes.pop(0)
        if error is not None:
            raise error
        order.append("first")
        return "got it"

    def second(ctx: Context) -> None:
        order.append(f"second {ctx.results}")

    tasks.task(first, name="first", max_attempts=1)
    tasks.task(second, name="second", pass_context=True)
    handle = tasks.submit("first")
    after = tasks.submit("second", after=handle)
    run_until_idle(tasks)
    device.clock.advance(86_401)
    tasks.retry(handle.id)
    run_until_idle(tasks)
    assert (order, after.state) == (["first", "second ['got it']"], TaskState.SUCCEEDED)


def test_one_of_two_that_failed_keeps_what_comes_after_both_from_coming_back(
    tasks: BackgroundTaskManager, ran: list[str]
) -> None:
    bad, worse = tasks.submit("note", ["bad"]), tasks.submit("note", ["bad too"])
    both = tasks.submit("note", ["both"], after=[bad, worse])
    run_until_idle(tasks)
    tasks.retry(bad.id)
    assert both.state is TaskState.FAILED
    assert both.record.error == f"task {worse.id}, which it waited for, failed"
    tasks.retry(both.id)
    assert [h.state for h in (bad, worse, both)] == [
        TaskState.ENQUEUED,
        TaskState.ENQUEUED,
        TaskState.BLOCKED,
    ]


def test_cancelling_and_expiring_cascade_too(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    told: list[tuple[str, int]] = []
    first = tasks.submit("note", ["first"])
    second = tasks.submit("note", ["second"], after=first)
    tasks.on_event(lambda event: told.append((event.kind, event.task_id)))
    tasks.cancel(first.id)
    assert second.record.error == f"task {first.id}, which it waited for, was cancelled"
    assert told == [("cancelled", first.id), ("failed", second.id)]


def test_a_cycle_cannot_be_built(tasks: BackgroundTaskManager, ran: list[str]) -> None:
    with pytest.raises(TaskError, match=r"there is no task 1 .*no cycle in a chain"):
        tasks.submit("note", ["itself"], after=1)
    with pytest.raises(TaskError, match="there is no task 2"):
        tasks.submit_many("note", [["a"], ["b"]], after=2)
    first = tasks.submit("note", ["first"], key="k")
    second = tasks.submit("note", ["second"], after=first)
    third = tasks.submit("note", ["third"], after=second)
    with pytest.raises(
        TaskError, match=f"cycle in a chain: task {third.id} is, or comes after, .* key 'k'"
    ):
        tasks.submit("note", ["new first"], key="k", on_conflict="replace", after=third)
    for wrong in ("x", 1.0, True, None):
        with pytest.raises((TaskError, TypeError)):
            tasks.submit("note", ["x"], after=[wrong])  # type: ignore[list-item]
    assert [task.args for task in reversed(tasks.list())] == [("first",), ("second",), ("third",)]
    assert all(task.state in WAITING for task in tasks.list())


def test_of_one_key_the_first_is_kept(tasks: BackgroundTaskManager, ran: list[str]) -> None:
    first = tasks.submit("note", ["first"], key="k")
    assert tasks.submit("note", ["second"], key="k").id == first.id
    other = tasks.submit("note", ["other"], key="j")
    run_until_idle(tasks)
    assert ran == ["first", "other"]
    assert tasks.submit("note", ["third"], key="k").id > other.id, "the first has ended"


def test_of_one_key_the_last_replaces_all(tasks: BackgroundTaskManager, ran: list[str]) -> None:
    first = tasks.submit("note", ["first"], key="k")
    second = tasks.submit("note", ["second"], key="k", on_conflict="append")
    bystander = tasks.submit("note", ["after first"], after=first)
    told: list[tuple[str, int]] = []
    tasks.on_event(lambda event: told.append((event.kind, event.task_id)))
    third = tasks.submit("note", ["third"], key="k", on_conflict="replace")
    assert [h.state for h in (first, second)] == [TaskState.CANCELLED] * 2
    assert bystander.state is TaskState.FAILED
    assert told == [
        ("submitted", third.id),
        ("cancelled", second.id),
        ("cancelled", first.id),
        ("failed", bystander.id),
    ]
    run_until_idle(tasks)
    assert ran == ["third"]
    with pytest.raises(TaskError, match="comes after, was cancelled; retry that one"):
        tasks.retry(second.id)


def test_of_one_key_each_runs_after_the_one_before(
    tasks: BackgroundTaskManager, device: FakeDevice, ran: list[str]
) -> None:
    for name in ("a", "b", "c"):
        tasks.submit("note", [name], key="k", on_conflict="append", delay_s=60 * (name == "a"))
    assert run_until_idle(tasks) == []
    device.clock.advance(60)
    run_until_idle(tasks)
    assert ran == ["a", "b", "c"]
    device.clock.advance(100_000)
    tasks.submit("note", ["d"], key="k", on_conflict="append")
    assert tasks.prune() == 3, "a chain that goes on for ever does not keep everything"


def test_a_key_that_is_taken_again_stands_in_the_way_of_a_retry(
    tasks: BackgroundTaskManager, ran: list[str]
) -> None:
    bad = tasks.submit("note", ["bad"], key="k")
    run_until_idle(tasks)
    new = tasks.submit("note", ["new"], key="k")
    with pytest.raises(TaskError, match=f"its key 'k' is held by task {new.id} now"):
        tasks.retry(bad.id)
    assert bad.state is TaskState.FAILED


def test_submit_many_with_a_key_adds_one(tasks: BackgroundTaskManager, ran: list[str]) -> None:
    handles = tasks.submit_many("note", [["a"], ["b"]], key="k")
    assert len({handle.id for handle in handles}) == 1
    assert len(tasks.list()) == 1


def test_an_end_that_is_told_twice_frees_nobody_too_early(
    tasks: BackgroundTaskManager, ran: list[str], device: FakeDevice
) -> None:
    @tasks.task(name="replaced", max_attempts=1)
    def replaced() -> None:
        """Replaced while it runs, by one that comes after another one, too."""
        newer.append(tasks.submit("note", ["new"], key="k", on_conflict="replace", after=slow))
        raise ValueError

    newer: list[Handle] = []
    slow = tasks.submit("note", ["slow"], delay_s=60)
    old = tasks.submit("replaced", key="k")
    run_until_idle(tasks)
    assert (old.state, newer[0].state) == (TaskState.CANCELLED, TaskState.BLOCKED)
    assert tasks.submit("note", ["in vain"], after=old).state is TaskState.FAILED
    assert newer[0].state is TaskState.BLOCKED, "it still comes after the slow one"
    device.clock.advance(60)
    run_until_idle(tasks)
    assert ran == ["slow", "new"]
