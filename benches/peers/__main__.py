"""Prints what a durable task costs, beside the queues that a program could embed instead.

    python -m benches.peers [--quick]

Every contender lives in a process of its own and does its share in turns with the others, on one
file system. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benches.peers.contenders import CONTENDERS, FSYNC, NO_FSYNC
from benches.peers.process import Process
from benches.python.table import Row, duration, machine, print_table

OURS, BARE, ON_BATTERY = "deferpower", "bare apsw", "deferpower on battery"
PEERS = ["huey", "persist-queue", "persist-queue, acknowledging"]
DURABLE = {FSYNC: "fsync", NO_FSYNC: "no fsync"}
DRAIN_TARGET = {FSYNC: 3.0, NO_FSYNC: 1.5}
CPU_TARGET_S = 60e-6
START_TARGET_S = 5e-3
MEMORY_TARGET_BYTES = 15 * 2**20
PARKED = 100_000


class Times(NamedTuple):
    """Seconds per task of one contender, a figure for each round.

    ``submit_cpu`` and ``cpu`` are processor time: of submitting, and of draining besides.
    """

    submit: list[float]
    submit_cpu: list[float]
    together: list[float]
    drain: list[float]
    cpu: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, no figure")
    parser.add_argument("--directory", help="where the files are made (a temporary directory)")
    options = parser.parse_args()
    rounds = 3 if options.quick else 11
    print(machine())
    rows = []
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        # Whatever is imported is compiled once, as it is where it is installed.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(place, "bytecode"))
        for durability in (FSYNC, NO_FSYNC):
            directory = Path(place, durability)
            rows += throughput_rows(durability, throughput(directory, durability, rounds))
        rows += start_rows(Path(place), 5 if options.quick else 25)
        rows += memory_rows(Path(place))
        rows += import_rows(rounds)
    print_table(rows)


def throughput(directory: Path, durability: str, rounds: int) -> dict[str, Times]:
    """Every contender's times, taken in turns."""
    names = [
        name
        for name, contender in CONTENDERS.items()
        if durability in contender.durabilities and name != ON_BATTERY
    ]
    counts = dict.fromkeys(names, 300 if durability == FSYNC else 2000)
    counts["APScheduler"] = 50
    times = {name: Times([], [], [], [], []) for name in names}
    with all_running(names, directory, durability) as processes:
        for warm_up in (True, *[False] * rounds):
            for name, process in processes.items():
                seen = times[name] if not warm_up else Times([], [], [], [], [])
                one_round(process, name, counts[name], seen)
    return times


def one_round(process: Process, name: str, count: int, seen: Times) -> None:
    took = process("submit", count)
    seen.submit.append(took["wall_s"] / count)
    seen.submit_cpu.append(took["cpu_s"] / count)
    if name == "APScheduler":
        return  # its scheduler runs jobs on other threads, and is not made for draining a queue
    cpu_s = took["cpu_s"] / count
    has_bulk = name in (OURS, BARE, "bare sqlite3")
    # What is left from this round is drained with what follows: a longer run measures better.
    together = 9 * count
    if has_bulk:
        seen.together.append(process("submit_together", together)["wall_s"] / together)
    else:
        together = 0
    total = count + together
    took = process("drain", total)
    seen.drain.append(took["wall_s"] / total)
    seen.cpu.append(cpu_s + took["cpu_s"] / total)


@contextlib.contextmanager
def all_running(
    names: Sequence[str], directory: Path, durability: str
) -> Iterator[dict[str, Process]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Process(name, directory / name, durability)) for name in names
        }


def throughput_rows(durability: str, times: Mapping[str, Times]) -> list[Row]:
    where = DURABLE[durability]
    ours, bare = times[OURS], times[BARE]
    rows = [
        beside_bare(where, "submit", ours.submit, bare.submit),
        cpu_beside_bare(where, ours.submit_cpu, bare.submit_cpu),
        beside_bare(where, "submit many in one commit", ours.together, bare.together),
    ]
    for name, seen in times.items():
        if name not in (OURS, BARE):
            rows.append(Row(where, f"submit: {name}", per_second(seen.submit)))
    best = min((times[name].drain for name in PEERS if name in times), key=statistics.median)
    ratio = statistics.median(theirs / own for theirs, own in zip(best, ours.drain, strict=True))
    target = DRAIN_TARGET[durability]
    rows.append(
        Row(
            where,
            "drain empty tasks",
            per_second(ours.drain),
            f"{ratio:.1f}x the best peer",
            f"{target:g}x",
            ratio >= target,
        )
    )
    for name in (BARE, *PEERS):
        if name in times:
            rows.append(Row(where, f"drain: {name}", per_second(times[name].drain)))
    for name in (OURS, *PEERS):
        if name in times:
            cpu_s = statistics.median(times[name].cpu)
            row = Row(where, f"CPU per task submitted and drained: {name}", duration(cpu_s))
            if name == OURS and durability == NO_FSYNC:
                row = row._replace(target=f"< {duration(CPU_TARGET_S)}", met=cpu_s < CPU_TARGET_S)
            rows.append(row)
    return rows


