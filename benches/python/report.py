"""Prints how fast deferpower is on this machine, beside its peers, in one table.

    python benches/python/report.py [--no-rust]

Every ratio is of medians measured in one run, in turns. Cold means: once every 200 ms, as a sampler
really runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from work import POWER_SUPPLIES, REPOSITORY, laptop_tree

HERE = Path(__file__).parent
START_ROUNDS = 25
BATTERY_MOUNT = 'mount --bind "$0" /sys/class/power_supply && exec "$@"'


class Row(NamedTuple):
    """One line of the table; ``met`` is ``None`` where there is no target."""

    what: str
    figure: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None


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
            against(f"full reading from Python, {where}", times["native"], "psutil", psutil, 12),
            against(f"the same, power not read again, {where}", times["steady"], "psutil", psutil),
            against(f"full reading, pure backend, {where}", times["pure"], "psutil", psutil),
            against(f"os.pread of its files, {where}", times["bare"], "psutil", psutil),
        ]
    if not scenario.prefix:
        rows += [
            limit("latest reading: device.latest", seen["cached"]["latest"], 0.3e-6),
            limit("latest reading: read(max_age_s=60)", seen["cached"]["read"], 0.3e-6),
        ]
    return rows


def measure_rust(scenario: Scenario, binary: str) -> list[Row]:
    command = [*scenario.prefix, binary, "--bench", "--json"]
    seen = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rows = []
    for heat in ("hot", "cold"):
        times = {name: nanoseconds * 1e-9 for name, nanoseconds in seen[heat].items()}
        where = f"{scenario.name}, {heat}"
        full, load = times["deferpower"], times["deferpower_load"]
        rows += [
            beside_bare(f"full reading in Rust, {where}", full, times["bare"], seen["files"]),
            beside_bare(
                f"load only in Rust, {where}", load, times["bare_load"], seen["load_files"]
            ),
            against(f"full reading in Rust, {where}", full, "sysinfo", times["sysinfo"], 12),
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
    bare = median["bare"]
    return [
        Row("python -c pass", duration(bare)),
        limit("import deferpower, above bare Python", median["import"] - bare, 20e-3),
        Row("a Device ready to read, above bare Python", duration(median["device"] - bare)),
        limit("deferpower --help, in all", median["help"], 80e-3),
    ]


def processor_time(command: list[str]) -> float:
    """Seconds of processor time of a whole process; unlike the clock, others' work is left out."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with wait status {status}")
    return used.ru_utime + used.ru_stime


def against(what: str, seconds: float, peer: str, peers: float, target: float | None = None) -> Row:
    ratio = peers / seconds
    words = f"{ratio:.1f}x as fast as {peer} ({duration(peers)})"
    if target is None:
        return Row(what, duration(seconds), words)
    return Row(what, duration(seconds), words, f"{target:g}x", ratio >= target)


def beside_bare(what: str, seconds: float, bare: float, files: int) -> Row:
    ratio = seconds / bare
    words = f"{ratio:.2f}x the time of a bare pread of its {files} files ({duration(bare)})"
    return Row(what, duration(seconds), words, "1.3x", ratio <= 1.3)


def limit(what: str, seconds: float, most: float) -> Row:
    return Row(what, duration(seconds), "", f"under {duration(most)}", seconds < most)


def duration(seconds: float) -> str:
    if abs(seconds) < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.1f} ms"


def machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def print_table(rows: Sequence[Row]) -> None:
    marks = {True: "yes", False: "NO", None: ""}
    lines = [("what", "figure", "beside", "target", "met")]
    lines += [(row.what, row.figure, row.ratio, row.target, marks[row.met]) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


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
