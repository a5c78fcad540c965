"""Where a soak takes place: its files, and the machine that its processes see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PLACE = "SOAK_PLACE"
DISK = "SOAK_DISK"
PROCESS = "SOAK_PROCESS"
URL = "SOAK_URL"

_NETDEV_HEAD = "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n"
_POLICY = """
[scheduling]
battery_threshold = {battery_threshold}
plug_dwell_s = {plug_dwell_s}
[idle]
dwell_s = {dwell_s}
[resources]
disk_threshold = 1.0
"""
_POLICIES = (
    _POLICY.format(battery_threshold=50, plug_dwell_s=0.5, dwell_s=1.0),
    _POLICY.format(battery_threshold=80, plug_dwell_s=2, dwell_s=3.0),
)


class Place(NamedTuple):
    """The files of a soak.

    Attributes:
        directory: what it writes down,
        disk: and the small disk that the queue is on.
    """

    directory: Path
    disk: Path

    @classmethod
    def here(cls) -> Place:
        """The place that this process was started for."""
        return cls(Path(os.environ[PLACE]), Path(os.environ[DISK]))

    @property
    def queue(self) -> Path:
        return self.disk / "queue.db"

    @property
    def ballast(self) -> Path:
        """What fills the disk."""
        return self.disk / "ballast"

    @property
    def root(self) -> Path:
        """Its ``proc`` and ``sys`` are read in place of the machine's."""
        return self.directory / "root"

    @property
    def policy(self) -> Path:
        return self.directory / "policy.toml"

    @property
    def runs(self) -> Path:
        """A line for the beginning and the end of each run: see `evidence.Line`."""
        return self.directory / "runs"

    @property
    def commands(self) -> Path:
        """The same for commands: number, what, process."""
        return self.directory / "commands"

    @property
    def promises(self) -> Path:
        """What submitting and queueing for sync have returned."""
        return self.directory / "promises"

    def log(self, name: str) -> Path:
        """What processes of this name say on standard error."""
        return self.directory / f"{name}.log"

    def sqlite_kib(self, pid: int) -> Path:
        """How much memory SQLite uses in a process."""
        return self.directory / f"sqlite-{pid}"

    def ready(self, pid: int) -> Path:
        """Is there once a program knows what to do when it is told to end."""
        return self.directory / f"ready-{pid}"

    def draw_lines(self, number: int) -> None:
        """Put one of the policies in place, whole or not at all."""
        new = self.policy.with_suffix(".new")
        new.write_text(_POLICIES[number % len(_POLICIES)])
        new.replace(self.policy)


class Laptop:
    """A laptop made of files. They are written in place, so a reader may find one half written."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._busy = self._idle = 1000
        supplies = root / "sys/class/power_supply"
        for directory in (root / "proc/net", supplies / "AC", supplies / "BAT0"):
            directory.mkdir(parents=True)
        self._write("sys/class/power_supply/AC/type", "Mains")
        self._write("sys/class/power_supply/BAT0/type", "Battery")
        self._write("sys/class/power_supply/BAT0/energy_full", "50000000")
        self._write("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB")
        self._write("proc/diskstats", "8 0 sda 1 0 1 1 1 0 1 1 0 1 1 0 0 0 0")
        self._write("proc/net/dev", f"{_NETDEV_HEAD}eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0")
        self.power(plugged=True, percent=90)
        self.work(busy=False)

    def power(self, *, plugged: bool, percent: int) -> None:
        """Plug the charger in or out, and set the level."""
        self._write("sys/class/power_supply/AC/online", str(int(plugged)))
        battery = "sys/class/power_supply/BAT0"
        self._write(f"{battery}/status", "Charging" if plugged else "Discharging")
        self._write(f"{battery}/energy_now", str(percent * 500_000))

    def work(self, *, busy: bool) -> None:
        """Have some time pass for the processor."""
        self._busy += 95 if busy else 1
        self._idle += 5 if busy else 99
        line = f"{self._busy} 0 0 {self._idle} 0 0 0 0 0 0"
        self._write("proc/stat", f"cpu  {line}\ncpu0 {line}\nctxt 1")

    def _write(self, name: str, text: str) -> None:
        (self._root / name).write_text(f"{text}\n")
