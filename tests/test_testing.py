"""`deferpower.testing`: the clock and the device by hand, on each backend's rules engine."""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

import deferpower.testing
from deferpower import (
    ConfigError,
    Constraints,
    IntelligentScheduler,
    ResourceConstrainedProcessor,
    Task,
    TaskClass,
)
from deferpower._contract import CONSTRAINTS, Backend, FactsRow, Rules, WakeRow, Watch
from deferpower.testing import FakeDevice, ManualClock
from deferpower.thresholds import Thresholds
from deferpower.types import NO_BATTERY, Cpu, Disk, Memory, Network, Power, Storage, User
from waiting import PATIENCE_S, until

TIMER, WOKEN, FILE, VERDICT = range(4)
NOON_S = 1_704_110_400.0


def test_the_examples_run(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERPOWER_BACKEND", backend_name)
    outcome = doctest.testmod(deferpower.testing)
    assert outcome.failed == 0
    assert outcome.attempted >= 10


class TestManualClock:
    def test_it_stands_still_until_it_is_moved(self) -> None:
        clock = ManualClock()
        assert (clock.time(), clock.monotonic(), clock()) == (NOON_S, 1000.0, 1000.0)
        clock.advance(90)
        assert (clock.time(), clock.monotonic(), clock()) == (NOON_S + 90, 1090.0, 1090.0)

    def test_only_the_wall_clock_is_set_and_goes_on_in_suspend(self) -> None:
        clock = ManualClock(start_wall_s=5000, start_monotonic_s=7)
        clock.suspend(3600)
        assert clock.time() == 8600
        clock.jump(-7200)
        assert clock.time() == 1400
        clock.set_wall(2e9)
        assert (clock.time(), clock.monotonic()) == (2e9, 7)

    @pytest.mark.parametrize(
        ("verb", "value", "message"),
        [
            ("advance", -1, "advance: -1 is below 0, and time never goes back; jump() sets"),
            ("suspend", -0.5, "suspend: -0.5 is below 0"),
            ("jump", float("inf"), "jump: inf is no finite number of seconds"),
            ("set_wall", "noon", "set_wall: 'noon' is no finite number of seconds"),
            ("advance", float("nan"), "advance: nan is no finite number of seconds"),
            ("advance", True, "advance: True is no finite number of seconds"),
        ],
    )
    def test_a_move_that_cannot_be(self, verb: str, value: Any, message: str) -> None:
        clock = ManualClock()
        with pytest.raises(ConfigError) as raised:
            getattr(clock, verb)(value)
        assert str(raised.value).startswith(message)
        assert (clock.time(), clock.monotonic()) == (NOON_S, 1000.0)

    def test_a_start_that_cannot_be(self) -> None:
        with pytest.raises(ConfigError, match="start_wall_s: None is no finite number"):
            ManualClock(start_wall_s=None)  # type: ignore[arg-type]

    def test_who_listens_is_told_of_each_change_while_it_does(self) -> None:
        clock = ManualClock()
        seen: list[float] = []
        with clock.listening(lambda: seen.append(clock.time() - NOON_S)):
            clock.advance(1)
            clock.jump(-3)
        clock.advance(1)
        assert seen == [0, 1, -2]

    def test_threads_move_it_one_after_the_other(self) -> None:
        clock = ManualClock(start_wall_s=0, start_monotonic_s=0)
        seen: list[float] = []

        def note() -> None:
            time.sleep(0)  # lets another thread run
            seen.append(clock.monotonic())

        def move() -> None:
            for _ in range(500):
                clock.advance(1)

        movers = [threading.Thread(target=move) for _ in range(4)]
        with clock.listening(note):
            for mover in movers:
                mover.start()
            for mover in movers:
                mover.join()
        assert seen == list(range(2001))
        assert (clock.time(), clock.monotonic(), clock.moves) == (2000, 2000, 2000)


class TestReadings:
    def test_a_machine_with_nothing_said(self, backend_name: str) -> None:
        reading = FakeDevice(backend=backend_name).read()
        assert reading.power == NO_BATTERY
        assert reading.cpu == Cpu(0.0, 4, None, 0.0)
        assert reading.memory is not None
        assert reading.memory.used_percent == 30.0
        assert reading.disk == Disk(0.0, 0.0)
        assert reading.network == Network(0.0, 0.0, None, None)
        assert (reading.user, reading.power_saver, reading.idle_since_s) == (None, None, None)
        assert (reading.monotonic_s, reading.wall_s) == (1000.0, NOON_S)
        assert reading.backend == backend_name

    def test_every_figure(self) -> None:
        gib = 1 << 30
        device = FakeDevice(
            plugged=False,
            percent=42,
            cpu_percent=33,
            memory_percent=25,
            storage_percent=75,
            user_present=False,
            connected=True,
            metered=False,
            power_saver=True,
        )
        reading = device.read()
        assert reading.power == Power(True, 42.0, False, "discharging", battery_count=1)
        assert reading.cpu == Cpu(33.0, 4, None, 0.0)
        assert reading.memory == Memory(8 * gib, 6 * gib, 25.0)
        assert reading.storage == {"/": Storage(75.0, 64 * gib)}
        assert reading.network == Network(0.0, 0.0, True, False)
        assert reading.user == User(None, False, "FakeDevice")
        assert reading.power_saver is True

    def test_what_a_machine_does_not_say(self) -> None:
        device = FakeDevice(cpu_percent=None, memory_percent=None, storage_percent=None)
        reading = device.read()
        assert (reading.cpu, reading.memory, reading.storage) == (None, None, {"/": None})
        statuses = {(source.sensor, source.where): source.status for source in device.sources()}
        assert statuses["storage", "FakeDevice"] == statuses["user", "FakeDevice"] == "absent"
        assert statuses["power", "FakeDevice"] == "ok"

    @pytest.mark.parametrize(
        ("plugged", "percent", "state"),
        [
            (True, 99.5, "charging"),
            (True, 100, "full"),
            (False, 100, "discharging"),
            (None, 80, "not_charging"),
        ],
    )
    def test_the_state_of_the_battery(
        self, plugged: bool | None, percent: float, state: str
    ) -> None:
        power = FakeDevice(plugged=plugged, percent=percent).read().power
        assert power is not None
        assert (power.plugged, power.percent, power.state) == (plugged, percent, state)

    def test_a_change_is_in_the_next_reading_whatever_its_age(self, backend_name: str) -> None:
        device = FakeDevice(percent=50, backend=backend_name)
        assert device.latest is None
        first = device.read(max_age_s=60)
        assert device.read(max_age_s=60) is first
        assert device.latest is first
        for change in (
            device.unplug,
            lambda: device.set(percent=49, cpu_percent=3),
            lambda: device.clock.advance(0.001),
            lambda: device.clock.jump(-3600),
            lambda: device.clock.suspend(10),
        ):
            before = device.read(max_age_s=60)
            change()
            after = device.read(max_age_s=60)
            assert after != before
            assert after.wall_s == device.clock.time()
            assert device.read(max_age_s=60) is after
        assert device.latest is after
        assert after.power is not None
        assert (after.power.plugged, after.power.percent) == (False, 49.0)

    def test_unplugging_may_say_the_level(self) -> None:
        device = FakeDevice()
        device.unplug(percent=17)
        power = device.read().power
        assert power is not None
        assert (power.plugged, power.percent, power.present) == (False, 17.0, True)
        device.set(plugged=True, percent=None)
        power = device.read().power
        assert power is not None
        assert (power.plugged, power.percent, power.present) == (True, None, False)

    def test_idle_since_as_long_as_it_takes(self) -> None:
        device = FakeDevice()
        device.set(idle=True)
        assert device.read().idle_since_s == 940.0
        device.clock.advance(100)
        device.set(percent=50, idle=True)
        assert (device.read().idle_since_s, device.read().quiet_since_s) == (940.0, 940.0)
        device.set(idle=False)
        assert (device.read().idle_since_s, device.read().quiet_since_s) == (None, None)
        assert FakeDevice(idle=True).read().idle_since_s == 940.0

    def test_a_user_ends_the_idleness(self) -> None:
        device = FakeDevice(idle=True, user_present=True)
        assert device.read().idle_since_s is None
        device.set(user_present=False)
        assert device.read().idle_since_s == 940.0

    @pytest.mark.parametrize(
        ("figures", "message"),
        [
            ({"percent": 101}, "percent: 101 is no percentage from 0 to 100, and not None"),
            ({"cpu_percent": -1}, "cpu_percent: -1 is no percentage"),
            ({"memory_percent": float("nan")}, "memory_percent: nan is no percentage"),
            ({"storage_percent": "full"}, "storage_percent: 'full' is no percentage"),
            ({"percent": 5, "plugged": 2}, "plugged: 2 is not True, False or None"),
            ({"metered": "yes"}, "metered: 'yes' is not True, False or None"),
            ({"idle": None}, "idle: None is not True or False"),
            ({"plugged": False}, "plugged: False cannot be on a machine without a battery; name"),
            ({"plugged": None}, "plugged: None cannot be on a machine without a battery; name"),
        ],
    )
    def test_a_machine_that_cannot_be(self, figures: Any, message: str) -> None:
        with pytest.raises(ConfigError) as made:
            FakeDevice(**figures)
        assert str(made.value).startswith(message)
        device = FakeDevice()
        before = device.read()
        with pytest.raises(ConfigError) as changed:
            device.set(**figures)
        assert str(changed.value).startswith(message)
        assert device.read() is before

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(TypeError, match="unexpected keyword argument 'precent'"):
            FakeDevice().set(precent=5)  # type: ignore[call-arg]

    def test_an_age_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="max_age_s: -1 is no number of at least 0"):
            FakeDevice().read(max_age_s=-1)

    def test_what_work_the_program_said_to_run(self) -> None:
        device = FakeDevice()
        assert device.own_work is None
        device.set_own_work([17, 4])
        assert device.own_work == (17, 4)
        device.set_own_work(None)
        assert device.own_work is None

    def test_the_environment_has_no_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DEFERPOWER_ROOT", "/nonexistent")
        assert FakeDevice(percent=50).read().power is not None

    def test_devices_may_share_a_clock(self) -> None:
        clock = ManualClock(start_wall_s=0)
        phone, laptop = FakeDevice(clock=clock, percent=9), FakeDevice(clock=clock, percent=90)
        clock.advance(60)
        assert phone.clock is laptop.clock is clock
        assert phone.read().wall_s == laptop.read().wall_s == 60
        assert (phone.clock(), phone.wall_clock()) == (1060, 60)

    def test_it_survives_a_fork(self, backend_name: str) -> None:
        device = FakeDevice(percent=50, backend=backend_name)
        device.read()
        pid = os.fork()
        if pid == 0:
            device.unplug(percent=7)
            power = device.read().power
            os._exit(int(power.percent or 0) if power is not None else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert device.read().power == Power(True, 50.0, True, "charging", battery_count=1)


class TestDeciding:
    def test_a_level_that_fell_has_to_rise_three_points(self, backend_name: str) -> None:
        device = FakeDevice(plugged=False, percent=51, backend=backend_name)
        scheduler = IntelligentScheduler(device=device)
        task = Task(task_class=TaskClass.BACKGROUND)
        runs = []
        for percent in (51, 50, 51, 52.9, 53, 51, 50):
            device.set(percent=percent)
            runs.append(scheduler.schedule_task(task).execute_now)
        assert runs == [True, False, False, False, True, True, False]

    def test_a_loose_plug_counts_after_five_seconds(self, backend_name: str) -> None:
        device = FakeDevice(percent=60, backend=backend_name)
        scheduler = IntelligentScheduler(device=device)
        task = Task(constraints=Constraints(charging=True))

        def ask() -> bool:
            return scheduler.schedule_task(task).execute_now

        assert ask()
        device.unplug()
        assert not ask()
        device.plug_in()
        assert not ask()
        device.clock.advance(4.9)
        assert not ask()
        device.clock.advance(0.1)
        assert ask()

    def test_neither_setting_the_clock_nor_a_suspend_is_dwell(self, backend_name: str) -> None:
        device = FakeDevice(percent=60, backend=backend_name)
        scheduler = IntelligentScheduler(device=device)
        task = Task(constraints=Constraints(charging=True))
        assert scheduler.schedule_task(task).execute_now
        for change in (device.unplug, device.plug_in):
            change()
            assert not scheduler.schedule_task(task).execute_now
        device.clock.jump(3600)
        device.clock.suspend(3600)
        assert not scheduler.schedule_task(task).execute_now

    def test_a_deadline_is_on_the_wall_clock(self, backend_name: str) -> None:
        device = FakeDevice(plugged=False, percent=60, backend=backend_name)
        scheduler = IntelligentScheduler(device=device)
        task = Task(
            constraints=Constraints(charging=True),
            created_s=device.clock.time(),
            deadline_s=7200,
        )
        assert not scheduler.schedule_task(task).execute_now
        device.clock.suspend(7200)
        assert scheduler.schedule_task(task).execute_now
        device.clock.jump(-3600)
        assert not scheduler.schedule_task(task).execute_now

    def test_resources(self, backend_name: str) -> None:
        device = FakeDevice(backend=backend_name)
        processor = ResourceConstrainedProcessor(device=device)
        found = []
        for percents in ((79, 69, 89), (80, 69, 89), (79, 70, 89), (79, 69, 90), (80, 70, 90)):
            memory, cpu, storage = percents
            device.set(memory_percent=memory, cpu_percent=cpu, storage_percent=storage)
            found.append(str(processor.get_processing_recommendation()))
        assert found == [
            "process_now",
            "defer_memory_intensive",
            "defer_cpu_intensive",
            "defer_disk_intensive",
            "defer_all_non_critical",
        ]


class Recorder:
    """A rules engine, and what it was shown."""

    CONSTRAINTS = CONSTRAINTS

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.seen: list[FactsRow] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)

    def observe(self, facts: FactsRow, /) -> None:
        self._rules.observe(facts)
        self.seen.append(facts)

    def requires(self, code: str, level: float = 0.0) -> int:
        """The id of what a normal task with one hard constraint requires."""
        hard = (1 << CONSTRAINTS.index(code), level, 0, 0, 0)
        return self._rules.compile((3, None, False, hard, (0, 0.0, 0, 0, 0)))


