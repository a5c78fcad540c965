"""Recorded lives of devices, read from CSV, and what became of them hour by hour."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SLOT_S = 300
HOUR_SLOTS = 12
FULL_SHARE = 11 / 12 - 1e-9
QUIET_ACTIVITY = 0.1
NEEDS = ("idle", "plugged", "good")


class Slot(NamedTuple):
    """Five minutes; ``None``: not recorded."""

    active: float | None
    plugged: bool | None


class Trace(NamedTuple):
    """A device.

    Attributes:
        start_s: when the first slot begins: a full hour.
        slots: every five minutes from then on; ``None`` where nothing is known.
        offset_s: the local clock's lead over UTC in each hour.
    """

    device: str
    start_s: int
    slots: list[Slot | None]
    offset_s: list[int]

    @property
    def need(self) -> str:
        """What can be asked of it with the signals that it has."""
        known = [slot for slot in self.slots if slot is not None]
        has_active = any(slot.active is not None for slot in known)
        has_plugged = any(slot.plugged is not None for slot in known)
        return "good" if has_active and has_plugged else ("idle" if has_active else "plugged")

    def needs(self) -> tuple[str, ...]:
        return NEEDS if self.need == "good" else (self.need,)

    def hour_of_week(self, hour: int) -> int:
        return ((self.start_s + self.offset_s[hour]) // 3600 + hour + 72) % 168

    def warm_up_hours(self) -> int:
        return 24 * (7 if len(self.slots) >= 14 * 288 else 1)

    def holds(self, slot: int, need: str) -> bool | None:
        """Whether a slot is as needed."""
        seen = self.slots[slot]
        return None if seen is None else _judge([seen], need)

    def outcome(self, slot: int, need: str, known: int = HOUR_SLOTS) -> bool | None:
        """Whether the hour from a slot on is as needed; ``None`` with fewer slots known."""
        seen = [s for s in self.slots[slot : slot + HOUR_SLOTS] if s is not None]
        return None if len(seen) < known else _judge(seen, need)


def _judge(seen: list[Slot], need: str) -> bool | None:
    good = True
    if need != "plugged":
        active = [slot.active for slot in seen if slot.active is not None]
        if len(active) < len(seen):
            return None
        good = sum(active) <= (QUIET_ACTIVITY + 1e-9) * len(active)
    if need != "idle":
        plugged = [slot.plugged for slot in seen if slot.plugged is not None]
        if len(plugged) < len(seen):
            return None
        good = good and sum(plugged) >= FULL_SHARE * len(plugged)
    return good


def read_traces(path: Path) -> Iterator[Trace]:
    """Every device in a file, or in all ``*.csv`` below a directory."""
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    for file in files:
        devices: dict[str, list[dict[str, str]]] = {}
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                devices.setdefault(row["device_id"], []).append(row)
        for device, rows in devices.items():
            yield _trace(device, rows)


def _trace(device: str, rows: list[dict[str, str]]) -> Trace:
    times = [int(row["timestamp_utc"]) for row in rows]
    start_s = min(times) // 3600 * 3600
    hours = (max(times) - start_s) // 3600 + 1
    slots: list[Slot | None] = [None] * (hours * HOUR_SLOTS)
    offsets: list[int | None] = [None] * hours
    for at_s, row in zip(times, rows, strict=True):
        active = float(row["active"]) if row["active"] else None
        plugged = row["plugged"] == "1" if row["plugged"] else None
        slots[(at_s - start_s) // SLOT_S] = Slot(active, plugged)
        offsets[(at_s - start_s) // 3600] = int(row["local_utc_offset"])
    latest = int(rows[0]["local_utc_offset"])
    filled = []
    for offset in offsets:
        latest = latest if offset is None else offset
        filled.append(latest)
    return Trace(device, start_s, slots, filled)
