"""Since when the machine is quiet, and when that counts as idle."""

from __future__ import annotations

import pytest

from backend.machine import Machine, Sample, Watch
from deferpower._contract import Backend
from deferpower.types import IdleRules

RULES = IdleRules(dwell_s=10.0)


class Life:
    """A machine that lives on between samples, at a load that the test sets.

    Attributes:
        busy_percent: load of its two processors.
        own_percent: the part of it that this process makes.
        disk_bytes_per_s: written, in whole sectors.
        network_bytes_per_s: received.
    """

    def __init__(self, backend: Backend, machine: Machine, rules: IdleRules = RULES) -> None:
        self.machine = machine
        self.watch = Watch(backend, machine, rules=rules)
        self.busy_percent = self.own_percent = 0.0
        self.disk_bytes_per_s = self.network_bytes_per_s = 0
        self.now_s = 1000.0
        self._busy = self._idle = self._own = 100_000
        self._sectors = self._received = 0
        self._write()

    def sample(self, after_s: float = 0.0) -> Sample:
        """Live on for a while, then look."""
        self.now_s += after_s
        self._busy += round(self.busy_percent * 2 * after_s)
        self._idle += round((100 - self.busy_percent) * 2 * after_s)
        self._own += round(self.own_percent * 2 * after_s)
        self._sectors += round(self.disk_bytes_per_s * after_s) // 512
        self._received += round(self.network_bytes_per_s * after_s)
        self._write()
        return self.watch.at(self.now_s)

    def quiet_since(self, after_s: float = 0.0) -> float | None:
        return self.sample(after_s).quiet_since_s

    def _write(self) -> None:
        self.machine.cpu(self._busy, self._idle)
        self.machine.this_process(self._own)
        self.machine.disks(sda=(0, self._sectors))
        self.machine.interfaces(eth0=(self._received, 0))


@pytest.fixture
def life(backend: Backend, machine: Machine) -> Life:
    return Life(backend, machine)


def test_idle_is_quiet_for_the_dwell_time(life: Life) -> None:
    assert life.quiet_since() is None
    sample = life.sample(2.0)
    assert (sample.quiet_since_s, sample.idle_since_s) == (1000.0, None)
    sample = life.sample(7.5)
    assert (sample.quiet_since_s, sample.idle_since_s) == (1000.0, None)
    sample = life.sample(0.5)
    assert (sample.quiet_since_s, sample.idle_since_s) == (1000.0, 1000.0), "within an open window"
    life.busy_percent = 50.0
    sample = life.sample(0.25)
    assert sample.idle_since_s == 1000.0, "the window is too short to judge"
    sample = life.sample(0.25)
    assert (sample.quiet_since_s, sample.idle_since_s) == (None, None)


def test_without_dwell_quiet_is_idle(backend: Backend, machine: Machine) -> None:
    life = Life(backend, machine, IdleRules(dwell_s=0.0))
    assert life.sample().idle_since_s is None
    assert life.sample(1.0).idle_since_s == 1000.0


def test_readings_that_are_close_together_share_a_window(life: Life) -> None:
    life.sample()
    for _ in range(3):
        assert life.quiet_since(0.25) is None
    assert life.quiet_since(0.25) == 1000.0
    # Half a second of load within a window of a second is 10 % of it and more.
    life.busy_percent = 40.0
    life.sample(0.5)
    life.busy_percent = 0.0
    assert life.quiet_since(0.5) is None
    assert life.quiet_since(1.0) == 1002.0


@pytest.mark.parametrize(
    ("load", "quiet"),
    [
        ({"busy_percent": 9.5}, True),
        ({"busy_percent": 10.0}, False),
        ({"busy_percent": 80.0, "own_percent": 71.0}, True),
        ({"busy_percent": 80.0, "own_percent": 70.0}, False),
        ({"disk_bytes_per_s": 512}, True),
        ({"disk_bytes_per_s": 1024}, False),
        ({"network_bytes_per_s": 1023}, True),
        ({"network_bytes_per_s": 1024}, False),
        ({"disk_bytes_per_s": 512, "network_bytes_per_s": 1023}, True),
    ],
)
def test_what_is_quiet(life: Life, load: dict[str, float], quiet: bool) -> None:
    for name, value in load.items():
        setattr(life, name, value)
    life.sample()
    assert life.quiet_since(2.0) == (1000.0 if quiet else None)


@pytest.mark.parametrize(
    ("rules", "load", "quiet"),
    [
        (IdleRules(cpu_percent=30.0), {"busy_percent": 29.5}, True),
        (IdleRules(cpu_percent=0.0), {}, False),
        (IdleRules(disk_bytes_per_s=1e6), {"disk_bytes_per_s": 999_936}, True),
        (IdleRules(network_bytes_per_s=100.0), {"network_bytes_per_s": 100}, False),
    ],
)
def test_the_limits_are_the_rules(
    backend: Backend, machine: Machine, rules: IdleRules, load: dict[str, float], quiet: bool
) -> None:
    life = Life(backend, machine, rules)
    test_what_is_quiet(life, load, quiet)