class Waiter(threading.Thread):
    """A wait in a thread of its own."""

    def __init__(self, watch: Watch, *wait: Any) -> None:
        super().__init__(daemon=True)
        self._watch = watch
        self._wait = wait
        self.start()

    def run(self) -> None:
        self._answer = self._watch.wait(*self._wait)

    def answer(self) -> WakeRow:
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the wait does not end"
        return self._answer

    def sleeps_on(self, before_s: float = 0.2) -> int:
        """How often the thread woke up meanwhile."""
        switches = Path(f"/proc/self/task/{self.native_id}/status")

        def woken() -> int:
            line = next(
                line for line in switches.read_text().splitlines() if line.startswith("voluntary")
            )
            return int(line.split()[1])

        before = woken()
        time.sleep(before_s)
        return woken() - before


class Bench:
    """A device and its watch, and a scheduler whose rules it shares and that looked once."""

    TOLD = (0, (None, None), False, 0)

    def __init__(self, backend: Backend, **figures: Any) -> None:
        self.device = FakeDevice(backend=backend.NAME, **figures)
        self.clock = self.device.clock
        thresholds = Thresholds()
        self.rules = Recorder(backend.Rules(thresholds.lines(), thresholds.relaxation()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "Rules", lambda *_: self.rules)
            self._scheduler = IntelligentScheduler(self.device)
        self.watch = self.device.open_watch(cast("Rules", self.rules))
        self._waiters: list[Waiter] = []
        self.look()

    def look(self) -> None:
        """Let the scheduler see the device."""
        self._scheduler.schedule_task({"type": "realtime"})

    def wait(
        self,
        waiting: Sequence[int] = (),
        running: Sequence[int] = (),
        stopped: Sequence[int] = (),
        *,
        until_wall_s: float | None = None,
    ) -> Waiter:
        """A wait in another thread that has had its first look, if there is anything to see."""
        looks = len(self.rules.seen)
        waiter = Waiter(self.watch, waiting, running, stopped, self.TOLD, until_wall_s)
        self._waiters.append(waiter)
        if waiting or running or stopped:
            until(lambda: len(self.rules.seen) > looks or not waiter.is_alive())
        return waiter

    def after(self, change: Callable[[], object]) -> None:
        """Make a change, and return when the wait has looked at it."""
        looks = len(self.rules.seen)
        change()
        until(lambda: len(self.rules.seen) > looks)

    def close(self) -> None:
        self.watch.close()
        for waiter in self._waiters:
            waiter.answer()


@pytest.fixture
def bench(backend: Backend) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**figures: Any) -> Bench:
        benches.append(Bench(backend, **figures))
        return benches[-1]

    yield make
    for made in benches:
        made.close()


