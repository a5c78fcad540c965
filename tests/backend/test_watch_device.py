"""A device that is waited for: the reading made of a wait, and what the rules made of it."""

from __future__ import annotations

import time

import pytest

from backend.machine import Machine
from backend.waits import CHARGING, LONG_S, TIMER, TOLD, VERDICT, asking
from deferpower import Device
from deferpower._contract import CONSTRAINTS, Backend, Rules, WakeRow
from deferpower.constraints import Constraints
from deferpower.desktop import Signals
from deferpower.errors import ConfigError
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Task, TaskClass
from deferpower.thresholds import Thresholds
from deferpower.types import IdleRules, Source, User

QUICK_IDLE = IdleRules(dwell_s=0.0)


def new_rules(backend: Backend) -> Rules:
    """Rules that have seen an empty battery, long ago: whatever is watched is due at once."""
    rules = backend.Rules(Thresholds().lines(), Thresholds().relaxation())
    moment = (time.monotonic() - LONG_S, time.time() - LONG_S, 720)
    rules.observe((moment, (True, 0.0, False), (99.0, 99.0, 99.0), False, (None, None), 0))
    return rules


def look(device: Device, rules: Rules, *set_ids: int) -> WakeRow:
    """A wait that takes one sample and ends."""
    watch = device.open_watch(rules)
    try:
        return watch.wait(set_ids, [], [], TOLD, time.time() + 0.05)
    finally:
        watch.close()


@pytest.mark.parametrize("others_busy", [60, 75])
@pytest.mark.parametrize("own_busy", [0, 20])
@pytest.mark.parametrize("free_kb", [None, 150, 250])
@pytest.mark.parametrize("online", [None, 0, 1])
def test_the_rules_see_a_sample_as_they_see_its_reading(
    backend: Backend,
    machine: Machine,
    others_busy: int,
    own_busy: int,
    free_kb: int | None,
    online: int | None,
) -> None:
    device = Device(
        root=machine.root,
        backend=backend.NAME,
        storage_paths=["/", "/dev", "/nonexistent"],
        idle_rules=QUICK_IDLE,
        desktop=False,
    )
    machine.cpu(0, 0, processors=1)
    machine.this_process(0)
    if online is not None:
        machine.supply("AC", type="Mains", online=online)
        machine.pack()
    if free_kb is not None:
        machine.memory(1000, free_kb)
    before_s = device.read(max_age_s=0).monotonic_s
    time.sleep(0.05)
    own_ticks = int((time.monotonic() - before_s) * own_busy)
    busy = others_busy + own_busy
    machine.cpu(busy * 100, (100 - busy) * 100, processors=1)
    machine.this_process(own_ticks)

    asked = Constraints(
        charging=True, battery_above=50, battery_not_low=True, idle=True, storage_not_low=True
    )
    flags = sum(1 << CONSTRAINTS.index(code) for code in asked.codes())
    rules = new_rules(backend)
    set_id = rules.compile(asking(hard=(flags, 50.0, 0, 0, 0)))
    reading = device.take(look(device, rules, set_id))
    assert reading is not None
    scheduler = IntelligentScheduler(device, local_minute=lambda _: 720)
    task = Task(task_class=TaskClass.NORMAL, constraints=asked)
    decision = scheduler.schedule_task(task, reading)
    codes = {reason.code for reason in decision.reasons}
    if codes & {"memory", "cpu", "disk"}:
        codes = codes - {"memory", "cpu", "disk"} | {"resources_ok"}
    unmet = rules.evaluate(False)[set_id][2]
    names = [*CONSTRAINTS, "suspended", "level"]
    # The lines that an empty battery has failed are passed again at 60 %, or failed anyway.
    assert {name for bit, name in enumerate(names) if unmet >> bit & 1} == codes & {*names}
    assert ("cpu" in {reason.code for reason in decision.reasons}) is (
        reading.cpu is not None
        and (reading.cpu.busy_percent or 0) - (reading.cpu.own_percent or 0) >= 70
    )


@pytest.fixture
def laptop(backend: Backend, machine: Machine) -> Device:
    machine.supply("AC", type="Mains", online=1)
    machine.pack(status="Charging")
    machine.cpu(100, 1000)
    return Device(root=machine.root, backend=backend.NAME, idle_rules=QUICK_IDLE, desktop=False)


def test_the_reading_of_a_wait_is_the_latest(
    backend: Backend, machine: Machine, laptop: Device
) -> None:
    first = laptop.read(max_age_s=0)
    machine.cpu(125, 1075)
    rules = new_rules(backend)
    wake = look(laptop, rules, rules.compile(CHARGING))
    why, sample, monotonic_s, wall_s = wake
    assert why == VERDICT
    reading = laptop.take(wake)
    assert reading is not None
    assert laptop.latest is reading
    assert laptop.read(max_age_s=LONG_S) is reading
    assert (reading.monotonic_s, reading.wall_s) == (monotonic_s, wall_s)
    assert first.monotonic_s < monotonic_s <= time.monotonic()
    assert sample is not None
    assert (reading.power, reading.cpu) == sample[:2]
    assert reading.cpu is not None
    assert reading.cpu.busy_percent == 25.0, "since the reading before, not since this sample"


def test_an_older_reading_does_not_replace_a_younger_one(backend: Backend, laptop: Device) -> None:
    rules = new_rules(backend)
    wake = look(laptop, rules, rules.compile(CHARGING))
    younger = laptop.read(max_age_s=0)
    taken = laptop.take(wake)
    assert taken is not None
    assert taken.monotonic_s < younger.monotonic_s
    assert laptop.latest is younger


def test_a_wait_without_a_sample_has_no_reading(backend: Backend, laptop: Device) -> None:
    wake = look(laptop, new_rules(backend))
    assert wake[:2] == (TIMER, None)
    assert laptop.take(wake) is None
    assert laptop.latest is None


class Somebody:
    """A desktop that tells of a present user and a metered network."""

    def read(self, now_s: float, max_age_s: float, /) -> Signals:
        return Signals(User(1.0, True, "test"), True, True, None)

    def sources(self) -> list[Source]:
        return []


def test_the_reading_holds_what_the_desktop_tells(backend: Backend, machine: Machine) -> None:
    device = Device(
        root=machine.root, backend=backend.NAME, idle_rules=QUICK_IDLE, desktop=Somebody()
    )
    rules = new_rules(backend)
    reading = device.take(look(device, rules, rules.compile(CHARGING)))
    assert reading is not None
    assert reading.user == User(1.0, True, "test")
    assert reading.network is not None
    assert reading.network.metered is True


def test_a_clock_of_its_own_cannot_be_waited_by(backend: Backend, machine: Machine) -> None:
    device = Device(root=machine.root, backend=backend.NAME, clock=lambda: 0.0)
    with pytest.raises(ConfigError, match="clock"):
        device.open_watch(new_rules(backend))
