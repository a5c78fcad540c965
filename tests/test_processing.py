"""`BatteryAwareProcessor`: profiles by battery level, and giving one to a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deferpower import ConfigError, Task
from deferpower.errors import TaskError
from deferpower.processing import BatteryAwareProcessor, Profile

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="reads scheduling back from Linux' /proc"
)


@pytest.fixture
def processor() -> BatteryAwareProcessor:
    return BatteryAwareProcessor(cpu_count=8)


def test_as_the_sketch_uses_it() -> None:
    processor = BatteryAwareProcessor()
    config = processor.adjust_processing_for_battery({"type": "sync", "priority": "high"}, 60)
    assert config.batch_size == 16
    assert config.priority == "high"
    assert config.can_parallel
    assert config.processing_quality == "medium"
    assert processor.battery_thresholds["full_performance"] == 80
    assert processor.adjust_processing_for_battery({}, 15).suspend_non_critical


FULL = Profile(32, "normal", True, "high", False, 8, 0, "best-effort", "other")
REDUCED = Profile(16, "normal", True, "medium", False, 4, 5, "best-effort", "batch")
MINIMAL = Profile(8, "normal", False, "low", False, 1, 10, "idle", "batch")
LEAST = Profile(4, "normal", False, "minimal", False, 1, 19, "idle", "idle")
SUSPENDED = LEAST._replace(suspend_non_critical=True)


@pytest.mark.parametrize(
    ("level", "profile"),
    [
        (100, FULL),
        (80, FULL),
        (79.9, REDUCED),
        (50, REDUCED),
        (49.9, MINIMAL),
        (30, MINIMAL),
        (29.9, LEAST),
        (20.1, LEAST),
        (20, SUSPENDED),
        (0, SUSPENDED),
        (None, SUSPENDED),
    ],
)
def test_profile_by_level(
    processor: BatteryAwareProcessor, level: float | None, profile: Profile
) -> None:
    assert processor.adjust_processing_for_battery({}, level) == profile
    assert processor.adjust_processing_for_battery({}, level, plugged=False) == profile


@pytest.mark.parametrize("level", [100, 50, 3, 0, None])
def test_plugged_in_or_without_a_battery_it_is_full_performance(
    processor: BatteryAwareProcessor, level: float | None
) -> None:
    assert processor.adjust_processing_for_battery({}, level, plugged=True) == FULL


def test_plugged_in_it_is_full_performance_whatever_the_thresholds() -> None:
    everything = dict.fromkeys(BatteryAwareProcessor().battery_thresholds, 100)
    processor = BatteryAwareProcessor(battery_thresholds=everything, cpu_count=8)
    assert processor.adjust_processing_for_battery({}, 100, plugged=True) == FULL
    assert processor.adjust_processing_for_battery({}, 100).suspend_non_critical


@pytest.mark.parametrize(
    "task",
    [{"type": "realtime"}, {"description": "urgent"}, Task(type="sync", task_class="critical")],  # type: ignore[arg-type]
)
def test_a_critical_task_is_not_slowed_down(processor: BatteryAwareProcessor, task: Any) -> None:
    profile = processor.adjust_processing_for_battery(task, 5)
    assert profile == SUSPENDED._replace(nice=0, io_class="best-effort", scheduling_policy="other")


@pytest.mark.parametrize(
    ("line", "above", "below"),
    [(80, FULL, REDUCED), (50, REDUCED, MINIMAL), (30, MINIMAL, LEAST)],
)
def test_a_level_that_wavers_changes_the_profile_once(
    processor: BatteryAwareProcessor, line: float, above: Profile, below: Profile
) -> None:
    seen = [
        processor.adjust_processing_for_battery({}, level)
        for level in [line, line - 0.1, *[line + 2.9, line - 1] * 50, line + 2.999]
    ]
    assert seen == [above] + [below] * 102
    assert processor.adjust_processing_for_battery({}, line + 3) == above
    assert processor.adjust_processing_for_battery({}, line) == above


def test_suspending_wavers_as_little(processor: BatteryAwareProcessor) -> None:
    levels = [21, 20, 20.5, 22.9, 23, 22, 20.1, 20]
    suspended = [
        processor.adjust_processing_for_battery({}, level).suspend_non_critical for level in levels
    ]
    assert suspended == [False, True, True, True, False, False, False, True]


def test_several_thresholds_at_once(processor: BatteryAwareProcessor) -> None:
    levels = [90, 10, 52, 53, 82, 83]
    seen = [processor.adjust_processing_for_battery({}, level).batch_size for level in levels]
    assert seen == [32, 4, 8, 16, 16, 32]


def test_the_charger_wipes_out_what_was_fallen_below(processor: BatteryAwareProcessor) -> None:
    levels = [(79, False), (81, False), (81, True), (81, False)]
    seen = [processor.adjust_processing_for_battery({}, *level).batch_size for level in levels]
    assert seen == [16, 16, 32, 32]


def test_a_threshold_near_the_top_can_be_reached_again() -> None:
    processor = BatteryAwareProcessor(battery_thresholds={"full_performance": 99})
    seen = [
        processor.adjust_processing_for_battery({}, level).batch_size for level in (98, 99.9, 100)
    ]
    assert seen == [16, 16, 32]


def test_thresholds_and_hysteresis_can_be_set() -> None:
    processor = BatteryAwareProcessor(
        battery_thresholds={"full_performance": 60, "suspend_non_critical": 5}, hysteresis_points=0
    )
    seen = [
        processor.adjust_processing_for_battery({}, level).batch_size for level in (60, 59.9, 60)
    ]
    assert seen == [32, 16, 32]
    assert not processor.adjust_processing_for_battery({}, 6).suspend_non_critical
    assert processor.adjust_processing_for_battery({}, 5).suspend_non_critical
    assert not processor.adjust_processing_for_battery({}, 5.1).suspend_non_critical


@pytest.mark.parametrize(
    ("cpu_count", "workers"), [(1, [1, 1, 1]), (3, [3, 1, 1]), (16, [16, 8, 1])]
)
def test_workers_by_processors(cpu_count: int, workers: list[int]) -> None:
    processor = BatteryAwareProcessor(cpu_count=cpu_count)
    seen = [
        processor.adjust_processing_for_battery({}, level).max_workers for level in (90, 60, 40)
    ]
    assert seen == workers


def test_workers_by_the_processors_of_this_process() -> None:
    full = BatteryAwareProcessor().adjust_processing_for_battery({}, 100)
    assert full.max_workers == len(psutil.Process().cpu_affinity() or [])


def test_bad_input_is_named_and_changes_nothing(processor: BatteryAwareProcessor) -> None:
    for level in (130, -1, float("nan"), "50"):
        with pytest.raises(ConfigError, match="battery_percent"):
            processor.adjust_processing_for_battery({}, level)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="plugged"):
        processor.adjust_processing_for_battery({}, 5, "yes")  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="priority is 'urgent'"):
        processor.adjust_processing_for_battery({"priority": "urgent"}, 5)
    assert processor.adjust_processing_for_battery({}, 80) == FULL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"battery_thresholds": {"full": 80}}, "unknown name 'full'; known are full_performance"),
        ({"battery_thresholds": {"full_performance": 101}}, "full_performance: 101 is no percent"),
        (
            {"battery_thresholds": {"reduced_performance": 90}},
            r"reduced_performance: 90 is above full_performance \(80\)",
        ),
        ({"battery_thresholds": [80]}, r"battery_thresholds: \[80\] is no mapping"),
        ({"hysteresis_points": float("nan")}, "hysteresis_points: nan is no number"),
        ({"cpu_count": 0}, "cpu_count: 0 is no whole number"),
        ({"cpu_count": True}, "cpu_count: True is no whole number"),
    ],
)
def test_settings_that_cannot_be_used(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BatteryAwareProcessor(**arguments)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def scheduling(pid: int) -> tuple[int, int]:
    """Niceness and policy, fields 19 and 41 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[16]), int(fields[38])


