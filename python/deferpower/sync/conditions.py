"""Which priorities may be sent now. SEMANTICS.md, "Sync", has the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import ConfigError
from deferpower.sync.records import PRIORITIES
from deferpower.thresholds import SyncLines, is_number

if TYPE_CHECKING:
    from deferpower.types import Reading

NOTHING = -1
_HIGH, _NORMAL, _LOW = range(3)


class Gate(NamedTuple):
    """What may go now.

    Attributes:
        lowest: the number of the lowest priority that may; `NOTHING` if none may.
        power_keeps: whether the battery keeps anything back,
        network_keeps: and whether the network does.
        why: what is kept back and what it waits for; empty if nothing is.
    """

    lowest: int
    power_keeps: bool
    network_keeps: bool
    why: str


def gate(
    reading: Reading,
    battery_percent: float | None = None,
    is_charging: bool | None = None,
    *,
    lines: SyncLines = SyncLines(),  # noqa: B008 (immutable)
    needs_network: bool = True,
) -> Gate:
    """What may go by this reading.

    Args:
        reading: the machine.
        battery_percent: the level, in place of the reading's.
        is_charging: whether the charger is connected, in place of the reading's.
        lines: where levels are drawn.
        needs_network: whether the target is somewhere else.

    Raises:
        ConfigError: an argument cannot be used.
    """
    if battery_percent is not None and not (
        is_number(battery_percent) and 0 <= battery_percent <= 100
    ):
        raise ConfigError(f"battery_percent: {battery_percent!r} is no number from 0 to 100")
    if is_charging is not None and not isinstance(is_charging, bool):
        raise ConfigError(f"is_charging: {is_charging!r} is not True, False or None")
    network = reading.network if needs_network else None
    if network is not None and network.connected is False:
        return Gate(NOTHING, False, True, "everything waits: there is no network")
    by_power, level = _by_power(reading, battery_percent, is_charging, lines)
    by_network = _NORMAL if network is not None and network.metered else _LOW
    reasons = []
    if by_power < _LOW:
        kept = " and ".join(f"{name} priority" for name in PRIORITIES[by_power + 1 :])
        line = lines.normal_from if by_power < _NORMAL else lines.low_from
        reasons.append(f"{kept} waits for the charger or {line:g} % (on battery, {level:g} %)")
    if by_network < _LOW:
        reasons.append("low priority waits for a network that is not metered")
    lowest = min(by_power, by_network)
    return Gate(lowest, by_power < _LOW, by_network < _LOW, "; ".join(reasons))


def _by_power(
    reading: Reading, percent: float | None, charging: bool | None, lines: SyncLines
) -> tuple[int, float]:
    power = reading.power
    if charging is None:
        charging = power is None or not power.present or power.plugged is True
    if percent is None:
        percent = None if power is None else power.percent
    level = 0.0 if percent is None else percent
    if charging or level >= lines.low_from:
        return _LOW, level
    return (_NORMAL if level >= lines.normal_from else _HIGH), level
