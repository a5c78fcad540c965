"""Waiting for what takes milliseconds, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0
"""When to give up."""


def until(condition: Callable[[], object], what: str = "") -> None:
    """Return once the condition holds; fail when it does not within `PATIENCE_S`."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"not within {PATIENCE_S:g} s: {what or condition}"
        time.sleep(0.002)
