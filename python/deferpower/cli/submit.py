"""``deferpower submit``: a command goes into the queue."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from deferpower.cli import conditions, parsing, queue_file
from deferpower.constraints import ANYTIME
from deferpower.errors import ConfigError
from deferpower.policy import Policy

_USAGE = "deferpower submit [CONDITION...] [OPTION...] -- COMMAND [ARG...]"
_EPILOG = f"""\
The number of the new task is printed. It is durable then: a worker (deferpower
worker) runs the command when all conditions hold, now or after the next start
of the machine. When one falls away, the command is frozen (SIGSTOP to its
process group) and goes on when they hold again. Without conditions it is a
background task, as with deferpower run.

Status 0 is success. Any other is a failure, and the end of it unless
--max-attempts allows more runs; the pause between them doubles, from 30 s to
5 h at most. A command whose worker died or was shut down runs again from its
beginning (but with --at-most-once), so write it so that this does no harm.

The command runs in the directory in which it was submitted, with empty standard
input; deferpower logs shows what it writes. Its environment is the worker's,
but for PATH, HOME, LANG and LC_*, which are those of now, and for what --env
names. These values stand in the queue's file, which only you can read.

{queue_file.HELP}

examples:
  deferpower submit --charging -- restic backup /home/me/docs
  deferpower submit --idle --every 1d --flex 6h --key photos -- ./thumbnails.sh
  deferpower submit --prefer-charging --deadline 8h -- make -C ~/src/site
  deferpower submit --after $(deferpower submit -- ./fetch) -- ./index"""


def parser() -> parsing.Parser:
    """The options of ``submit``."""
    p = parsing.Parser(
        "submit",
        usage=_USAGE,
        summary="Put a command into the queue, to be run when the machine can spare it.",
        epilog=_EPILOG,
    )
    conditions.add(p)
    conditions.add_preferred(p)
    _add_times(p)
    _add_place(p)
    _add_manner(p)
    parsing.add_policy(p)
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print an object with id and queue")
    return p


def _add_times(p: parsing.Parser) -> None:
    option = p.add_argument_group("when").add_argument
    option(
        "--delay",
        type=parsing.time_span,
        metavar="TIME",
        help="not before so long from now: 6h, 90m, 45s, 1h30m, or plain seconds",
    )
    option(
        "--not-before",
        type=parsing.moment,
        metavar="WHEN",
        help="not before 22:00, or 2026-03-01T22:00; local time",
    )
    option(
        "--deadline",
        type=parsing.time_span,
        metavar="TIME",
        help="after this long, run whatever holds",
    )
    option(
        "--expire", action="store_true", help="at the deadline, give up instead if it has not begun"
    )
    option("--every", type=parsing.time_span, metavar="TIME", help="run again in each such period")
    option(
        "--flex",
        type=parsing.time_span,
        metavar="TIME",
        help="the last part of each period, in which it may start",
    )


def _add_place(p: parsing.Parser) -> None:
    option = p.add_argument_group("among other tasks").add_argument
    option("--key", metavar="KEY", help="of all tasks with this key, only one waits or runs")
    option(
        "--unique",
        action="store_true",
        help="the same, with the command and its directory as the key",
    )
    option(
        "--on-conflict",
        choices=("keep", "replace", "append"),
        metavar="WHAT",
        help="where there is one with this key: keep it (and print its number; the default), "
        "replace it, or append: run after it",
    )
    option(
        "--after",
        type=parsing.task_id,
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="run when these tasks have succeeded",
    )
    option(
        "--priority",
        choices=("high", "normal", "low"),
        default="normal",
        metavar="WHICH",
        help="high, normal or low",
    )


def _add_manner(p: parsing.Parser) -> None:
    option = p.add_argument_group("how it runs").add_argument
    option(
        "--timeout",
        type=parsing.time_span,
        metavar="TIME",
        help="end it when it has run this long, pauses not counted: SIGTERM, then SIGKILL "
        "after 10 s; counts as a failure",
    )
    option(
        "--max-attempts",
        type=parsing.whole_number,
        default=1,
        metavar="N",
        help="runs that may fail before it has failed for good (default 1)",
    )
    option("--no-pause", action="store_true", help="once started, let it run to its end")
    option(
        "--at-most-once",
        action="store_true",
        help="never run it a second time, even if its worker died",
    )
    option(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable in its environment, or keep the value of now; may be given several "
        "times",
    )


def execute(words: list[str]) -> int:
    """Put what the words say into the queue."""
    words, argv = parsing.split_at_command(words)
    options = parser().parse(words)
    if not argv or not argv[0]:
        raise ConfigError(
            "no command to submit; write it after --, as in "
            "deferpower submit --charging -- tar czf ..."
        )
    _refuse_contradictions(options)
    cwd = os.getcwd()  # noqa: PTH109 (it is kept as text)
    given = {
        "delay_s": options.delay,
        "not_before_s": options.not_before,
        "deadline_s": options.deadline,
        "every_s": options.every,
        "flex_s": options.flex,
        "timeout_s": options.timeout,
        "key": json.dumps([cwd, *argv]) if options.unique else options.key,
        "on_conflict": options.on_conflict,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    queue = queue_file.open_queue(options, Policy.load(options.policy), create=True)
    try:
        handle = queue.submit_command(
            argv,
            cwd=cwd,
            env=environment(options.env),
            constraints=conditions.asked(options),
            prefer=conditions.preferred(options),
            after=options.after,
            priority=options.priority,
            on_deadline="expire" if options.expire else "run",
            max_attempts=options.max_attempts,
            pauses=not options.no_pause,
            at_most_once=options.at_most_once,
            **chosen,
        )
    finally:
        queue.close()
    if options.json:
        print(json.dumps({"id": handle.id, "queue": str(queue_file.path_of(options).absolute())}))
    else:
        print(handle.id)
    return 0


def _refuse_contradictions(options: argparse.Namespace) -> None:
    for one, other, why in (
        ("--expire", "--deadline", "it is at the deadline that it gives up"),
        ("--flex", "--every", "it is a part of the period"),
    ):
        if _is_given(options, one) and not _is_given(options, other):
            raise ConfigError(f"{one} needs {other}: {why}")
    if options.flex is not None and options.flex > options.every:
        raise ConfigError("--flex is longer than --every; it is a part of the period")
    if conditions.preferred(options) != ANYTIME and options.deadline is None:
        raise ConfigError("a preference needs --deadline: as that comes nearer, it is dropped")
    if options.on_conflict is not None and not (options.unique or options.key):
        raise ConfigError("--on-conflict needs --key or --unique: only those can conflict")
    for one, other in (
        ("--unique", "--key"),
        ("--delay", "--not-before"),
        ("--at-most-once", "--every"),
    ):
        if _is_given(options, one) and _is_given(options, other):
            raise ConfigError(f"{one} and {other} exclude each other; give one of them")


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name.removeprefix("--").replace("-", "_")))


def environment(named: list[str]) -> dict[str, str]:
    """The variables that are kept with a command.

    Args:
        named: ``NAME=VALUE``, or ``NAME`` for the value of now.

    Raises:
        ConfigError: one is named that has no value now.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG") or name.startswith("LC_")
    }
    for text in named:
        name, is_set, value = text.partition("=")
        if not name:
            raise ConfigError(f"--env: {text!r} names no variable; write NAME or NAME=VALUE")
        if not is_set and name not in os.environ:
            raise ConfigError(f"--env: {name} is not set here; write {name}=VALUE")
        kept[name] = value if is_set else os.environ[name]
    return kept