def test_read_and_written_count_together(backend: Backend, machine: Machine) -> None:
    life = Life(backend, machine)
    life.sample()
    machine.cpu(busy=100_000, idle=100_400)
    machine.disks(sda=(2, 2))
    assert life.watch.at(1002.0).quiet_since_s is None


def test_a_window_without_processor_figure_changes_nothing(life: Life) -> None:
    life.sample()
    assert life.quiet_since(2.0) == 1000.0
    life.machine.remove("proc/stat")
    for now_s in (1003.0, 1004.5):
        assert life.watch.at(now_s).quiet_since_s == 1000.0
    # The sampler comes back to a window that starts without figure, and then to a busy one.
    life.now_s, life.busy_percent = 1005.0, 90.0
    assert life.quiet_since(1.0) == 1000.0
    assert life.quiet_since(1.0) is None


def test_processor_counters_that_run_backwards_change_nothing(life: Life) -> None:
    life.sample()
    life.sample(2.0)
    life.machine.cpu(busy=0, idle=0)
    assert life.watch.at(1004.0).quiet_since_s == 1000.0
    life.machine.cpu(busy=0, idle=200)
    assert life.watch.at(1005.0).quiet_since_s == 1000.0


def test_a_window_in_which_no_tick_passed_changes_nothing(life: Life) -> None:
    life.sample()
    assert life.watch.at(1002.0).quiet_since_s is None
    life.now_s = 1002.0
    assert life.quiet_since(1.0) == 1002.0


def test_traffic_that_cannot_be_told_does_not_count(life: Life) -> None:
    life.sample()
    life.machine.disks(sda=(0, 0), sdb=(0, 10**6))
    life.machine.remove("proc/net/dev")
    life.machine.cpu(busy=100_000, idle=100_400)
    assert life.watch.at(1002.0).quiet_since_s == 1000.0


def test_traffic_that_does_not_exist_is_never_too_much(backend: Backend, machine: Machine) -> None:
    watch = Watch(backend, machine, rules=IdleRules(disk_bytes_per_s=0.0, network_bytes_per_s=0.0))
    machine.cpu(busy=0, idle=0)
    watch.at(1000.0)
    machine.cpu(busy=0, idle=200)
    assert watch.at(1001.0).quiet_since_s == 1000.0


def test_time_that_jumps_back_starts_a_new_window(life: Life) -> None:
    life.sample()
    assert life.quiet_since(2.0) == 1000.0
    life.busy_percent = 90.0
    life.now_s = 500.0
    assert life.quiet_since() == 1000.0
    assert life.quiet_since(0.5) == 1000.0
    assert life.quiet_since(0.5) is None


class TestOwnTraffic:
    """Traffic of deferpower's own work, which the kernel does not tell apart."""

    @pytest.mark.parametrize("pids", [[], [4444]])
    def test_it_does_not_count_while_work_runs(self, life: Life, pids: list[int]) -> None:
        life.disk_bytes_per_s = life.network_bytes_per_s = 1_000_000
        life.watch.sampler.set_own_work(pids)
        life.sample()
        assert life.quiet_since(2.0) == 1000.0
        assert life.quiet_since(60.0) == 1000.0

    def test_load_of_others_counts_all_the_same(self, life: Life) -> None:
        life.busy_percent = 50.0
        life.watch.sampler.set_own_work([])
        life.sample()
        assert life.quiet_since(2.0) is None

    def test_it_does_not_count_while_the_kernel_writes_back(self, life: Life) -> None:
        life.watch.sampler.set_own_work([])
        life.sample()
        life.sample(2.0)
        life.watch.sampler.set_own_work(None)
        life.disk_bytes_per_s = 1_000_000
        # Work may have ended just before this sample.
        assert life.quiet_since(1.0) == 1000.0
        assert life.quiet_since(34.0) == 1000.0
        # The window starts within the 35 s, so it may hold what was written back.
        assert life.quiet_since(1.0) == 1000.0
        assert life.quiet_since(1.0) is None

    def test_work_between_two_samples_is_work(self, life: Life) -> None:
        life.sample()
        life.watch.sampler.set_own_work([])
        life.watch.sampler.set_own_work(None)
        life.disk_bytes_per_s = 1_000_000
        assert life.quiet_since(2.0) == 1000.0

    def test_saying_that_nothing_runs_is_no_work(self, life: Life) -> None:
        life.watch.sampler.set_own_work(None)
        life.sample()
        life.disk_bytes_per_s = 1_000_000
        assert life.quiet_since(2.0) is None
