"""Power supplies: many small files of sometimes contradicting hardware, made into one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from deferpower._contract import PowerRow
from deferpower._pure.parse.number import trim, whole
from deferpower.types import PowerState

Supply = Mapping[str, bytes]
Kind = Literal["pack", "ups", "adapter", "peripheral", "empty bay", "other"]

NO_BATTERY: PowerRow = (False, None, True, "none", None, None, None, None, 0)
HEAD = ("type", "scope")
"""What decides which further attributes matter."""
_PACK = (
    "present",
    "status",
    "capacity",
    "energy_now",
    "energy_full",
    "charge_now",
    "charge_full",
    "voltage_min_design",
    "voltage_now",
    "power_now",
    "current_now",
    "time_to_empty_now",
)
_ADAPTER = ("online",)
_USB = ("online", "status")
_FIGURES = ("capacity", "energy_now", "charge_now", "status")

_STATES: dict[bytes, PowerState] = {
    b"charging": "charging",
    b"discharging": "discharging",
    b"full": "full",
    b"not charging": "not_charging",
}
_STATES_BY_RANK: tuple[PowerState, ...] = ("charging", "discharging", "not_charging", "full")
_MICRO = 1e-6
_WATTS_MOST = 1000.0
_TIME_TO_EMPTY_MOST_S = 864_000.0


class Pack(NamedTuple):
    """What one pack says of itself, in the units of `types.Power`."""

    state: PowerState
    percent: float | None
    energy_wh: float | None
    energy_full_wh: float | None
    watts: float | None
    time_to_empty_s: int | None


def aggregate_power(supplies: Sequence[Supply], /) -> PowerRow:
    by_kind: dict[Kind, list[Supply]] = {}
    for supply in supplies:
        by_kind.setdefault(kind(supply), []).append(supply)
    upses = [_pack(supply) for supply in by_kind.get("ups", ())]
    packs = upses or [_pack(supply) for supply in by_kind.get("pack", ())]
    if not packs:
        return NO_BATTERY
    plugged = _plugged(packs, bool(upses), by_kind.get("adapter", []))
    state: PowerState = next((s for s in _STATES_BY_RANK if _any_is(packs, s)), "unknown")
    watts = _total([pack.watts for pack in packs])
    energy_wh = _total([pack.energy_wh for pack in packs])
    return (
        True,
        _percent_of_all(packs),
        plugged,
        state,
        watts,
        energy_wh,
        _total([pack.energy_full_wh for pack in packs]),
        _time_to_empty_s(packs, energy_wh, watts) if state == "discharging" else None,
        len(packs),
    )


def kind(supply: Supply) -> Kind:
    """What the supply is to the machine; all but packs, UPSes and adapters do not count."""
    if _text(supply, "scope") == b"device":
        return "peripheral"
    kind = _kind_of_type(supply)
    if kind is None:
        if any(name in supply for name in _FIGURES):
            kind = "pack"
        else:
            kind = "adapter" if "online" in supply else "other"
    if kind in ("pack", "ups") and is_empty_bay(supply):
        return "empty bay"
    return kind


def attributes_beside(head: Supply) -> tuple[str, ...]:
    """Which attributes matter for a supply whose `HEAD` says this; none if it does not count.

    Reading no more than these spares a slow embedded controller, and a peripheral's radio.
    """
    if _text(head, "scope") == b"device":
        return ()
    kind = _kind_of_type(head)
    if kind == "adapter":
        return _USB if may_have_port(head) else _ADAPTER
    if kind == "other":
        return ()
    return _PACK + _ADAPTER if kind is None else _PACK


def is_empty_bay(supply: Supply) -> bool:
    """Whether a bay says that nothing is in it; it keeps the figures of the pack that was."""
    return _number(supply, "present") == 0


def may_have_port(adapter: Supply) -> bool:
    """Whether it is an adapter that a USB-C port may stand behind."""
    return _text(adapter, "type").startswith(b"usb")


def is_online(adapter: Supply) -> bool:
    """Whether the adapter says that it supplies, whatever its port's role."""
    online = _number(adapter, "online")
    return online is not None and online > 0


def describe(supply: Supply, behind_ups: bool) -> str:
    """What the supply is and whether it counts, as a phrase for people."""
    match kind(supply):
        case "peripheral":
            return "peripheral, not counted"
        case "empty bay":
            return "empty bay"
        case "ups":
            return "UPS"
        case "pack":
            return "pack behind a UPS, not counted" if behind_ups else "pack"
        case "other":
            return "of another kind, not counted"
        case "adapter":
            if is_online(supply):
                source = _is_source(supply)
                return "adapter, USB-C port is a source" if source else "adapter, online"
            if _number(supply, "online") is not None:
                return "adapter, offline"
            return "adapter, does not say whether it is online"


def _kind_of_type(supply: Supply) -> Literal["pack", "ups", "adapter", "other"] | None:
    """What ``type`` alone says; ``None`` where there is no type."""
    type_ = _text(supply, "type")
    if type_ == b"battery":
        return "pack"
    if type_ == b"ups":
        return "ups"
    if type_ in (b"mains", b"wireless", b"brickid") or type_.startswith(b"usb"):
        return "adapter"
    return "other" if type_ else None


