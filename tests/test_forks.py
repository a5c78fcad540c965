"""A fork while another thread is at work: the child finds no lock held, and nothing half done."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deferpower import (
    BackgroundSyncManager,
    BackgroundTaskManager,
    Constraints,
    IntelligentScheduler,
    Task,
    TaskClass,
)
from deferpower._contract import Rules, Watch
from deferpower.sync.adapters import CallableTarget
from deferpower.sync.target import SyncItem
from deferpower.testing import FakeDevice, ManualClock

PATIENCE_S = 10

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked child; its exit status, below 0 if it hung."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(PATIENCE_S)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Holdup:
    """Holds up the thread that it was made for, and no other, until it is told."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.is_inside = threading.Event()
        self.may_go = threading.Event()

    def __call__(self) -> None:
        if threading.current_thread() is self.thread:
            self.is_inside.set()
            assert self.may_go.wait(PATIENCE_S)

    @contextmanager
    def amid(self, work: Callable[[], object]) -> Iterator[None]:
        """Another thread is amid this work, inside."""
        self.thread = threading.Thread(target=work)
        self.thread.start()
        try:
            assert self.is_inside.wait(PATIENCE_S)
            yield
        finally:
            self.may_go.set()
            self.thread.join()


def test_amid_learning_from_the_history(backend_name: str, tmp_path: Path) -> None:
    holdup = Holdup()

    class Clock(ManualClock):
        def time(self) -> float:
            holdup()
            return super().time()

    device = FakeDevice(clock=Clock(), backend=backend_name)
    with closing(BackgroundTaskManager(tmp_path / "queue.db", device=device)) as tasks:
        with holdup.amid(tasks.forecast):
            assert in_child(tasks.forecast) == 0
        assert len(tasks.forecast(3)) == 3


def test_amid_asking_a_condition_of_the_program(backend_name: str) -> None:
    holdup = Holdup()

    def is_open(_: object) -> bool:
        holdup()
        return True

    device = FakeDevice(plugged=False, percent=90, backend=backend_name)
    scheduler = IntelligentScheduler(device, predicates={"open": is_open})
    first = Task(task_class=TaskClass.NORMAL, created_s=0.0)
    asking = Task(
        task_class=TaskClass.NORMAL, constraints=Constraints(custom=("open",)), created_s=0.0
    )
    charging = Task(
        task_class=TaskClass.NORMAL, constraints=Constraints(charging=True), created_s=0.0
    )
    ids = [scheduler.compile(task) for task in (first, asking, charging)]
    reading = device.read()
    decided = scheduler.schedule_task(charging, reading)
    device.clock.advance(5)

    def child() -> None:
        assert [scheduler.compile(task) for task in (first, asking, charging)] == ids
        again = scheduler.schedule_task(charging, device.read())
        assert again.verdict is decided.verdict
        assert scheduler.held() == {"open": True}
        outcomes = scheduler.evaluate(running=False)
        assert len(outcomes) == 3
        assert outcomes[ids[2]] != outcomes[ids[1]]

    with holdup.amid(lambda: scheduler.schedule_task(asking, device.read())):
        assert in_child(child) == 0
    child()


def test_amid_starting_to_send(backend_name: str, tmp_path: Path) -> None:
    holdup = Holdup()

    class Slow(FakeDevice):
        def open_watch(self, rules: Rules) -> Watch:
            holdup()
            return super().open_watch(rules)

    sync = BackgroundSyncManager(
        lambda _: None, tmp_path / "sync.db", device=Slow(backend=backend_name)
    )

    def child() -> None:
        with sync:
            sync.queue_for_sync(1)
            assert sync.wait(PATIENCE_S)

    with closing(sync):
        with holdup.amid(sync.start):
            assert in_child(child) == 0
        sync.queue_for_sync(2)
        assert sync.wait(PATIENCE_S)


def test_amid_sending() -> None:
    holdup = Holdup()
    loops = set()

    async def send(data: object) -> None:
        loops.add(asyncio.get_running_loop())
        holdup()
        await asyncio.sleep(0)

    target = CallableTarget(send)
    item = SyncItem("k", b"1")

    def child() -> None:
        assert [outcome.status for outcome in target.send([item])] == ["delivered"]
        assert len(loops) == 2
        target.close()

    with holdup.amid(lambda: target.send([item])):
        assert in_child(child) == 0
    assert [outcome.status for outcome in target.send([item])] == ["delivered"]
    assert len(loops) == 1
    target.close()
