"""A small machine on disk, to be read in place of the real one, and changed while it is read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from deferpower._contract import Backend, StorageRow
from deferpower.types import Cpu, Disk, IdleRules, Memory, Network, Power, Source

Content: TypeAlias = str | bytes | int


class Machine:
    """Writes the files of ``proc`` and ``sys`` below a directory of its own.

    Files are written in place, as the kernel's own are: whoever holds one open sees the change.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir(parents=True)
        (root / "sys").mkdir()

    def write(self, name: str, content: Content) -> None:
        """Give the file ``name`` (``"proc/stat"``) this content."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clear(path, keep_file=True)
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())

    def replace(self, name: str, content: Content) -> None:
        """Put another file in its place, as an editor or a snapshot tool does."""
        self.write(name + ".new", content)
        path = self.root / name
        self._clear(path, keep_file=True)
        Path(f"{path}.new").replace(path)

    def break_(self, name: str) -> None:
        """Let the file be there and fail to read."""
        path = self.root / name
        self._clear(path)
        path.mkdir(parents=True)

    def remove(self, name: str) -> None:
        """Take the file or directory away."""
        self._clear(self.root / name)

    def supply(self, name: str, **attributes: Content) -> None:
        """A power supply with these attributes, beside those it has."""
        for attribute, content in attributes.items():
            line = content if isinstance(content, bytes) else f"{content}\n"
            self.write(f"{SUPPLIES}/{name}/{attribute}", line)

    def pack(self, name: str = "BAT0", **attributes: Content) -> None:
        """A battery at 60 %, draining 10 W from 30 of 50 Wh, but for what is said."""
        self.supply(name, **{**DRAINING_PACK, **attributes})

    def cpu(self, busy: int, idle: int, processors: int = 2) -> None:
        """Ticks since boot."""
        single = f"{busy // processors} 0 0 {idle // processors} 0 0 0 0 0 0"
        lines = [f"cpu{i} {single}" for i in range(processors)]
        self.write(
            "proc/stat", "\n".join([f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0", *lines, "ctxt 1\n"])
        )

    def memory(self, total_kb: int, available_kb: int) -> None:
        text = f"MemTotal: {total_kb} kB\nMemFree: 1 kB\nMemAvailable: {available_kb} kB\n"
        self.write("proc/meminfo", text)

    def disks(self, **sectors: tuple[int, int]) -> None:
        """Sectors read and written by each disk since boot."""
        lines = [
            f"   8       {i} {name} 1 0 {read} 1 1 0 {written} 1 0 1 1 0 0 0 0\n"
            for i, (name, (read, written)) in enumerate(sectors.items())
        ]
        self.write("proc/diskstats", "".join(lines))

    def interfaces(self, **transferred: tuple[int, int]) -> None:
        """Bytes received and sent by each interface since boot."""
        lines = [
            f"{name:>6}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n"
            for name, (rx, tx) in transferred.items()
        ]
        self.write("proc/net/dev", NETDEV_HEAD + "".join(lines))

    def process(self, pid: int, parent: int, ticks: int, *, reaped_ticks: int = 0) -> None:
        """A process and the processor time of it and of its reaped children."""
        self.write(f"proc/{pid}/stat", process_line(pid, parent, ticks, reaped_ticks))

    def this_process(self, ticks: int, *, pid: int = 1000) -> None:
        """The process that samples; on a real machine ``proc/self`` is a link to its directory."""
        self.write("proc/self/stat", process_line(pid, 1, ticks, 0))

    def _clear(self, path: Path, *, keep_file: bool = False) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not keep_file:
            path.unlink(missing_ok=True)


SUPPLIES = "sys/class/power_supply"
DRAINING_PACK: Mapping[str, Content] = {
    "type": "Battery",
    "status": "Discharging",
    "energy_now": 30_000_000,
    "energy_full": 50_000_000,
    "power_now": 10_000_000,
}
DEFAULT_RULES = IdleRules()
NETDEV_HEAD = (
    "Inter-|   Receive                            |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast"
    "|bytes    packets errs drop fifo colls carrier compressed\n"
)


def process_line(pid: int, parent: int, ticks: int, reaped_ticks: int) -> str:
    """One line of proc_pid_stat(5)."""
    return (
        f"{pid} (tar (x) y) S {parent} 1 1 0 -1 4194560 9 9 0 0 {ticks} 0 {reaped_ticks} 0 "
        "20 0 1 0 100 1000 10 0\n"
    )


class Sample(NamedTuple):
    """One row of `Sampler.sample`, its parts named."""

    power: Power | None
    cpu: Cpu | None
    memory: Memory | None
    disk: Disk | None
    network: Network | None
    storage: tuple[StorageRow | None, ...]
    idle_since_s: float | None
    quiet_since_s: float | None


class Watch:
    """A sampler of one backend on one machine."""

    def __init__(
        self,
        backend: Backend,
        machine: Machine | str,
        storage_paths: Sequence[str] = (),
        rules: IdleRules = DEFAULT_RULES,
    ) -> None:
        root = machine if isinstance(machine, str) else str(machine.root)
        self.sampler = backend.Sampler(root, storage_paths, rules[:4])

    def at(self, monotonic_s: float, slow_max_age_s: float = 0.0) -> Sample:
        """Sample at this moment of the test's own time."""
        power, cpu, memory, disk, network, storage, idle_since_s, quiet_since_s = (
            self.sampler.sample(monotonic_s, slow_max_age_s)
        )
        return Sample(
            power and Power._make(power),
            cpu and Cpu._make(cpu),
            memory and Memory._make(memory),
            disk and Disk._make(disk),
            network and Network(*network),
            storage,
            idle_since_s,
            quiet_since_s,
        )

    def power_at(self, monotonic_s: float, slow_max_age_s: float = 0.0) -> Power:
        """What of a sample is never absent on Linux."""
        power = self.at(monotonic_s, slow_max_age_s).power
        assert power is not None
        return power

    def cpu_at(self, monotonic_s: float) -> Cpu:
        """The processor's part, where the machine has one."""
        cpu = self.at(monotonic_s).cpu
        assert cpu is not None
        return cpu

    def sources(self) -> dict[str, Source]:
        """Sources by what is read; each is named once."""
        rows = [Source(*row) for row in self.sampler.sources()]  # type: ignore[arg-type]
        by_where = {row.where: row for row in rows}
        assert len(by_where) == len(rows)
        return by_where
