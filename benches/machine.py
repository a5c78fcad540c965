"""This machine in words, the recorded laptop, and how to lay its battery over this machine's."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LAPTOP = REPOSITORY / "tests" / "data" / "linux" / "laptop-on-battery"
"""One battery, an unplugged mains adapter, and plain files for ``/proc``."""

_MOUNT = 'mount --bind "$0" /sys/class/power_supply && exec "$@"'


def described() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def busy_share(seconds: float = 2.0) -> float:
    """How much of the processors' time somebody uses, while this process waits."""
    before_s, before_idle_s = _ticks()
    time.sleep(seconds)
    after_s, after_idle_s = _ticks()
    return 1 - (after_idle_s - before_idle_s) / (after_s - before_s)


def _ticks() -> tuple[int, int]:
    """All time of all processors so far, and how much of it they were idle."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def battery_prefix() -> Sequence[str]:
    """What to put before a command so that it sees the laptop's battery; empty if it may not be."""
    supplies = str(LAPTOP / "sys/class/power_supply")
    for flags in (["-m"], ["-r", "-m"]):
        prefix = ["unshare", *flags, "sh", "-c", _MOUNT, supplies]
        try:
            attempt = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if attempt.returncode == 0:
            return prefix
    return []
