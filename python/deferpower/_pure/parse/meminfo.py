"""``/proc/meminfo``: how much memory there is, and how much programs can still get."""

from __future__ import annotations

from deferpower._pure.parse.number import I64_MAX, counter, trim

_KB = 1024


def parse_meminfo(data: bytes, /) -> tuple[int | None, int | None]:
    found: dict[bytes, int | None] = {}
    for line in trim(data).split(b"\n"):
        words = line.split(None, 2)
        if words and words[0] in (b"MemTotal:", b"MemAvailable:") and words[0] not in found:
            found[words[0]] = _bytes(words[1]) if len(words) > 1 else None
            if len(found) == 2:
                break
    total = found.get(b"MemTotal:") or None
    available = found.get(b"MemAvailable:")
    if total is not None and available is not None and available > total:
        available = None
    return total, available


def _bytes(word: bytes) -> int | None:
    value = counter(word)
    return None if value is None or value * _KB > I64_MAX else value * _KB
