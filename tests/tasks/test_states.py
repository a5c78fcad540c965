"""Every state of a task, and every way from one to another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deferpower import BackgroundTaskManager, Constraints, QueueFull, TaskError, TaskState
from deferpower.tasks.context import Context, Stopped
from deferpower.tasks.record import TaskFailed
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager

DAY_S = 86_400.0


class Flaky:
    """A function that fails as long as it is told to."""

    def __init__(self) -> None:
        self.fails = True
        self.attempts: list[int] = []

    def __call__(self, ctx: Context) -> str:
        self.attempts.append(ctx.attempt)
        if self.fails:
            raise ValueError("no luck")
        return "done"


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


def test_a_task_waits_runs_and_succeeds(tasks: BackgroundTaskManager) -> None:
    seen: list[list[int]] = []

    @tasks.task
    def double(number: int) -> int:
        seen.append([task.id for task in tasks.list(["running"])])
        return 2 * number

    handle = double.options(metadata={"for": "a test"}).defer(21)
    assert handle.state is TaskState.ENQUEUED
    (ran,) = run_until_idle(tasks)
    assert seen == [[handle.id]]
    assert (ran.state, ran.result, ran.attempts, ran.error) == (TaskState.SUCCEEDED, 42, 1, None)
    assert (ran.args, ran.kwargs, ran.metadata) == ((21,), {}, {"for": "a test"})
    assert (handle.result(0), tasks.stats()[TaskState.SUCCEEDED]) == (42, 1)


def test_it_fails_again_and_again_and_is_kept_as_a_dead_letter(
    tasks: BackgroundTaskManager, device: FakeDevice, flaky: Flaky
) -> None:
    call = tasks.task(flaky, name="flaky", pass_context=True, max_attempts=3, backoff_s=30)
    handle = call.defer()
    for attempt in (1, 2):
        assert len(run_until_idle(tasks)) == 1
        record = handle.record
        assert (record.state, record.attempts) == (TaskState.ENQUEUED, attempt)
        assert record.error is not None
        assert record.error.endswith("ValueError: no luck")
        assert 'raise ValueError("no luck")' in record.error, "the traceback is kept"
        assert 0 <= record.due_s - device.wall_clock() <= 30 * 2 ** (attempt - 1)
        device.clock.advance(60)
    run_until_idle(tasks)
    assert (handle.state, flaky.attempts) == (TaskState.FAILED, [1, 2, 3])
    assert [failure.attempt for failure in tasks.failures(handle.id)] == [1, 2, 3]
    with pytest.raises(TaskFailed, match="no luck") as caught:
        handle.result(0)
    assert caught.value.record.state is TaskState.FAILED

    flaky.fails = False
    tasks.retry(handle.id)
    assert (handle.state, handle.record.attempts) == (TaskState.ENQUEUED, 0)
    run_until_idle(tasks)
    assert (handle.result(0), flaky.attempts) == ("done", [1, 2, 3, 1])


def test_pauses_between_attempts_are_drawn_from_the_whole_of_a_doubling_span(
    tasks: BackgroundTaskManager, device: FakeDevice, flaky: Flaky
) -> None:
    call = tasks.task(
        flaky, name="flaky", pass_context=True, max_attempts=8, backoff_s=10, backoff_cap_s=60
    )
    tasks.submit_many(call, [[] for _ in range(40)])
    for longest_s in (10, 20, 40, 60, 60):
        assert len(run_until_idle(tasks)) == 40
        pauses = [task.due_s - device.wall_clock() for task in tasks.list()]
        assert 0 <= min(pauses) < longest_s / 4
        assert longest_s * 3 / 4 < max(pauses) <= longest_s
        device.clock.advance(60)


def test_giving_way_without_being_asked_counts_as_a_failure(tasks: BackgroundTaskManager) -> None:
    @tasks.task
    def quits() -> None:
        raise Stopped("I had enough")

    handle = quits.defer()
    assert len(run_until_idle(tasks)) == 1
    assert (handle.state, handle.record.attempts) == (TaskState.ENQUEUED, 1)


def test_a_task_that_exits_fails_and_the_worker_lives(tasks: BackgroundTaskManager) -> None:
    leave = tasks.task(lambda: exit(3), name="leave", max_attempts=1)
    stay = tasks.task(lambda: "here", name="stay")
    left, stayed = leave.defer(), stay.defer()
    run_until_idle(tasks)
    assert (left.state, left.record.error) == (TaskState.FAILED, "it called sys.exit(3)")
    assert stayed.result(0) == "here"


def test_what_waits_can_be_cancelled_and_waits_again_after_retry(
    tasks: BackgroundTaskManager,
) -> None:
    ran: list[str] = []
    note = tasks.task(ran.append, name="note")
    handle = note.defer("a")
    assert tasks.cancel(handle.id) is TaskState.ENQUEUED
    assert (run_until_idle(tasks), handle.state) == ([], TaskState.CANCELLED)
    assert tasks.cancel(handle.id) is TaskState.CANCELLED
    tasks.retry(handle.id)
    run_until_idle(tasks)
    assert (ran, handle.state) == (["a"], TaskState.SUCCEEDED)
    assert tasks.cancel(handle.id) is TaskState.SUCCEEDED
    with pytest.raises(TaskError, match="it succeeded; only one that failed"):
        tasks.retry(handle.id)
    for ask in (tasks.get, tasks.why, tasks.cancel, tasks.retry, tasks.result):
        with pytest.raises(TaskError, match="task 99: there is no such task"):
            ask(99)


def test_a_running_task_that_is_cancelled_does_not_run_again(tasks: BackgroundTaskManager) -> None:
    @tasks.task
    def fails() -> None:
        assert tasks.cancel(handle.id) is TaskState.RUNNING
        raise ValueError("in the midst of it")

    handle = fails.defer()
    run_until_idle(tasks)
    record = handle.record
    assert (record.state, record.attempts) == (TaskState.CANCELLED, 1)
    tasks.retry(handle.id)
    tasks.retry(handle.id)
    assert handle.state is TaskState.ENQUEUED, "asking twice does no harm"


def test_one_that_succeeded_before_it_saw_that_it_was_cancelled_has_succeeded(
    tasks: BackgroundTaskManager,
) -> None:
    @tasks.task
    def quick() -> str:
        (running,) = tasks.list(["running"])
        return tasks.cancel(running.id)

    handle = quick.defer()
    run_until_idle(tasks)
    assert handle.result(0) == "running"


def test_a_deadline_runs_a_task_whatever_holds_or_lets_it_expire(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    asks = Constraints(charging=True)
    tasks.task(lambda: "ran", name="run", constraints=asks, deadline_s=100)
    tasks.task(lambda: 0, name="expire", constraints=asks, deadline_s=100, on_deadline="expire")
    run, expire = tasks.submit("run"), tasks.submit("expire")
    device.clock.advance(99.5)
    assert run_until_idle(tasks) == []
    device.clock.advance(0.5)
    assert [task.id for task in run_until_idle(tasks)] == [run.id]
    record = expire.record
    assert (record.state, record.error) == (
        TaskState.EXPIRED,
        "its deadline came before it could run",
    )
    tasks.retry(expire.id)
    assert expire.record.deadline_s == device.wall_clock() + 100, "its life begins anew"


@pytest.mark.parametrize("asked", [{"override": "execute_now"}, {"task_class": "critical"}])
@pytest.mark.parametrize("delay_s", [0.0, 20.0])
def test_what_runs_whatever_holds_is_not_given_up_at_its_deadline(
    tasks: BackgroundTaskManager, device: FakeDevice, asked: dict[str, Any], delay_s: float
) -> None:
    tasks.task(lambda: 1, name="anyhow", deadline_s=100, on_deadline="expire")
    handle = tasks.submit("anyhow", delay_s=delay_s, **asked)
    device.clock.advance(1000)
    assert "deadline" not in str(tasks.why(handle.id))
    run_until_idle(tasks)
    assert (handle.state, handle.result()) == (TaskState.SUCCEEDED, 1)


def test_it_expires_while_it_is_blocked_and_between_attempts_too(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    def fail() -> None:
        raise ValueError("not now")

    tasks.task(lambda: 0, name="first", constraints=Constraints(charging=True))
    tasks.task(lambda: 0, name="second", deadline_s=100, on_deadline="expire")
    tasks.task(fail, name="fail", deadline_s=100, on_deadline="expire", backoff_s=1e6)
    tasks.task(lambda: 0, name="third")
    first = tasks.submit("first")
    second = tasks.submit("second", after=first)
    third = tasks.submit("third", after=second)
    failing = tasks.submit("fail", metadata={}, backoff_s=1e9, backoff_cap_s=1e9)
    run_until_idle(tasks)
    assert failing.state is TaskState.ENQUEUED
    device.clock.advance(100)
    run_until_idle(tasks)
    assert (second.state, failing.state) == (TaskState.EXPIRED, TaskState.EXPIRED)
    assert "not now" in str(failing.record.error), "what went wrong before is kept"
    assert third.record.error == f"task {second.id}, which it waited for, expired"
    assert first.state is TaskState.ENQUEUED


def test_a_deadline_of_kind_run_leaves_pauses_and_chains_alone(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.task(lambda: 0, name="first", constraints=Constraints(charging=True))
    tasks.task(lambda: "at last", name="second", constraints=Constraints(idle=True), deadline_s=10)
    first = tasks.submit("first")
    second = tasks.submit("second", after=first)
    device.clock.advance(20)
    assert (run_until_idle(tasks), second.state) == ([], TaskState.BLOCKED)
    device.plug_in()
    device.clock.advance(5)
    run_until_idle(tasks)
    assert second.result(0) == "at last"


def test_a_deadline_before_its_due_moment_is_refused(tasks: BackgroundTaskManager) -> None:
    late = tasks.task(lambda: 0, name="late", deadline_s=60)
    with pytest.raises(TaskError, match="its deadline is 60 s from now, before it is due in 90 s"):
        late.options(delay_s=90).defer()
    late.options(delay_s=60).defer()
    assert len(tasks.list()) == 1


def test_a_preference_is_given_up_at_its_moment_and_not_before(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    wishes = {
        "idle": (Constraints(idle=True), 50),
        "battery": (Constraints(battery_above=95), 60),
        "network": (Constraints(network="unmetered"), 70),
        "charging": (Constraints(charging=True), 80),
        "window": (Constraints(window="02:00-03:00"), 95),
    }
    for name, (prefer, _) in wishes.items():
        tasks.task(lambda: 0, name=name, prefer=prefer, deadline_s=10_000)
        tasks.submit(name)
    for name, (_, percent) in wishes.items():
        start_s = tasks.list(limit=1)[0].created_s
        device.clock.set_wall(start_s + percent * 100 - 0.5)
        assert run_until_idle(tasks) == [], f"{name} is still preferred"
        device.clock.set_wall(start_s + percent * 100)
        assert [task.name for task in run_until_idle(tasks)] == [name]


def test_a_task_is_not_begun_before_its_time(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    note = tasks.task(lambda: 0, name="note")
    later = note.options(delay_s=60).defer()
    at = note.options(not_before_s=device.wall_clock() + 120).defer()
    past = note.options(not_before_s=1.0).defer()
    assert [task.id for task in run_until_idle(tasks)] == [past.id]
    device.clock.advance(59.5)
    assert run_until_idle(tasks) == []
    device.clock.advance(0.5)
    assert [task.id for task in run_until_idle(tasks)] == [later.id]
    device.clock.advance(60)
    assert [task.id for task in run_until_idle(tasks)] == [at.id]


def test_critical_tasks_go_first_then_by_priority_then_by_age(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    ran: list[str] = []
    note = tasks.task(ran.append, name="note")
    asked: dict[str, dict[str, Any]] = {
        "low": {"priority": "low"},
        "first": {},
        "second": {},
        "high": {"priority": "high"},
        "critical": {"task_class": "critical", "priority": "low"},
    }
    for name, options in asked.items():
        tasks.submit(note, [name], **options)
        device.clock.advance(1)
    run_until_idle(tasks)
    assert ran == ["critical", "high", "first", "second", "low"]


def test_a_full_queue_refuses_all_or_nothing_and_says_how_full(make: MakeManager) -> None:
    tasks = make(max_queued=3)
    note = tasks.task(lambda *_: 0, name="note")
    tasks.submit_many(note, [[1], [2]])
    with pytest.raises(
        QueueFull, match="2 tasks wait or run and 3 is the most; no room for 2 more"
    ):
        tasks.submit_many(note, [[3], [4]])
    assert len(tasks.list()) == 2
    note.defer(3)
    with pytest.raises(QueueFull, match="no room for 1 more"):
        note.defer(4)
    run_until_idle(tasks)
    note.defer(4)


def test_many_are_kept_to_the_letter_and_in_order(tasks: BackgroundTaskManager) -> None:
    texts = ["", '"', "\\", "\0\n\x7f", "\u2028", "🔋", "\ufeff", "[{", "'; --", "\\u0000"] * 25
    handles = tasks.submit_many(
        tasks.task(lambda *_: 0, name="note"), [[n, text] for n, text in enumerate(texts)]
    )
    assert len({handle.id for handle in handles}) == 250
    assert [handle.record.args for handle in handles] == list(enumerate(texts))


def test_ended_tasks_are_kept_for_a_while_and_numbers_are_never_used_again(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    note = tasks.task(lambda: 0, name="note")
    old = tasks.submit_many(note, [[], []])
    waiting = note.options(delay_s=3 * DAY_S).defer()
    run_until_idle(tasks)
    device.clock.advance(DAY_S)
    assert tasks.prune() == 0
    device.clock.advance(1)
    assert tasks.prune() == 2
    assert [task.id for task in tasks.list()] == [waiting.id]
    tasks.cancel(waiting.id)
    assert tasks.prune(older_than_s=0) == 0, "it has only just ended"
    device.clock.advance(1)
    tasks.prune(older_than_s=0)
    assert note.defer().id > waiting.id > old[1].id


def test_what_a_waiting_task_comes_after_is_not_pruned(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    one = tasks.task(lambda: 1, name="one")
    add = tasks.task(lambda ctx: sum(ctx.results) + 1, name="add", pass_context=True)
    first = one.defer()
    run_until_idle(tasks)
    second = add.options(after=first, delay_s=10 * DAY_S).defer()
    device.clock.advance(10 * DAY_S)
    assert tasks.prune() == 0
    run_until_idle(tasks)
    assert second.result(0) == 2
    device.clock.advance(2 * DAY_S)
    one.defer()
    assert tasks.prune() == 2


def test_what_failed_tasks_come_after_is_pruned_with_them(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    """And not before them: they may be sent to run again."""
    one = tasks.task(lambda: 1, name="one")
    fails = tasks.task(lambda: 1 // 0, name="fails", max_attempts=1)
    lone, first, other = one.defer(), one.defer(), one.defer()
    second = one.options(after=[first, other]).defer()
    third = fails.options(after=second).defer()
    fourth = one.options(after=[third, lone], delay_s=DAY_S / 2).defer()
    newest = one.options(delay_s=5 * DAY_S).defer()
    run_until_idle(tasks)
    device.clock.advance(DAY_S / 2)
    run_until_idle(tasks)
    device.clock.advance(DAY_S / 2 + 1)
    assert [third.state, fourth.state] == ["failed", "failed"]
    assert tasks.prune() == 6
    assert [task.id for task in tasks.list()] == [newest.id]


def test_a_long_chain_that_failed_is_pruned_at_once(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    fails = tasks.task(lambda: 1 // 0, name="fails", max_attempts=1)
    handle = fails.defer()
    for _ in range(2500):
        handle = fails.options(after=handle).defer()
    newest = fails.options(delay_s=5 * DAY_S).defer()
    run_until_idle(tasks)
    device.clock.advance(DAY_S + 1)
    assert tasks.prune() == 2501
    assert [task.id for task in tasks.list()] == [newest.id]


def test_keys_of_attempts_are_the_same_and_those_of_files_differ(
    make: MakeManager, device: FakeDevice
) -> None:
    keys: list[str] = []

    def fail_once(ctx: Context) -> None:
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            raise ValueError

    tasks, other = make(), make(path=None)
    for manager in (tasks, other):
        manager.task(fail_once, name="f", pass_context=True)
    handle = tasks.submit("f")
    run_until_idle(tasks)
    device.clock.advance(60)
    run_until_idle(tasks)
    assert keys == [handle.record.idempotency_key] * 2
    assert other.submit("f").record.idempotency_key not in keys


def test_a_number_becomes_a_handle_again(tasks: BackgroundTaskManager) -> None:
    number = tasks.task(abs, name="size").defer(-3).id
    assert tasks.handle(number).state is TaskState.ENQUEUED
    run_until_idle(tasks)
    assert tasks.handle(number).result(0) == 3
    with pytest.raises(TaskError, match="task 99: there is no such task"):
        tasks.handle(99)


def test_many_are_deferred_at_once_with_the_options_of_one(tasks: BackgroundTaskManager) -> None:
    size = tasks.task(abs, name="size")
    handles = size.options(priority="high").defer_many([[-1], [-2]])
    handles += asyncio.run(size.defer_many_async([[-3]]))
    assert [handle.record.spec.priority for handle in handles] == ["high", "high", "normal"]
    run_until_idle(tasks)
    assert [handle.result(0) for handle in handles] == [1, 2, 3]
    with pytest.raises(TaskError, match="cannot be called so"):
        size.defer_many([[1], []])
    assert len(tasks.list()) == 3


def test_listing_goes_by_state_and_in_pages(tasks: BackgroundTaskManager) -> None:
    note = tasks.task(lambda: 0, name="note")
    ids = [handle.id for handle in tasks.submit_many(note, [[]] * 5)]
    tasks.cancel(ids[2])
    page = tasks.list(limit=2)
    assert [task.id for task in page] == [ids[4], ids[3]]
    assert [task.id for task in tasks.list(before=page[-1].id, limit=2)] == [ids[2], ids[1]]
    for states in ("cancelled", TaskState.CANCELLED, ["cancelled"], {TaskState.CANCELLED}):
        assert [task.id for task in tasks.list(states)] == [ids[2]]
    assert tasks.stats()[TaskState.ENQUEUED] == 4
    with pytest.raises(ValueError, match="'lost' is unknown; known are blocked, enqueued"):
        tasks.list("lost")


def test_a_result_that_cannot_be_kept_does_not_undo_the_work(tasks: BackgroundTaskManager) -> None:
    handle = tasks.task(lambda: {1, 2}, name="set").defer()
    run_until_idle(tasks)
    record = handle.record
    assert (record.state, record.result) == (TaskState.SUCCEEDED, None)
    assert "so it was not kept" in str(record.error)
