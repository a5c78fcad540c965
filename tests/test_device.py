"""`Device`: what a program sees, on both backends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from deferpower import ConfigError, Device, IdleRules
from deferpower.testing import ManualClock
from deferpower.types import Cpu, Disk, Memory, Network, Power, Storage


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_wall_s=1.7e9)


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def counters(root: Path, *, busy: int, idle: int, sectors: int, rx: int) -> None:
    write(root, "proc/stat", f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n")
    write(root, "proc/diskstats", f"   8  0 sda 1 0 {sectors} 0 1 0 {2 * sectors} 0 0 0 0\n")
    write(
        root,
        "proc/net/dev",
        "Inter-|   Receive\n face |bytes\n"
        f"    lo: {9 * rx} 1 0 0 0 0 0 0 {9 * rx} 1 0 0 0 0 0 0\n"
        f"  eth0: {rx} 1 0 0 0 0 0 0 {3 * rx} 1 0 0 0 0 0 0\n",
    )


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    root = tmp_path / "laptop"
    counters(root, busy=100, idle=100, sectors=100, rx=1000)
    write(root, "proc/meminfo", "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 6000 kB\n")
    write(root, "proc/pressure/cpu", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n")
    for name, value in {
        "type": "Battery",
        "status": "Discharging",
        "capacity": "60",
        "energy_now": "30000000",
        "energy_full": "50000000",
        "power_now": "10000000",
    }.items():
        write(root, f"sys/class/power_supply/BAT0/{name}", value + "\n")
    write(root, "sys/class/power_supply/AC/type", "Mains\n")
    write(root, "sys/class/power_supply/AC/online", "0\n")
    return root


def test_the_parts_of_a_reading(backend_name: str, laptop: Path, clock: ManualClock) -> None:
    device = Device(
        root=laptop,
        backend=backend_name,
        storage_paths=[laptop, laptop / "missing"],
        clock=clock,
        wall_clock=clock.time,
    )
    assert (device.clock(), device.wall_clock()) == (1000.0, 1.7e9)
    first = device.read(max_age_s=0)
    assert first.power == Power(True, 60.0, False, "discharging", -10.0, 30.0, 50.0, 10800.0, 1)
    assert first.cpu == Cpu(None, 2, 1.5, None)
    assert first.memory == Memory(8000 * 1024, 6000 * 1024, 25.0)
    assert first.disk == Disk(None, None)
    assert first.network == Network(None, None)
    assert (first.monotonic_s, first.wall_s, first.backend) == (1000.0, 1.7e9, backend_name)
    assert (first.idle_since_s, first.quiet_since_s) == (None, None)

    space = os.statvfs(laptop)
    assert set(first.storage) == {str(laptop), str(laptop / "missing")}
    assert first.storage[str(laptop / "missing")] is None
    here = first.storage[str(laptop)]
    assert isinstance(here, Storage)
    assert here.free_bytes == pytest.approx(space.f_bavail * space.f_frsize, rel=0.05)
    assert 0 <= here.used_percent <= 100

    counters(laptop, busy=130, idle=170, sectors=200, rx=6000)
    clock.advance(10)
    second = device.read(max_age_s=0)
    assert second.cpu is not None
    assert second.cpu.busy_percent == pytest.approx(30.0)
    assert second.disk == Disk(5120.0, 10240.0)
    assert second.network == Network(500.0, 1500.0)


def test_a_relative_root_stays_where_it_was(
    backend_name: str, laptop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laptop.parent)
    device = Device(root=laptop.name, backend=backend_name)
    before = device.read(max_age_s=0)
    monkeypatch.chdir("/")
    write(laptop, "sys/class/power_supply/BAT1/type", "Battery\n")
    after = device.read(max_age_s=0)
    assert before.power is not None
    assert after.power is not None
    assert (before.power.battery_count, after.power.battery_count) == (1, 2)


def test_a_young_reading_is_given_again(
    backend_name: str, laptop: Path, clock: ManualClock
) -> None:
    device = Device(root=laptop, backend=backend_name, clock=clock)
    assert device.latest is None
    first = device.read()
    clock.advance(0.9)
    assert device.read(max_age_s=1.0) is first
    assert device.latest is first
    clock.advance(0.1)
    second = device.read(max_age_s=1.0)
    assert second is not first
    assert device.latest is second
    assert device.read(max_age_s=0) is not second


def test_power_is_read_seldom_unless_wanted_afresh(
    backend_name: str, laptop: Path, clock: ManualClock
) -> None:
    device = Device(root=laptop, backend=backend_name, clock=clock)
    adapter = laptop / "sys/class/power_supply/AC/online"

    def plugged(max_age_s: float) -> bool | None:
        power = device.read(max_age_s).power
        assert power is not None
        return power.plugged

    assert plugged(1.0) is False
    adapter.write_text("1\n")
    clock.advance(29)
    assert plugged(1.0) is False
    assert plugged(0) is True
    adapter.write_text("0\n")
    clock.advance(30)
    assert plugged(1.0) is False
    adapter.write_text("1\n")
    clock.advance(60)
    assert plugged(90.0) is False
    assert plugged(45.0) is True


def test_one_path_is_no_list_of_paths(backend_name: str) -> None:
    with pytest.raises(ConfigError, match="storage_paths: '/tmp' is one path; put it in a list"):
        Device(backend=backend_name, storage_paths="/tmp")


@pytest.mark.parametrize("age", [-1.0, float("nan"), None, "1"])
def test_an_age_that_is_none(backend_name: str, laptop: Path, age: Any) -> None:
    with pytest.raises(ConfigError, match=r"max_age_s: .* is no number of at least 0"):
        Device(root=laptop, backend=backend_name).read(max_age_s=age)


def test_idle_rules_are_checked(backend_name: str) -> None:
    with pytest.raises(ConfigError, match=r"idle_rules\.dwell_s: nan is no number"):
        Device(backend=backend_name, idle_rules=IdleRules(dwell_s=float("nan")))


def test_idle_comes_after_the_dwell_and_ends_with_load(
    backend_name: str, laptop: Path, clock: ManualClock
) -> None:
    device = Device(
        root=laptop, backend=backend_name, clock=clock, idle_rules=IdleRules(dwell_s=20)
    )
    idle: list[tuple[float | None, float | None]] = []
    ticks = 100
    for busy_ticks in (0, 50, 50, 50, 900):
        counters(laptop, busy=ticks, idle=100_000 - ticks, sectors=100, rx=1000)
        ticks += busy_ticks
        counters(laptop, busy=ticks, idle=100_000 + int(clock()) * 200, sectors=100, rx=1000)
        reading = device.read(max_age_s=0)
        idle.append((reading.idle_since_s, reading.quiet_since_s))
        clock.advance(10)
    assert idle == [
        (None, None),
        (None, 1000.0),
        (1000.0, 1000.0),
        (1000.0, 1000.0),
        (None, None),
    ]


def test_reading_goes_on_after_a_fork(backend_name: str, laptop: Path) -> None:
    device = Device(root=laptop, backend=backend_name)
    device.read(max_age_s=0)
    ask, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            power = device.read(max_age_s=0).power
            os.write(answer, repr(power).encode())
        finally:
            os._exit(0)
    os.close(answer)
    with os.fdopen(ask, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    assert said == repr(device.read(max_age_s=0).power)


def test_own_work_that_is_refused_keeps_no_device_of_a_child_from_starting_anew(
    backend_name: str, laptop: Path
) -> None:
    devices = [Device(root=laptop, backend=backend_name) for _ in range(3)]
    for device in devices:
        device.read(max_age_s=0)
        with pytest.raises(TypeError):
            device.set_own_work(5)  # type: ignore[arg-type]
    pid = os.fork()
    if pid == 0:
        os._exit(sum(device.latest is not None for device in devices))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_fork_amid_other_threads_readings_does_not_hang_the_child(
    backend_name: str, laptop: Path
) -> None:
    device = Device(root=laptop, backend=backend_name)
    stop = threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            device.read(max_age_s=0)

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if device.read(max_age_s=0).power is not None else 1)
            until = time.monotonic() + 20
            while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
                if time.monotonic() > until:
                    os.kill(pid, 9)
                    os.waitpid(pid, 0)
                    pytest.fail("the child hangs")
                time.sleep(0.001)
            assert done[1] == 0
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_a_device_that_is_gone_holds_no_file(backend_name: str, laptop: Path) -> None:
    def open_files() -> set[Path]:
        held = set()
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                held.add(descriptor.readlink())
        return {path for path in held if path.is_relative_to(laptop)}

    device = Device(root=laptop, backend=backend_name)
    device.read(max_age_s=0)
    assert open_files()
    del device
    assert open_files() == set()


def test_sources_tell_where_each_sensor_is_read(backend_name: str, laptop: Path) -> None:
    sources = Device(root=laptop, backend=backend_name).sources()
    by_sensor = {source.sensor for source in sources}
    assert by_sensor == {"power", "cpu", "pressure", "memory", "disk", "network", "storage"}
    assert all(source.status == "ok" for source in sources)
    assert any(source.where == str(laptop / "proc/stat") for source in sources)


def test_this_machine_can_be_read(backend_name: str) -> None:
    reading = Device(backend=backend_name).read(max_age_s=0)
    assert reading.cpu is not None
    assert reading.memory is not None
    assert reading.cpu.count >= 1
    assert reading.memory.total_bytes is not None
    assert reading.storage["/"] is not None
