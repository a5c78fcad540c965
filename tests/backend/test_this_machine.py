"""The machine that runs the tests, with psutil as the witness."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backend.machine import Machine, Sample, Watch
from deferpower._contract import Backend
from deferpower.types import IdleRules

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with files of Linux")


def test_what_stays_the_same_agrees(backend: Backend) -> None:
    sample = Watch(backend, "/", ["/"]).at(time.monotonic())
    assert sample.cpu is not None
    assert sample.cpu.count == psutil.cpu_count()
    assert sample.memory is not None
    assert sample.memory.total_bytes == psutil.virtual_memory().total
    assert sample.storage[0] is not None
    usage = psutil.disk_usage("/")
    assert sample.storage[0][0] == pytest.approx(
        100 * usage.used / (usage.used + usage.free), abs=1
    )


def test_what_moves_lies_near(backend: Backend) -> None:
    memory = Watch(backend, "/").at(time.monotonic()).memory
    assert memory is not None
    assert memory.used_percent == pytest.approx(psutil.virtual_memory().percent, abs=15)


def test_work_of_this_process_is_seen_as_its_own(backend: Backend) -> None:
    watch = Watch(backend, "/")
    begun_s = time.monotonic()
    watch.at(begun_s)
    used_s = -time.process_time()
    while time.monotonic() < begun_s + 0.5:
        hashlib.sha256(b"x" * 100_000).digest()
    used_s += time.process_time()
    ended_s = time.monotonic()
    cpu = watch.at(ended_s).cpu
    assert cpu is not None
    assert cpu.busy_percent is not None
    assert cpu.own_percent is not None
    # The bounds are wide: the kernel tells the load of all in ticks, that of one in nanoseconds.
    share = 100 * used_s / (ended_s - begun_s) / cpu.count
    assert min(share, cpu.busy_percent) * 0.8 <= cpu.own_percent <= share * 1.2 + 1
    assert cpu.own_percent <= cpu.busy_percent


@pytest.fixture
def command() -> Iterator[subprocess.Popen[bytes]]:
    """A shell whose child makes load: the work of a command that is not this process's child."""
    spin = f"{sys.executable} -c 'while True: pass' & wait"
    with subprocess.Popen(["sh", "-c", spin], start_new_session=True) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, 9)


def test_work_of_a_command_s_child_is_seen_as_its_own(
    backend: Backend, command: subprocess.Popen[bytes]
) -> None:
    watch = Watch(backend, "/")
    watch.sampler.set_own_work([command.pid])
    watch.at(time.monotonic())
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        mine_s = time.process_time()
        then_s = time.monotonic()
        watch.at(then_s)
        time.sleep(0.3)
        cpu = watch.at(time.monotonic()).cpu
        assert cpu is not None
        mine = 100 * (time.process_time() - mine_s) / (time.monotonic() - then_s) / cpu.count
        if cpu.own_percent is not None and cpu.own_percent > mine + 5:
            return
    pytest.fail("the command's child was never seen")


def test_the_sources_of_this_machine(backend: Backend) -> None:
    sources = Watch(backend, "/", ["/"]).sources()
    assert sources["/proc/stat"].status == "ok"
    assert sources["/proc/meminfo"] == (
        "memory",
        "/proc/meminfo",
        "ok",
        "MemTotal and MemAvailable",
    )
    assert sources["/"].sensor == "storage"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_held_and_let_go(backend: Backend, machine: Machine) -> None:
    before = open_files()
    machine.cpu(busy=1, idle=1)
    for name in ("BAT0", "BAT1", "BAT2"):
        machine.pack(name)
    watch = Watch(backend, machine)
    watch.at(1.0)
    held = open_files()
    assert held >= before + 16
    for i in range(20):
        machine.replace("proc/stat", f"cpu {i} 0 0 {i}\n")
        machine.break_("sys/class/power_supply/BAT0/status")
        machine.pack("BAT0")
        watch.at(2.0 + i)
    assert open_files() == held
    machine.remove("sys/class/power_supply/BAT1")
    watch.at(100.0)
    assert before < open_files() <= held - 5
    del watch
    assert open_files() == before


def test_reading_goes_on_in_a_forked_child(backend: Backend, machine: Machine) -> None:
    """The parent's files are shared with the child; neither disturbs the other's position."""
    machine.cpu(busy=100, idle=100)
    machine.pack()
    watch = Watch(backend, machine)
    watch.at(1.0)
    machine.cpu(busy=150, idle=150)
    child = os.fork()
    if child == 0:
        sample: Sample = watch.at(2.0)
        fits = sample.cpu and sample.power and sample.power.percent == 60.0
        os._exit(0 if fits and sample.cpu and sample.cpu.busy_percent == 50.0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cpu = watch.at(2.0).cpu
    assert cpu is not None
    assert cpu.busy_percent == 50.0


def test_the_backend_has_its_name(backend: Backend, backend_name: str) -> None:
    assert backend_name == backend.NAME


def test_arguments_are_positional(backend: Backend) -> None:
    sampler = backend.Sampler("/", [], IdleRules()[:4])
    with pytest.raises(TypeError):
        sampler.sample(monotonic_s=1.0, slow_max_age_s=0.0)  # type: ignore[call-arg]
