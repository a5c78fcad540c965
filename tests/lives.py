"""Recorded lives made by hand."""

from __future__ import annotations

from deferpower.life import Life
from deferpower.traces import SLOT_S, Slot

MIDNIGHT_S = 1_699_920_000
"""A midnight of UTC, a Tuesday; lives begin here."""

HOUR_S = 3600

Part = tuple[int, float | None, bool | None, float | None]
"""Minutes, battery level, plugged, activity."""


def slots_of(
    *parts: Part | int, offset_s: int | None = 0, device_id: str = "phone", start_s: int = 0
) -> list[Slot]:
    """Slots that follow on each other; a part that is a number alone is a hole of so many minutes.

    Args:
        parts: what is seen, one after the other.
        offset_s: local time less UTC.
        device_id: the device.
        start_s: when it begins, in seconds after `MIDNIGHT_S`.
    """
    slots = []
    at_s = MIDNIGHT_S + start_s
    for part in parts:
        minutes = part if isinstance(part, int) else part[0]
        assert minutes * 60 % SLOT_S == 0
        for _ in range(minutes * 60 // SLOT_S):
            if not isinstance(part, int):
                slots.append(Slot(device_id, at_s, offset_s, *part[1:]))
            at_s += SLOT_S
    return slots


def a_life(*parts: Part | int, offset_s: int | None = 0) -> Life:
    """The life that `slots_of` makes."""
    return Life(slots_of(*parts, offset_s=offset_s))
