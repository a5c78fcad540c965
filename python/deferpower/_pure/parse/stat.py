"""``/proc/stat``: how long the processors were busy."""

from __future__ import annotations

from deferpower._pure.parse.number import U64_MAX, counter, trim
from deferpower.errors import SensorError

_LEAST = 4  # user, nice, system, idle: since Linux 1
_USED = 8  # then iowait, irq, softirq, steal; guest time is within user


def parse_stat(data: bytes, /) -> tuple[int, int, int]:
    totals: bytes | None = None
    processors = 0
    for line in trim(data).split(b"\n"):
        head, *rest = line.split(None, 1) or (b"",)
        if head == b"cpu" and totals is None:
            totals = rest[0] if rest else b""
        elif head.startswith(b"cpu") and head[3:].isdigit():
            processors += 1
    busy_and_idle = None if totals is None else _busy_and_idle(totals)
    if busy_and_idle is None:
        raise SensorError("proc/stat: no line cpu with at least four counters")
    return *busy_and_idle, max(1, processors)


def _busy_and_idle(line: bytes) -> tuple[int, int] | None:
    counters: list[int] = []
    for word in line.split()[:_USED]:
        value = counter(word)
        if value is None:
            return None
        counters.append(value)
    if len(counters) < _LEAST:
        return None
    counters += [0] * (_USED - len(counters))
    user, nice, system, idle, iowait, irq, softirq, steal = counters
    busy = user + nice + system + irq + softirq + steal
    idle += iowait
    return (busy, idle) if busy <= U64_MAX and idle <= U64_MAX else None
