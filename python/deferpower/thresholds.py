"""Every number that deciding uses, as one value: policy is data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from deferpower._contract import RelaxationRow, ThresholdsRow
from deferpower.errors import ConfigError
from deferpower.types import IdleRules

_PERCENT = (0.0, 100.0)
_FRACTION = (0.0, 1.0)
_SECONDS = (0.0, 1e15)

_RANGES = {
    "suspend_non_critical": _PERCENT,
    "battery_threshold": _PERCENT,
    "normal_above": _PERCENT,
    "normal_idle_above": _PERCENT,
    "hysteresis_points": _PERCENT,
    "battery_low": _PERCENT,
    "battery_well": _PERCENT,
    "memory_threshold": _FRACTION,
    "cpu_threshold": _FRACTION,
    "disk_threshold": _FRACTION,
    "plug_dwell_s": _SECONDS,
    "relax_idle": _FRACTION,
    "relax_battery": _FRACTION,
    "relax_network": _FRACTION,
    "relax_charging": _FRACTION,
    "relax_all": _FRACTION,
    "relax_all_before_s": _SECONDS,
    "default_life_s": _SECONDS,
    "idle_check_interval_s": _SECONDS,
    "max_background_batch": (1.0, 1e6),
    "charging_only_threshold": _PERCENT,
}

_IDLE_RULES = IdleRules()


class SyncLines(NamedTuple):
    """From which level on, 0-100 %, items are sent on battery.

    Attributes:
        normal_from: below this percentage, those of high priority alone.
        low_from: below this percentage, those of high and normal priority.
    """

    normal_from: float = 30.0
    low_from: float = 50.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where deciding draws its lines. Percentages are 0-100, fractions 0-1.

    Attributes:
        suspend_non_critical: on battery at or below this percentage only critical work runs.
        battery_threshold: background work on battery needs more than this percentage, or idleness.
        normal_above: normal work on battery needs more than this percentage, or
        normal_idle_above: more than this percentage and idleness.
        hysteresis_points: a level that was too low must rise to this much above the line.
        battery_low: at or below this percentage the battery is low, until it is at
        battery_well: this percentage or more.
        memory_threshold: used fraction of memory from which work waits.
        cpu_threshold: busy fraction of the processors, own work left out, from which work waits.
        disk_threshold: used fraction of the fullest watched file system from which work waits.
        plug_dwell_s: unplugging counts at once; plugging in if the time without had lasted this
            long, else once it has lasted itself.
        relax_idle: fraction of a task's life after which it no longer asks for idleness that it
            only prefers; likewise
        relax_battery: the fraction for the battery level,
        relax_network: the fraction for the network,
        relax_charging: the fraction for the charger, and
        relax_all: the fraction for everything, or
        relax_all_before_s: this long before the deadline, whichever is earlier.
        default_life_s: the life of a task without a deadline, for relaxing only.
        idle_check_interval_s: longest time until a deferred task is looked at again.
        max_background_batch: charging-only tasks that may run together on a well filled battery.
        charging_only_threshold: percentage below which charging-only work runs one at a time, so
            that the battery still fills.
        idle: what the device takes for idle; used in sentences only, the device judges.

    Raises:
        ConfigError: a value is no number, out of range, or out of order with its neighbour.
    """

    suspend_non_critical: float = 20
    battery_threshold: float = 50
    normal_above: float = 70
    normal_idle_above: float = 30
    hysteresis_points: float = 3
    battery_low: float = 15
    battery_well: float = 20
    memory_threshold: float = 0.8
    cpu_threshold: float = 0.7
    disk_threshold: float = 0.9
    plug_dwell_s: float = 5
    relax_idle: float = 0.5
    relax_battery: float = 0.6
    relax_network: float = 0.7
    relax_charging: float = 0.8
    relax_all: float = 0.95
    relax_all_before_s: float = 60
    default_life_s: float = 86_400
    idle_check_interval_s: float = 60
    max_background_batch: int = 5
    charging_only_threshold: float = 80
    idle: IdleRules = _IDLE_RULES

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not is_number(value) or not low <= value <= high:
                raise ConfigError(f"{name}: {value!r} is no number from {low:g} to {high:g}")
        if not isinstance(self.max_background_batch, int):
            raise ConfigError(
                f"max_background_batch: {self.max_background_batch!r} is no whole number"
            )
        for lower, higher in (
            ("battery_low", "battery_well"),
            ("normal_idle_above", "normal_above"),
            ("relax_idle", "relax_battery"),
            ("relax_battery", "relax_network"),
            ("relax_network", "relax_charging"),
            ("relax_charging", "relax_all"),
        ):
            if getattr(self, lower) > getattr(self, higher):
                raise ConfigError(
                    f"{lower}: {getattr(self, lower)!r} is above "
                    f"{higher} ({getattr(self, higher)!r}); it must not be"
                )

    def lines(self) -> ThresholdsRow:
        """What the rules engine draws its lines by."""
        return (
            float(self.suspend_non_critical),
            float(self.battery_threshold),
            float(self.normal_above),
            float(self.normal_idle_above),
            float(self.hysteresis_points),
            float(self.battery_low),
            float(self.battery_well),
            self.memory_threshold * 100.0,
            self.cpu_threshold * 100.0,
            self.disk_threshold * 100.0,
            float(self.plug_dwell_s),
        )

    def relaxation(self) -> RelaxationRow:
        """When the rules engine drops soft constraints."""
        return (
            float(self.relax_idle),
            float(self.relax_battery),
            float(self.relax_network),
            float(self.relax_charging),
            float(self.relax_all),
            float(self.relax_all_before_s),
            float(self.default_life_s),
        )

    def with_rules(self, scheduling_rules: Mapping[str, object]) -> Thresholds:
        """These thresholds with some replaced.

        Args:
            scheduling_rules: values by name; ``idle_check_interval`` stands for
                ``idle_check_interval_s``.

        Returns:
            The lines, with those replaced.

        Raises:
            ConfigError: a name is unknown or a value cannot be used.
        """
        if not isinstance(scheduling_rules, Mapping):
            raise ConfigError(
                f"scheduling_rules: {scheduling_rules!r} is no mapping from name to number"
            )
        known = {name: name for name in _RANGES}
        known["idle_check_interval"] = known.pop("idle_check_interval_s")
        for name in scheduling_rules:
            if name not in known:
                raise ConfigError(
                    f"scheduling_rules: unknown name {name!r}; known are {', '.join(sorted(known))}"
                )
        changes = {known[name]: value for name, value in scheduling_rules.items()}
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def is_number(value: object) -> bool:
    """Whether it is an int or a float, not a bool and not NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
