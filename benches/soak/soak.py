"""Everything that can go wrong, for minutes, over one queue: nothing lost, nothing stuck, all flat.

Real workers, submitters, a program on an event loop and senders share a file on a small disk; the
charger flaps, the processor is busy at times, the server misbehaves, processes are killed or told
to end, the disk runs full for moments, thresholds are edited, and what has ended is pruned. Three
processes nobody kills: what they hold is looked at all the while.

    python -m benches.soak.soak [--minutes 20] [--seed N] [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw
from benches.soak import measure
from benches.soak.evidence import Book, Done, items, tasks
from benches.soak.faults import Fleet, fill, left_processes, looking
from benches.soak.measure import Sample, trend
from benches.soak.place import Laptop, Place
from benches.soak.server import Server

from deferpower import (
    BackgroundSyncManager,
    BackgroundTaskManager,
    StoreError,
    TaskError,
    TaskState,
)
from deferpower.sync import HttpTarget

_DISK = "48m"
_TICK_S = 0.1
_DRAIN_S = 90.0
_KEPT_S = 10.0
_MOST_SAID = 20
_IDS = "SELECT id FROM tasks WHERE"
_NEVER_SAID = ("Traceback", "unexpected error", "Exception ", "ResourceWarning", "never retrieved")


class Soak:
    """One soak."""

    def __init__(self, place: Place, seconds: float, dice: random.Random, *, small: bool) -> None:
        self._place, self._seconds, self._dice, self._small = place, seconds, dice, small
        self._laptop = Laptop(place.root)
        place.draw_lines(0)
        for path in (place.runs, place.promises, place.commands):
            path.touch()
        self._server = Server(random.Random(dice.getrandbits(32)))
        self._book = Book(place)
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self._zombies: dict[int, int] = {}
        self._violations: list[str] = []
        self._full: list[tuple[int, int]] = []
        self._retried: dict[int, list[int]] = defaultdict(list)
        self._faults: dict[str, int] = defaultdict(int)
        self._began_s = time.monotonic()
        self._next: dict[str, float] = {}
        self._busy = self._plugged = False
        self._lines = 0

    def run(self) -> int:
        """Do all of it; 1 if anything was violated."""
        manager = BackgroundTaskManager(self._place.queue)
        fleet = Fleet(
            self._place, self._server.url, self._dice, longest_s=min(12.0, self._seconds / 3)
        )
        try:
            fleet.wait_for_the_steady()
            while self._since_s < self._seconds:
                self._tick(fleet, manager)
                time.sleep(_TICK_S)
            self._calm_down(fleet, manager)
            fleet.end()
            self._forget(manager)
            manager.close()
            dead = self._send_the_rest()
        finally:
            fleet.kill_all()
            self._server.close()
        return self._report(fleet, dead)

    @property
    def _since_s(self) -> float:
        return time.monotonic() - self._began_s

    def _is_time(self, what: str, least_s: float, most_s: float) -> bool:
        """Whether it is time for something that is done every so often."""
        due_s = self._next.setdefault(what, self._since_s + self._dice.uniform(0, most_s))
        if self._since_s < due_s:
            return False
        self._next[what] = self._since_s + self._dice.uniform(least_s, most_s)
        return True

    def _tick(self, fleet: Fleet, manager: BackgroundTaskManager) -> None:
        self._laptop.work(busy=self._busy)
        if self._is_time("load", 5, 20):
            self._busy = not self._busy
            self._faults["processor busy or calm"] += 1
        if self._is_time("power", 0.5, 12):
            self._plugged = not self._plugged
            self._laptop.power(plugged=self._plugged, percent=self._dice.randint(5, 100))
            self._faults["charger in or out"] += 1
        if self._is_time("policy", 5, 40):
            self._lines += 1
            self._place.draw_lines(self._lines)
            self._faults["policy edited"] += 1
        fleet.replace_the_due()
        fleet.see_to_the_steady()
        if self._small and self._is_time("disk", 10, 50):
            self._fill_the_disk(fleet)
        if self._is_time("look", 2, 3):
            self._look(fleet)
        if self._is_time("prune", 5, 15):
            self._prune(manager)
        if self._is_time("retry", 5, 15):
            self._retry(manager)

    def _fill_the_disk(self, fleet: Fleet) -> None:
        began_ns, until_s = time.monotonic_ns(), time.monotonic() + self._dice.uniform(0.3, 3)
        while time.monotonic() < until_s:
            fill(self._place)
            fleet.replace_the_due()
            time.sleep(_TICK_S)
        self._place.ballast.unlink()
        self._full.append((began_ns, time.monotonic_ns()))
        self._faults["disk full"] += 1

    def _look(self, fleet: Fleet) -> None:
        """Measure, and note what has ended."""
        at_s = self._since_s
        for name, process in fleet.steady.items():
            with contextlib.suppress(OSError, ValueError):  # it has just begun, or is writing it
                held = measure.of_process(process.pid, self._place)
                self._samples[name].append(Sample(at_s, held))
        with contextlib.suppress(apsw.Error):  # locked for too long
            self._samples["queue"].append(Sample(at_s, measure.of_queue(self._place.queue)))
        found = measure.zombies()
        of_steady = {process.pid: name for name, process in fleet.steady.items()}
        for pid, parent in found.items():
            # One that was there the last time, too, nobody waits for.
            if self._zombies.get(pid) == parent and parent in of_steady:
                self._violations.append(f"{of_steady[parent]} leaves process {pid} a zombie")
        self._zombies = found
        with contextlib.suppress(apsw.Error):  # the disk is full
            self._book.look()

    def _prune(self, manager: BackgroundTaskManager) -> None:
        with contextlib.suppress(apsw.Error, StoreError):
            self._book.look()
            self._faults["tasks pruned"] += manager.prune(_KEPT_S)

    def _retry(self, manager: BackgroundTaskManager) -> None:
        with contextlib.suppress(StoreError, apsw.Error):
            failed = manager.list([TaskState.FAILED], limit=1000)
            for task in self._dice.sample(failed, min(2, len(failed))):
                self._retry_one(manager, task.id)

    def _retry_one(self, manager: BackgroundTaskManager, task_id: int) -> None:
        """Have a task run again, and note which others come back with it."""
        with looking(self._place.queue) as connection:
            ended = {row[0] for row in connection.execute(f"{_IDS} finished_s IS NOT NULL")}
        at_ns, at_s = time.monotonic_ns(), time.time()
        try:
            manager.retry(task_id)
        except (TaskError, StoreError):
            return
        with looking(self._place.queue) as connection:
            begun = {row[0] for row in connection.execute(f"{_IDS} created_s >= ?", (at_s,))}
        for revived in ended & begun:
            self._retried[revived].append(at_ns)
            self._book.ends.pop(revived, None)

    def _calm_down(self, fleet: Fleet, manager: BackgroundTaskManager) -> None:
        """All is well from here on, and nothing more comes: all that waits must come to its end."""
        self._laptop.power(plugged=True, percent=100)
        self._server.is_good = True
        submitter = next(name for name in fleet.steady if name.startswith("submitter"))
        process = fleet.steady.pop(submitter)
        status, death = process.end()
        fleet.deaths[process.name] = death
        if status:
            self._violations.append(f"{submitter} was told to end and did so with {status}")
        fleet.spare()
        embedder = next(name for name in fleet.steady if name.startswith("embedder"))
        process = fleet.steady.pop(embedder)
        status, death = process.end()
        fleet.deaths[process.name] = death
        if status:
            self._violations.append(f"{embedder} was told to end and did so with {status}")
        until_s = time.monotonic() + _DRAIN_S
        while time.monotonic() < until_s:
            self._laptop.work(busy=False)
            self._book.look()
            if not self._book.open and not self._book.places_of_dead:
                break
            time.sleep(_TICK_S)
        else:
            for task in manager.list([s for s in TaskState if not s.has_ended], limit=_MOST_SAID):
                self._violations.append(f"task {task.id} ({task.name}): {manager.why(task.id)}")

    def _forget(self, manager: BackgroundTaskManager) -> None:
        """Forget all that has ended, when all has."""
        self._book.look()
        self._faults["tasks pruned"] += manager.prune(0)

    def _send_the_rest(self) -> set[str]:
        """Deliver what waits; the numbers of dead letters."""
        target = HttpTarget(self._server.url)
        sync = BackgroundSyncManager(target, self._place.queue)
        try:
            until_s = time.monotonic() + _DRAIN_S
            while sync.stats().pending and time.monotonic() < until_s:
                sync.retry_now()
                sync.process_sync_queue(100, True)
            if left := sync.pending():
                self._violations.append(f"{len(left)} items were not sent: {left[0]}")
            dead = {sync.data(item.item_id)["number"] for item in sync.dead_letters(100_000)}
            sync.discard()
            return dead
        finally:
            sync.close()

    def _report(self, fleet: Fleet, dead: set[str]) -> int:
        done = Done(fleet.deaths, self._full, self._retried)
        of_tasks, task_figures = tasks(self._place, self._book, done)
        of_items, item_figures = items(self._place, self._server.receipts, dead, done)
        violations = [*fleet.violations, *self._violations, *of_tasks, *of_items]
        violations += [f"process {pid} is left" for pid in left_processes(self._place)]
        violations += self._said()
        figures = {
            **self._faults,
            **dict(sorted(fleet.ends.items())),
            **task_figures,
            **item_figures,
            **self._told(),
            **{f"requests: {kind}": count for kind, count in self._server.requests.items()},
        }
        for name, figure in figures.items():
            print(f"  {name:48} {figure:8}")
        violations += self._report_trends()
        violations += self._report_left()
        print(f"\n  {'violations':48} {len(violations):8}")
        for sentence in violations[:_MOST_SAID]:
            print(f"  ! {sentence}")
        return int(bool(violations))

    def _report_trends(self) -> list[str]:
        """Print what was held; a sentence for each figure that is not flat."""
        judged = self._seconds >= measure.JUDGED_FROM_S
        print(f"\n  {'held':36} {'first':>9} {'last':>9} {'most':>9} {'growth':>9} {'bound':>9}")
        violations = []
        for name, samples in self._samples.items():
            for figure in samples[0].held:
                found = trend(samples, figure)
                numbers = " ".join(f"{number:9.1f}" for number in found)
                print(f"  {name + ': ' + figure:36} {numbers}")
                if judged and not found.is_flat:
                    violations.append(
                        f"{name}: {figure} grew by {found.growth:.1f} over the second half"
                    )
        words = "judged" if judged else "shown only: from 5 minutes on it is judged"
        print(f"  first and last eighth; growth by slope over the second half, {words}")
        return violations

    def _report_left(self) -> list[str]:
        """Print what is in the file when nothing is left to do; a sentence if that is much."""
        used_kib = measure.of_queue(self._place.queue)["used KiB"]
        rows = measure.left(self._place.queue)
        tables = ", ".join(f"{name} {count}" for name, count in rows.items())
        print(f"\n  left in the file: {used_kib:.0f} KiB; rows: {tables}")
        if used_kib > measure.LEFT_KIB:
            return [f"{used_kib:.0f} KiB are in use with nothing left to do: {tables}"]
        return []

    def _told(self) -> dict[str, int]:
        """How often workers told of some events."""
        logs = "".join(
            path.read_text(errors="replace") for path in self._place.directory.glob("*worker.log")
        )
        kinds = ("orphaned", "stopping", "stopped", "resumed", "retrying")
        return {f"events: {kind}": logs.count(f" {kind} task ") for kind in kinds}

    def _said(self) -> list[str]:
        """Sentences for what must not stand in the logs."""
        found = []
        for path in sorted(self._place.directory.glob("*.log")):
            text = path.read_text(errors="replace")
            for sign in _NEVER_SAID:
                # A program's own log holds the tracebacks of its tasks; a worker tells in a line.
                if sign in text and (sign != "Traceback" or "worker" in path.name):
                    at = text.index(sign)
                    count = text.count(sign)
                    found.append(f"{count} times {sign!r} in {path.name}: {text[at : at + 2000]}")
        return found


def main() -> int:
    """Soak; 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--seed", type=int, default=None, help="for the moments; new each time")
    parser.add_argument("--keep", type=Path, help="directory that the files are left in")
    parser.add_argument("--disk", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.disk is None:
        return _on_a_small_disk(options)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    small = os.statvfs(options.disk).f_blocks * os.statvfs(options.disk).f_frsize <= 64 << 20
    print(
        f"seed {seed}: {options.minutes:g} minutes", "" if small else "(no small disk)", flush=True
    )
    place = Place(options.keep, options.disk)
    return Soak(place, options.minutes * 60, random.Random(seed), small=small).run()


def _on_a_small_disk(options: argparse.Namespace) -> int:
    """Run this program again where it alone sees a small disk, if this user may have one."""
    with contextlib.ExitStack() as stack:
        top = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = top / "disk"
        disk.mkdir(parents=True)
        words: list[Any] = [
            sys.executable,
            "-m",
            "benches.soak.soak",
            "--minutes",
            str(options.minutes),
        ]
        words += [] if options.seed is None else ["--seed", str(options.seed)]
        words += ["--keep", str(top), "--disk", str(disk)]
        return subprocess.run([*_mounting(disk), *words], check=False).returncode


def _mounting(disk: Path) -> list[str]:
    mount = f'mount -t tmpfs -o size={_DISK} none "$0" && exec "$@"'
    for flags in (["-m"], ["-r", "-m"]):
        prefix = ["unshare", *flags, "sh", "-c", mount, str(disk)]
        if shutil.which("unshare"):
            tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
            if not tried.returncode:
                return prefix
    return []


if __name__ == "__main__":
    sys.exit(main())
