"""What is read at one moment, and what two moments tell together."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from deferpower._contract import RateRow

Traffic: TypeAlias = list[tuple[bytes, int, int]]
"""Name and two byte counters of each device that counts."""

_RATE_MOST_BYTES_PER_S = 1e12  # beyond it no counter moved, one was replaced


class Counters(NamedTuple):
    """Everything that only ever grows, at one moment; ``None`` where it cannot be read.

    Attributes:
        at_s: the moment.
        cpu: busy ticks, idle ticks and number of processors.
        own_s: processor seconds of this process and its work.
        disk: bytes read and written.
        network: bytes received and sent.
    """

    at_s: float
    cpu: tuple[int, int, int] | None
    own_s: float | None
    disk: Traffic | None
    network: Traffic | None


def no_tick_between(before: Counters, after: Counters) -> bool:
    """Whether both know the processor, and its clock has not moved."""
    if before.cpu is None or after.cpu is None:
        return False
    return before.cpu[:2] == after.cpu[:2]


def percent_of(part: float, whole: float) -> float:
    """A part of a whole, 0-100: rounding takes large ones above."""
    return min(100.0 * part / whole, 100.0)


def busy_percent(before: Counters, after: Counters) -> float | None:
    """Share of all processors' time that was not idle, 0-100."""
    if before.cpu is None or after.cpu is None:
        return None
    busy, idle = after.cpu[0] - before.cpu[0], after.cpu[1] - before.cpu[1]
    if busy < 0 or idle < 0 or busy + idle == 0:
        return None
    return percent_of(busy, busy + idle)


def own_percent(before: Counters, after: Counters, busy: float) -> float | None:
    """The part of ``busy`` (percent) that this process and its work used."""
    if before.own_s is None or after.own_s is None or after.cpu is None:
        return None
    own_s, seconds = after.own_s - before.own_s, after.at_s - before.at_s
    if own_s < 0.0 or seconds <= 0.0:
        return None
    return min(100.0 * own_s / (seconds * after.cpu[2]), busy)


def rates(before: Traffic | None, after: Traffic | None, seconds: float) -> RateRow | None:
    """Bytes per second over all devices; ``None`` where no device counts now."""
    if not after:
        return None
    if before is None or len(before) != len(after) or seconds <= 0.0:
        return None, None
    total_in = total_out = 0
    for (name, in_then, out_then), (name_now, in_now, out_now) in zip(before, after, strict=True):
        if name != name_now or in_now < in_then or out_now < out_then:
            return None, None
        total_in += in_now - in_then
        total_out += out_now - out_then
    rate_in, rate_out = total_in / seconds, total_out / seconds
    if rate_in > _RATE_MOST_BYTES_PER_S or rate_out > _RATE_MOST_BYTES_PER_S:
        return None, None
    return rate_in, rate_out
