"""What the tasks of all contenders do, and how a contender says something to who measures it."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def nothing(*args: object) -> None:
    """The empty task."""


def tell_start() -> None:
    """The task of whose start the moment is wanted."""
    say({"started_s": time.monotonic()})


def mark(path: str, number: int, takes_s: float) -> None:
    """The task that is killed: writes down that it began, takes its time, and that it ended."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"began {number}\n".encode())
    time.sleep(takes_s)
    os.write(descriptor, f"ended {number}\n".encode())
    os.close(descriptor)


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")  # in one piece: several threads write
    sys.stdout.flush()