ON_BATTERY = {"plugged": False, "percent": 90}


class TestWaiting:
    @pytest.mark.parametrize(
        ("figures", "code", "change"),
        [
            (ON_BATTERY, "charging", {"plugged": True}),
            (ON_BATTERY, "battery_above", {"percent": 98}),
            ({"plugged": False, "percent": 12}, "battery_not_low", {"percent": 23}),
            ({}, "idle", {"idle": True}),
            ({"idle": True, "user_present": True}, "idle", {"user_present": None}),
            ({"connected": False}, "connected", {"connected": True}),
            ({"connected": True}, "unmetered", {"metered": False}),
            ({"storage_percent": None}, "storage_not_low", {"storage_percent": 5}),
            ({"cpu_percent": 70}, "resources_ok", {"cpu_percent": 69}),
            ({"memory_percent": 80}, "resources_ok", {"memory_percent": 79}),
        ],
    )
    def test_what_a_task_waits_for_ends_the_wait(
        self, bench: Callable[..., Bench], figures: Any, code: str, change: Any
    ) -> None:
        at = bench(**figures)
        level = 95.0 if code == "battery_above" else 0.0
        waiter = at.wait(waiting=[at.rules.requires(code, level)])
        at.after(lambda: at.device.set(power_saver=True))  # changes nothing for the task
        at.device.set(**change)
        why, sample, monotonic_s, wall_s = waiter.answer()
        assert (why, monotonic_s, wall_s) == (VERDICT, 1000.0, NOON_S)
        assert len(at.rules.seen) == 4
        reading = at.device.read()
        assert sample is not None
        assert sample[:3] == (reading.power, reading.cpu, reading.memory)
        assert sample[5:] == ((reading.storage["/"],), reading.quiet_since_s, reading.quiet_since_s)

    def test_its_sample_becomes_the_latest_reading(self, bench: Callable[..., Bench]) -> None:
        at = bench(**ON_BATTERY)
        waiter = at.wait(waiting=[at.rules.requires("charging")])
        at.device.plug_in()
        reading = at.device.take(waiter.answer())
        assert reading is not None
        assert reading is at.device.latest
        assert reading == at.device.read()

    def test_its_rules_see_what_a_scheduler_shows_them(self, bench: Callable[..., Bench]) -> None:
        at = bench(
            plugged=None,
            percent=33,
            cpu_percent=None,
            idle=True,
            user_present=False,
            connected=True,
            metered=True,
        )
        at.wait(running=[at.rules.requires("idle")])
        by_scheduler, by_watch = at.rules.seen
        assert by_watch[0] == (*by_scheduler[0][:2], 0)
        assert by_watch[1:] == by_scheduler[1:]

    def test_unplugging_ends_the_wait_beside_a_running_task(
        self, bench: Callable[..., Bench]
    ) -> None:
        at = bench(percent=60)
        waiter = at.wait(running=[at.rules.requires("charging")])
        at.after(lambda: at.device.set(percent=61))
        at.device.unplug()
        assert waiter.answer()[0] == VERDICT

    def test_a_stopped_task_that_may_go_on_ends_the_wait(self, bench: Callable[..., Bench]) -> None:
        at = bench(**ON_BATTERY)
        waiter = at.wait(stopped=[at.rules.requires("charging")])
        at.after(lambda: at.device.set(percent=61))
        at.device.plug_in()
        assert waiter.answer()[0] == VERDICT

    @pytest.mark.parametrize("plugged", [True, False])
    def test_what_is_not_as_it_was_found_ends_the_wait_without_a_look(
        self, bench: Callable[..., Bench], plugged: bool
    ) -> None:
        at = bench(plugged=plugged, percent=60)
        charging, nothing = [at.rules.requires("charging")], list[int]()
        by_kind = {
            "waiting": (charging, nothing, nothing),
            "running": (nothing, charging, nothing),
            "stopped": (nothing, nothing, charging),
        }
        for kind, wanted in by_kind.items():
            waiter = at.wait(*wanted)
            if plugged == (kind == "running"):
                at.after(lambda: at.clock.advance(60))
                at.watch.wake()
                assert waiter.answer()[0] == WOKEN
            else:
                assert waiter.answer()[:2] == (VERDICT, None)

    def test_a_plug_that_was_loose_has_to_hold(self, bench: Callable[..., Bench]) -> None:
        at = bench(percent=60)
        at.device.unplug()
        at.look()
        waiter = at.wait(waiting=[at.rules.requires("charging")])
        at.after(at.device.plug_in)
        at.after(lambda: at.clock.advance(4.9))
        at.after(lambda: at.clock.jump(3600))
        at.clock.advance(0.1)
        assert waiter.answer()[::2] == (VERDICT, 1005.0)

    def test_changes_made_at_once_are_seen_one_by_one(self, bench: Callable[..., Bench]) -> None:
        at = bench(percent=60)
        waiter = at.wait(running=[at.rules.requires("charging")])
        at.device.unplug()
        at.device.plug_in()
        at.device.set(percent=50)
        why, sample, *_ = waiter.answer()
        assert why == VERDICT
        assert sample is not None
        assert sample[0] == Power(True, 60.0, False, "discharging", battery_count=1)

    def test_a_change_before_the_wait_is_not_missed(self, bench: Callable[..., Bench]) -> None:
        at = bench(**ON_BATTERY)
        at.device.plug_in()
        assert at.wait(waiting=[at.rules.requires("charging")]).answer()[0] == VERDICT

    @pytest.mark.parametrize("move", ["advance", "suspend", "jump"])
    def test_its_time_comes_on_the_wall_clock(self, bench: Callable[..., Bench], move: str) -> None:
        at = bench()
        waiter = at.wait(waiting=[at.rules.requires("idle")], until_wall_s=NOON_S + 60)
        at.after(lambda: getattr(at.clock, move)(59))
        getattr(at.clock, move)(1)
        why, sample, monotonic_s, wall_s = waiter.answer()
        assert (why, wall_s) == (TIMER, NOON_S + 60)
        assert monotonic_s == (1060 if move == "advance" else 1000)
        assert sample is not None

    def test_a_time_that_is_past(self, bench: Callable[..., Bench]) -> None:
        at = bench()
        at.clock.set_wall(NOON_S + 61)
        assert at.watch.wait((), (), (), at.TOLD, NOON_S + 60) == (TIMER, None, 1000, NOON_S + 61)

    def test_nothing_is_looked_at_where_nothing_is_watched(
        self, bench: Callable[..., Bench]
    ) -> None:
        at = bench()
        waiter = at.wait()
        at.device.set(percent=5, plugged=False)
        at.clock.advance(5)
        at.watch.wake()
        assert waiter.answer() == (WOKEN, None, 1005, NOON_S + 5)
        assert len(at.rules.seen) == 1

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's proc")
    def test_it_sleeps_while_nothing_changes(self, bench: Callable[..., Bench]) -> None:
        at = bench()
        waiter = at.wait(waiting=[at.rules.requires("idle")], until_wall_s=NOON_S + 60)
        until(lambda: waiter.sleeps_on(0.01) == 0)
        assert waiter.sleeps_on(0.3) == 0

    def test_a_wake_ends_one_wait_though_it_came_before_it(
        self, bench: Callable[..., Bench]
    ) -> None:
        at = bench()
        at.watch.wake()
        at.watch.wake()
        assert at.watch.wait((), (), (), at.TOLD, None)[0] == WOKEN
        waiter = at.wait(waiting=[at.rules.requires("idle")])
        at.after(lambda: at.clock.advance(1))
        at.watch.wake()
        assert waiter.answer()[0] == WOKEN

    def test_a_signal_handler_may_wake_the_main_thread(self, bench: Callable[..., Bench]) -> None:
        at = bench()
        before = signal.signal(signal.SIGUSR1, lambda *_: at.watch.wake())
        try:
            for _ in range(200):
                sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
                sender.start()
                assert at.watch.wait((), (), (), at.TOLD, None)[0] == WOKEN
                sender.join()
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_a_wait_that_cannot_be(self, bench: Callable[..., Bench]) -> None:
        at = bench()
        known = at.rules.requires("idle")
        for unknown in (known + 1, -1):
            with pytest.raises(ConfigError, match=f"requirement {unknown} is unknown"):
                at.watch.wait([unknown], (), (), at.TOLD, None)
        with pytest.raises(ConfigError, match="until_wall_s: nan is no moment"):
            at.watch.wait((), (), (), at.TOLD, float("nan"))
        at.wait(waiting=[known])
        with pytest.raises(ConfigError, match="watch: another thread waits here"):
            at.watch.wait((), (), (), at.TOLD, None)

    def test_what_is_closed_waits_no_more(self, bench: Callable[..., Bench]) -> None:
        at = bench()
        waiter = at.wait(waiting=[at.rules.requires("idle")])
        at.watch.close()
        assert waiter.answer()[0] == WOKEN
        for _ in range(2):
            assert at.watch.wait((), (), (), at.TOLD, None)[0] == WOKEN

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """A file that was last written to long ago."""
        file = tmp_path / "tasks.db-wal"
        file.write_bytes(b"long ago")
        os.utime(file, (NOON_S, NOON_S))
        return file

    def test_another_process_writes_to_a_file(
        self, bench: Callable[..., Bench], file: Path
    ) -> None:
        at = bench()
        at.watch.follow(str(file))
        waiter = at.wait(waiting=[at.rules.requires("idle")])
        for _ in range(3):
            at.after(lambda: at.clock.advance(1))
        assert waiter.is_alive()
        write = "import sys; open(sys.argv[1], 'ab').write(b'x')"
        subprocess.run([sys.executable, "-c", write, file], check=True, timeout=60)
        assert waiter.answer()[0] == FILE

    def test_a_write_between_two_waits_ends_the_second(
        self, bench: Callable[..., Bench], file: Path
    ) -> None:
        at = bench()
        at.watch.follow(str(file))
        at.watch.wake()
        assert at.watch.wait((), (), (), at.TOLD, None)[0] == WOKEN
        file.write_bytes(b"just now")
        assert at.watch.wait((), (), (), at.TOLD, None)[0] == FILE

    def test_a_file_may_be_followed_while_somebody_waits(
        self, bench: Callable[..., Bench], file: Path
    ) -> None:
        at = bench()
        waiter = at.wait(waiting=[at.rules.requires("idle")])
        at.watch.follow(str(file))
        file.write_bytes(b"just now")
        assert waiter.answer()[0] == FILE

    def test_no_write_is_too_quick_or_too_small_to_be_seen(
        self, bench: Callable[..., Bench], file: Path
    ) -> None:
        at = bench()
        at.watch.follow(str(file))
        for number in range(100):
            file.write_bytes(b"%8d" % number)
            tick_ns = time.time_ns() // 10_000_000 * 10_000_000  # as a slow kernel stamps it
            os.utime(file, ns=(tick_ns, tick_ns))
            assert at.wait().answer()[0] == FILE

    def test_a_file_that_comes_and_goes(self, bench: Callable[..., Bench], tmp_path: Path) -> None:
        at = bench()
        file = tmp_path / "tasks.db-wal"
        at.watch.follow(str(file))
        waiter = at.wait(waiting=[at.rules.requires("idle")])
        at.after(lambda: at.clock.advance(1))
        file.touch()
        assert waiter.answer()[0] == FILE
        file.unlink()
        assert at.wait().answer()[0] == FILE
