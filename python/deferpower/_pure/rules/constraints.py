"""What a task can ask of the machine: one entry per kind of constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from deferpower._contract import ConstraintRow
from deferpower._pure.rules.machine import Line, Machine
from deferpower._pure.rules.relaxation import (
    ALL_DROPPED,
    BATTERY_DROPPED,
    CHARGING_DROPPED,
    IDLE_DROPPED,
    NETWORK_DROPPED,
)
from deferpower.errors import ConfigError


class Asked:
    """The constraints of one side, hard or soft, ready to be judged."""

    __slots__ = ("battery_above", "battery_not_low", "custom", "entries", "window")

    battery_not_low: Line

    def __init__(
        self, row: ConstraintRow, battery_above: Line | None, battery_not_low: Line
    ) -> None:
        """Take in what a row asks.

        Args:
            row: the row, checked.
            battery_above: its line, ``None`` when it asks for none.
            battery_not_low: the line that low is drawn at.
        """
        flags, _, start, end, self.custom = row
        self.entries = tuple(
            (1 << bit, entry.dropped_at, entry.met)
            for bit, entry in enumerate(CONSTRAINTS)
            if flags >> bit & 1
        )
        self.battery_above = battery_above
        self.battery_not_low = battery_not_low
        self.window = (start, end)

    def unmet(self, machine: Machine, step: int) -> int:
        """Bits of the constraints that still count at a step of relaxation and are not met."""
        unmet = 0
        for bit, dropped_at, met in self.entries:
            if dropped_at > step and not met(machine, self):
                unmet |= bit
        return unmet

    def unmet_custom(self, unmet: int, machine: Machine) -> int:
        """The custom predicates among the unmet."""
        return self.custom & ~machine.custom if unmet & CUSTOM else 0


class Constraint(NamedTuple):
    """One kind of constraint.

    Attributes:
        code: its reason code.
        dropped_at: the step of relaxation from which a soft one no longer counts.
        met: whether the machine meets it as asked.
    """

    code: str
    dropped_at: int
    met: Callable[[Machine, Asked], bool]


def _above(_: Machine, asked: Asked) -> bool:
    return asked.battery_above is not None and asked.battery_above.passes


def _in_window(machine: Machine, asked: Asked) -> bool:
    start, end = asked.window
    begun, over = machine.minute >= start, machine.minute >= end
    return begun and not over if start < end else begun or not over


CONSTRAINTS = (
    Constraint("charging", CHARGING_DROPPED, lambda machine, _: machine.external),
    Constraint("battery_above", BATTERY_DROPPED, _above),
    Constraint("battery_not_low", BATTERY_DROPPED, lambda _, asked: asked.battery_not_low.passes),
    Constraint("idle", IDLE_DROPPED, lambda machine, _: machine.idle),
    Constraint("connected", NETWORK_DROPPED, lambda machine, _: machine.connected),
    Constraint("unmetered", NETWORK_DROPPED, lambda machine, _: machine.unmetered),
    Constraint("storage_not_low", ALL_DROPPED, lambda machine, _: machine.storage_ok),
    Constraint("resources_ok", ALL_DROPPED, lambda machine, _: machine.resources_ok),
    Constraint("window", ALL_DROPPED, _in_window),
    Constraint("custom", ALL_DROPPED, lambda machine, asked: not asked.custom & ~machine.custom),
)
"""Every kind of constraint; its place here is its bit."""

_BITS = {entry.code: 1 << bit for bit, entry in enumerate(CONSTRAINTS)}
CHARGING = _BITS["charging"]
BATTERY_ABOVE = _BITS["battery_above"]
BATTERY_NOT_LOW = _BITS["battery_not_low"]
IDLE = _BITS["idle"]
STORAGE_NOT_LOW = _BITS["storage_not_low"]
RESOURCES_OK = _BITS["resources_ok"]
CUSTOM = _BITS["custom"]
POWER = CHARGING | BATTERY_ABOVE | BATTERY_NOT_LOW
"""A hard one of these names the level or the charger, and so settles what power must be like."""
END = 1 << len(CONSTRAINTS)
"""The first bit that is no constraint's."""


def left_at(row: ConstraintRow, step: int) -> ConstraintRow:
    """The constraints that are not dropped yet at a step of relaxation."""
    flags, battery_above, start, end, custom = row
    dropped = 0
    for bit, entry in enumerate(CONSTRAINTS):
        if entry.dropped_at <= step:
            dropped |= flags & 1 << bit
    if dropped & BATTERY_ABOVE:
        battery_above = 0.0
    if dropped & _BITS["window"]:
        start = end = 0
    if dropped & CUSTOM:
        custom = 0
    return flags & ~dropped, battery_above, start, end, custom


def dropping_steps(flags: int) -> int:
    """A bit for each step of relaxation at which one of these is dropped."""
    steps = 0
    for bit, entry in enumerate(CONSTRAINTS):
        if flags >> bit & 1:
            steps |= 1 << entry.dropped_at
    return steps


def check(row: ConstraintRow) -> None:
    """Refuse what cannot be asked.

    Raises:
        ConfigError: a flag, level or window that cannot be.
    """
    flags, battery_above, start, end, _ = row
    if flags >= END:
        raise ConfigError("constraints: a flag that no constraint has")
    if not 0.0 <= battery_above < 100.0:
        raise ConfigError("constraints: battery_above must be a percentage from 0 to below 100")
    if start >= 1440 or end > 1440 or (flags & _BITS["window"] and start == end):
        raise ConfigError(
            "constraints: the window must begin and end at different minutes of the day"
        )
