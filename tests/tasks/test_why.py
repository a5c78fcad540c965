"""Every reason to wait, asked for: none is ever unknown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower._contract import CONSTRAINTS
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager, crash
from waiting import PATIENCE_S


class Case(NamedTuple):
    """A machine, what a task asks of it, and the answer.

    Attributes:
        unblocks: what would let it start now.
    """

    code: str
    machine: dict[str, Any]
    asks: dict[str, Any]
    sentence: str
    unblocks: str


CASES = [
    Case(
        "charging",
        {},
        {"charging": True},
        "not charging: on battery at 90 %",
        "external power",
    ),
    Case(
        "battery_above",
        {"percent": 80},
        {"battery_above": 85},
        "battery at 80 %, needs more than 85 %",
        "a fuller battery",
    ),
    Case(
        "battery_not_low",
        {"percent": 12, "plugged": True},
        {"battery_not_low": True},
        "battery low: battery at 12 %, needs 20 % once it was at 15 % or less",
        "a fuller battery",
    ),
    Case(
        "idle",
        {"cpu_percent": 30},
        {"idle": True},
        "not idle: cpu 30 % busy, quiet is below 10 %",
        "an idle machine",
    ),
    Case(
        "connected",
        {"connected": False},
        {"network": "connected"},
        "no network connection",
        "a network that costs nothing",
    ),
    Case(
        "unmetered",
        {"connected": True, "metered": True},
        {"network": "unmetered"},
        "the network is metered",
        "a network that costs nothing",
    ),
    Case(
        "storage_not_low",
        {"storage_percent": None},
        {"storage_not_low": True},
        "storage not known: no watched file system can be asked; name one with storage_paths",
        "room in memory, processor and storage",
    ),
    Case(
        "memory",
        {"memory_percent": 85},
        {"resources_ok": True},
        "memory 85 % used, needs below 80 %",
        "room in memory, processor and storage",
    ),
    Case(
        "window",
        {},
        {"window": "02:00-03:00"},
        "outside the window 02:00-03:00 (now 12:00)",
        "the hours 02:00-03:00",
    ),
    Case(
        "custom",
        {},
        {"custom": "at_home"},
        "condition 'at_home' does not hold",
        "condition 'at_home' to hold",
    ),
]


@pytest.fixture
def home() -> list[str]:
    """Whether the condition ``at_home`` holds: while there is something in the list."""
    return []


@pytest.fixture
def asked(
    make: MakeManager, home: list[str], monkeypatch: pytest.MonkeyPatch
) -> BackgroundTaskManager:
    monkeypatch.setenv("TZ", "UTC")
    tasks = make(predicates={"at_home": lambda reading: bool(home)})
    tasks.task(lambda: "ran", name="work")
    return tasks


def codes(tasks: BackgroundTaskManager, task_id: int) -> list[str]:
    return [reason.code for reason in tasks.why(task_id).reasons]


def test_each_constraint_has_its_case() -> None:
    asked = {code for case in CASES for code in Constraints(**case.asks).codes()}
    assert asked == set(CONSTRAINTS)


@pytest.mark.parametrize("how", ["constraints", "prefer"])
@pytest.mark.parametrize("case", CASES, ids=[case.code for case in CASES])
def test_a_condition_that_is_not_met(
    asked: BackgroundTaskManager, device: FakeDevice, case: Case, how: str
) -> None:
    device.set(**case.machine)
    options: dict[str, Any] = {how: Constraints(**case.asks)}
    handle = asked.submit("work", **options)
    why = handle.why()
    assert (str(why), why.unblocks) == (f"waiting: {case.sentence}", case.unblocks)
    assert case.code in [reason.code for reason in why.reasons]
    assert why.next_s is not None
    assert why.next_s > device.wall_clock()
    assert run_until_idle(asked) == []


ROWS = [
    ("3", {}, {"constraints": Constraints(charging=True)}, ["charging"], "external power"),
    ("4", {}, {"task_class": "charging_only"}, ["charging"], "external power"),
    (
        "5",
        {"percent": 15},
        {},
        ["suspended", "level"],
        "external power or a fuller battery",
    ),
    ("6", {"cpu_percent": 95}, {}, ["cpu"], "room in memory, processor and storage"),
    ("6", {"storage_percent": 95}, {}, ["disk"], "room in memory, processor and storage"),
    (
        "8",
        {"percent": 45},
        {"task_class": "background"},
        ["level"],
        "external power or a fuller battery or an idle machine",
    ),
    (
        "9",
        {"percent": 60},
        {"task_class": "normal"},
        ["level"],
        "external power or a fuller battery or an idle machine",
    ),
]


@pytest.mark.parametrize(("row", "machine", "options", "expected", "unblocks"), ROWS)
def test_a_row_of_the_table(
    asked: BackgroundTaskManager,
    device: FakeDevice,
    row: str,
    machine: dict[str, Any],
    options: dict[str, Any],
    expected: list[str],
    unblocks: str,
) -> None:
    device.set(**machine)
    handle = asked.submit("work", **options)
    assert (codes(asked, handle.id), handle.why().unblocks) == (expected, unblocks), row


@pytest.mark.parametrize("verdict", ["defer_to_background", "defer_to_charging"])
def test_row_0_a_verdict_by_hand(asked: BackgroundTaskManager, verdict: str) -> None:
    handle = asked.submit("work", override=verdict)
    assert codes(asked, handle.id) == ["override"]
    assert handle.why().unblocks == "setting it to run by hand"


def test_several_conditions_that_only_help_together(
    asked: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.set(percent=40, connected=False)
    asks = Constraints(network="connected", custom="at_home", battery_above=30)
    handle = asked.submit("work", constraints=asks)
    assert codes(asked, handle.id) == ["connected", "custom"]
    assert handle.why().unblocks == (
        "a network that costs nothing and condition 'at_home' to hold together"
    )


def test_what_only_history_keeps(asked: BackgroundTaskManager, device: FakeDevice) -> None:
    handle = asked.submit("work", constraints=Constraints(battery_above=50))
    device.set(percent=50)
    assert codes(asked, handle.id) == ["battery_above"]
    device.set(percent=52)
    assert "53 % again after 50 % or less" in str(handle.why())
    assert handle.why().unblocks == "a fuller battery"
    device.set(percent=53)
    assert run_until_idle(asked) != []
    charging = asked.submit("work", constraints=Constraints(charging=True))
    device.plug_in()
    device.clock.advance(5)
    charging.why()
    device.unplug()
    charging.why()
    device.plug_in()
    assert str(charging.why()) == "waiting: not charging: plugged in for less than 5 s"
    assert charging.why().unblocks == "the charger to stay plugged in"


def test_a_moment_that_has_not_come(asked: BackgroundTaskManager, device: FakeDevice) -> None:
    handle = asked.submit("work", delay_s=90 * 60, constraints=Constraints(charging=True))
    why = handle.why()
    assert str(why) == "waiting: not due yet; 90 min to go"
    assert (why.unblocks, why.next_s) == ("90 min", device.wall_clock() + 5400)


def test_a_pause_after_a_failure(tasks: BackgroundTaskManager) -> None:
    def fail() -> None:
        raise OSError("no such host")

    handle = tasks.task(fail, name="fail", backoff_s=1e6, backoff_cap_s=1e6).defer()
    run_until_idle(tasks)
    assert codes(tasks, handle.id) == ["backoff"]
    assert "attempt 1 failed (OSError: no such host); the next one is in " in str(handle.why())


def test_a_task_that_comes_after_another(asked: BackgroundTaskManager) -> None:
    first = asked.submit("work", constraints=Constraints(charging=True))
    second = asked.submit("work", after=first)
    third = asked.submit("work", after=[first, second])
    assert str(second.why()) == f"waiting: it comes after task {first.id}, which is still waiting"
    assert str(third.why()).endswith(
        f"it comes after task {second.id}, which is waiting for another itself"
    )
    assert second.why().unblocks == f"the success of task {first.id}"
    assert third.why().unblocks == (
        f"the success of task {first.id} and the success of task {second.id}"
    )
    assert crash_free_running(asked, first.id, second.id) == (
        f"waiting: it comes after task {first.id}, which is running"
    )


def crash_free_running(tasks: BackgroundTaskManager, first: int, second: int) -> str:
    """What is said of the second while the first runs."""
    device = tasks.device
    assert isinstance(device, FakeDevice)
    device.plug_in()
    device.clock.advance(5)
    worker = tasks._crew().worker
    assert worker.turn(1) == 1
    try:
        return str(tasks.why(second))
    finally:
        worker.release_ready()


def test_no_worker_and_the_worker_of_another_process(
    make: MakeManager, asked: BackgroundTaskManager
) -> None:
    handle = asked.submit("work")
    assert str(handle.why()) == (
        "waiting: nothing keeps it but that no worker runs; start one with deferpower worker, or "
        "in a program with start()"
    )
    assert handle.why().unblocks == "a worker"
    other = make()
    worker = other._crew().worker
    other._queue.database.write(
        lambda cursor: cursor.execute(
            "UPDATE workers SET pid = 1, pid_namespace = 'container' WHERE id = ?", (worker.id,)
        )
    )
    assert codes(asked, handle.id) == ["other_worker"]
    assert handle.why().reasons[0].seen == "process 1 runs one"


class Holding:
    """A function that runs until it is let go."""

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.running.release()
        assert self.go_on.wait(PATIENCE_S)


@pytest.fixture
def holding() -> Iterator[Holding]:
    function = Holding()
    yield function
    function.go_on.set()


def test_all_places_taken(make: MakeManager, holding: Holding) -> None:
    tasks = make(max_workers=1)
    hold = tasks.task(holding, name="hold")
    with tasks:
        hold.defer()
        assert holding.running.acquire(timeout=PATIENCE_S)
        waiting = tasks.submit(hold, at_most_once=True)
        assert codes(tasks, waiting.id) == ["busy"]
        assert waiting.why().unblocks == "the end of one of them"
        holding.go_on.set()
        waiting.result(PATIENCE_S)


def test_a_full_batch_of_charging_only_tasks(
    make: MakeManager, device: FakeDevice, holding: Holding
) -> None:
    tasks = make(max_workers=4)
    hold = tasks.task(holding, name="hold", task_class="charging_only")
    device.set(percent=50, plugged=True)
    device.clock.advance(5)
    with tasks:
        first = hold.defer()
        assert holding.running.acquire(timeout=PATIENCE_S)
        second = hold.defer()
        assert codes(tasks, second.id) == ["charging_batch"]
        device.set(percent=80)
        assert holding.running.acquire(timeout=PATIENCE_S), "five at once from 80 % on"
        holding.go_on.set()
        first.result(PATIENCE_S)
        second.result(PATIENCE_S)


def test_one_that_crashed_waits_for_its_turn(make: MakeManager, holding: Holding) -> None:
    tasks = make(max_workers=4)
    hold = tasks.task(holding, name="hold")
    handles = tasks.submit_many(hold, [[], []])
    assert crash(tasks, 2) == 2
    with tasks:
        assert holding.running.acquire(timeout=PATIENCE_S)
        (waiting,) = tasks.list(["enqueued"])
        (running,) = tasks.list(["running"])
        assert codes(tasks, waiting.id) == ["suspect"]
        assert tasks.why(waiting.id).unblocks == f"the end of task {running.id}"
        holding.go_on.set()
        for handle in handles:
            handle.result(PATIENCE_S)


def test_what_has_ended_says_how(tasks: BackgroundTaskManager) -> None:
    good, bad = (
        tasks.task(lambda: 1, name="good"),
        tasks.task(lambda: 1 / 0, name="bad", max_attempts=1),
    )
    done, failed, gone = good.defer(), bad.defer(), good.options(delay_s=5).defer()
    run_until_idle(tasks)
    gone.cancel()
    assert [str(handle.why()) for handle in (done, failed, gone)] == [
        "succeeded",
        "failed: ZeroDivisionError: division by zero",
        "cancelled",
    ]
    assert all(handle.why().unblocks is None for handle in (done, failed, gone))


def test_since_when(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    start_s = device.wall_clock()
    moments: list[float] = []

    def note() -> None:
        (running,) = tasks.list(["running"])
        moments.append(tasks.why(running.id).since_s)

    asks = Constraints(charging=True)
    first = tasks.task(note, name="first", constraints=asks).defer()
    second = tasks.task(lambda: 0, name="second").options(after=first, delay_s=1000).defer()
    device.clock.advance(10)
    assert (first.why().since_s, second.why().since_s) == (start_s, start_s)
    device.plug_in()
    device.clock.advance(20)
    run_until_idle(tasks)
    assert moments == [start_s + 30]
    assert (first.why().since_s, second.why().since_s) == (start_s + 30, start_s + 30)
    assert second.why().state is TaskState.ENQUEUED
