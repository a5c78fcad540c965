"""Prints what a worker costs that has nothing to do: processor time, and how often it wakes up.

    python -m benches.tasks.idle [--seconds 60]

Workers in processes of their own, all at the same time: with nothing in the queue, with a task that
waits for the charger, and with one that waits for the machine to be idle. Where mounting is
permitted, they see a recorded laptop on battery in the place of this machine's power supplies;
everything else is this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.python.table import Row, duration, machine, print_table

from deferpower import BackgroundTaskManager, Constraints, Device

REPOSITORY = Path(__file__).parents[2]
SUPPLIES = REPOSITORY / "tests/data/linux/laptop-on-battery/sys/class/power_supply"
BACKENDS = ("native", "pure")
SETTLED_S = 3.0
TARGET_S_PER_DAY = 1.0
WANTED = {
    "nothing parked": None,
    "parked for the charger": Constraints(charging=True),
    "parked for idleness": Constraints(idle=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        backend, what = options.measure
        measure(backend, what, options.seconds)
        return
    prefix = battery_prefix()
    print(machine())
    print("power supplies:", "of a recorded laptop" if prefix else "this machine's; may not mount")
    myself = [sys.executable, "-m", "benches.tasks.idle", "--seconds", str(options.seconds)]
    running = {
        (backend, what): subprocess.Popen(
            [*prefix, *myself, "--measure", backend, what],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
        )
        for backend in BACKENDS
        for what in WANTED
    }
    rows = []
    for (backend, what), process in running.items():
        output, _ = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"{backend}, {what}: ended with {process.returncode}")
        rows += rows_of(f"{backend}, {what}", json.loads(output), options.seconds)
    print_table(rows)


def battery_prefix() -> Sequence[str]:
    """What to put before a command to lay a recorded battery over this machine's."""
    mount = 'mount --bind "$0" /sys/class/power_supply && exec "$@"'
    for flags in (["-m"], ["-r", "-m"]):
        prefix = ["unshare", *flags, "sh", "-c", mount, str(SUPPLIES)]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return []


def measure(backend: str, what: str, seconds: float) -> None:
    """In a process of its own: be idle, and print what that cost."""
    wanted = WANTED[what]
    with tempfile.TemporaryDirectory() as place:
        tasks = BackgroundTaskManager(Path(place, "idle.db"), device=Device(backend=backend))
        if wanted is not None:
            tasks.task(print, name="waiting", constraints=wanted).defer("ran")
        with tasks:
            time.sleep(SETTLED_S)
            before = used_by_worker()
            time.sleep(seconds)
            after = used_by_worker()
            still_waits = wanted is None or len(tasks.list(states=["enqueued"])) == 1
        tasks.close()
    used = {name: after[name] - before[name] for name in after}
    json.dump({**used, "still_waits": still_waits}, sys.stdout)


def used_by_worker() -> dict[str, float]:
    """Processor time and context switches of all threads but the one that measures."""
    total = {"cpu_s": 0.0, "voluntary": 0, "nonvoluntary": 0}
    for thread in Path("/proc/self/task").iterdir():
        if int(thread.name) == os.getpid():
            continue
        total["cpu_s"] += int((thread / "schedstat").read_text().split()[0]) * 1e-9
        for line in (thread / "status").read_text().splitlines():
            for kind in ("voluntary", "nonvoluntary"):
                if line.startswith(f"{kind}_ctxt_switches:"):
                    total[kind] += int(line.split()[1])
    return total


def rows_of(where: str, seen: dict[str, Any], seconds: float) -> list[Row]:
    per_day_s = seen["cpu_s"] * 86_400 / seconds
    wakes = Row(
        where,
        f"wake-ups in {seconds:g} s",
        str(seen["voluntary"]),
        f"{seen['nonvoluntary']} times interrupted by others",
    )
    if where.endswith("nothing parked"):
        wakes = wakes._replace(target="none", met=seen["voluntary"] == 0)
    day = f"{per_day_s:.2f} s"
    used = f"processor time in {seconds:g} s"
    note = "" if seen["still_waits"] else "but the task ran"
    return [
        Row(where, used, duration(seen["cpu_s"]), note),
        Row(where, "which makes per day", day, "", "< 1 s", per_day_s < TARGET_S_PER_DAY),
        wakes,
    ]


if __name__ == "__main__":
    main()
