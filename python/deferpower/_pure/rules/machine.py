"""The machine as rules see it: the last reading, with the history that steadies it."""

from __future__ import annotations

import math

from deferpower._contract import FactsRow, ThresholdsRow
from deferpower.errors import ConfigError


class Line:
    """A line that a level must be above, and once it was not, at ``well`` or more, too."""

    __slots__ = ("line", "passes", "well")

    def __init__(self, line: float, well: float) -> None:
        self.line = line
        self.well = well
        self.passes = True

    @property
    def turns_at(self) -> float:
        """The level at which ``passes`` changes."""
        return self.line if self.passes else self.well

    def update(self, level: float | None) -> None:
        """Take in a level; ``None`` on a machine without a battery: nothing waits for one."""
        if level is None:
            self.passes = True
        else:
            self.passes = level > self.line and (self.passes or level >= self.well)


class Plug:
    """External power with the flutter of a loose plug taken out.

    Unplugging counts at once. Plugging in does if the time without had lasted for the dwell time
    (the first state had lasted for ever), else once it has lasted itself.
    """

    __slots__ = ("_seen", "_seen_since_s", "counts")

    def __init__(self, seen: bool) -> None:
        self.counts = self._seen = seen
        self._seen_since_s = -math.inf

    def update(self, seen: bool, now_s: float, dwell_s: float) -> None:
        """Take in what a reading at ``now_s`` saw."""
        held_s = now_s - self._seen_since_s
        if seen != self._seen:
            self._seen = seen
            self._seen_since_s = now_s
        if not seen or held_s >= dwell_s:
            self.counts = seen

    def counts_s(self, dwell_s: float) -> float | None:
        """When external power that was seen but does not count yet will count."""
        return self._seen_since_s + dwell_s if self._seen and not self.counts else None


class Machine:
    """The last facts, history applied: one answer per question that rules ask."""

    def __init__(self) -> None:
        self.monotonic_s = -math.inf
        self.wall_s = -math.inf
        self.minute = 0
        self.idle = False
        self.connected = False
        self.unmetered = False
        self.storage_ok = False
        self.resources_ok = False
        self.custom = 0
        self._plug: Plug | None = None
        self._level: float | None = None
        self._lines: dict[tuple[float, float], Line] = {}

    @property
    def observed(self) -> bool:
        """Whether any facts have been taken in."""
        return self._plug is not None

    @property
    def external(self) -> bool:
        """Whether external power counts as there."""
        return self._plug is not None and self._plug.counts

    def plug_counts_s(self, dwell_s: float) -> float | None:
        """When external power that was seen but does not count yet will count."""
        return None if self._plug is None else self._plug.counts_s(dwell_s)

    def points_to_line(self) -> float | None:
        """How far the level is from where the nearest line changes; ``None`` without a battery."""
        level = self._level
        if level is None:
            return None
        return min(abs(line.turns_at - level) for line in self._lines.values())

    def line(self, line: float, well: float) -> Line:
        """The line to be above; once it was not, the level must come to ``well``.

        A new one has no history but the present level.
        """
        known = self._lines.get((line, well))
        if known is None:
            known = self._lines[line, well] = Line(line, well)
            known.update(self._level)
        return known

    def observe(self, facts: FactsRow, thresholds: ThresholdsRow) -> None:
        """Take in facts.

        Raises:
            ConfigError: a figure that cannot be; then nothing has changed.
        """
        _check(facts)
        (self.monotonic_s, self.wall_s, self.minute), power, load, idle, network, custom = facts
        present, percent, plugged = power
        memory, cpu, storage = load
        connected, metered = network
        *_, memory_limit, cpu_limit, storage_limit, plug_dwell_s = thresholds
        seen = not present or plugged is True
        if self._plug is None:
            self._plug = Plug(seen)
        else:
            self._plug.update(seen, self.monotonic_s, plug_dwell_s)
        self._level = (percent or 0.0) if present else None
        for line in self._lines.values():
            line.update(self._level)
        self.idle = idle
        self.connected = connected is not False
        self.unmetered = self.connected and metered is False
        self.storage_ok = storage is not None and storage < storage_limit
        self.resources_ok = not (
            (memory is not None and memory >= memory_limit)
            or (cpu is not None and cpu >= cpu_limit)
            or (storage is not None and storage >= storage_limit)
        )
        self.custom = custom


def _check(facts: FactsRow) -> None:
    (monotonic_s, wall_s, minute), (_, percent, _), (memory, cpu, storage), *_ = facts
    for name, value in (
        ("monotonic_s", monotonic_s),
        ("wall_s", wall_s),
        ("memory", memory),
        ("cpu", cpu),
        ("storage", storage),
    ):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name}: it must be a finite number")
    if percent is not None and not 0.0 <= percent <= 100.0:
        raise ConfigError("power.percent: it must be a percentage from 0 to 100")
    if minute >= 1440:
        raise ConfigError("local minute: it must be a minute of the day from 0 to 1439")
