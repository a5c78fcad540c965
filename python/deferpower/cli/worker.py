"""``deferpower worker``: runs the tasks of the queue."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deferpower.cli import parsing, queue_file, systemd
from deferpower.errors import ConfigError
from deferpower.policy import Policy

if TYPE_CHECKING:
    from deferpower.cli.narration import Narrator
    from deferpower.tasks.manager import BackgroundTaskManager

_EPILOG = f"""\
Commands that deferpower submit has put into the queue run as they are.
Functions run where they are known: --app agent:tasks imports the module agent,
from the working directory too, and runs its BackgroundTaskManager tasks, with
the file and the policy that it has. Several workers may run one queue. What
deferpower sync push left waiting is not sent by it, unless a task calls
deferpower sync flush.

On a terminal the queue is shown at the bottom, redrawn in place. Elsewhere, and
with --plain, NO_COLOR or TERM=dumb, each event is a line on standard error:
time, what happened, task, reason. With --json each is an object on a line of
standard output, with "event", "wall_s" and
  worker_ready    queue, pid, counts, workers, waiting
  started, stopping, resumed, stopped, retrying, succeeded, failed, cancelled,
  expired, orphaned
                  task, name, title (the command line, or name again), detail
  note            text
  worker_stopping signal
  worker_ended    counts, workers, waiting
where waiting is what still waits, grouped by its reasons.

SIGTERM, SIGINT and SIGHUP stop it: nothing more is begun, running tasks are
told to stop, and it waits for them. A second one ends it at once: commands are
killed, and all that ran runs again later.

exit status:
  0 when it was stopped, or had nothing more to do; 1 if with --once or --drain
  a task failed for good or expired; 2 for a wrong command line; 128+n if signal
  n cut --once or --drain short, or came a second time

{queue_file.HELP}

examples:
  deferpower worker
  deferpower worker --drain
  deferpower worker --app agent:tasks --max-workers 2
  deferpower worker --print-unit > ~/.config/systemd/user/deferpower.service"""


def parser() -> parsing.Parser:
    """The options of ``worker``."""
    p = parsing.Parser(
        "worker",
        usage="deferpower worker [--once | --drain] [OPTION...]",
        summary="Run the tasks of the queue as their moments come.",
        epilog=_EPILOG,
    )
    how_long = p.add_mutually_exclusive_group()
    how_long.add_argument(
        "--once", action="store_true", help="run what may run now, say what waits, and end"
    )
    how_long.add_argument(
        "--drain",
        action="store_true",
        help="end when nothing is left but what recurs, or what this worker has no function for",
    )
    p.add_argument(
        "--app", metavar="MODULE:ATTR", help="run a program's own manager, such as agent:tasks"
    )
    p.add_argument(
        "--max-workers",
        type=parsing.whole_number,
        metavar="N",
        help="run so many tasks at once (default: as many as battery and processors allow)",
    )
    parsing.add_policy(p)
    queue_file.add(p)
    p.add_argument("--plain", action="store_true", help="write lines on a terminal, too")
    p.add_argument("--json", action="store_true", help="write events as JSON on standard output")
    p.add_argument(
        "--print-unit",
        action="store_true",
        help="print a systemd unit that runs this worker for the user, and end",
    )
    return p


def execute(words: list[str]) -> int:
    """Run the queue until a signal comes, or all is done."""
    options = parser().parse(words)
    if options.app is not None:
        for name in ("queue", "policy", "max_workers"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')}: --app {options.app} has its own; "
                    "set it where the program makes its manager"
                )
    if options.print_unit:
        print(_unit(options), end="")
        return 0
    if os.name != "posix":
        raise ConfigError("worker needs POSIX signals; on this system start the manager yourself")
    with contextlib.ExitStack() as stack:
        manager = _manager(options)
        stack.callback(manager.close)
        narrator = _narrator(options)
        stack.callback(narrator.close)
        return _work(options, manager, narrator)


def _manager(options: argparse.Namespace) -> BackgroundTaskManager:
    if options.app is not None:
        from deferpower.cli import app

        return app.load(options.app)
    policy = Policy.load(options.policy)
    return queue_file.open_queue(options, policy, create=True, max_workers=options.max_workers)


def _narrator(options: argparse.Namespace) -> Narrator:
    from deferpower.cli import narration

    if options.json:
        return narration.JsonLines()
    plain = options.plain or os.environ.get("NO_COLOR") or not sys.stderr.isatty()
    if plain or os.environ.get("TERM", "dumb") == "dumb":
        return narration.Lines()
    from deferpower.cli.live import Live

    return Live(shows_progress=options.drain)


def _work(options: argparse.Namespace, manager: BackgroundTaskManager, narrator: Narrator) -> int:
    from deferpower.cli.shift import Shift, is_done, is_drained

    ends: Callable[..., bool] | None = None
    if options.once:
        ends = is_done
    elif options.drain:
        ends = is_drained
    return Shift(manager, narrator, ends).run()


def _unit(options: argparse.Namespace) -> str:
    words = ["--plain"]
    if options.app is not None:
        return systemd.user_unit(
            [*words, "--app", options.app],
            directory=str(Path.cwd()),
            seen=f"Deferred tasks of {options.app}",
        )
    if options.policy is not None:
        words += ["--policy", systemd.absolute(options.policy)]
    if options.max_workers is not None:
        words += ["--max-workers", str(options.max_workers)]
    words += ["--queue", systemd.absolute(queue_file.path_of(options))]
    return systemd.user_unit(words, directory=None, seen="Deferred tasks of the command line")
