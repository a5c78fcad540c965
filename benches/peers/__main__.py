"""Prints what durable, quiet, deferred tasks cost, beside what a program could embed instead.

    python -m benches.peers [--quick] [--output FILE] [QUESTION ...]

Every contender lives in a process of its own and does its share in turns with the others, on one
file system. Every figure is a cost: lower is better. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import apsw
from benches import machine
from benches.comparison import Comparison, in_brief, in_full, verdict
from benches.peers import (
    durable,
    footprint,
    idle,
    lag,
    parked,
    readings,
    start,
    survival,
)
from benches.peers.effort import FULL, QUICK, Effort

QUESTIONS: dict[str, Callable[[Path, Effort], list[Comparison]]] = {
    "durable": durable.compare,
    "start": start.compare,
    "parked": parked.compare,
    "idle": idle.compare,
    "survival": survival.compare,
    "footprint": footprint.compare,
    "lag": lag.compare,
    "readings": readings.compare,
}
BUSY_SHARE = 0.1
PEERS = ("huey", "persist-queue", "APScheduler", "SQLAlchemy", "psutil")
READ = """Every figure is a cost: lower is better. A multiple above 1 says that deferpower is
cheaper, a **bold** one below 1 that the peer is. Medians of rounds in which all took turns; ratios
are medians over the rounds. Bare apsw, bare sqlite3, bare pread, its system calls and the loop
alone are no peers but the floor.
[README.md](README.md) says how all this is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--quick", action="store_true", help="few rounds: a look, no figure")
    parser.add_argument("--directory", help="where the files are made (a temporary directory)")
    parser.add_argument("--output", type=Path, help="write the report there, too")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {[*QUESTIONS]}")
    others = machine.busy_share()
    notes = ["**A quick look: too few rounds for figures.**"] if options.quick else []
    if others > BUSY_SHARE:
        notes.append(
            f"**Others used this machine, too, {others:.0%} of it before this began: waiting times"
            " and syncs to the disk are theirs as well. A look, no figures.**"
        )
    found = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        # Whatever is imported is compiled once, as it is where it is installed.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(place, "bytecode"))
        for question in options.questions or QUESTIONS:
            began_s = time.monotonic()
            directory = Path(place, question)
            directory.mkdir()
            found[question] = QUESTIONS[question](directory, QUICK if options.quick else FULL)
            shutil.rmtree(directory)
            print(f"{question}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    text = report(notes, found)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


def report(notes: Sequence[str], found: Mapping[str, list[Comparison]]) -> str:
    everything = [comparison for comparisons in found.values() for comparison in comparisons]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PEERS]
    versions += [f"apsw with SQLite {apsw.sqlite_lib_version()}"]
    versions += [f"sqlite3 with SQLite {sqlite3.sqlite_version}"]
    parts = [
        "# deferpower beside its peers",
        *notes,
        f"On {machine.described()}; {', '.join(versions)}.",
        READ,
        verdict(everything),
        "## In brief",
        in_brief(everything),
    ]
    for question, comparisons in found.items():
        parts += [f"## {question.capitalize()}", in_full(comparisons)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
