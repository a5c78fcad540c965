"""What a machine can be asked; the one place that picks the operating system."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from deferpower._contract import PowerRow, SourceRow, StorageRow
from deferpower._pure.reading import Traffic


class Machine(Protocol):
    """Counters and figures of one machine, now. A sensor that is absent or fails is ``None``."""

    has_power_events: bool
    """Whether the kernel announces when this power changes."""

    def look_again(self) -> None:
        """Let sensors that were absent be looked for; until then they are taken as absent."""

    def cpu(self) -> tuple[int, int, int] | None:
        """Busy ticks, idle ticks and online processors."""

    def own_s(self, pids: Sequence[int]) -> float | None:
        """Processor seconds of this process and the process trees under ``pids``, all in all."""

    def pressure_percent(self) -> float | None:
        """Share of the last 10 s in which some task waited for a processor."""

    def memory(self) -> tuple[int | None, int | None]:
        """Total and available bytes."""

    def disk(self) -> Traffic | None:
        """Bytes read and written of each disk that counts."""

    def network(self) -> Traffic | None:
        """Bytes received and sent of each interface that counts."""

    def power(self) -> PowerRow | None:
        """All power supplies together."""

    def storage(self) -> tuple[StorageRow | None, ...]:
        """The file system under each path, as the paths were given."""

    def sources(self) -> list[SourceRow]:
        """Where each sensor was last read, or why it was not."""


def open_machine(root: str, storage_paths: Sequence[str]) -> Machine:
    """The sensors of the machine whose ``proc`` and ``sys`` are below ``root``.

    Raises:
        ConfigError: root is no directory, or names one where only ``"/"`` can be read.
    """
    # The one that is not wanted is not imported: psutil costs more than all of the rest.
    if sys.platform == "linux":
        from deferpower._pure.sys.linux import LinuxMachine

        return LinuxMachine(root, storage_paths)
    from deferpower._pure.sys.portable import PortableMachine

    return PortableMachine(root, storage_paths)
