"""What a new sample could change about a requirement, and so when the next one is worth taking."""

from __future__ import annotations

import math

from deferpower._pure.cadence import Dues, Need
from deferpower._pure.rules.constraints import (
    BATTERY_ABOVE,
    BATTERY_NOT_LOW,
    CHARGING,
    END,
    IDLE,
    RESOURCES_OK,
    STORAGE_NOT_LOW,
)

NOTHING = Need(math.inf, False)
"""No sample changes anything."""

_SUSPENDED, _LEVEL = END, END << 1


def need_to_start(unmet: int, by_idle: bool, dues: Dues) -> Need:
    """What must be looked at until all that is unmet is met: as often as the slowest of it.

    Args:
        unmet: bits of `OutcomeRow`, those of soft constraints in the place of the hard ones.
        by_idle: whether idleness makes up for a level that is too low for the class.
        dues: when each thing is due.
    """
    due_s, power = -math.inf, False
    for bit, (moment_s, is_power) in _starters(by_idle, dues).items():
        if unmet & bit:
            due_s = max(due_s, moment_s)
            power = power or is_power
    return Need(math.inf if unmet & _ONLY_TOLD else due_s, power)


def _starters(by_idle: bool, dues: Dues) -> dict[int, Need]:
    by_level = min(dues.plug_s, dues.idle_s) if by_idle else dues.plug_s
    return {
        CHARGING: Need(dues.plug_s, True),
        BATTERY_ABOVE: Need(dues.level_s, True),
        BATTERY_NOT_LOW: Need(dues.level_s, True),
        IDLE: Need(dues.idle_s, False),
        STORAGE_NOT_LOW: Need(dues.storage_s, False),
        RESOURCES_OK: Need(dues.load_s, False),
        _SUSPENDED: Need(dues.plug_s, True),
        _LEVEL: Need(by_level, True),
    }


_ALL = (END << 2) - 1
_ONLY_TOLD = _ALL & ~sum(_starters(False, Dues(*[0.0] * len(Dues._fields))))
"""What only the program can tell."""


def need_to_stop(flags: int, external: bool, by_idle: bool, dues: Dues) -> Need:
    """What must be looked at since any of it may stop a task.

    Args:
        flags: its constraints.
        external: whether external power counts as there: only who is plugged in can be unplugged.
        by_idle: whether the task runs because the machine is idle, asked for or not.
        dues: when each thing is due.
    """
    due_s = dues.plug_s if external else dues.level_s
    if flags & IDLE or by_idle:
        due_s = min(due_s, dues.idle_running_s)
    if flags & RESOURCES_OK:
        due_s = min(due_s, dues.load_s)
    if flags & STORAGE_NOT_LOW:
        due_s = min(due_s, dues.storage_s)
    return Need(due_s, True)
