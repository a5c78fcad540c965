"""``deferpower history``: what the queue's workers have seen of the device, in and out as CSV."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from deferpower.cli import parsing, queue_file
from deferpower.cli.text import counted
from deferpower.errors import ConfigError
from deferpower.policy import Policy
from deferpower.traces import COLUMNS, Slot, one_device, parse_trace, read_trace, write_trace

_EPILOG = f"""\
A worker notes by itself what it sees while it is awake: charger, battery level
and use of the device, a line for 5 minutes at most, for 8 weeks. deferpower
forecast is learned from it. What import adds is used by workers that start
later.

The format is that of deferpower simulate, CSV with a header:
  {",".join(COLUMNS)}
SEMANTICS.md, "Traces", has the rest. Of two lines about the same 5 minutes the
one that saw more of them stays. A file with a line that is wrong is not
imported.

{queue_file.HELP}

examples:
  deferpower history export month.csv
  deferpower history export | deferpower history import - --queue other.db
  deferpower history import phones.csv --device phone-1"""


def parser() -> parsing.Parser:
    """The options of ``history``."""
    p = parsing.Parser(
        "history",
        usage="deferpower history import CSV|export [FILE] [--device ID] [--queue FILE]",
        summary="Take what was seen of the device in or out, as CSV.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "what",
        nargs="?",
        metavar="import|export",
        help="take lines of a file in, or write down what is known",
    )
    p.add_argument(
        "file", metavar="FILE", nargs="?", help="CSV file; - is standard input, or output"
    )
    p.add_argument("--device", metavar="ID", help="which device to import, if there are several")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print what was done as JSON")
    return p


def execute(words: list[str]) -> int:
    """Import or export."""
    options = parser().parse(words)
    if options.what not in ("import", "export"):
        found = "what of it?" if options.what is None else f"{options.what!r} is no action;"
        raise ConfigError(f"history: {found} write deferpower history import or export")
    if options.what == "import":
        return _import(options)
    if options.device is not None:
        raise ConfigError("--device: export has but one device; leave it out")
    return _export(options)


def _import(options: argparse.Namespace) -> int:
    if options.file is None:
        raise ConfigError("history import needs a file; write history import FILE.csv")
    slots = one_device(_read(options.file), options.file, options.device)
    manager = queue_file.open_queue(options, Policy(), create=True)
    try:
        added = manager.import_history(slots)
    finally:
        manager.close()
    if options.json:
        print(json.dumps({"lines": len(slots), "imported": added}))
        return 0
    left_out = len(slots) - added
    old = f"; {counted(left_out, 'line')} older than 8 weeks left out" if left_out else ""
    print(f"{counted(added, 'line')} imported{old}")
    return 0


def _read(path: str) -> Iterator[Slot]:
    return parse_trace(sys.stdin, "standard input") if path == "-" else read_trace(path)


def _export(options: argparse.Namespace) -> int:
    manager = queue_file.open_queue(options, Policy())
    try:
        slots = manager.export_history()
    finally:
        manager.close()
    if options.file in (None, "-"):
        write_trace(slots, sys.stdout)
        return 0
    try:
        with open(options.file, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            write_trace(slots, file)
    except OSError as error:
        raise ConfigError(
            f"history: cannot write {options.file!r}: {error.strerror}; name another file"
        ) from None
    if options.json:
        print(json.dumps({"exported": len(slots)}))
    else:
        print(f"{counted(len(slots), 'line')} exported")
    return 0
