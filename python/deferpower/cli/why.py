"""``deferpower why``: why a task waits, or what the whole queue waits for."""

from __future__ import annotations

import argparse
import json
import time

from deferpower.cli import parsing, queue_file, records
from deferpower.cli.facts import settled_reading
from deferpower.cli.text import duration, in_columns, moment, one_line
from deferpower.cli.waiting import headline, overview_fields, rows
from deferpower.policy import Policy
from deferpower.tasks.manager import BackgroundTaskManager

_EPILOG = f"""\
Without an ID, what waits is grouped by its reasons, the largest group first.
The machine is looked at for 0.3 s; idleness takes a minute to be seen, so here
it never counts as idle. Reasons are told by the policy of this command, which
should be the worker's.

exit status:
  0, or 1 if there is no such task

{queue_file.HELP}

examples:
  deferpower why
  deferpower why 17
  deferpower why --json | jq '.waiting[].reasons[].code'"""


def parser() -> parsing.Parser:
    """The options of ``why``."""
    p = parsing.Parser(
        "why",
        usage="deferpower why [ID] [--policy FILE] [--queue FILE] [--json]",
        summary="Say why a task waits, or what the whole queue waits for.",
        epilog=_EPILOG,
    )
    records.add_ids(p, "?", "number of a task; without it, all that waits")
    parsing.add_policy(p)
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the reasons."""
    options = parser().parse(words)
    manager = queue_file.open_queue(
        options, Policy.load(options.policy), may_be_missing=options.ids is None
    )
    try:
        if options.ids is None:
            _print_all(manager, options)
        else:
            _print_one(manager, options)
    finally:
        manager.close()
    return 0


def _print_all(manager: BackgroundTaskManager, options: argparse.Namespace) -> None:
    settled_reading(manager.device)
    overview = manager.overview(for_others=True)
    if options.json:
        print(json.dumps(overview_fields(overview)))
        return
    print(headline(overview))
    if overview.waiting:
        for line in in_columns(rows(overview, time.time()), right=(0,)):
            print(f"  {line}")


def _print_one(manager: BackgroundTaskManager, options: argparse.Namespace) -> None:
    record = manager.get(options.ids)
    settled_reading(manager.device)
    why = manager.why(record.id, for_others=True)
    if options.json:
        told = {
            **why._asdict(),
            "state": str(why.state),
            "reasons": [reason._asdict() for reason in why.reasons],
        }
        print(json.dumps(told))
        return
    ago = duration(max(time.time() - records.since_s(record), 0.0))
    print(f"task {record.id}, {records.title(record)}: {why.state} for {ago}")
    for reason in why.reasons:
        print(f"  {one_line(reason.sentence)}")
    if why.unblocks is not None:
        print(f"  it takes {one_line(why.unblocks)}")
    if why.prospect is not None:
        print(f"  {why.prospect}")
    if why.next_s is not None and why.next_s > time.time():
        print(f"  looked at again at {moment(why.next_s)} at the latest")
