"""Functions that other processes find by their names, for tests of executors."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    return number * 2


def process() -> int:
    return os.getpid()


class Unpicklable(Exception):
    """Could not be made again from what pickle keeps of it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"code {code}: {text}")


def fail(text: str) -> None:
    raise Unpicklable(7, text)


def leave() -> None:
    raise SystemExit(3)


def strange() -> object:
    return object()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(here: str, there: str) -> int:
    """Says that it has begun, and ends when it is let through."""
    Path(here, f"{os.getpid()}-{time.monotonic_ns()}").touch()
    while not Path(there).exists():
        time.sleep(0.005)
    return os.getpid()


class Namespace:
    @staticmethod
    def triple(number: int) -> int:
        return number * 3


def replaced() -> str:
    return "the first"


first_replaced = replaced


def replaced() -> str:  # type: ignore[no-redef]
    return "the second"
