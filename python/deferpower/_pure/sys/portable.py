"""Every other system, by way of psutil. It runs on Linux too, where tests compare the two.

Fields are taken by name: psutil 8 orders them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import psutil

from deferpower._contract import PowerRow, SourceRow, StorageRow
from deferpower._pure.parse.diskstats import whole_disks
from deferpower._pure.parse.netdev import outer_interfaces
from deferpower._pure.parse.power import NO_BATTERY
from deferpower._pure.reading import Traffic
from deferpower._pure.sys.storage import FileSystems
from deferpower.errors import ConfigError
from deferpower.types import PowerState

_T = TypeVar("_T")

_TICKS_PER_S = 100
# Interrupts of Windows are within its system time, guests of Linux within user time.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")
_ASKED = {
    "cpu": "psutil.cpu_times",
    "disk": "psutil.disk_io_counters",
    "memory": "psutil.virtual_memory",
    "network": "psutil.net_io_counters",
    "power": "psutil.sensors_battery",
}


class PortableMachine:
    """The `Machine` that psutil sees."""

    has_power_events = False

    def __init__(self, root: str, storage_paths: Sequence[str]) -> None:
        """Take the machine itself.

        Raises:
            ConfigError: the root is another than ``"/"``.
        """
        if root != "/":
            raise ConfigError(
                f"root: {root!r} cannot be read on this system, only the machine itself can; "
                "leave root out"
            )
        self._storage = FileSystems(storage_paths)
        self._status: dict[str, tuple[str, str]] = {}

    def look_again(self) -> None:
        """Psutil looks each time."""

    def cpu(self) -> tuple[int, int, int] | None:
        times = self._ask("cpu", psutil.cpu_times)
        if times is None:
            return None
        count = psutil.cpu_count() or 1
        self._status["cpu"] = "ok", f"{count} processor{'s' if count > 1 else ''}"
        busy = sum(_ticks(getattr(times, name, 0.0)) for name in _BUSY)
        return busy, sum(_ticks(getattr(times, name, 0.0)) for name in _IDLE), count

    def own_s(self, pids: Sequence[int]) -> float | None:
        try:
            mine = psutil.Process()
            seconds = _seconds(mine)
        except psutil.Error:
            return None
        seen = {mine.pid}
        for process in _trees(pids):
            if process.pid not in seen:
                seen.add(process.pid)
                try:
                    seconds += _seconds(process)
                except psutil.Error:
                    continue  # gone meanwhile, or another user's
        return seconds

    def pressure_percent(self) -> float | None:
        return None

    def memory(self) -> tuple[int | None, int | None]:
        memory = self._ask("memory", psutil.virtual_memory)
        if memory is None or memory.total <= 0:
            return None, None
        self._status["memory"] = "ok", "total and available"
        return memory.total, memory.available if memory.available <= memory.total else None

    def disk(self) -> Traffic | None:
        # nowrap would mend counters that run backwards, which is for the sampler to see.
        disks = self._ask("disk", lambda: psutil.disk_io_counters(perdisk=True, nowrap=False))
        if disks is None:
            return None
        traffic = [
            (name, disks[name.decode()].read_bytes, disks[name.decode()].write_bytes)
            for name in whole_disks(name.encode() for name in disks)
        ]
        return self._listed("disk", traffic, "no disk that counts")

    def network(self) -> Traffic | None:
        nics = self._ask("network", lambda: psutil.net_io_counters(pernic=True, nowrap=False))
        if nics is None:
            return None
        names = [name.encode() for name in nics if not _is_loopback(name)]
        traffic = [
            (name, nics[name.decode()].bytes_recv, nics[name.decode()].bytes_sent)
            for name in outer_interfaces(names)
        ]
        return self._listed("network", traffic, "no interface that counts")

    def power(self) -> PowerRow | None:
        if not hasattr(psutil, "sensors_battery"):
            self._status["power"] = "absent", "psutil cannot tell it on this system"
            return None
        battery = self._ask("power", psutil.sensors_battery)
        if battery is None:
            return None if self._status["power"][0] == "failing" else NO_BATTERY
        self._status["power"] = "ok", "pack"
        percent = min(max(float(battery.percent), 0.0), 100.0)
        plugged = battery.power_plugged
        state: PowerState = "unknown"
        left_s: float | None = None
        if plugged is False:
            state = "discharging"
            left_s = float(battery.secsleft) if battery.secsleft > 0 else None
        elif plugged and percent == 100.0:
            state = "full"
        return True, percent, plugged, state, None, None, None, left_s, 1

    def storage(self) -> tuple[StorageRow | None, ...]:
        return self._storage.read()

    def sources(self) -> list[SourceRow]:
        rows = [(sensor, _ASKED[sensor], *said) for sensor, said in self._status.items()]
        absent = ("pressure", "psutil", "absent", "psutil cannot tell it")
        return [*rows, absent, *self._storage.sources()]

    def _ask(self, sensor: str, call: Callable[[], _T | None]) -> _T | None:
        """The answer; ``None``, and the reason among the sources, where there is none."""
        try:
            answer = call()
        except (psutil.Error, OSError, RuntimeError) as error:
            self._status[sensor] = "failing", f"cannot be read: {error}"
            return None
        if answer is None:
            self._status[sensor] = "absent", "none on this machine"
        return answer

    def _listed(self, sensor: str, traffic: Traffic, none_counts: str) -> Traffic:
        names = ", ".join(name.decode() for name, _, _ in traffic)
        self._status[sensor] = ("ok", names) if traffic else ("absent", none_counts)
        return traffic


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS_PER_S)


def _seconds(process: psutil.Process) -> float:
    """Processor seconds of the process with those of its reaped children."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _trees(pids: Sequence[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        try:
            top = psutil.Process(pid)
            yield top
            yield from top.children(recursive=True)
        except psutil.Error:
            continue


def _is_loopback(name: str) -> bool:
    return name.lower().startswith("loopback") or (
        name[:2] == "lo" and not name[2:].strip("0123456789")
    )
