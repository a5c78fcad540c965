"""``/proc/pressure/*``: pressure stall information (PSI)."""

from __future__ import annotations

from deferpower._pure.parse.number import trim


def parse_pressure(data: bytes, /) -> float | None:
    for line in trim(data).split(b"\n"):
        words = line.split()
        if words and words[0] == b"some":
            for word in words[1:]:
                if word.startswith(b"avg10="):
                    return _percent(word[len(b"avg10=") :])
            return None
    return None


def _percent(text: bytes) -> float | None:
    # Checked by hand, since `float` also takes "nan", "1e3", "+1", " 1" and "1_0".
    digits, point, decimals = text.partition(b".")
    if not digits.isdigit() or (point and not decimals.isdigit()):
        return None
    value = float(text)
    return value if value <= 100.0 else None
