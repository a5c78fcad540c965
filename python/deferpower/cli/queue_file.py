"""The queue that commands work on: which file it is, and the manager that opens it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deferpower.cli.text import one_line
from deferpower.errors import ConfigError, StoreError, TaskError

if TYPE_CHECKING:
    from deferpower.policy import Policy
    from deferpower.tasks.manager import BackgroundTaskManager

VARIABLE = "DEFERPOWER_QUEUE"
HELP = f"""\
The queue is the file that --queue names, else the one that {VARIABLE}
names, else deferpower/queue.db in the user's data directory (~/.local/share, or
XDG_DATA_HOME). Several programs may use it at once."""


def add(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the file."""
    parser.add_argument(
        "--queue",
        metavar="FILE",
        help=f"file that holds the queue (default: {VARIABLE}, else deferpower/queue.db in the "
        "user's data directory)",
    )


def path_of(options: argparse.Namespace) -> Path:
    """The file that the options, the environment, or else the system's habits name.

    Raises:
        ConfigError: the option is given and empty.
    """
    given: str | None = options.queue
    if given is not None:
        if not given:
            raise ConfigError("--queue needs the name of a file")
        return Path(given)
    named = os.environ.get(VARIABLE)
    return Path(named) if named else default_path()


def default_path() -> Path:
    """The file that is used when nobody names one.

    Source: XDG Base Directory Specification 0.8; a relative ``XDG_DATA_HOME`` is ignored, as it
    says. Elsewhere the directories that systems keep for programs' data.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 (Path.home() raises where it is not known)
    base: str | None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or rf"{home}\AppData\Local"
    elif sys.platform == "darwin":
        base = f"{home}/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or ""
        if not os.path.isabs(base):  # noqa: PTH117
            base = f"{home}/.local/share"
    return Path(base, "deferpower", "queue.db")


def open_queue(
    options: argparse.Namespace,
    policy: Policy,
    *,
    create: bool = False,
    may_be_missing: bool = False,
    max_workers: int | None = None,
) -> BackgroundTaskManager:
    """A manager on the queue; it is the caller's to close.

    Args:
        options: as `add` has them.
        policy: where all lines are drawn.
        create: make the file if there is none, and the directory of the default one.
        may_be_missing: with no file, and none that ``--queue`` names, open an empty queue in
            memory, and say on standard error how one is made.
        max_workers: as for `BackgroundTaskManager`.

    Raises:
        TaskError: there is no such queue, and none was to be made.
        StoreError: the file cannot be used.
    """
    # It brings the store along, which `--help` has no need of.
    from deferpower.tasks.manager import BackgroundTaskManager

    path: Path | None = path_of(options)
    if create:
        make_default_directory(path_of(options))
    elif not is_there(options, "deferpower submit", may_be_missing=may_be_missing):
        path = None
    return BackgroundTaskManager(path, policy=policy, max_workers=max_workers)


def is_there(options: argparse.Namespace, maker: str, *, may_be_missing: bool) -> bool:
    """Whether there is the file; if not, and that is no error, a hint is on standard error.

    Args:
        options: as `add` has them.
        maker: the command that makes the file.
        may_be_missing: that it is not there is an error only if ``--queue`` names it.

    Raises:
        TaskError: it is not there, and that is an error.
    """
    path = path_of(options)
    if os.path.lexists(path):
        return True
    hint = f"queue: no file {str(path)!r} yet; {maker} makes one"
    if options.queue is not None or not may_be_missing:
        raise TaskError(f"{hint}, --queue names another")
    print(f"deferpower: {one_line(hint)}", file=sys.stderr)
    return False


def make_default_directory(path: Path) -> None:
    """Make the default file's directory, private; a directory that the user names is theirs."""
    if path != default_path():
        return
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(
            f"{error.filename or path.parent}: cannot be made: {reason}; "
            f"name another queue with --queue or {VARIABLE}"
        ) from error
