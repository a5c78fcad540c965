"""``deferpower run``: from the options to a supervised command."""

from __future__ import annotations

import argparse
import json
import os
import shlex

from deferpower.cli import conditions, parsing
from deferpower.cli.facts import as_fields, idle_remark, settled_reading
from deferpower.device import Device
from deferpower.errors import ConfigError
from deferpower.policy import Policy
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Task, TaskClass

_USAGE = "deferpower run [CONDITION...] [OPTION...] -- COMMAND [ARG...]"
_EPILOG = """\
The command runs once, when all conditions hold. When one falls away it is
frozen (SIGSTOP to its process group) and goes on when they hold again. Without
conditions it is a background task: it runs on external power, on battery above
50 percent, or while the machine is idle; it does not start while memory,
processor or disk are short, nor run on battery at 20 percent or below. What is
started on battery gets the niceness and the class of disk traffic that the
level calls for.

While it runs, the command has the terminal and the standard streams to itself.
While it waits, one line on standard error says for what. SIGINT, SIGTERM,
SIGHUP and SIGQUIT are passed on to the command, a frozen one included; while
nothing runs yet they end deferpower. Nothing of the command is left running
when deferpower dies, be it by SIGKILL, but what runs as another user (sudo),
which can neither be paused nor ended from here.

exit status:
  that of the command; 128+n if signal n killed it; 124 after --timeout; 126 if
  it cannot be executed; 127 if it is not found; 128+n if signal n ended
  deferpower while it waited; 2 for a wrong command line

events of --json:
  every line is an object with "event", "wall_s" (seconds since the epoch) and
    waiting    pid (null before the start), verdict, reasons; again whenever
               the reasons change
    started    pid, waited_s, verdict, reasons
    paused     pid, verdict, reasons
    resumed    pid, paused_s, verdict, reasons (the last two not if it goes on
               only to receive a signal)
    timed_out  pid, ran_s
    exited     exit_code, signal (its name, or null), ran_s, paused_s
    cancelled  exit_code, signal: ended while waiting
    note       text
  verdict is execute_now, defer_to_background or defer_to_charging; a reason
  has code, wanted, seen and sentence

examples:
  deferpower run --charging -- tar czf docs.tgz docs
  deferpower run --idle --window 22:00-06:00 --deadline 12h -- restic backup ~
  deferpower run --battery-above 60 --timeout 1h30m -- make -j8
  deferpower run --charging --dry-run -- true"""


def parser() -> parsing.Parser:
    """The options of ``run``."""
    p = parsing.Parser(
        "run",
        usage=_USAGE,
        summary="Run a command when the machine can spare it, and pause it while it cannot.",
        epilog=_EPILOG,
    )
    conditions.add(p)
    add = p.add_argument_group("how it runs").add_argument
    add(
        "--deadline",
        type=parsing.time_span,
        metavar="TIME",
        help="after this long, run whatever holds, and no longer pause: 6h, 90m, 45s, 1h30m, "
        "or plain seconds",
    )
    add(
        "--timeout",
        type=parsing.time_span,
        metavar="TIME",
        help="end the command when it has run this long, pauses not counted: SIGTERM, then "
        "SIGKILL to what is left when it has ended, or after 10 s",
    )
    add("--no-pause", action="store_true", help="once started, let it run to its end")
    add(
        "--poll",
        type=parsing.seconds,
        default=5.0,
        metavar="S",
        help="seconds between two looks at the machine (default 5)",
    )
    add(
        "--dry-run",
        action="store_true",
        help="print on standard output what would be done now and why, and run nothing; one look "
        "never sees an idle machine",
    )
    parsing.add_policy(p)
    p.add_argument(
        "--json",
        action="store_true",
        help="tell what happens as JSON lines on standard error, instead of in words",
    )
    return p


def execute(words: list[str]) -> int:
    """Run what the words say; the exit status is the command's."""
    words, argv = parsing.split_at_command(words)
    options = parser().parse(words)
    if not argv or not argv[0]:
        raise ConfigError(
            "no command to run; write it after --, as in deferpower run --charging -- tar czf ..."
        )
    task = Task(
        description=shlex.join(argv),
        task_class=TaskClass.BACKGROUND,
        constraints=conditions.asked(options),
        deadline_s=options.deadline,
    )
    policy = Policy.load(options.policy)
    device = policy.device()
    scheduler = policy.scheduler(device)
    if options.dry_run:
        _print_decision(task, device, scheduler, as_json=options.json)
        return 0
    if os.name != "posix":
        raise ConfigError("run needs SIGSTOP and process groups, which this system does not have")
    return _supervise(argv, task, policy, device, scheduler, options)


def _supervise(
    argv: list[str],
    task: Task,
    policy: Policy,
    device: Device,
    scheduler: IntelligentScheduler,
    options: argparse.Namespace,
) -> int:
    # Only where there are such signals can these modules be imported.
    from deferpower.cli.reporting import JsonLines, Words
    from deferpower.cli.supervisor import Options, Supervisor
    from deferpower.cli.terminal import Terminal
    from deferpower.command import Command, CommandError

    terminal = Terminal()
    reporter = JsonLines() if options.json else Words(lambda: terminal.is_ours)
    how = Options(options.poll, options.timeout, not options.no_pause)
    try:
        command = Command(argv)
        return Supervisor(
            command, task, device, scheduler, policy.processor(), terminal, reporter, how
        ).run()
    except CommandError as error:
        reporter.note(str(error))
        return error.exit_status


def _print_decision(
    task: Task, device: Device, scheduler: IntelligentScheduler, *, as_json: bool
) -> None:
    reading = settled_reading(device)
    decision = scheduler.schedule_task(task, reading)
    if as_json:
        print(json.dumps(as_fields(decision)))
        return
    print("would run now:" if decision.execute_now else "would wait:")
    for reason in decision.reasons:
        print(f"  {reason.sentence}")
    if remark := idle_remark(decision):
        print(f"({remark})")
