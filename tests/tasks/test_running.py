"""Tasks that run while the machine changes: a real worker, on a device and a clock by hand."""

from __future__ import annotations

import logging
import threading

import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower.store.turns import Claimed
from deferpower.tasks.context import Context
from deferpower.testing import FakeDevice
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until


def test_one_that_gives_way_goes_on_from_its_checkpoint_and_the_attempt_does_not_count(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    told: list[str] = []
    tasks.on_event(lambda event: told.append(event.kind))
    pages: list[int] = []
    attempts: list[int] = []
    reasons: list[str | None] = []

    @tasks.task(pass_context=True, constraints=Constraints(charging=True))
    def copy(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        for page in range(ctx.resumed_from or 0, 4):
            if page == 2 and len(attempts) == 1:
                assert ctx.wait_for_stop(PATIENCE_S)
                reasons.append(ctx.stop_reason)
            ctx.stop_if_asked()
            pages.append(page)
            ctx.checkpoint(page + 1)
        return "copied"

    device.plug_in()
    device.clock.advance(5)
    with tasks:
        handle = copy.defer()
        until(lambda: pages == [0, 1])
        device.unplug()
        until(lambda: "stopped" in told)
        record = handle.record
        assert (record.state, record.attempts, record.checkpoint) == (TaskState.ENQUEUED, 0, 2)
        assert str(handle.why()) == "waiting: not charging: on battery at 90 %"
        device.plug_in()
        device.clock.advance(5)
        assert handle.result(PATIENCE_S) == "copied"
    assert (pages, attempts) == ([0, 1, 2, 3], [1, 1])
    assert reasons == ["not charging: on battery at 90 %"]
    assert told == ["submitted", "started", "stopping", "stopped", "started", "succeeded"]


def test_a_stop_is_taken_back_when_the_conditions_hold_again(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    told: list[str] = []
    tasks.on_event(lambda event: told.append(event.kind))
    asked, go_on = threading.Event(), threading.Event()

    @tasks.task(pass_context=True, constraints=Constraints(network="connected"))
    def upload(ctx: Context) -> tuple[bool, str | None]:
        assert ctx.wait_for_stop(PATIENCE_S)
        asked.set()
        assert go_on.wait(PATIENCE_S)
        return ctx.should_stop, ctx.stop_reason

    device.set(percent=None, plugged=True, connected=True)
    with tasks:
        handle = upload.defer()
        until(lambda: "started" in told)
        device.set(connected=False)
        assert asked.wait(PATIENCE_S)
        device.set(connected=True)
        until(lambda: "resumed" in told)
        go_on.set()
        assert handle.result(PATIENCE_S) == [False, None]
    assert told == ["submitted", "started", "stopping", "resumed", "succeeded"]


def test_a_run_that_takes_too_long_is_told_so_and_counts_as_failed(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    began = threading.Event()

    @tasks.task(pass_context=True, timeout_s=30, max_attempts=1)
    def slow(ctx: Context) -> None:
        began.set()
        assert ctx.wait_for_stop(PATIENCE_S)
        ctx.stop_if_asked()

    with tasks:
        handle = slow.defer()
        assert began.wait(PATIENCE_S)
        device.clock.advance(30)
        until(lambda: handle.state.has_ended)
    assert (handle.state, handle.record.error) == (TaskState.FAILED, "stopped after its 30 s")


def test_a_running_task_hears_that_it_is_cancelled(tasks: BackgroundTaskManager) -> None:
    began = threading.Event()

    @tasks.task(pass_context=True)
    def endless(ctx: Context) -> None:
        began.set()
        assert ctx.wait_for_stop(PATIENCE_S)
        assert ctx.stop_reason == "cancelled"
        ctx.stop_if_asked()

    with tasks:
        handle = endless.defer()
        assert began.wait(PATIENCE_S)
        tasks.cancel(handle.id)
        until(lambda: handle.state.has_ended)
    assert (handle.state, handle.record.error) == (TaskState.CANCELLED, None)


def test_a_task_that_is_replaced_while_it_runs_ends_before_the_new_one_begins(
    make: MakeManager,
) -> None:
    tasks = make(max_workers=4)
    at_once: list[int] = []
    order: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    @tasks.task(pass_context=True)
    def index(ctx: Context, name: str) -> None:
        at_once.append(1)
        assert len(at_once) == 1, "only one of a key runs"
        order.append(name)
        if name == "old":
            began.set()
            assert ctx.wait_for_stop(PATIENCE_S)
            assert go_on.wait(PATIENCE_S)
        at_once.pop()
        ctx.stop_if_asked()

    with tasks:
        old = index.options(key="index").defer("old")
        assert began.wait(PATIENCE_S)
        new = index.options(key="index", on_conflict="replace").defer("new")
        (reason,) = new.why().reasons
        assert reason.sentence == f"it takes the place of task {old.id}, which has not stopped yet"
        third = index.options(key="index").defer("third")
        assert third.id == new.id, "the old one is on its way out"
        go_on.set()
        new.result(PATIENCE_S)
    assert (order, old.state) == (["old", "new"], TaskState.CANCELLED)


def test_a_worker_that_stops_gives_back_what_runs(tasks: BackgroundTaskManager) -> None:
    began = threading.Event()

    @tasks.task(pass_context=True, max_attempts=1)
    def long(ctx: Context) -> None:
        ctx.checkpoint({"seen": 7})
        began.set()
        assert ctx.wait_for_stop(PATIENCE_S)
        ctx.stop_if_asked()

    handle = long.defer()
    with tasks:
        assert began.wait(PATIENCE_S)
    record = handle.record
    assert (record.state, record.attempts, record.checkpoint) == (
        TaskState.ENQUEUED,
        0,
        {"seen": 7},
    )


def test_a_failure_is_one_line_of_the_log_and_its_traceback_is_for_debugging(
    tasks: BackgroundTaskManager, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    @tasks.task(max_attempts=2, task_class="critical")
    def broken() -> None:
        raise ValueError("no good")

    broken.defer()
    with caplog.at_level(logging.DEBUG, "deferpower.tasks.events"):
        tasks.process_background_tasks()
        device.clock.advance(60)
        tasks.process_background_tasks()
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [line for line in told if line[0] != "DEBUG"] == [
        ("WARNING", "task 1 (broken) retrying: ValueError: no good"),
        ("ERROR", "task 1 (broken) failed: ValueError: no good"),
    ]
    traces = [text for level, text in told if level == "DEBUG" and "Traceback" in text]
    assert [text.split(":")[0] for text in traces] == [
        "task 1 (broken) retrying",
        "task 1 (broken) failed",
    ]
    assert all("in broken\n" in text for text in traces)


def test_a_callback_that_raises_harms_nobody(tasks: BackgroundTaskManager, caplog: object) -> None:
    told: list[str] = []

    def broken(event: object) -> None:
        raise RuntimeError("broken callback")

    tasks.on_event(broken)
    tasks.on_event(lambda event: told.append(event.kind))
    handle = tasks.task(lambda: 1, name="one").defer()
    assert [task.state for task in tasks.process_background_tasks()] == [TaskState.SUCCEEDED]
    assert (handle.result(0), told) == (1, ["submitted", "started", "succeeded"])


def test_tasks_that_ask_for_hundreds_of_different_things_run(make: MakeManager) -> None:
    tasks = make(path=None)
    ran: list[int] = []
    tasks.task(ran.append, name="note")
    for number in range(600):
        line = Constraints(battery_above=number / 20)
        tasks.submit("note", [number], constraints=line, priority="high" if number == 7 else "low")
    assert len(tasks.process_background_tasks(3)) == 3
    assert ran == [7, 0, 1]


def test_a_stop_that_is_final_is_not_taken_back_by_another_thread() -> None:
    class Late(threading.Event):
        """Is cleared only after another thread had the time to make the stop final."""

        def clear(self) -> None:
            stopping.start()
            stopping.join(0.1)
            super().clear()

    ctx = Context(
        Claimed(1, 1, "[[],{}]", 1, 0, 0.0, 0.0, None, None),
        "note",
        "key",
        lambda *_: "",
        lambda _: [],
    )
    ctx._asked = Late()
    stopping = threading.Thread(target=ctx.ask_to_stop, args=["shutting down"], kwargs={"final": 1})
    ctx.ask_to_stop("on battery")
    ctx.take_back_stop()
    stopping.join()
    assert (ctx.should_stop, ctx.stop_reason) == (True, "shutting down")
