"""The sensors of one machine, and what they say between two readings."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from deferpower._contract import (
    CpuRow,
    IdleRulesRow,
    MemoryRow,
    PowerRow,
    SampleRow,
    SourceRow,
    StorageRow,
)
from deferpower._pure.cadence import Sensed
from deferpower._pure.idle import IdleTracker
from deferpower._pure.reading import (
    Counters,
    busy_percent,
    no_tick_between,
    own_percent,
    percent_of,
    rates,
)
from deferpower._pure.sys import open_machine
from deferpower.errors import ConfigError


class Sampler:
    def __init__(
        self, root: str, storage_paths: Sequence[str], idle_rules: IdleRulesRow, /
    ) -> None:
        if any(math.isnan(rule) for rule in idle_rules):
            raise ConfigError("idle_rules: not a number; give four numbers")
        self._machine = open_machine(root, storage_paths)
        self._lock = threading.Lock()
        self._idle = IdleTracker(idle_rules)
        self._own_pids: tuple[int, ...] | None = None
        self._work_ended = False
        self._last: Counters | None = None
        self._cpu_base: Counters | None = None
        self._slow_read_s: float | None = None
        self._power: PowerRow | None = None
        self._storage: tuple[StorageRow | None, ...] = ()

    def sample(self, monotonic_s: float, slow_max_age_s: float, /) -> SampleRow:
        if not math.isfinite(monotonic_s):
            raise ConfigError("monotonic_s is not a finite number; give seconds on one time line")
        if math.isnan(slow_max_age_s):
            raise ConfigError("slow_max_age_s is not a number; give seconds, 0 reads now")
        with self._lock:
            slow = self._is_slow_due(monotonic_s, slow_max_age_s)
            if slow:
                self._machine.look_again()
            now = self._counters(float(monotonic_s))
            last, self._last = self._last, now
            if last is None or now.at_s <= last.at_s:
                last = self._cpu_base = None
            seconds = 0.0 if last is None else now.at_s - last.at_s
            cpu = self._cpu(now)
            if slow:
                self._power = self._machine.power()
                self._storage = self._machine.storage()
                self._slow_read_s = now.at_s
            idle_since_s = self._idle.update(now, self._own_pids is not None or self._work_ended)
            self._work_ended = False
            return (
                self._power,
                cpu,
                self._memory(),
                rates(last and last.disk, now.disk, seconds),
                rates(last and last.network, now.network, seconds),
                self._storage,
                idle_since_s,
                self._idle.quiet_since_s,
            )

    def set_own_work(self, pids: Sequence[int] | None, /) -> None:
        with self._lock:
            if pids is None and self._own_pids is not None:
                self._work_ended = True
            self._own_pids = None if pids is None else tuple(pids)

    def sensed(self) -> Sensed:
        """What the cadence of samples depends on."""
        with self._lock:
            return Sensed(
                self._slow_read_s,
                self._idle.quiet_since_s,
                self._idle.dwell_s,
                self._machine.has_power_events,
            )

    def sources(self) -> list[SourceRow]:
        with self._lock:
            if self._last is None:
                self._counters(0.0)
                self._machine.pressure_percent()
                self._machine.memory()
                self._machine.power()
                self._machine.storage()
            return sorted(self._machine.sources())

    def _counters(self, at_s: float) -> Counters:
        machine = self._machine
        own_s = machine.own_s(self._own_pids or ())
        return Counters(at_s, machine.cpu(), own_s, machine.disk(), machine.network())

    def _cpu(self, now: Counters) -> CpuRow | None:
        base = self._cpu_base
        # While no tick passed the older reading stays the base, or a fast caller never got a rate.
        if base is None or not no_tick_between(base, now):
            self._cpu_base = now
        pressure_percent = self._machine.pressure_percent()
        if now.cpu is None:
            return None
        busy = None if base is None else busy_percent(base, now)
        own = None if base is None or busy is None else own_percent(base, now, busy)
        return busy, now.cpu[2], pressure_percent, own

    def _memory(self) -> MemoryRow | None:
        total, available = self._machine.memory()
        if total is None and available is None:
            return None
        if total is None or available is None:
            return total, available, None
        return total, available, percent_of(total - available, total)

    def _is_slow_due(self, now_s: float, max_age_s: float) -> bool:
        read_s = self._slow_read_s
        return read_s is None or not read_s <= now_s < read_s + max_age_s
