"""Text and whole numbers as the kernel writes them.

Everything stays bytes: `str` and `int` accept more than the kernel writes (``1_0``, digits and
white space of all Unicode), `bytes.isdigit` and `bytes.split` know ASCII alone.
"""

from __future__ import annotations

I64_MAX = 2**63 - 1
U64_MAX = 2**64 - 1
_MOST_DIGITS = 20  # of any number below 2**64; longer ones are refused before `int` chokes on them
_PADDING = b" \t\n\v\f\r\0"


def trim(text: bytes) -> bytes:
    """The text without white space and NUL at its ends (containers pad files with NUL)."""
    return text.strip(_PADDING)


def whole(text: bytes) -> int | None:
    """A whole number of 64 bits signed; ``None`` if the text is anything else."""
    if text[:1] == b"-":
        magnitude = _digits(text[1:], I64_MAX + 1)
        return None if magnitude is None else -magnitude
    return _digits(text, I64_MAX)


def counter(text: bytes) -> int | None:
    """A whole number of 64 bits without a sign; ``None`` if the text is anything else."""
    return _digits(text, U64_MAX)


def _digits(text: bytes, most: int) -> int | None:
    if not text.isdigit():
        return None
    if len(text) > _MOST_DIGITS:
        text = text.lstrip(b"0") or b"0"
        if len(text) > _MOST_DIGITS:
            return None
    value = int(text)
    return value if value <= most else None
