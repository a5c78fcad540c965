"""Load between two readings, and what is read at each."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.machine import Machine, Watch
from deferpower._contract import Backend
from deferpower.errors import ConfigError
from deferpower.types import Cpu, Disk, IdleRules, Memory, Network


@pytest.fixture
def server(machine: Machine) -> Machine:
    machine.cpu(busy=1000, idle=9000)
    machine.memory(8_000, 6_000)
    machine.disks(sda=(100, 200), sda1=(90, 190))
    machine.interfaces(lo=(5, 5), eth0=(1_000, 2_000))
    return machine


def test_the_first_reading_has_no_rates(backend: Backend, server: Machine) -> None:
    server.write("proc/pressure/cpu", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n")
    sample = Watch(backend, server).at(50.0)
    assert sample.cpu == Cpu(None, 2, 1.5, None)
    assert sample.memory == Memory(8_192_000, 6_144_000, 25.0)
    assert sample.disk == Disk(None, None)
    assert sample.network == Network(None, None)
    assert (sample.idle_since_s, sample.quiet_since_s) == (None, None)


def test_rates_cover_the_time_since_the_reading_before(backend: Backend, server: Machine) -> None:
    watch = Watch(backend, server)
    watch.at(50.0)
    server.cpu(busy=1030, idle=9090)
    server.disks(sda=(140, 208), sda1=(130, 198))
    server.interfaces(lo=(9_999, 9_999), eth0=(4_000, 2_500))
    sample = watch.at(52.0)
    assert sample.cpu == Cpu(25.0, 2, None, None)
    assert sample.disk == Disk(10_240.0, 2_048.0)
    assert sample.network == Network(1_500.0, 250.0)
    sample = watch.at(53.0)
    assert sample.disk == Disk(0.0, 0.0)
    assert sample.network == Network(0.0, 0.0)


def test_a_tick_counts_from_the_last_reading_that_saw_one(
    backend: Backend, server: Machine
) -> None:
    watch = Watch(backend, server)
    watch.at(50.0)
    server.cpu(busy=1001, idle=9001)
    assert watch.cpu_at(50.01).busy_percent == 50.0
    assert watch.cpu_at(50.02).busy_percent is None
    server.cpu(busy=1001, idle=9002, processors=4)
    assert watch.cpu_at(50.03) == Cpu(0.0, 4, None, None)


@pytest.mark.parametrize("again_s", [50.0, 49.0, -50.0])
def test_time_that_does_not_pass_gives_no_rates(
    backend: Backend, server: Machine, again_s: float
) -> None:
    watch = Watch(backend, server)
    watch.at(50.0)
    server.cpu(busy=1010, idle=9010)
    server.disks(sda=(200, 200))
    server.interfaces(eth0=(2_000, 2_000))
    sample = watch.at(again_s)
    assert sample.cpu == Cpu(None, 2, None, None)
    assert sample.disk == Disk(None, None)
    assert sample.network == Network(None, None)
    server.cpu(busy=1020, idle=9010)
    server.disks(sda=(202, 200))
    sample = watch.at(again_s + 1.0)
    assert sample.cpu == Cpu(100.0, 2, None, None)
    assert sample.disk == Disk(1_024.0, 0.0)


@pytest.mark.parametrize(("busy", "idle"), [(999, 9500), (1500, 8999), (0, 0)])
def test_processor_counters_that_run_backwards(
    backend: Backend, server: Machine, busy: int, idle: int
) -> None:
    watch = Watch(backend, server)
    watch.at(50.0)
    server.cpu(busy, idle)
    assert watch.cpu_at(51.0).busy_percent is None
    server.cpu(busy + 1, idle + 3)
    assert watch.cpu_at(52.0).busy_percent == 25.0


@pytest.mark.parametrize(
    "sectors",
    [
        pytest.param({"sda": (99, 900)}, id="a counter backwards"),
        pytest.param({"sda": (900, 199)}, id="the other backwards"),
        pytest.param({"sda": (100, 200), "sdb": (0, 0)}, id="one more"),
        pytest.param({"sdb": (100, 200)}, id="another"),
        pytest.param({"sda": (100, 10**13)}, id="beyond all disks"),
    ],
)
def test_disk_intervals_that_tell_no_rate(
    backend: Backend, server: Machine, sectors: dict[str, tuple[int, int]]
) -> None:
    watch = Watch(backend, server)
    watch.at(50.0)
    server.disks(**sectors)
    assert watch.at(51.0).disk == Disk(None, None)
    server.disks(**{name: (read + 2, written) for name, (read, written) in sectors.items()})
    assert watch.at(52.0).disk == Disk(1_024.0 * len(sectors), 0.0)


def test_two_devices_are_added_up_and_must_keep_their_order(
    backend: Backend, server: Machine
) -> None:
    server.interfaces(eth0=(10, 20), wlan0=(30, 40))
    watch = Watch(backend, server)
    watch.at(50.0)
    server.interfaces(eth0=(11, 22), wlan0=(33, 44))
    assert watch.at(51.0).network == Network(4.0, 6.0)
    server.interfaces(wlan0=(33, 44), eth0=(11, 22))
    assert watch.at(52.0).network == Network(None, None)
    server.interfaces(wlan0=(33, 43), eth0=(99, 99))
    assert watch.at(53.0).network == Network(None, None), "one ran backwards, the sum did not"


def test_the_largest_rate_that_is_believed(backend: Backend, server: Machine) -> None:
    server.interfaces(eth0=(0, 0))
    watch = Watch(backend, server)
    watch.at(50.0)
    server.interfaces(eth0=(10**12, 0))
    assert watch.at(51.0).network == Network(1e12, 0.0)
    server.interfaces(eth0=(2 * 10**12 + 1, 0))
    assert watch.at(52.0).network == Network(None, None)


def test_an_interface_disappears_and_returns(backend: Backend, server: Machine) -> None:
    server.interfaces(lo=(1, 1), eth0=(10, 20), usb0=(30, 40))
    watch = Watch(backend, server)
    watch.at(50.0)
    server.interfaces(lo=(1, 1), eth0=(15, 25))
    assert watch.at(51.0).network == Network(None, None)
    server.interfaces(lo=(1, 1), eth0=(16, 25))
    assert watch.at(52.0).network == Network(1.0, 0.0)
    server.interfaces(lo=(1, 1))
    assert watch.at(53.0).network is None
    server.interfaces(lo=(1, 1), eth0=(17, 25), usb0=(0, 0))
    assert watch.at(54.0).network == Network(None, None)


SENSORS = {
    "cpu": ("proc/stat", "cpu 10 0 0 90\ncpu0 1\n"),
    "memory": ("proc/meminfo", "MemTotal: 16 kB\nMemAvailable: 4 kB\n"),
    "disk": ("proc/diskstats", "8 0 sda 1 1 1 1 1 1 1\n"),
    "network": ("proc/net/dev", "eth0: 1 1 1 1 1 1 1 1 1\n"),
}


@pytest.mark.parametrize("part", SENSORS)
@pytest.mark.parametrize("change", [Machine.write, Machine.replace])
def test_a_file_that_appears_fails_and_recovers(
    backend: Backend, machine: Machine, part: str, change: Callable[[Machine, str, str], None]
) -> None:
    name, text = SENSORS[part]
    watch = Watch(backend, machine)

    def seen(monotonic_s: float) -> bool:
        sample = watch.at(monotonic_s)
        others = [getattr(sample, other) for other in SENSORS if other != part]
        assert others == [None, None, None]
        return getattr(sample, part) is not None

    assert not seen(1.0)
    change(machine, name, text)
    assert seen(2.0)
    machine.break_(name)
    assert not seen(3.0)
    machine.remove(name)
    change(machine, name, text)
    assert seen(4.0)
    change(machine, name, "\0\0\0")
    assert not seen(5.0)
    change(machine, name, text)
    assert seen(6.0)
    machine.remove(name)
    assert not seen(7.0)


def test_what_is_absent_is_looked_for_with_the_slow_sensors(
    backend: Backend, machine: Machine
) -> None:
    watch = Watch(backend, machine)
    assert watch.at(100.0, 30.0).memory is None
    machine.memory(8, 4)
    assert watch.at(129.0, 30.0).memory is None
    assert watch.at(130.0, 30.0).memory == Memory(8192, 4096, 50.0)
    machine.break_("proc/meminfo")
    assert watch.at(131.0, 30.0).memory is None
    machine.memory(8, 6)
    assert watch.at(132.0, 30.0).memory == Memory(8192, 6144, 25.0), "it failed, it was there"


def test_a_pipe_in_a_file_s_place_is_not_waited_for(backend: Backend, server: Machine) -> None:
    server.pack()
    server.remove("proc/meminfo")
    os.mkfifo(server.root / "proc/meminfo")
    server.remove("sys/class/power_supply/BAT0/status")
    os.mkfifo(server.root / "sys/class/power_supply/BAT0/status")
    sample = Watch(backend, server).at(1.0)
    assert sample.memory is None
    assert sample.power is not None
    assert (sample.power.state, sample.power.percent) == ("unknown", 60.0)


def test_a_file_that_is_longer_than_any_buffer(backend: Backend, server: Machine) -> None:
    server.interfaces(**{f"en{i}": (i, 0) for i in range(5000)})
    watch = Watch(backend, server)
    watch.at(50.0)
    server.interfaces(**{f"en{i}": (i + 1, 2) for i in range(5000)})
    assert watch.at(51.0).network == Network(5000.0, 10_000.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal: 16 kB\n", Memory(16384, None, None)),
        ("MemAvailable: 4 kB\n", Memory(None, 4096, None)),
        ("MemTotal: 16 kB\nMemAvailable: 17 kB\n", Memory(16384, None, None)),
        ("MemTotal: 3 kB\nMemAvailable: 2 kB\n", Memory(3072, 2048, 100.0 * 1024 / 3072)),
        ("", None),
    ],
)
def test_memory(backend: Backend, machine: Machine, text: str, expected: Memory | None) -> None:
    machine.write("proc/meminfo", text)
    assert Watch(backend, machine).at(1.0).memory == expected


@pytest.mark.parametrize("text", ["", "full avg10=1.00\n", "some avg10=nan\n", "some avg10=101\n"])
def test_pressure_that_says_nothing(backend: Backend, server: Machine, text: str) -> None:
    server.write("proc/pressure/cpu", text)
    assert Watch(backend, server).cpu_at(1.0).pressure_percent is None


class TestStorage:
    """Room under the paths that the program named."""

    def test_each_path_as_given(self, backend: Backend, machine: Machine, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing")
        paths = [str(tmp_path), missing, "with\0nul", "/proc"]
        here, gone, unspeakable, proc = Watch(backend, machine, paths).at(1.0).storage
        assert gone is None
        assert unspeakable is None
        assert proc == (0.0, 0), "an empty file system"
        status = os.statvfs(tmp_path)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        free = status.f_bavail * status.f_frsize
        assert here is not None
        assert here[0] == pytest.approx(100.0 * used / (used + free), abs=1.0)
        assert here[1] == pytest.approx(free, rel=0.05)

    def test_it_is_read_with_the_power(
        self, backend: Backend, machine: Machine, tmp_path: Path
    ) -> None:
        place = tmp_path / "mounted later"
        watch = Watch(backend, machine, [str(place)])
        assert watch.at(100.0, 30.0).storage == (None,)
        place.mkdir()
        assert watch.at(129.0, 30.0).storage == (None,)
        assert watch.at(131.0, 30.0).storage != (None,)


class TestOwnWork:
    """The part of the load that this process and its commands make."""

    @pytest.fixture
    def laptop(self, machine: Machine) -> Machine:
        machine.cpu(busy=0, idle=0)
        machine.this_process(500)
        return machine

    def test_this_process_is_always_its_own(self, backend: Backend, laptop: Machine) -> None:
        watch = Watch(backend, laptop)
        assert watch.cpu_at(10.0).own_percent is None
        laptop.cpu(busy=300, idle=100)
        laptop.this_process(600)
        # 1 s of processor in 2 s on 2 processors.
        assert watch.cpu_at(12.0) == Cpu(75.0, 2, None, 25.0)

    def test_it_is_never_more_than_the_load(self, backend: Backend, laptop: Machine) -> None:
        watch = Watch(backend, laptop)
        watch.at(10.0)
        laptop.cpu(busy=10, idle=190)
        laptop.this_process(900)
        assert watch.cpu_at(11.0) == Cpu(5.0, 2, None, 5.0)

    def test_it_covers_the_same_time_as_the_load(self, backend: Backend, laptop: Machine) -> None:
        watch = Watch(backend, laptop)
        watch.at(10.0)
        laptop.this_process(540)
        assert watch.cpu_at(10.5) == Cpu(None, 2, None, None), "no tick passed"
        laptop.this_process(550)
        laptop.cpu(busy=150, idle=50)
        assert watch.cpu_at(11.0) == Cpu(75.0, 2, None, 25.0)

    def test_a_process_that_ran_backwards(self, backend: Backend, laptop: Machine) -> None:
        watch = Watch(backend, laptop)
        watch.at(10.0)
        laptop.cpu(busy=10, idle=190)
        laptop.this_process(499)
        assert watch.cpu_at(11.0) == Cpu(5.0, 2, None, None)

    def test_a_tree_that_does_not_know_this_process(
        self, backend: Backend, machine: Machine
    ) -> None:
        machine.cpu(busy=0, idle=0)
        machine.process(20, 1, 100)
        watch = Watch(backend, machine)
        watch.sampler.set_own_work([20])
        watch.at(10.0)
        machine.cpu(busy=100, idle=100)
        assert watch.cpu_at(11.0) == Cpu(50.0, 2, None, None)

    def test_whole_trees_of_commands_count_once(self, backend: Backend, laptop: Machine) -> None:
        # 20 -> 21 -> 22, and 30 of somebody else; 1000 is this process, the parent of 20.
        parents = {20: 1000, 21: 20, 22: 21, 30: 1}
        for pid, parent in parents.items():
            laptop.process(pid, parent, ticks=7, reaped_ticks=3)
        laptop.process(1000, 1, ticks=500)
        laptop.write("proc/99/stat", "gone while it was read")
        laptop.write("proc/uptime", "1 2")
        watch = Watch(backend, laptop)
        watch.sampler.set_own_work([20, 21, 1000, 4444])
        watch.at(10.0)
        laptop.cpu(busy=400, idle=0)
        for pid, parent in parents.items():
            laptop.process(pid, parent, ticks=17, reaped_ticks=8)
        laptop.process(1000, 1, ticks=505)
        laptop.this_process(505)
        # (3 x (10 + 5) + 5) ticks in 1 s on 2 processors.
        assert watch.cpu_at(11.0).own_percent == 25.0

    def test_commands_count_only_while_they_are_work(
        self, backend: Backend, laptop: Machine
    ) -> None:
        laptop.process(20, 1, ticks=0)
        watch = Watch(backend, laptop)
        watch.at(10.0)
        watch.sampler.set_own_work([20])
        laptop.process(20, 1, ticks=50)
        laptop.cpu(busy=200, idle=0)
        assert watch.cpu_at(11.0).own_percent == 25.0
        watch.sampler.set_own_work([])
        laptop.process(20, 1, ticks=100)
        laptop.cpu(busy=400, idle=0)
        assert watch.cpu_at(12.0).own_percent is None, "the sum fell by what was counted before"
        laptop.cpu(busy=600, idle=0)
        laptop.this_process(600)
        assert watch.cpu_at(13.0).own_percent == 50.0


@pytest.fixture
def _eager_threads() -> Iterator[None]:
    """Threads that take turns at nearly every step."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("_eager_threads")
