"""What tests of running tasks share."""

from __future__ import annotations

import time
from collections.abc import Callable

BOUND_S = 20.0
"""When to give up on something that takes milliseconds."""


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something holds, not for ever."""
    end_s = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end_s, f"still not so after {BOUND_S:g} s: {what or condition}"
        time.sleep(0.002)
