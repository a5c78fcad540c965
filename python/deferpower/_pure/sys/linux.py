"""Linux: `/proc` and `/sys`, or copies of them below another root.

This system is not left to psutil, which reads the same files: its root (``PROCFS_PATH``) is one
for the whole process, so to set it would turn the host program's own psutil to another machine;
its ``/sys`` is fixed; and one short line of diskstats, or the blank meminfo of a container, makes
it raise, where here it costs that line.
"""

# ruff: noqa: PTH112, PTH118, PTH208 (names are bytes; pathlib is a slow import)

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

from deferpower._contract import PowerRow, SourceRow, StorageRow
from deferpower._pure.parse.diskstats import parse_diskstats
from deferpower._pure.parse.meminfo import parse_meminfo
from deferpower._pure.parse.netdev import parse_netdev
from deferpower._pure.parse.pressure import parse_pressure
from deferpower._pure.parse.process_stat import parse_process_stat
from deferpower._pure.parse.stat import parse_stat
from deferpower._pure.reading import Traffic
from deferpower._pure.sys.held import HeldFile
from deferpower._pure.sys.storage import FileSystems
from deferpower._pure.sys.supplies import Supplies
from deferpower.errors import ConfigError, SensorError

_FILES = (
    "proc/stat",
    "proc/pressure/cpu",
    "proc/meminfo",
    "proc/diskstats",
    "proc/net/dev",
    "proc/self/stat",
)
_RECORDED_TICKS_PER_S = 100  # of a tree that stands for another machine, as of nearly all machines


class LinuxMachine:
    """The `Machine` below a root."""

    def __init__(self, root: str, storage_paths: Sequence[str]) -> None:
        """Name the files; each is opened when first read.

        Raises:
            ConfigError: root is no directory.
        """
        if not os.path.isdir(root):
            raise ConfigError(f"root: {root!r} is no directory; name one that holds proc and sys")
        self._is_own = root == "/"
        self.has_power_events = self._is_own
        self._proc = os.fsencode(os.path.join(root, "proc"))
        self._files = [
            HeldFile(os.fsencode(os.path.join(root, name)), may_be_replaced=not self._is_own)
            for name in _FILES
        ]
        self._stat, self._pressure, self._meminfo = self._files[:3]
        self._diskstats, self._netdev, self._self_stat = self._files[3:]
        self._supplies = Supplies(root, may_be_replaced=not self._is_own)
        self._storage = FileSystems(storage_paths)
        self._cpu_now: tuple[int, int, int] | None = None
        self._pressure_now: float | None = None
        self._memory_now: tuple[int | None, int | None] = (None, None)
        self._disk_now: Traffic | None = None
        self._network_now: Traffic | None = None

    def look_again(self) -> None:
        for file in self._files:
            file.look_again()

    def cpu(self) -> tuple[int, int, int] | None:
        data = self._stat.read()
        try:
            self._cpu_now = None if data is None else parse_stat(data)
        except SensorError:
            self._cpu_now = None
        return self._cpu_now

    def own_s(self, pids: Sequence[int]) -> float | None:
        if self._is_own:
            mine = resource.getrusage(resource.RUSAGE_SELF)
            reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = mine.ru_utime + mine.ru_stime + reaped.ru_utime + reaped.ru_stime
            ticks = self._ticks_of_trees(pids, os.getpid())
            return seconds + ticks / os.sysconf("SC_CLK_TCK")
        data = self._self_stat.read()
        try:
            pid, _, ticks = parse_process_stat(data or b"")
        except SensorError:
            return None
        return (ticks + self._ticks_of_trees(pids, pid)) / _RECORDED_TICKS_PER_S

    def pressure_percent(self) -> float | None:
        data = self._pressure.read()
        self._pressure_now = None if data is None else parse_pressure(data)
        return self._pressure_now

    def memory(self) -> tuple[int | None, int | None]:
        self._memory_now = parse_meminfo(self._meminfo.read() or b"")
        return self._memory_now

    def disk(self) -> Traffic | None:
        data = self._diskstats.read()
        self._disk_now = None if data is None else parse_diskstats(data)
        return self._disk_now

    def network(self) -> Traffic | None:
        data = self._netdev.read()
        self._network_now = None if data is None else parse_netdev(data)
        return self._network_now

    def power(self) -> PowerRow | None:
        return self._supplies.read()

    def storage(self) -> tuple[StorageRow | None, ...]:
        return self._storage.read()

    def sources(self) -> list[SourceRow]:
        cpu, (total, available) = self._cpu_now, self._memory_now
        processors = cpu and f"{cpu[2]} processor{'s' if cpu[2] > 1 else ''}"
        pressure = None if self._pressure_now is None else "some avg10"
        memory = [
            name
            for name, value in (("MemTotal", total), ("MemAvailable", available))
            if value is not None
        ]
        return [
            self._row("cpu", self._stat, processors, ("failing", "no line cpu with four counters")),
            self._row(
                "pressure",
                self._pressure,
                pressure,
                ("failing", "no figure some avg10"),
                "no such file: this kernel offers no pressure figures",
            ),
            self._row(
                "memory",
                self._meminfo,
                memory[0] + " alone" if len(memory) == 1 else " and ".join(memory),
                ("failing", "neither MemTotal nor MemAvailable"),
            ),
            self._row(
                "disk",
                self._diskstats,
                _names(self._disk_now),
                ("absent", "no disk that counts"),
            ),
            self._row(
                "network",
                self._netdev,
                _names(self._network_now),
                ("absent", "no interface that counts"),
            ),
            *self._supplies.sources(),
            *self._storage.sources(),
        ]

    def _row(
        self,
        sensor: str,
        file: HeldFile,
        found: str | None,
        nothing: tuple[str, str],
        absent: str = "no such file",
    ) -> SourceRow:
        where = os.fsdecode(file.path)
        if file.is_absent:
            return sensor, where, "absent", absent
        if file.failure is not None:
            return sensor, where, "failing", f"cannot be read: {os.strerror(file.failure)}"
        return (sensor, where, "ok", found) if found else (sensor, where, *nothing)

    def _ticks_of_trees(self, pids: Sequence[int], own_pid: int) -> int:
        """Ticks of all processes in the trees under ``pids``, but for this one's own."""
        if not pids:
            return 0
        ticks: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for name in _listed(self._proc):
            if name.isdigit():
                file = HeldFile(os.path.join(self._proc, name, b"stat"), may_be_replaced=False)
                try:
                    pid, parent, ticks_of_one = parse_process_stat(file.read() or b"")
                except SensorError:
                    continue  # gone meanwhile
                ticks[pid] = ticks_of_one
                children.setdefault(parent, []).append(pid)
        total = 0
        seen: set[int] = set()
        waiting = list(pids)
        while waiting:
            pid = waiting.pop()
            if pid in seen:
                continue
            seen.add(pid)
            if pid != own_pid:
                total += ticks.get(pid, 0)
            waiting += children.get(pid, ())
        return total


def _listed(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _names(traffic: Traffic | None) -> str:
    return ", ".join(name.decode("utf-8", "replace") for name, _, _ in traffic or ())
