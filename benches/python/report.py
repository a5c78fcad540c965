"""Prints how fast deferpower is on this machine, beside its peers, in one table.

    python benches/python/report.py [--no-rust]

Every ratio is of medians measured in one run, in turns. Cold means: once every 200 ms, as a sampler
really runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from table import Row, duration, faster, limit, machine, over, print_table
from work import POWER_SUPPLIES, REPOSITORY, laptop_tree

HERE = Path(__file__).parent
START_ROUNDS = 25
BATTERY_MOUNT = 'mount --bind "$0" /sys/class/power_supply && exec "$@"'


class Scenario(NamedTuple):
    """A machine to measure on: words for the table, and what to put before a command."""

    name: str
    prefix: Sequence[str]


def scenarios() -> list[Scenario]:
    """This machine, and this machine with a laptop's battery where mounting one is permitted."""
    found = [Scenario("this machine", [])]
    flags = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    supplies = str(laptop_tree() / POWER_SUPPLIES.relative_to("/"))
    prefix = ["unshare", *flags, "sh", "-c", BATTERY_MOUNT, supplies]
    if shutil.which("unshare"):
        attempt = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if attempt.returncode == 0:
            found.append(Scenario("with a battery", prefix))
    return found


def measure_python(scenario: Scenario) -> list[Row]:
    command = [*scenario.prefix, sys.executable, str(HERE / "measure.py")]
    seen = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rows = []
    for heat in ("hot", "cold"):
        times = seen[heat]
        where = f"{scenario.name}, {heat}"
        psutil = times["psutil"]
        rows += [
            faster(where, "Python: full reading", times["native"], "psutil", psutil, 12),
            faster(where, "Python: load only", times["steady"], "psutil", psutil),
            faster(where, "Python: full reading, pure backend", times["pure"], "psutil", psutil),
            faster(where, "Python: bare os.pread of the files", times["bare"], "psutil", psutil),
        ]
    if not scenario.prefix:
        latest, read = seen["cached"]["latest"], seen["cached"]["read"]
        rows += [
            limit(scenario.name, "Python: device.latest", latest, 0.3e-6),
            limit(scenario.name, "Python: read() of one young enough", read, 0.3e-6),
        ]
    return rows


def measure_rust(scenario: Scenario, binary: str) -> list[Row]:
    command = [*scenario.prefix, binary, "--bench", "--json"]
    seen = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rows = []
    for heat in ("hot", "cold"):
        times = {name: nanoseconds * 1e-9 for name, nanoseconds in seen[heat].items()}
        where = f"{scenario.name}, {heat}"
        full, calls, load = times["deferpower"], times["bare_calls"], times["deferpower_load"]
        files, load_files = seen["files"], seen["load_files"]
        rows += [
            over(where, "Rust: full reading", full, f"pread of {files} files", times["bare"], 1.3),
            over(where, "Rust: full reading", full, "its system calls alone", calls),
            over(
                where,
                "Rust: load only",
                load,
                f"pread of {load_files} files",
                times["bare_load"],
                1.3,
            ),
            faster(where, "Rust: full reading", full, "sysinfo", times["sysinfo"], 12),
        ]
    return rows


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


def measure_starts() -> list[Row]:
    """Whole processes: what importing the package adds to bare Python, and one --help."""
    python = sys.executable
    commands = {
        "bare": [python, "-c", "pass"],
        "import": [python, "-c", "import deferpower"],
        "device": [python, "-c", "from deferpower import Device; Device(backend='native')"],
        "help": [python, "-m", "deferpower", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(START_ROUNDS):
        for name, command in commands.items():
            times[name].append(processor_time(command))
    median = {name: statistics.median(values) for name, values in times.items()}
    bare, where = median["bare"], "start"
    return [
        Row(where, "python -c pass", duration(bare)),
        limit(where, "import deferpower, above bare Python", median["import"] - bare, 20e-3),
        Row(where, "a Device, above bare Python", duration(median["device"] - bare)),
        limit(where, "deferpower --help, in all", median["help"], 80e-3),
    ]


def processor_time(command: list[str]) -> float:
    """Seconds of processor time of a whole process; unlike the clock, others' work is left out."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with wait status {status}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-rust", action="store_true", help="leave out what needs cargo")
    rust = not parser.parse_args().no_rust
    binary = build_rust() if rust else None
    places = scenarios()
    rows = []
    for scenario in places:
        if binary:
            rows += measure_rust(scenario, binary)
        rows += measure_python(scenario)
    rows += measure_starts()
    print(machine())
    print_table(rows)
    if len(places) == 1:
        print("not measured with a battery: laying one over /sys/class takes the right to mount")


if __name__ == "__main__":
    main()
