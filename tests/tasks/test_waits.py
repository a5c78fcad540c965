"""What happens between a worker's last look at the machine and its wait is not missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.support import group_states
from deferpower import BackgroundTaskManager, Constraints
from deferpower._contract import Rules, WakeRow, Watch
from deferpower.sync import BackgroundSyncManager
from deferpower.tasks.context import Context
from deferpower.testing import FakeDevice
from deferpower.traces import SLOT_S, Slot
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until

CHARGING = Constraints(charging=True)


class Interrupted(FakeDevice):
    """A device on which something happens as somebody begins to wait for it.

    Attributes:
        waits: how many have begun, but for those for nothing of the machine.
        happens: what happens before the next one; it happens once.
    """

    waits = 0
    happens: Callable[[], object] | None = None

    def open_watch(self, rules: Rules) -> Watch:
        return InterruptedWatch(super().open_watch(rules), self)

    def calm(self) -> None:
        """Return once nobody has begun to wait for a while; a spin never gets there."""
        end_s = time.monotonic() + PATIENCE_S
        waits = -1
        while waits != (waits := self.waits):
            assert time.monotonic() < end_s, f"still not calm after {waits} waits"
            time.sleep(0.15)


class InterruptedWatch:
    """The watch of such a device."""

    def __init__(self, watch: Watch, device: Interrupted) -> None:
        self._watch = watch
        self._device = device
        self.follow, self.wake, self.close = watch.follow, watch.wake, watch.close

    def wait(self, *wanted: Any) -> WakeRow:
        if any(wanted[:-2]):
            self._device.waits += 1
            happens, self._device.happens = self._device.happens, None
            if happens is not None:
                # In a thread of its own, as where the program asks why a task waits.
                thread = threading.Thread(target=happens)
                thread.start()
                thread.join()
        return self._watch.wait(*wanted)


@pytest.fixture
def device(backend_name: str) -> Interrupted:
    return Interrupted(plugged=True, percent=90, backend=backend_name)


@pytest.fixture
def tasks(make: MakeManager) -> BackgroundTaskManager:
    """With a task that waits for an idle machine, so that one can ask why it waits."""
    tasks = make()
    tasks.task(lambda: None, name="waits", constraints=Constraints(idle=True)).defer()
    return tasks


def ask(tasks: BackgroundTaskManager) -> None:
    """Have the rules observe the machine as it is now."""
    assert "idle" in str(tasks.why(1))


def have_it_look_again(tasks: BackgroundTaskManager) -> None:
    """Have the worker take a turn, in which there is nothing to do, and wait again."""
    tasks.task(lambda: None, name=f"new {time.monotonic_ns()}")


def test_a_task_that_waits_starts(tasks: BackgroundTaskManager, device: Interrupted) -> None:
    device.unplug()
    handle = tasks.task(lambda: 1, name="one", constraints=CHARGING).defer()
    tasks.start()
    device.calm()

    def plug_in() -> None:
        device.plug_in()
        ask(tasks)

    device.happens = plug_in
    have_it_look_again(tasks)
    assert handle.result(PATIENCE_S) == 1


def test_a_task_that_runs_is_told_to_stop(
    tasks: BackgroundTaskManager, device: Interrupted
) -> None:

    def patient(context: Context) -> None:
        context.wait_for_stop(2 * PATIENCE_S)
        context.stop_if_asked()

    handle = tasks.task(patient, constraints=CHARGING, pass_context=True).defer()
    tasks.start()
    until(lambda: handle.state.value == "running")
    device.calm()

    def unplug() -> None:
        device.unplug()
        ask(tasks)

    device.happens = unplug
    have_it_look_again(tasks)
    until(lambda: handle.state.value == "enqueued", "stopped")
    device.calm()


def test_a_task_that_a_thread_took_up_by_itself_is_told_to_stop(device: Interrupted) -> None:
    """In memory no write to a file tells of its turns."""
    tasks = BackgroundTaskManager(device=device, max_workers=1)
    begun = threading.Event()

    def patient(context: Context) -> None:
        begun.set()
        context.wait_for_stop(2 * PATIENCE_S)
        context.stop_if_asked()

    let_go = threading.Event()
    tasks.task(lambda: let_go.wait(PATIENCE_S), name="first").defer()
    handle = tasks.task(patient, constraints=CHARGING, pass_context=True).defer()
    try:
        tasks.start()
        device.calm()
        let_go.set()
        assert begun.wait(PATIENCE_S)
        device.calm()
        device.unplug()
        until(lambda: handle.state.value == "enqueued", "stopped")
    finally:
        tasks.close()


def test_a_frozen_command_goes_on(tasks: BackgroundTaskManager, device: Interrupted) -> None:
    handle = tasks.submit_command(["sh", "-c", "echo $$; sleep 1000"], constraints=CHARGING)
    tasks.start()
    until(lambda: tasks.logs(handle.id).endswith(b"\n"))
    group = int(tasks.logs(handle.id))
    device.unplug()
    until(lambda: set(group_states(group).values()) == {"T"})
    device.calm()

    def plug_in() -> None:
        device.plug_in()
        ask(tasks)
        device.clock.advance(6)  # until it counts
        ask(tasks)

    device.happens = plug_in
    have_it_look_again(tasks)
    until(lambda: "T" not in group_states(group).values(), "thawed")
    device.calm()


class TestNothingSpins:
    """What is as the last turn found it ends no wait."""

    def test_what_may_start_and_finds_no_place(
        self, make: MakeManager, device: Interrupted
    ) -> None:
        tasks = make(max_workers=1)
        let_go = threading.Event()
        first = tasks.task(
            lambda: let_go.wait(PATIENCE_S), name="first", constraints=CHARGING
        ).defer()
        second = tasks.task(lambda: 2, name="second", constraints=CHARGING).defer()
        tasks.start()
        until(lambda: first.state.value == "running")
        device.calm()
        assert second.state.value == "enqueued"
        let_go.set()
        assert second.result(PATIENCE_S) == 2

    def test_what_runs_on_though_it_was_told_to_stop(
        self, tasks: BackgroundTaskManager, device: Interrupted
    ) -> None:
        let_go = threading.Event()
        stubborn = tasks.task(
            lambda: let_go.wait(PATIENCE_S), name="stubborn", constraints=CHARGING
        )
        handle = stubborn.defer()
        tasks.start()
        until(lambda: handle.state.value == "running")
        assert self.waits_when_pulled_and_plugged_in(device) == 2, "it is told of both"
        let_go.set()
        assert handle.result(PATIENCE_S) is True

    def test_what_is_not_to_be_paused(
        self, tasks: BackgroundTaskManager, device: Interrupted
    ) -> None:
        handle = tasks.submit_command(["sleep", "1000"], constraints=CHARGING, pauses=False)
        tasks.start()
        until(lambda: handle.state.value == "running")
        assert self.waits_when_pulled_and_plugged_in(device) == 0, "it is told of nothing"

    def waits_when_pulled_and_plugged_in(self, device: Interrupted) -> int:
        """How many waits that makes, of a worker that waited already."""
        device.calm()
        waits = device.waits
        device.unplug()
        device.calm()
        device.plug_in()
        device.clock.advance(6)  # until it counts
        device.calm()
        return device.waits - waits

    def test_what_a_forecast_holds_back(
        self, tasks: BackgroundTaskManager, device: Interrupted
    ) -> None:
        now_s = device.wall_clock()
        night_s = now_s - 12 * 3600  # it is noon in UTC
        tasks.import_history(
            Slot("", start_s, 0, 90.0, is_night, 0.0 if is_night else 1.0)
            for start_s in range(int(now_s - 14 * 86_400), int(now_s), SLOT_S)
            for is_night in [(start_s - night_s) % 86_400 < 8 * 3600]
        )
        device.unplug()
        work = tasks.task(lambda: 1, name="work", task_class="background", deadline_s=86_400)
        tasks.start()
        handle = work.defer()
        device.calm()
        assert [reason.code for reason in tasks.why(handle.id).reasons] == ["forecast"]
        waits = device.waits
        device.plug_in()  # now is better than it was
        device.calm()
        assert device.waits > waits
        assert handle.state.value == "enqueued", "it may be loose"

    def test_what_is_to_be_sent_and_kept_back(self, device: Interrupted, tmp_path: Path) -> None:
        sent: list[object] = []
        device.unplug(40)  # above one line and below the other
        with BackgroundSyncManager(sent.append, tmp_path / "sync.db", device=device) as sync:
            sync.queue_for_sync("later", priority="low")
            device.calm()
            assert not sent
            device.plug_in()
            until(lambda: sent == ["later"])
            device.calm()