@linux_only
@pytest.mark.parametrize("profile", [LEAST, MINIMAL, REDUCED, FULL])
def test_applying_to_a_process(sleeper: subprocess.Popen[bytes], profile: Profile) -> None:
    assert profile.apply_to(sleeper.pid) == ()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    policy = {"other": os.SCHED_OTHER, "batch": os.SCHED_BATCH, "idle": os.SCHED_IDLE}
    assert scheduling(sleeper.pid) == (
        min(19, own + profile.nice),
        policy[profile.scheduling_policy],
    )
    io_class = {"best-effort": psutil.IOPRIO_CLASS_BE, "idle": psutil.IOPRIO_CLASS_IDLE}
    assert psutil.Process(sleeper.pid).ionice().ioclass == io_class[profile.io_class]


@linux_only
def test_what_a_process_starts_inherits_it() -> None:
    script = "import subprocess, sys; input(); subprocess.run(['cat', '/proc/self/stat'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert LEAST.apply_to(process.pid) == ()
        output, _ = process.communicate("go\n", timeout=60)
    fields = output.rpartition(")")[2].split()
    assert (int(fields[16]), int(fields[38])) == (19, os.SCHED_IDLE)


@linux_only
def test_applying_to_a_process_that_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    refused = LEAST.apply_to(process.pid)
    assert len(refused) == 3
    for name, sentence in zip(
        ("scheduling policy 'idle'", "nice +19", "io class 'idle'"), refused, strict=True
    ):
        assert sentence == f"{name}: no such process (process {process.pid})"


def test_what_is_not_permitted_is_told_and_the_rest_done(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    assert MINIMAL.apply_to(sleeper.pid) == (
        f"nice +10: operation not permitted (process {sleeper.pid})",
    )
    assert psutil.Process(sleeper.pid).ionice().ioclass == psutil.IOPRIO_CLASS_IDLE


def test_what_the_system_lacks_is_told(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_setscheduler")
    monkeypatch.delattr(os, "setpriority")
    monkeypatch.delattr(psutil, "IOPRIO_CLASS_IDLE")
    refused = MINIMAL.apply_to(sleeper.pid)
    assert [sentence.partition(": ")[2] for sentence in refused] == [
        f"this system has no such setting (process {sleeper.pid})"
    ] * 3


@pytest.mark.parametrize("pid", [0, -1, "7", True, 1.0])
def test_a_process_id_that_is_none(pid: Any) -> None:
    with pytest.raises(ConfigError, match="is no process id"):
        FULL.apply_to(pid)
