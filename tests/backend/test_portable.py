"""The pure backend's way for other systems, run on this one beside the way for Linux."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from backend.machine import Watch
from deferpower import _pure
from deferpower._pure import sampler
from deferpower._pure.sys import Machine
from deferpower._pure.sys.linux import LinuxMachine
from deferpower._pure.sys.portable import PortableMachine
from deferpower.errors import ConfigError
from deferpower.types import NO_BATTERY, Cpu

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the files of Linux")


@pytest.fixture
def linux() -> Machine:
    return LinuxMachine("/", ["/", "/missing"])


@pytest.fixture
def portable() -> Machine:
    return PortableMachine("/", ["/", "/missing"])


def test_processors(linux: Machine, portable: Machine) -> None:
    before, seen, after = linux.cpu(), portable.cpu(), linux.cpu()
    assert before
    assert seen
    assert after
    assert before[0] <= seen[0] <= after[0]
    assert before[1] <= seen[1] <= after[1]
    assert before[2] == seen[2] == after[2]


def test_own_time(linux: Machine, portable: Machine) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        before, seen, after = (machine.own_s([child.pid]) for machine in (linux, portable, linux))
        again, alone = portable.own_s([child.pid, child.pid, os.getpid()]), portable.own_s([])
        child.communicate(b"\n")
    assert before
    assert seen
    assert after
    # psutil takes this process's own time from the kernel too, but cut to whole ticks.
    assert before - 0.05 <= seen <= after + 0.05
    assert again
    assert again <= after + 0.05, "each process counts once"
    assert alone == pytest.approx(sum(os.times()[:4]), abs=0.05)


def test_memory(linux: Machine, portable: Machine) -> None:
    total, available = portable.memory()
    total_linux, available_linux = linux.memory()
    assert total == total_linux
    assert available is not None
    assert available == pytest.approx(available_linux, rel=0.2)


@pytest.mark.parametrize("what", ["disk", "network"])
def test_traffic(linux: Machine, portable: Machine, what: str) -> None:
    before, seen, after = (getattr(machine, what)() for machine in (linux, portable, linux))
    names = [[name for name, _, _ in rows] for rows in (before, seen, after)]
    assert sorted(names[0]) == sorted(names[1]) == sorted(names[2])
    for row in zip(sorted(before), sorted(seen), sorted(after), strict=True):
        assert row[0][1] <= row[1][1] <= row[2][1]
        assert row[0][2] <= row[1][2] <= row[2][2]


def test_storage(linux: Machine, portable: Machine) -> None:
    room, missing = portable.storage()
    assert missing is None
    assert room is not None
    assert room == pytest.approx(linux.storage()[0], rel=0.05)


class Battery:
    """What psutil says of one."""

    def __init__(self, percent: float, secsleft: int, power_plugged: bool | None) -> None:
        self.percent, self.secsleft, self.power_plugged = percent, secsleft, power_plugged


@pytest.mark.parametrize(
    ("battery", "expected"),
    [
        (None, NO_BATTERY),
        (
            Battery(41, 3600, False),
            (True, 41.0, False, "discharging", None, None, None, 3600.0, 1),
        ),
        (
            Battery(41, psutil.POWER_TIME_UNKNOWN, False),
            (True, 41.0, False, "discharging", None, None, None, None, 1),
        ),
        (
            Battery(41.5, psutil.POWER_TIME_UNLIMITED, True),
            (True, 41.5, True, "unknown", None, None, None, None, 1),
        ),
        (Battery(101, -2, True), (True, 100.0, True, "full", None, None, None, None, 1)),
        (Battery(41, -1, None), (True, 41.0, None, "unknown", None, None, None, None, 1)),
    ],
)
def test_power(
    portable: Machine,
    monkeypatch: pytest.MonkeyPatch,
    battery: Battery | None,
    expected: tuple[object, ...],
) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery)
    assert portable.power() == expected


def test_a_system_on_which_psutil_knows_no_batteries(
    portable: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil, "sensors_battery")
    assert portable.power() is None
    portable.storage()
    told = "psutil cannot tell it on this system"
    assert ("power", "psutil.sensors_battery", "absent", told) in portable.sources()


@pytest.mark.parametrize(
    "sensor", ["cpu_times", "virtual_memory", "disk_io_counters", "net_io_counters"]
)
def test_a_call_that_fails_costs_its_figure(monkeypatch: pytest.MonkeyPatch, sensor: str) -> None:
    def fail(**_: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(sampler, "open_machine", PortableMachine)
    monkeypatch.setattr(psutil, sensor, fail)
    watch = Watch(_pure, "/")
    sample = watch.at(1.0)
    assert [sample.cpu, sample.memory, sample.disk, sample.network].count(None) >= 1
    assert sample.power is not None
    failing = [source for source in watch.sources().values() if source.status == "failing"]
    assert [source.where for source in failing] == [f"psutil.{sensor}"]
    assert "Permission denied" in failing[0].detail


def test_the_sampler_above_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "open_machine", PortableMachine)
    watch = Watch(_pure, "/", ["/"])
    watch.at(time.monotonic())
    deadline_s = time.monotonic() + 10
    while True:
        cpu = watch.at(time.monotonic()).cpu
        assert isinstance(cpu, Cpu)
        if cpu.busy_percent is not None:
            break
        assert time.monotonic() < deadline_s
    assert 0.0 <= cpu.busy_percent <= 100.0
    sources = watch.sources()
    assert sources["psutil.cpu_times"].status == "ok"
    assert sources["psutil"] == ("pressure", "psutil", "absent", "psutil cannot tell it")


def test_only_the_machine_itself_can_be_read() -> None:
    with pytest.raises(ConfigError, match="'/elsewhere' cannot be read on this system"):
        PortableMachine("/elsewhere", [])


def test_linux_does_without_psutil() -> None:
    code = (
        "import sys, deferpower._pure as pure\n"
        "pure.Sampler('/', ['/'], (10.0, 1024.0, 1024.0, 60.0)).sample(1.0, 0.0)\n"
        "sys.exit('psutil' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
