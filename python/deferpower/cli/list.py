"""``deferpower list``: the tasks of the queue, the newest first."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from deferpower.cli import parsing, queue_file, records
from deferpower.cli.text import clipped, counted, duration, in_columns
from deferpower.policy import Policy
from deferpower.tasks.record import TaskRecord, TaskState

_DEFAULT_LIMIT = 50
_TITLE_WIDTH = 48

_EPILOG = f"""\
States are blocked (it waits for other tasks), enqueued (it waits for its
moment), running, succeeded, failed, cancelled and expired. On a terminal, lines
are cut where it ends. --json prints an array of tasks with the names of
deferpower.TaskRecord; moments are seconds since the epoch.

{queue_file.HELP}

examples:
  deferpower list
  deferpower list --state failed --state expired
  deferpower list --json --limit 1000 | jq '.[].state'"""


def parser() -> parsing.Parser:
    """The options of ``list``."""
    p = parsing.Parser(
        "list",
        usage="deferpower list [--state STATE]... [--limit N] [--queue FILE] [--json]",
        summary="Show the tasks of the queue, the newest first.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "--state",
        action="append",
        type=_state,
        metavar="STATE",
        help="only tasks in this state; may be given several times",
    )
    p.add_argument(
        "--limit",
        type=parsing.whole_number,
        default=_DEFAULT_LIMIT,
        metavar="N",
        help=f"at most so many (default {_DEFAULT_LIMIT})",
    )
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the tasks."""
    options = parser().parse(words)
    manager = queue_file.open_queue(options, Policy(), may_be_missing=True)
    try:
        found = manager.list(options.state, limit=options.limit)
        if options.json:
            print(json.dumps([records.fields(record) for record in found]))
            return 0
        counts = manager.stats()
    finally:
        manager.close()
    if not found:
        there_is = sum(counts.values())
        print(
            "no task in such a state"
            if there_is
            else f"{queue_file.path_of(options)}: the queue is empty"
        )
        return 0
    _print_table(found)
    total = sum(counts[state] for state in options.state or TaskState)
    if total > len(found):
        print(f"and {counted(total - len(found), 'older task')}; --limit N shows more")
    return 0


def _state(text: str) -> TaskState:
    try:
        return TaskState(text)
    except ValueError:
        known = ", ".join(TaskState)
        raise argparse.ArgumentTypeError(f"{text!r} is no state; write one of {known}") from None


def _print_table(found: list[TaskRecord]) -> None:
    now_s = time.time()
    head = ("id", "state", "since", "task", "")
    lines = in_columns([head, *(_row(record, now_s) for record in found)], right=(0,))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        print(line if width is None else clipped(line, width))


def _row(record: TaskRecord, now_s: float) -> tuple[str, ...]:
    return (
        str(record.id),
        str(record.state),
        duration(max(now_s - records.since_s(record), 0.0)),
        clipped(records.title(record), _TITLE_WIDTH),
        records.remark(record, now_s),
    )
