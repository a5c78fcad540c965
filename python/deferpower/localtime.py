"""Hours of the local clock, as they really were: repeated, left out or cut short by its changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deferpower.errors import ConfigError

if TYPE_CHECKING:
    from deferpower._contract import LocalHour

Offset = Callable[[float], int]
"""Seconds that the local clock is ahead of UTC at a moment given in seconds since the epoch."""

HOUR_S = 3600
_MONDAY_H = 72  # the epoch was a Thursday
LATEST_S = 32_503_680_000.0
"""The year 3000: calendars of Python and of the system reach at least so far."""


def offset_of(zone: str | Offset | None) -> Offset:
    """The offsets of a zone.

    Args:
        zone: its IANA name, its offsets themselves, or ``None`` for the system's zone (``TZ``,
            else /etc/localtime), which is asked anew each time: it changes when the machine
            travels.

    Raises:
        ConfigError: there is no zone of that name.
    """
    if zone is None:
        return _system_offset
    if callable(zone):
        return zone
    import zoneinfo
    from datetime import UTC, datetime, timedelta

    try:
        info = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise ConfigError(
            f"zone: {zone!r} is not known; use an IANA name such as 'Europe/Berlin', "
            "and install the package tzdata where the system has no list of zones"
        ) from None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def offset(at_s: float) -> int:
        ahead = (epoch + timedelta(seconds=at_s)).astimezone(info).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds())

    return offset


def _system_offset(at_s: float) -> int:
    return time.localtime(at_s).tm_gmtoff


def renew_system_zone() -> None:
    """Have the system's zone read again, where the C library remembers it."""
    if hasattr(time, "tzset"):
        time.tzset()


def hours_between(offset: Offset, first_s: float, last_s: float) -> list[LocalHour]:
    """The local hours from the one that holds ``first_s`` to the first that begins at ``last_s``
    or later, which ends the one before.
    """  # noqa: D205 (one sentence)
    hours = []
    for hour in _hours_from(offset, first_s):
        hours.append(hour)
        if hour[0] >= last_s and len(hours) > 1:
            break
    return hours


def _hours_from(offset: Offset, at_s: float) -> Iterator[LocalHour]:
    ahead_s = offset(at_s)
    start_s = at_s - (at_s + ahead_s) % HOUR_S
    # The clock may have changed within the hour; then it began at the change.
    if offset(start_s) != ahead_s:
        start_s = _change(offset, start_s, at_s)
    while True:
        ahead_s = offset(start_s)
        yield start_s, int((start_s + ahead_s) // HOUR_S + _MONDAY_H) % 168
        end_s = start_s + HOUR_S - (start_s + ahead_s) % HOUR_S
        if offset(end_s - 1) != ahead_s:
            end_s = _change(offset, start_s, end_s - 1)
        start_s = end_s


def _change(offset: Offset, before_s: float, after_s: float) -> float:
    """The whole second at which the offset changed between two moments."""
    low, high = int(before_s), -int(-after_s // 1)
    old = offset(before_s)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(middle) == old:
            low = middle
        else:
            high = middle
    return float(high)
