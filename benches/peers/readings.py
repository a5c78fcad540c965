"""A reading of this machine beside psutil, sysinfo and bare reads of the same files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benches.comparison import OURS, Comparison, at_most, below, duration, times_cheaper
from benches.machine import REPOSITORY, battery_prefix
from benches.peers.effort import Effort
from benches.peers.readers import (
    COLD_PAUSE_S,
    JUST_NOW_S,
    bare_pread,
    native_device,
    read_with_psutil,
)
from benches.timing import in_turns

from deferpower import Device

PSUTIL, SYSINFO = "psutil", "sysinfo and battery"
LOAD, PURE = f"{OURS}, load only", f"{OURS}, pure"
BARE, BARE_LOAD, CALLS = "bare pread", "bare pread, load only", "its system calls alone"
FLOORS = frozenset({BARE, BARE_LOAD, CALLS})
LATEST_TARGET_S = 0.3e-6
HOT_CALLS = 10
YOUNG_ENOUGH = f"{OURS}, read() of one young enough"
HEATS = {"hot": "in a loop", "cold": f"every {COLD_PAUSE_S * 1e3:.0f} ms"}
RUST_NAMES = {
    "deferpower": OURS,
    "deferpower_load": LOAD,
    "sysinfo": SYSINFO,
    "bare": BARE,
    "bare_load": BARE_LOAD,
    "bare_calls": CALLS,
}


def compare(place: Path, effort: Effort) -> list[Comparison]:
    """On this machine and, where one may be laid over it, with a battery."""
    scenarios: dict[str, Sequence[str]] = {"this machine": []}
    if prefix := battery_prefix():
        scenarios["with a battery"] = prefix
    rounds = [str(effort.hot_rounds), str(effort.cold_rounds)]
    binary = build_rust() if shutil.which("cargo") else None
    found = []
    for where, prefix in scenarios.items():
        if binary:
            found += from_rust(where, answer([*prefix, binary, "--json", *rounds]))
        python = [sys.executable, "-m", "benches.peers.readings"]
        found += from_python(where, answer([*prefix, *python, *rounds]))
    return found


def answer(command: list[str]) -> dict[str, Any]:
    run = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def from_python(where: str, seen: dict[str, Any]) -> list[Comparison]:
    found = []
    for heat, how in HEATS.items():
        costs = seen[heat]
        targets = [times_cheaper(costs, [PSUTIL], 12)]
        what = f"a reading from Python, {how}, {where}"
        found.append(Comparison(what, costs, duration, targets, FLOORS))
    kept = seen["kept"]
    targets = [below(kept, name, LATEST_TARGET_S, duration) for name in kept]
    found.append(Comparison(f"the latest reading, {where}", kept, duration, targets))
    return found


def from_rust(where: str, seen: dict[str, Any]) -> list[Comparison]:
    found = []
    for heat, how in HEATS.items():
        costs = {
            name: [nanoseconds * 1e-9 for nanoseconds in seen[heat][key]]
            for key, name in RUST_NAMES.items()
        }
        targets = [
            times_cheaper(costs, [SYSINFO], 12),
            at_most(costs, OURS, BARE, 1.3),
            at_most(costs, LOAD, BARE_LOAD, 1.3),
        ]
        what = f"a reading in Rust, {how}, {where}"
        found.append(Comparison(what, costs, duration, targets, FLOORS))
    return found


def build_rust() -> str:
    """The path of the compiled comparison of the Rust side."""
    command = ["cargo", "bench", "--bench", "compare", "--features", "portable", "--no-run"]
    lines = subprocess.run(
        [*command, "--message-format=json"], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    ).stdout.splitlines()
    artifacts: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return next(
        str(artifact["executable"])
        for artifact in artifacts
        if artifact.get("target", {}).get("name") == "compare" and artifact.get("executable")
    )


def measure(hot_rounds: int, cold_rounds: int) -> None:
    """In a process of its own, maybe with another's battery: print the times."""
    native, files = native_device()
    steady, _ = native_device()
    pure = Device(backend="pure")
    with bare_pread(files) as bare:
        contenders: dict[str, Callable[[], object]] = {
            OURS: lambda: native.read(max_age_s=0),
            LOAD: lambda: steady.read(max_age_s=JUST_NOW_S),
            PURE: lambda: pure.read(max_age_s=0),
            PSUTIL: read_with_psutil,
            BARE: bare,
        }
        report = {
            "hot": in_turns(contenders, hot_rounds, HOT_CALLS),
            "cold": in_turns(contenders, cold_rounds, 1, COLD_PAUSE_S),
            "kept": {
                OURS: timed("device.latest", native),
                YOUNG_ENOUGH: timed("device.read(600.0)", native),
            },
        }
    json.dump(report, sys.stdout)


def timed(statement: str, device: Device, calls: int = 1000) -> list[float]:
    runs = timeit.repeat(statement, globals={"device": device}, repeat=101, number=calls)
    return [seconds / calls for seconds in runs]


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