def test_many_threads_share_a_sampler(backend: Backend, server: Machine) -> None:
    server.pack()
    watch = Watch(backend, server, ["/"])
    running = threading.Event()
    running.set()
    faults: list[object] = []

    def work(number: int) -> None:
        try:
            for i in range(300):
                sample = watch.at(1.0 + i * 0.01, slow_max_age_s=0.05 * number)
                watch.sampler.set_own_work([] if i % 2 else None)
                if (
                    sample.power is None
                    or sample.power.percent != 60.0
                    or sample.memory != Memory(8_192_000, 6_144_000, 25.0)
                    or sample.disk not in (Disk(None, None), Disk(0.0, 0.0))
                    or sample.cpu != Cpu(None, 2, None, None)
                ):
                    faults.append(sample)
        except Exception as error:
            faults.append(error)

    def replace_files() -> None:
        meminfo = (server.root / "proc/meminfo").read_bytes()
        while running.is_set():
            server.replace("proc/meminfo", meminfo)
            server.replace("sys/class/power_supply/BAT0/energy_now", "30000000\n")

    replacing = threading.Thread(target=replace_files)
    sampling = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in (replacing, *sampling):
        thread.start()
    for thread in sampling:
        thread.join()
    running.clear()
    replacing.join()
    assert faults == []
    assert not any(source.status == "failing" for source in watch.sources().values())


