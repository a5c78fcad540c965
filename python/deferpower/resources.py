"""Whether the machine has memory, processor and disk to spare."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from deferpower.device import Device
from deferpower.errors import ConfigError
from deferpower.reasons import fullest_storage, used_cpu_percent
from deferpower.thresholds import is_number

Recommendation: TypeAlias = Literal[
    "process_now",
    "defer_cpu_intensive",
    "defer_memory_intensive",
    "defer_disk_intensive",
    "defer_all_non_critical",
]


class Resources(NamedTuple):
    """What is to spare, and the figures it was judged by.

    A figure that the machine does not give, such as the processor's load in the first reading, is
    ``None``; it cannot be short, so its resource is ok and stands in ``unknown``.

    Attributes:
        memory_ok: used memory is below its threshold.
        cpu_ok: processor load, and pressure where a threshold was set for it, are below theirs.
        disk_ok: the fullest watched file system is below its threshold.
        memory_used_percent: used share of memory.
        cpu_busy_percent: busy share of the processors, without what this program's own work uses.
        cpu_pressure_percent: share of the last 10 s in which some task waited for a processor.
        disk_used_percent: used share of the fullest watched file system.
        disk_path: the watched path on that file system.
        unknown: those of ``memory``, ``cpu`` and ``disk`` whose used share is not known.
    """

    memory_ok: bool
    cpu_ok: bool
    disk_ok: bool
    memory_used_percent: float | None
    cpu_busy_percent: float | None
    cpu_pressure_percent: float | None
    disk_used_percent: float | None
    disk_path: str | None
    unknown: tuple[str, ...]


class ResourceConstrainedProcessor:
    """Judges the machine's resources by its latest reading; never waits to measure."""

    def __init__(
        self,
        memory_threshold: float = 0.8,
        cpu_threshold: float = 0.7,
        disk_threshold: float = 0.9,
        device: Device | None = None,
        *,
        pressure_threshold: float | None = None,
        storage_paths: Iterable[str | os.PathLike[str]] | None = None,
        max_age_s: float = 1.0,
    ) -> None:
        """Set the lines. Thresholds are fractions, 0-1; at the threshold a resource is short.

        Args:
            memory_threshold: fraction of memory in use.
            cpu_threshold: fraction of processor time in use since the reading before.
            disk_threshold: fraction of a file system in use.
            device: the machine; ``None`` opens one.
            pressure_threshold: fraction of the last 10 s in which some task waited for a processor.
                ``None`` leaves pressure out: a machine may be under some pressure at any load.
            storage_paths: paths whose file systems count, ``None`` for ``/``; a ``device`` that is
                given has its own.
            max_age_s: how old a reading may be.

        Raises:
            ConfigError: a value has the wrong type or is out of range; the message names it.
        """
        fractions = {
            "memory_threshold": memory_threshold,
            "cpu_threshold": cpu_threshold,
            "disk_threshold": disk_threshold,
        }
        if pressure_threshold is not None:
            fractions["pressure_threshold"] = pressure_threshold
        for name, value in fractions.items():
            if not is_number(value) or not 0 <= value <= 1:
                raise ConfigError(f"{name}: {value!r} is no fraction from 0 to 1")
        if not is_number(max_age_s) or max_age_s < 0:
            raise ConfigError(f"max_age_s: {max_age_s!r} is no number of at least 0")
        if device is not None and storage_paths is not None:
            raise ConfigError("storage_paths: name them to the device that is given")
        self.memory_threshold = memory_threshold
        self.cpu_threshold = cpu_threshold
        self.disk_threshold = disk_threshold
        self.pressure_threshold = pressure_threshold
        self.device = device or Device(
            storage_paths=("/",) if storage_paths is None else storage_paths
        )
        self._max_age_s = max_age_s

    def check_resources(self) -> Resources:
        """What the machine has to spare now.

        Cost: that of `Device.read`.
        """
        reading = self.device.read(max_age_s=self._max_age_s)
        memory = None if reading.memory is None else reading.memory.used_percent
        busy = used_cpu_percent(reading)
        pressure = None if reading.cpu is None else reading.cpu.pressure_percent
        path, used = fullest_storage(reading) or (None, None)
        judged = {"memory": memory, "cpu": busy, "disk": used}
        return Resources(
            _spare(memory, self.memory_threshold),
            _spare(busy, self.cpu_threshold) and _spare(pressure, self.pressure_threshold),
            _spare(used, self.disk_threshold),
            memory,
            busy,
            pressure,
            used,
            path,
            tuple(name for name, figure in judged.items() if figure is None),
        )

    def get_processing_recommendation(self) -> Recommendation:
        """What to do with work now.

        Returns:
            ``"process_now"`` if nothing is short; what to defer if one resource is;
            ``"defer_all_non_critical"`` if two or more are.

        Cost: that of `Device.read`.
        """
        resources = self.check_resources()
        short: list[Recommendation] = []
        if not resources.cpu_ok:
            short.append("defer_cpu_intensive")
        if not resources.memory_ok:
            short.append("defer_memory_intensive")
        if not resources.disk_ok:
            short.append("defer_disk_intensive")
        if len(short) > 1:
            return "defer_all_non_critical"
        return short[0] if short else "process_now"


def _spare(used_percent: float | None, threshold: float | None) -> bool:
    return used_percent is None or threshold is None or used_percent < threshold * 100.0
