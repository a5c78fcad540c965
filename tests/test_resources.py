"""`ResourceConstrainedProcessor`: what is short, and the five recommendations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from deferpower import ConfigError, Device, Policy
from deferpower.resources import Recommendation, ResourceConstrainedProcessor

SHORT, SPARE = 0.0, 1.0


class Machine:
    """A small machine on disk, and the clock that it is read by."""

    def __init__(self, root: Path, backend: str) -> None:
        self.root = root
        (root / "proc/pressure").mkdir(parents=True)
        self.now_s = 1000.0
        self._busy = self._idle = 100
        self.tick(busy=0, idle=100)
        self.memory(used_percent=25)
        self.device = Device(
            root=root, backend=backend, storage_paths=[root], clock=lambda: self.now_s
        )

    def tick(self, busy: int, idle: int) -> None:
        """Let 10 s pass, in which the processor was busy and idle for so many ticks."""
        self.now_s += 10
        self._busy += busy
        self._idle += idle
        line = f"cpu  {self._busy} 0 0 {self._idle} 0 0 0 0 0 0\n"
        (self.root / "proc/stat").write_text(line + "cpu0 1 1 1 1\n")

    def memory(self, used_percent: int) -> None:
        text = f"MemTotal: 100000 kB\nMemAvailable: {1000 * (100 - used_percent)} kB\n"
        (self.root / "proc/meminfo").write_text(text)

    def pressure(self, percent: float) -> None:
        text = f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=1\n"
        (self.root / "proc/pressure/cpu").write_text(text)


@pytest.fixture
def machine(tmp_path: Path, backend_name: str) -> Machine:
    return Machine(tmp_path / "machine", backend_name)


def test_as_the_sketch_uses_it() -> None:
    processor = ResourceConstrainedProcessor()
    assert (processor.memory_threshold, processor.cpu_threshold, processor.disk_threshold) == (
        0.8,
        0.7,
        0.9,
    )
    resources = processor.check_resources()
    assert {resources.memory_ok, resources.cpu_ok, resources.disk_ok} <= {True, False}
    assert processor.get_processing_recommendation() in {
        "process_now",
        "defer_cpu_intensive",
        "defer_memory_intensive",
        "defer_disk_intensive",
        "defer_all_non_critical",
    }


@pytest.mark.parametrize(
    ("memory", "cpu", "disk", "recommendation"),
    [
        (SPARE, SPARE, SPARE, "process_now"),
        (SPARE, SHORT, SPARE, "defer_cpu_intensive"),
        (SHORT, SPARE, SPARE, "defer_memory_intensive"),
        (SPARE, SPARE, SHORT, "defer_disk_intensive"),
        (SHORT, SHORT, SPARE, "defer_all_non_critical"),
        (SPARE, SHORT, SHORT, "defer_all_non_critical"),
        (SHORT, SPARE, SHORT, "defer_all_non_critical"),
        (SHORT, SHORT, SHORT, "defer_all_non_critical"),
    ],
)
def test_recommendations(
    machine: Machine, memory: float, cpu: float, disk: float, recommendation: Recommendation
) -> None:
    processor = ResourceConstrainedProcessor(memory, cpu, disk, machine.device)
    processor.check_resources()
    machine.tick(busy=50, idle=50)
    assert processor.get_processing_recommendation() == recommendation
    machine.tick(busy=50, idle=50)
    resources = processor.check_resources()
    assert (resources.memory_ok, resources.cpu_ok, resources.disk_ok) == (
        memory == SPARE,
        cpu == SPARE,
        disk == SPARE,
    )


def test_figures_and_thresholds_to_the_point(machine: Machine) -> None:
    processor = ResourceConstrainedProcessor(device=machine.device)
    processor.check_resources()
    machine.tick(busy=69, idle=31)
    machine.memory(used_percent=79)
    resources = processor.check_resources()
    assert (resources.cpu_busy_percent, resources.cpu_ok) == (69.0, True)
    assert (resources.memory_used_percent, resources.memory_ok) == (79.0, True)
    machine.tick(busy=70, idle=30)
    machine.memory(used_percent=80)
    resources = processor.check_resources()
    assert (resources.cpu_busy_percent, resources.cpu_ok) == (70.0, False)
    assert (resources.memory_used_percent, resources.memory_ok) == (80.0, False)


def test_a_threshold_on_the_disk_s_own_figure(machine: Machine) -> None:
    storage = machine.device.read(max_age_s=0).storage[str(machine.root)]
    assert storage is not None
    used = storage.used_percent
    for threshold, ok in ((used / 100 - 0.01, False), (used / 100 + 0.01, True)):
        processor = ResourceConstrainedProcessor(disk_threshold=threshold, device=machine.device)
        resources = processor.check_resources()
        assert resources.disk_ok is ok
        assert resources.disk_path == str(machine.root)
        assert resources.disk_used_percent == pytest.approx(used, abs=1)


def test_the_load_of_own_work_is_no_shortage(machine: Machine) -> None:
    (machine.root / "proc/self").mkdir()

    def own_ticks(ticks: int) -> None:
        text = f"7 (agent) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 0 0 0\n"
        (machine.root / "proc/self/stat").write_text(text)

    processor = ResourceConstrainedProcessor(device=machine.device)
    own_ticks(0)
    processor.check_resources()
    own_ticks(600)  # 6 of the 10 s
    machine.tick(busy=90, idle=10)
    resources = processor.check_resources()
    assert resources.cpu_busy_percent == pytest.approx(30)
    assert resources.cpu_ok


def test_a_figure_that_is_missing_cannot_be_short(tmp_path: Path, backend_name: str) -> None:
    (tmp_path / "proc").mkdir()
    device = Device(root=tmp_path, backend=backend_name, storage_paths=[tmp_path / "none"])
    processor = ResourceConstrainedProcessor(0, 0, 0, device, pressure_threshold=0)
    resources = processor.check_resources()
    assert resources == (True, True, True, None, None, None, None, None, ("memory", "cpu", "disk"))
    assert processor.get_processing_recommendation() == "process_now"


def test_the_first_reading_says_that_the_load_is_unknown(machine: Machine) -> None:
    processor = ResourceConstrainedProcessor(cpu_threshold=0, device=machine.device)
    resources = processor.check_resources()
    assert resources.cpu_ok
    assert resources.cpu_busy_percent is None
    assert resources.unknown == ("cpu",)


def test_pressure_is_shown_and_counts_only_when_asked_to(machine: Machine) -> None:
    machine.pressure(40.0)
    shown = ResourceConstrainedProcessor(device=machine.device).check_resources()
    assert (shown.cpu_pressure_percent, shown.cpu_ok) == (40.0, True)
    judging = ResourceConstrainedProcessor(device=machine.device, pressure_threshold=0.4)
    assert judging.get_processing_recommendation() == "defer_cpu_intensive"
    machine.pressure(39.99)
    machine.tick(busy=0, idle=10)
    assert judging.get_processing_recommendation() == "process_now"


def test_nothing_waits_to_measure(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr(time, "sleep", refuse)
    processor = ResourceConstrainedProcessor(device=machine.device)
    assert processor.get_processing_recommendation() == "process_now"


def test_a_young_reading_is_used_again(machine: Machine) -> None:
    processor = ResourceConstrainedProcessor(device=machine.device, max_age_s=5)
    first = processor.check_resources()
    machine.memory(used_percent=99)
    machine.now_s += 4
    assert processor.check_resources() == first
    machine.now_s += 1
    assert processor.check_resources().memory_used_percent == 99.0


def test_paths_for_a_device_of_its_own(tmp_path: Path) -> None:
    processor = ResourceConstrainedProcessor(storage_paths=[tmp_path])
    assert processor.check_resources().disk_path == str(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_threshold": 80}, "memory_threshold: 80 is no fraction from 0 to 1"),
        ({"cpu_threshold": -0.1}, "cpu_threshold: -0.1 is no fraction"),
        ({"disk_threshold": float("nan")}, "disk_threshold: nan is no fraction"),
        ({"disk_threshold": None}, "disk_threshold: None is no fraction"),
        ({"cpu_threshold": "0.7"}, "cpu_threshold: '0.7' is no fraction"),
        ({"pressure_threshold": True}, "pressure_threshold: True is no fraction"),
        ({"max_age_s": -1}, "max_age_s: -1 is no number of at least 0"),
        ({"max_age_s": "1"}, "max_age_s: '1' is no number"),
    ],
)
def test_settings_that_cannot_be_used(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResourceConstrainedProcessor(**arguments)


def test_paths_beside_a_device_are_refused(machine: Machine) -> None:
    with pytest.raises(ConfigError, match="storage_paths: name them to the device"):
        ResourceConstrainedProcessor(device=machine.device, storage_paths=["/"])


def test_a_policys_pressure_threshold_of_1_leaves_pressure_out(machine: Machine) -> None:
    machine.pressure(100.0)
    assert Policy().resources(machine.device).check_resources().cpu_ok
    judging = Policy("[resources]\npressure_threshold = 0.99")
    assert not judging.resources(machine.device).check_resources().cpu_ok
