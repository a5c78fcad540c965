"""Both backends, looking at one changing machine, say the same at each moment."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from backend.machine import SUPPLIES, Machine, Watch
from deferpower._contract import Sampler, SourceRow
from deferpower.types import IdleRules
from parity.nearly import NATIVE, PURE, numbers

# Between samples: windows that are too short, quiet ones, the dwell, the end of the writeback.
steps_s = st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0, 1.5, 7.3, 10.0, 35.0, 61.7, -3.0])
ages_s = st.sampled_from([0.0, 0.0, 1.0, 30.0, math.inf])
names = st.sampled_from(["BAT0", "BAT1", "AC", "ucsi-source-psy-USBC000:001", "hid-mouse"])
attributes = st.sampled_from(
    [
        "type",
        "scope",
        "present",
        "status",
        "capacity",
        "energy_now",
        "energy_full",
        "charge_now",
        "charge_full",
        "voltage_now",
        "power_now",
        "current_now",
        "time_to_empty_now",
        "online",
    ]
)
contents = st.one_of(
    st.sampled_from(
        [
            b"Battery\n",
            b"Mains\n",
            b"USB\n",
            b"UPS\n",
            b"Device\n",
            b"Charging\n",
            b"Discharging\n",
            b"Full\n",
            b"Not charging\n",
            b"0\n",
            b"1\n",
            b"41\n",
            b"7400000\n",
            b"30000000\n",
            b"",
        ]
    ),
    st.integers(0, 10**8).map(lambda value: f"{value}\n".encode()),
    st.binary(max_size=8),
    numbers,
)
roles = st.sampled_from([b"[source] sink", b"source [sink]", b"", b"sink"])
ports = st.sampled_from(["port0", "port1", "port10", "port0-partner"])
small = st.integers(0, 300)
growth = st.one_of(small, st.integers(0, 3), st.sampled_from([-1, 10**6, 10**13]))
attribute_paths = st.tuples(names, attributes).map(lambda path: f"{SUPPLIES}/{path[0]}/{path[1]}")
proc_paths = st.sampled_from(
    [
        "proc/stat",
        "proc/meminfo",
        "proc/diskstats",
        "proc/net/dev",
        "proc/pressure/cpu",
        "proc/self/stat",
        "proc/20/stat",
    ]
)
port_paths = st.tuples(names, ports).map(
    lambda path: f"{SUPPLIES}/{path[0]}/device/typec/{path[1]}/power_role"
) | ports.map(lambda port: f"sys/class/typec/{port}/power_role")
directories = st.sampled_from([SUPPLIES, f"{SUPPLIES}/BAT0", "sys/class/typec"])

Change: TypeAlias = Callable[["Life"], None]


def write(path: str, content: bytes) -> Change:
    return lambda life: life.machine.write(path, content)


def replace(path: str, content: bytes) -> Change:
    return lambda life: life.machine.replace(path, content)


def remove(path: str) -> Change:
    return lambda life: life.machine.remove(path)


def break_(path: str) -> Change:
    return lambda life: life.machine.break_(path)


def put_pack(name: str, capacity: int) -> Change:
    return lambda life: life.machine.pack(name, capacity=capacity)


def put_charger(name: str) -> Change:
    return lambda life: life.machine.supply(name, type="USB", online=1)


def live(busy: int, idle: int, own: int, disk: int, network: int) -> Change:
    return lambda life: life.live(busy, idle, own, disk, network)


def list_devices(disks: list[str], interfaces: list[str]) -> Change:
    return lambda life: life.list_devices(disks, interfaces)


def work(pids: list[int] | None, ticks: int, ticks_of_child: int) -> Change:
    return lambda life: life.work(pids, ticks, ticks_of_child)


changes = st.one_of(
    st.builds(live, growth, st.integers(0, 3000), growth, growth, growth),
    st.builds(live, st.integers(0, 3), small, st.integers(0, 3), st.just(0), st.integers(0, 9)),
    st.builds(
        list_devices,
        st.lists(st.sampled_from(["sda", "sda1", "nvme0n1", "loop0"]), max_size=3, unique=True),
        st.lists(st.sampled_from(["lo", "eth0", "wlan0", "tun0"]), max_size=3, unique=True),
    ),
    st.builds(write, attribute_paths, contents),
    st.builds(replace, attribute_paths, contents),
    st.builds(remove, attribute_paths | proc_paths | directories | port_paths),
    st.builds(break_, attribute_paths | proc_paths | port_paths),
    st.builds(write, port_paths, roles),
    st.builds(replace, proc_paths, st.sampled_from([b"", b"\0\0", b"x y 1\n", b"some avg10=1.25"])),
    st.builds(put_pack, names, st.integers(0, 110)),
    st.builds(put_charger, names),
    st.builds(work, st.sampled_from([None, [], [20], [20, 21], [1000], [4444]]), small, small),
)
steps = st.lists(st.tuples(st.lists(changes, max_size=4), steps_s, ages_s), min_size=1, max_size=10)


def same(native: object, pure: object) -> bool:
    """Equal; rates to rounding."""
    if isinstance(native, float) and isinstance(pure, float):
        return math.isclose(native, pure, rel_tol=1e-12)
    if isinstance(native, tuple) and isinstance(pure, tuple):
        return len(native) == len(pure) and all(map(same, native, pure))
    return native == pure and type(native) is type(pure)


class Life:
    """A machine, and both backends' samplers on it."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory / "machine")
        self.busy, self.idle, self.own, self.sectors, self.received = 1000, 9000, 500, 100, 1000
        self.list_devices(["sda", "sda1"], ["lo", "eth0", "wlan0"])
        self.machine.memory(8_000, 3_000)
        self.machine.pack()
        self.machine.supply("AC", type="Mains", online=0)
        self.now_s = 1000.0
        paths = [str(directory), str(directory / "missing")]
        rules = IdleRules(dwell_s=5.0)
        self.native, self.pure = (
            Watch(backend, self.machine, paths, rules).sampler for backend in (NATIVE, PURE)
        )
        self.work(None, 5, 5)

    def list_devices(self, disks: list[str], interfaces: list[str]) -> None:
        self.disks, self.interfaces = disks, interfaces
        self.live(0, 0, 0, 0, 0)

    def live(self, busy: int, idle: int, own: int, disk: int, network: int) -> None:
        self.busy = max(0, self.busy + busy)
        self.idle += idle
        self.own = max(0, self.own + own)
        self.sectors = max(0, self.sectors + disk)
        self.received = max(0, self.received + network)
        self.machine.cpu(self.busy, self.idle)
        self.machine.this_process(self.own)
        self.machine.disks(**dict.fromkeys(self.disks, (self.sectors, 7)))
        self.machine.interfaces(**dict.fromkeys(self.interfaces, (self.received, 7)))

    def work(self, pids: list[int] | None, ticks: int, ticks_of_child: int) -> None:
        self.machine.process(20, 1000, ticks)
        self.machine.process(21, 20, ticks_of_child)
        self.native.set_own_work(pids)
        self.pure.set_own_work(pids)

    def look(self, after_s: float, slow_max_age_s: float) -> None:
        """Both samplers look, and say the same."""
        self.now_s += after_s
        native, pure = (
            sampler.sample(self.now_s, slow_max_age_s) for sampler in (self.native, self.pure)
        )
        for index, (part, other) in enumerate(zip(native, pure, strict=True)):
            if index == 5:  # storage; other programs write to the file system of the first path
                part, other = native[5][1:], pure[5][1:]
            assert same(part, other), f"part {index}: native {part}, pure {other}"
        assert native[6:] == pure[6:], "idle is equal, not to rounding"


def without_room(sampler: Sampler) -> list[SourceRow]:
    return [row for row in sampler.sources() if row[0] != "storage" or row[2] != "ok"]


@given(steps)
def test_a_life(steps: list[tuple[list[Change], float, float]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        life = Life(Path(directory))
        for changes, after_s, slow_max_age_s in steps:
            for change in changes:
                change(life)
            life.look(after_s, slow_max_age_s)
        assert without_room(life.native) == without_room(life.pure)


@given(supply=st.dictionaries(attributes, st.binary(max_size=60)), name=names)
def test_any_attribute_text(supply: dict[str, bytes], name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory) / "machine")
        (machine.root / SUPPLIES / name).mkdir(parents=True)
        for attribute, content in supply.items():
            machine.write(f"{SUPPLIES}/{name}/{attribute}", content)
        seen = [Watch(backend, machine) for backend in (NATIVE, PURE)]
        rows = [watch.sampler.sample(1.0, 0.0) for watch in seen]
        assert repr(rows[0]) == repr(rows[1])
        assert seen[0].sampler.sources() == seen[1].sampler.sources()
