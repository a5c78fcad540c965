"""Times the readings of this machine side by side and prints the medians as JSON.

Run by report.py, once as the machine is and once with a laptop's battery mounted over its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Mapping

from work import COLD_PAUSE_S, JUST_NOW_S, bare_pread, native_device, read_with_psutil

from deferpower import Device

HOT_ROUNDS, HOT_CALLS = 60, 20
COLD_ROUNDS = 15


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int, pause_s: float = 0.0
) -> dict[str, float]:
    """Median seconds of a call of each contender.

    The contenders take turns, so that whatever else this machine does hits all of them alike.
    Each call is timed by itself: a longer stretch is interrupted more often on a busy machine,
    which would flatter the quick. Without a pause, the first call of a turn is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            if pause_s:
                time.sleep(pause_s)
            else:
                call()
            for _ in range(calls):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def cached(device: Device) -> dict[str, float]:
    """Median seconds of asking for a reading that is young enough."""
    device.read(max_age_s=0)
    return {
        "latest": timed("device.latest", device),
        "read": timed("device.read(600.0)", device),
    }


def timed(statement: str, device: Device, calls: int = 1000) -> float:
    runs = timeit.repeat(statement, globals={"device": device}, repeat=201, number=calls)
    return statistics.median(runs) / calls


def main() -> None:
    native, files = native_device()
    steady, _ = native_device()
    pure = Device(backend="pure")
    with bare_pread(files) as bare:
        contenders: dict[str, Callable[[], object]] = {
            "native": lambda: native.read(max_age_s=0),
            "steady": lambda: steady.read(max_age_s=JUST_NOW_S),
            "pure": lambda: pure.read(max_age_s=0),
            "psutil": read_with_psutil,
            "bare": bare,
        }
        report = {
            "files": len(files),
            "hot": interleaved(contenders, HOT_ROUNDS, HOT_CALLS),
            "cold": interleaved(contenders, COLD_ROUNDS, 1, COLD_PAUSE_S),
            "cached": cached(native),
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
