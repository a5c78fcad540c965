"""``deferpower prune``: forget tasks that have ended."""

from __future__ import annotations

import json

from deferpower.cli import parsing, queue_file
from deferpower.cli.text import counted
from deferpower.policy import Policy

_EPILOG = f"""\
With neither option it forgets what ended more than a day ago, which a worker
does by itself. Tasks that wait or run are never touched. The last task of all
is kept, since numbers are not used again.

{queue_file.HELP}

examples:
  deferpower prune
  deferpower prune --older-than 1h
  deferpower prune --all"""


def parser() -> parsing.Parser:
    """The options of ``prune``."""
    p = parsing.Parser(
        "prune",
        usage="deferpower prune [--older-than TIME | --all] [--queue FILE] [--json]",
        summary="Forget tasks that have ended, with their results and output.",
        epilog=_EPILOG,
    )
    age = p.add_mutually_exclusive_group()
    age.add_argument(
        "--older-than",
        type=parsing.time_span,
        metavar="TIME",
        help="those that ended longer ago: 6h, 90m, 45s, 1h30m, 7d or plain seconds",
    )
    age.add_argument("--all", action="store_true", help="all that have ended")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Forget them, and say how many they were."""
    options = parser().parse(words)
    manager = queue_file.open_queue(options, Policy(), may_be_missing=True)
    try:
        pruned = manager.prune(0.0 if options.all else options.older_than)
    finally:
        manager.close()
    print(
        json.dumps({"pruned": pruned}) if options.json else f"{counted(pruned, 'task')} forgotten"
    )
    return 0