@pytest.mark.parametrize("make", [lambda root: None, lambda root: root.write_text("")])
def test_a_root_that_is_no_directory(
    backend: Backend, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    root = tmp_path / "root"
    make(root)
    with pytest.raises(ConfigError, match=r"root.*is no directory"):
        backend.Sampler(str(root), [], IdleRules()[:4])


def test_a_root_without_anything_in_it(backend: Backend, tmp_path: Path) -> None:
    sample = Watch(backend, str(tmp_path)).at(1.0)
    assert sample.power is not None
    assert not sample.power.present
    assert sample[1:] == (None, None, None, None, (), None, None)


@pytest.mark.parametrize(
    ("monotonic_s", "slow_max_age_s", "named"),
    [
        (math.nan, 0.0, "monotonic_s"),
        (math.inf, 0.0, "monotonic_s"),
        (-math.inf, 0.0, "monotonic_s"),
        (1.0, math.nan, "slow_max_age_s"),
    ],
)
def test_what_is_no_number_is_refused(
    backend: Backend, server: Machine, monotonic_s: float, slow_max_age_s: float, named: str
) -> None:
    watch = Watch(backend, server)
    watch.at(1.0)
    with pytest.raises(ConfigError, match=f"^{named} is not a"):
        watch.at(monotonic_s, slow_max_age_s)
    assert watch.at(2.0, math.inf).disk == Disk(0.0, 0.0), "the refused call left no trace"


def test_idle_rules_that_are_no_numbers_are_refused(backend: Backend, machine: Machine) -> None:
    with pytest.raises(ConfigError, match=r"^idle_rules: not a number"):
        Watch(backend, machine, rules=IdleRules(dwell_s=math.nan))


def test_rounding_takes_no_share_above_the_whole(backend: Backend, server: Machine) -> None:
    """Counters that large are absurd, and fit in their 64 bits."""
    watch = Watch(backend, server)
    watch.at(50.0)
    server.cpu(busy=1000 + 824_652_759_421_574, idle=9000)
    server.memory(467_952_330_434_387, 0)
    sample = watch.at(51.0)
    assert sample.cpu == Cpu(100.0, 2, None, None)
    assert sample.memory == Memory(467_952_330_434_387 * 1024, 0, 100.0)
