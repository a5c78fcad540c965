"""Prints how soon a charger that comes or goes starts, stops, freezes and thaws tasks.

    python -m benches.tasks.charger [--changes 200] [--polled-changes 40]

Real workers look at a recorded laptop: its files are laid over ``/sys/class/power_supply`` (and a
calm ``/proc/stat`` over this machine's, since a busy processor holds tasks back), in a mount
namespace of their own. A change is written to these files. Then, as the kernel would, a namespace
of network sends the event: its kernel passes it on to all who listen. Without events the same files
are read by polling, from a directory, where nothing can announce a change.

Between unplugging and plugging in lie some 5 s, before which a charger does not count; so several
workers go through it at the same time.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches import machine
from benches.comparison import Comparison, Target, duration, in_full
from benches.machine import LAPTOP, REPOSITORY

BACKENDS = ("native", "pure")
WORKERS = 5
REST_S = 5.5
"""A charger counts at once when it was seen to be away for 5 s."""
EVENT_TARGET_S, POLL_S = 0.25, 5.0
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
MOUNT = (
    'mount --bind "$0/sys/class/power_supply" /sys/class/power_supply'
    ' && mount --bind "$0/proc/stat" /proc/stat && exec "$@"'
)
NETLINK_KOBJECT_UEVENT = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=200, help="with events of the kernel")
    parser.add_argument("--polled-changes", type=int, default=40, help="without")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        backend, how, root = options.measure
        measure(backend, how, root, options.changes)
        return
    if min(options.changes, options.polled_changes) < 4 * WORKERS:
        parser.error(f"{4 * WORKERS} changes are the fewest: twice in and out for each worker")
    print(machine.described(), end="\n\n")
    found: list[Comparison] = []
    for how, changes in (("events", options.changes), ("polling", options.polled_changes)):
        seen = {backend: all_workers(backend, how, changes // WORKERS) for backend in BACKENDS}
        found += comparisons(how, seen)
    print(in_full(found))


def all_workers(backend: str, how: str, changes: int) -> dict[str, list[float]]:
    """Seconds from a change to what it did, seen by several workers at once."""
    with tempfile.TemporaryDirectory() as place:
        running = [
            one_worker(Path(place, str(number)), backend, how, changes) for number in range(WORKERS)
        ]
        outputs = [process.communicate()[0] for process in running]
    if any(process.returncode != 0 for process in running):
        raise SystemExit(f"{backend}, {how}: a worker failed; may this user make namespaces?")
    seen: dict[str, list[float]] = {}
    for output in outputs:
        for what, values in json.loads(output).items():
            seen.setdefault(what, []).extend(values)
    return seen


def one_worker(root: Path, backend: str, how: str, changes: int) -> subprocess.Popen[bytes]:
    shutil.copytree(LAPTOP, root, symlinks=True)
    command = [sys.executable, "-m", "benches.tasks.charger", "--changes", str(changes)]
    command += ["--measure", backend, how, str(root)]
    if how == "events":
        command = [*NAMESPACES, "sh", "-c", MOUNT, str(root), *command]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)


def measure(backend: str, how: str, root: str, changes: int) -> None:
    """In a process of its own: plug in and out, and print how long everything took."""
    from deferpower import BackgroundTaskManager, Constraints, Device

    charging = Constraints(charging=True)
    device = Device(root="/" if how == "events" else root, backend=backend)
    tasks = BackgroundTaskManager(f"{root}.db", device=device, max_workers=4)
    told: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()

    @tasks.task(constraints=charging, pass_context=True)
    def work(context: Any) -> None:
        told.put(("started", time.monotonic()))
        context.wait_for_stop()
        told.put(("stopped", time.monotonic()))
        context.stop_if_asked()

    work.defer()
    pid_file = Path(f"{root}.pid")
    script = f"echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file} && exec sleep 86400"
    tasks.submit_command(["sh", "-c", script], constraints=charging)
    seen: dict[str, list[float]] = {
        "plugged in, to task started": [],
        "unplugged, to task told to stop": [],
        "unplugged, to command frozen": [],
        "plugged in, to command thawed": [],
    }
    started, stopped, frozen, thawed = seen.values()
    with tasks:
        for change in range(changes // 2):
            time.sleep(REST_S + random.random())
            changed_s = plug(root, how, online=True)
            started.append(moment_of(told, "started") - changed_s)
            if change == 0:
                moment_when(pid_file.exists)
            else:
                thawed.append(moment_when(lambda: not is_frozen(pid_file)) - changed_s)
            # Not in step with the timer of who polls.
            time.sleep(random.uniform(0.5, 1.0 if how == "events" else 0.5 + POLL_S))
            changed_s = plug(root, how, online=False)
            frozen.append(moment_when(lambda: is_frozen(pid_file)) - changed_s)
            stopped.append(moment_of(told, "stopped") - changed_s)
        for record in tasks.list(states=["running", "enqueued"]):
            tasks.cancel(record.id)
    tasks.close()
    json.dump(seen, sys.stdout)


def plug(root: str, how: str, *, online: bool) -> float:
    """Change the files, and have the kernel tell of it if it is to; when they were changed."""
    supplies = Path(root, "sys/class/power_supply")
    (supplies / "AC/online").write_text(f"{online:d}")
    (supplies / "BAT0/status").write_text("Charging" if online else "Discharging")
    changed_s = time.monotonic()
    if how == "events":
        path = "/devices/platform/ACPI0003:00/power_supply/AC"
        text = f"change@{path}\0ACTION=change\0DEVPATH={path}\0SUBSYSTEM=power_supply\0"
        # The header of a message that asks nothing of the kernel but to be passed on.
        header = struct.pack("=IHHII", 16 + len(text), 16, 1, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as kernel:
            kernel.sendto(header + text.encode(), (0, 0))
    return changed_s


def moment_of(told: queue.SimpleQueue[tuple[str, float]], what: str) -> float:
    while True:
        kind, moment_s = told.get(timeout=30)
        if kind == what:
            return moment_s


def moment_when(holds: Callable[[], bool]) -> float:
    until_s = time.monotonic() + 30
    while not holds():
        if time.monotonic() > until_s:
            raise SystemExit("nothing came of a change within 30 s")
        time.sleep(0.0005)
    return time.monotonic()


def is_frozen(pid_file: Path) -> bool:
    status = Path("/proc", pid_file.read_text().strip(), "stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def comparisons(how: str, seen: dict[str, dict[str, list[float]]]) -> list[Comparison]:
    target_s = EVENT_TARGET_S if how == "events" else POLL_S + EVENT_TARGET_S
    found = []
    for what in seen[BACKENDS[0]]:
        costs = {backend: values[what] for backend, values in seen.items()}
        targets = []
        for backend, values in costs.items():
            p99_s = sorted(values)[round(0.99 * (len(values) - 1))]
            text = f"p99 under {duration(target_s)}: {duration(p99_s)} of {len(values)} changes"
            targets.append(Target(backend, text, p99_s < target_s))
        found.append(Comparison(f"{what}, {how}", costs, duration, targets))
    return found


if __name__ == "__main__":
    main()