def _plugged(packs: list[Pack], on_ups: bool, adapters: list[Supply]) -> bool | None:
    if on_ups:
        if _any_is(packs, "discharging"):
            return False
        if _any_is(packs, "charging", "full", "not_charging"):
            return True
    if any(is_online(adapter) and not _is_source(adapter) for adapter in adapters):
        return True
    if _any_is(packs, "discharging"):
        return False
    if _any_is(packs, "charging"):
        return True
    if any(_number(adapter, "online") is not None for adapter in adapters):
        return None if _any_is(packs, "not_charging") else False
    return True if _any_is(packs, "not_charging", "full") else None


def _is_source(adapter: Supply) -> bool:
    """Whether the adapter's port feeds what hangs on it: a phone, not a charger."""
    role = adapter.get("power_role", b"")
    says_source = b"[source]" in role and b"[sink]" not in role
    says_source = says_source or _text(adapter, "status") == b"discharging"
    return says_source and may_have_port(adapter)


def _pack(supply: Supply) -> Pack:
    state = _STATES.get(_text(supply, "status"), "unknown")
    volts = _volts(supply)
    ratio = _ratio(supply, "energy_now", "energy_full")
    by_charge = False
    if ratio is None:
        # A whole pair of charge figures goes before an energy figure that stands alone.
        ratio = _ratio(supply, "charge_now", "charge_full")
        by_charge = ratio is not None
    energy_wh = _energy_wh(supply, "energy_now", "charge_now", volts, by_charge)
    energy_full_wh = _energy_wh(supply, "energy_full", "charge_full", volts, by_charge)
    percent, by_capacity = _percent(ratio, _number(supply, "capacity"))
    return Pack(
        state,
        percent,
        None if energy_wh is None or energy_wh < 0.0 or by_capacity else energy_wh,
        None if energy_full_wh is None or energy_full_wh <= 0.0 else energy_full_wh,
        _watts(supply, state),
        _number(supply, "time_to_empty_now"),
    )


def _volts(supply: Supply) -> float | None:
    for name in ("voltage_min_design", "voltage_now"):
        microvolts = _number(supply, name)
        if microvolts is not None and microvolts > 0:
            return microvolts * _MICRO
    return None


def _energy_wh(
    supply: Supply, energy: str, charge: str, volts: float | None, by_charge: bool
) -> float | None:
    microwatt_hours = _number(supply, energy)
    if microwatt_hours is not None and not by_charge:
        return microwatt_hours * _MICRO
    microamp_hours = _number(supply, charge)
    if microamp_hours is None or volts is None:
        return None
    return microamp_hours * _MICRO * volts


def _ratio(supply: Supply, now_name: str, full_name: str) -> float | None:
    now, full = _number(supply, now_name), _number(supply, full_name)
    if now is not None and full is not None and now >= 0 and full > 0:
        return 100.0 * now / full
    return None


def _percent(ratio: float | None, capacity: int | None) -> tuple[float | None, bool]:
    """The pack's percent, and whether its capacity was believed against its ratio."""
    if ratio is None or capacity is None:
        only = ratio if capacity is None else float(capacity)
        return (None if only is None else _clamped(only)), False
    said = float(capacity)
    ratio_fits, said_fits = 0.0 <= ratio <= 110.0, 0.0 <= said <= 110.0
    if ratio_fits != said_fits:
        by_capacity = said_fits
    else:
        by_capacity = abs(ratio - said) > 10.0 and said < ratio
    return _clamped(said if by_capacity else ratio), by_capacity


def _watts(supply: Supply, state: PowerState) -> float | None:
    raw = _number(supply, "power_now")
    if raw is not None:
        watts = abs(raw) * _MICRO
    else:
        raw, microvolts = _number(supply, "current_now"), _number(supply, "voltage_now")
        if raw is None or microvolts is None or microvolts <= 0:
            return None
        watts = abs(raw) * _MICRO * microvolts * _MICRO
    if watts > _WATTS_MOST:
        return None
    if state == "charging":
        return watts
    if state == "discharging" or raw < 0:
        return -watts
    return None if raw > 0 and state == "unknown" else watts


def _percent_of_all(packs: list[Pack]) -> float | None:
    known_full = [pack.energy_full_wh for pack in packs if pack.energy_full_wh is not None]
    full_total = _total(known_full)
    mean = 1.0 if not known_full or full_total is None else full_total / len(known_full)
    weighed = weights = 0.0
    for pack in packs:
        if pack.percent is not None:
            weight = mean if pack.energy_full_wh is None else pack.energy_full_wh
            weighed += pack.percent * weight
            weights += weight
    return _clamped(weighed / weights) if weights > 0.0 else None


def _time_to_empty_s(
    packs: list[Pack], energy_wh: float | None, watts: float | None
) -> float | None:
    if energy_wh is not None and watts is not None and watts < 0.0:
        seconds = energy_wh / -watts * 3600.0
    else:
        said = packs[0].time_to_empty_s if len(packs) == 1 else None
        if said is None or said <= 0:
            return None
        seconds = float(said)
    return seconds if seconds <= _TIME_TO_EMPTY_MOST_S else None


def _total(values: Sequence[float | None]) -> float | None:
    # Not `sum`: it compensates rounding from Python 3.12 on, and so differs from plain addition.
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _clamped(percent: float) -> float:
    return min(max(percent, 0.0), 100.0)


def _any_is(packs: list[Pack], *states: PowerState) -> bool:
    return any(pack.state in states for pack in packs)


def _number(supply: Supply, name: str) -> int | None:
    text = supply.get(name)
    return None if text is None else whole(trim(text))


def _text(supply: Supply, name: str) -> bytes:
    return trim(supply.get(name, b"")).lower()
