"""The command line: ``deferpower run``, ``status`` and the other `COMMANDS`.

A command is a module of this package, imported when it is asked for, that has ``parser()``, its
options, and ``execute(words)``, which runs it and gives the exit status.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from deferpower.errors import ConfigError, DeferpowerError

COMMANDS = {
    "run": "run a command when the machine can spare it, pause it while it cannot",
    "submit": "put a command into the queue, to be run by a worker in its moment",
    "logs": "show what a command of the queue has written",
    "worker": "run the tasks of the queue as their moments come",
    "list": "show the tasks of the queue",
    "show": "show everything about one task",
    "why": "say why a task waits, or what the whole queue waits for",
    "cancel": "take tasks out of the queue, or have running ones stop",
    "retry": "have tasks that did not succeed run again",
    "prune": "forget tasks that have ended",
    "sync": "send files when battery and network allow, look after what waits",
    "status": "show what the sensors say now",
    "doctor": "show where each sensor is read, and why one is not",
    "decide": "decide about a task for the machine as it is now",
    "forecast": "show when the device will probably be idle and charging",
    "history": "take what was seen of the device in or out, as CSV",
    "simulate": "replay a recorded life: when would jobs have run, and on what power",
    "policy": "show the thresholds and keywords that deciding uses",
}

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141  # as a shell tells of a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after the program's name; ``None`` takes those of this process.

    Returns:
        The exit status: 2 for a command line or an environment that cannot be used. Each command
        says what else it may be.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this process
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            # What the locale cannot write is written as an escape, not refused.
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not list(): once it is imported, that is the command here.
        status = _main([*(sys.argv[1:] if argv is None else argv)])
        sys.stdout.flush()  # here what finds no room can still be told
        return status
    except ConfigError as error:
        return _complain(error, _USAGE)
    except DeferpowerError as error:
        return _complain(error, _FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _PIPE_CLOSED
    except OSError as error:
        return _complain(error, _FAILED)
    finally:
        _drop_what_cannot_be_written()


def _main(words: list[str]) -> int:
    if not words:
        raise ConfigError("no command; write one of " + ", ".join(COMMANDS) + ", or --help")
    first = words[0]
    if first in COMMANDS:
        command = importlib.import_module(f"deferpower.cli.{first}")
        try:
            status: int = command.execute(words[1:])
        except SystemExit as end:  # --help
            return int(end.code or 0)
        return status
    if first in ("-h", "--help", "help"):
        print(_help())
        return 0
    if first in ("-V", "--version"):
        from deferpower.cli.facts import version

        print(f"deferpower {version()}")
        return 0
    import difflib

    kind = "option" if first.startswith("-") else "command"
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"write one of {', '.join(COMMANDS)}, or --help"
    raise ConfigError(f"unknown {kind} {first!r}; {hint}")


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return f"""\
usage: deferpower COMMAND [OPTION...]

Run background work when the machine can spare it: on the charger, when idle.

commands:
{commands}

options:
  -h, --help     show this help and exit
  -V, --version  show the version and exit

environment:
  DEFERPOWER_BACKEND  auto, native or pure: which code reads the sensors
  DEFERPOWER_ROOT     directory whose proc and sys are read instead of the machine's
  DEFERPOWER_QUEUE    file that holds the queue, where no --queue names it
  NO_COLOR            if set, nothing is dimmed on the terminal, and worker writes
                      plain lines

exit status:
  0 when it is done; 1 when it failed, or there is no such task; 2 when the
  command line, a policy or the environment cannot be used; 130 after Ctrl-C;
  what else it may be stands in the help of the command

examples:
  deferpower run --charging --idle -- restic backup ~/docs
  deferpower status --watch
  deferpower run --help"""


def _drop_what_cannot_be_written() -> None:
    """Else the interpreter tries once more at its end, and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception, status: int) -> int:
    from deferpower.cli.text import one_line

    print(f"deferpower: {one_line(str(error))}", file=sys.stderr)
    return status