def beside_bare(where: str, what: str, ours: Sequence[float], bare: Sequence[float]) -> Row:
    ratio = statistics.median(own / floor for own, floor in zip(ours, bare, strict=True))
    beside = f"{ratio:.2f}x the time of {BARE}, {per_second(bare)}"
    return Row(where, what, per_second(ours), beside, "1.3x", ratio <= 1.3)


def cpu_beside_bare(where: str, ours: Sequence[float], bare: Sequence[float]) -> Row:
    """What of the difference is not the disk's."""
    own, floor = statistics.median(ours), statistics.median(bare)
    beside = f"{own / floor:.2f}x that of {BARE}, {duration(floor)}"
    return Row(where, "CPU per task submitted", duration(own), beside)


def per_second(seconds: Sequence[float]) -> str:
    return f"{1 / statistics.median(seconds):,.0f}/s"


def start_rows(place: Path, rounds: int) -> list[Row]:
    """From submitting to the start of the task, after a second in which nothing happened."""
    across = {"deferpower", "huey"}  # the others cannot be posted to from another process
    starts: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:

        def running(name: str, where: str) -> Process:
            return stack.enter_context(Process(name, place / where / name, FSYNC))

        pairs = []
        for name in ("deferpower", "persist-queue", "APScheduler", "huey"):
            alone = running(name, "start")
            pairs.append((name, alone, alone))
            if name in across:
                pairs.append((f"{name}, from another process", *two_processes(running, name)))
        for _, worker, _ in pairs:
            worker("listen")
        for round_number in range(rounds + 1):
            time.sleep(1.0)
            for name, worker, poster in pairs:
                found_s = delay_s(worker, poster)
                if round_number > 0:  # the first one makes what stays
                    starts.setdefault(name, []).append(found_s)
    rows = []
    for name, delays in starts.items():
        delays.sort()
        p50, worst = statistics.median(delays), delays[-1]
        row = Row("start", f"submit to start, p50: {name}", duration(p50), f"max {duration(worst)}")
        if name.startswith(OURS):
            row = row._replace(target=f"< {duration(START_TARGET_S)}", met=p50 < START_TARGET_S)
        rows.append(row)
    return rows


def two_processes(running: Callable[[str, str], Process], name: str) -> tuple[Process, Process]:
    return running(name, "across"), running(name, "across")


def delay_s(worker: Process, poster: Process) -> float:
    poster.tell("post")
    answers = [worker.answer(), poster.answer()]
    seen = {key: value for answer in answers for key, value in answer.items()}
    return float(seen["started_s"] - seen["at_s"])


def memory_rows(place: Path) -> list[Row]:
    """What a process holds beyond bare Python while tasks wait in its queue."""
    bare = int(
        subprocess.run([sys.executable, "-c", BARE_RSS], stdout=subprocess.PIPE, check=True).stdout
    )
    rows = []
    for name in (ON_BATTERY, "huey", "APScheduler"):
        directory = place / "parked" / name
        with Process(name, directory, NO_FSYNC) as process:
            process("park", PARKED)
            time.sleep(2.0)
            rows.append(memory_row(f"{name}, which parked them", process, bare))
        if name == ON_BATTERY:
            with Process(name, directory, NO_FSYNC) as process:
                process("listen")
                time.sleep(2.0)
                rows.append(memory_row(f"{name}, started later", process, bare))
    return rows


def memory_row(name: str, process: Process, bare: int) -> Row:
    held = process("rss")["rss_bytes"] - bare
    row = Row("memory", f"{PARKED:,} parked, over bare Python: {name}", f"{held / 2**20:.1f} MiB")
    if name.startswith(OURS):
        limit = MEMORY_TARGET_BYTES
        row = row._replace(target=f"< {limit / 2**20:.0f} MiB", met=held < limit)
    return row


BARE_RSS = (
    "print(next(int(line.split()[1]) * 1024 for line in open('/proc/self/status')"
    " if line.startswith('VmRSS')))"
)


def import_rows(rounds: int) -> list[Row]:
    """Processor time of importing what a program needs, over bare Python."""
    modules = {
        "deferpower": "from deferpower import BackgroundTaskManager",
        "huey": "from huey import SqliteHuey",
        "persist-queue": "from persistqueue import SQLiteQueue",
        "APScheduler": "from apscheduler.schedulers.background import BackgroundScheduler;"
        "from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore",
    }
    commands = {"bare": "pass", **modules}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for code in commands.values():
        processor_time(code)
    for _ in range(rounds):
        for name, code in commands.items():
            times[name].append(processor_time(code))
    bare = statistics.median(times["bare"])
    return [
        Row("import", name, duration(statistics.median(times[name]) - bare)) for name in modules
    ]


def processor_time(code: str) -> float:
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
