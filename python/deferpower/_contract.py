"""What a backend is. ``_native`` (Rust) and ``_pure`` (Python) both provide exactly this.

Every hot call is documented here and nowhere else. Only numbers, strings, bytes, tuples and lists
cross the boundary. Both backends give equal results: integers and strings exactly, floats computed
by the same operations in the same order.

mypy checks ``_pure`` and the stub of ``_native`` against the Protocols; stubtest checks the stub
against the compiled module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from deferpower.types import BackendName, PowerState

PowerRow: TypeAlias = tuple[
    bool,
    float | None,
    bool | None,
    PowerState,
    float | None,
    float | None,
    float | None,
    float | None,
    int,
]
"""The fields of `types.Power`, in order."""

CpuRow: TypeAlias = tuple[float | None, int, float | None, float | None]
"""The fields of `types.Cpu`, in order."""

MemoryRow: TypeAlias = tuple[int | None, int | None, float | None]
"""The fields of `types.Memory`, in order."""

RateRow: TypeAlias = tuple[float | None, float | None]
"""The fields of `types.Disk` or `types.Network`, in order."""

StorageRow: TypeAlias = tuple[float, int]
"""The fields of `types.Storage`, in order."""

SampleRow: TypeAlias = tuple[
    PowerRow | None,
    CpuRow | None,
    MemoryRow | None,
    RateRow | None,
    RateRow | None,
    tuple[StorageRow | None, ...],
    float | None,
    float | None,
]
"""power, cpu, memory, disk, network, storage (as the paths were given), idle, quiet_since_s."""

SourceRow: TypeAlias = tuple[str, str, str, str]
"""The fields of `types.Source`, in order."""

IdleRulesRow: TypeAlias = tuple[float, float, float, float]
"""The fields of `types.IdleRules`, in order."""


class Sampler(Protocol):
    """The sensors of one machine, held open. Safe to call from several threads."""

    def __init__(
        self, root: str, storage_paths: Sequence[str], idle_rules: IdleRulesRow, /
    ) -> None:
        """Open what is there.

        Args:
            root: directory that holds ``proc`` and ``sys``; ``"/"`` for the machine itself.
            storage_paths: paths whose file systems are watched; taken as they are, not below root.
            idle_rules: thresholds and dwell of `types.IdleRules`.

        Raises:
            ConfigError: root is no directory, or names one where only ``"/"`` can be read.
        """

    def sample(self, monotonic_s: float, slow_max_age_s: float, /) -> SampleRow:
        """Read the machine.

        Processor, memory, disk and network are read at each call. Power and storage are slow to
        read on some machines; they are read again once older than ``slow_max_age_s``.

        An absent or failing sensor is ``None`` in the row, never an exception.

        Args:
            monotonic_s: now, on the time line that rates and idleness are measured on. A value
                that is not above the last one's gives no rates.
            slow_max_age_s: how old power and storage may be; 0 reads them now.

        Returns:
            The row; rates cover the time since the previous call, and are ``None`` in the first.

        Cost: one system call per held file, and no allocation but the row, once the machine's
        devices are known. The GIL is released.
        """

    def set_own_work(self, pids: Sequence[int] | None, /) -> None:
        """Say what runs by deferpower's own doing, so that it does not end the idleness it used.

        This process's processor time is always its own. While work runs, the processor time of
        the process trees under ``pids`` is its own too, and disk and network, which cannot be
        told apart by process, do not count against idleness, nor do they for 35 s afterwards,
        while the kernel writes back.

        Args:
            pids: processes started for work; empty when work runs in this process only; ``None``
                when none runs.
        """

    def sources(self) -> list[SourceRow]:
        """Where each sensor is read or why it is not, as of the last sample; sorted."""


class Backend(Protocol):
    """A backend module."""

    NAME: BackendName
    Sampler: type[Sampler]

    def parse_stat(self, data: bytes, /) -> tuple[int, int, int]:
        """``/proc/stat``: busy ticks, idle ticks and online processors, all processors together.

        Raises:
            SensorError: there is no line ``cpu`` with at least four counters.

        Source: proc_stat(5).
        """

    def parse_meminfo(self, data: bytes, /) -> tuple[int | None, int | None]:
        """``/proc/meminfo``: ``MemTotal`` and ``MemAvailable`` in bytes.

        Source: proc_meminfo(5).
        """

    def parse_diskstats(self, data: bytes, /) -> list[tuple[bytes, int, int]]:
        """``/proc/diskstats``: name, bytes read and bytes written of each disk that counts.

        Left out: loop, ram, zram, device-mapper, md, bcache and zd devices, partitions beside
        their disk, and lines that are too short or not numbers. In the order of the file.

        Source: Documentation/admin-guide/iostats.rst; a sector is 512 bytes whatever the disk.
        """

    def parse_netdev(self, data: bytes, /) -> list[tuple[bytes, int, int]]:
        """``/proc/net/dev``: name, bytes received and bytes sent of each interface that counts.

        Left out: loopback, and, if any other is there, interfaces that carry the traffic of
        another (bridges, tunnels, veth pairs, bonds, VLANs). In the order of the file.

        Source: proc_pid_net(5).
        """

    def parse_pressure(self, data: bytes, /) -> float | None:
        """``/proc/pressure/*``: ``some avg10`` in percent.

        Source: Documentation/accounting/psi.rst.
        """

    def parse_process_stat(self, data: bytes, /) -> tuple[int, int, int]:
        """``/proc/PID/stat``: pid, parent's pid, and processor ticks with those of reaped children.

        Raises:
            SensorError: the text is no such line.

        Source: proc_pid_stat(5).
        """

    def aggregate_power(self, supplies: Sequence[Mapping[str, bytes]], /) -> PowerRow:
        """Power supplies, each a mapping from attribute to content, taken together.

        The rules stand in SEMANTICS.md, "Power". Attributes that cannot be read are left out of
        the mapping. ``power_role`` holds the content of the USB-C port's file of that name.

        Source: Documentation/ABI/testing/sysfs-class-power, sysfs-class-typec.
        """
