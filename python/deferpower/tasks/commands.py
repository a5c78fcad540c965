"""Commands of a shell as tasks: started, frozen, thawed and ended, their output kept."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deferpower.command import KILL_AFTER_S, Command
from deferpower.errors import DeferpowerError, TaskError
from deferpower.store import tasks as rows
from deferpower.tasks.bell import Bell
from deferpower.tasks.output import Output

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.processing import Profile
    from deferpower.store.database import Database
    from deferpower.store.turns import Ended
    from deferpower.task import Task
    from deferpower.tasks.runs import Run

_log = logging.getLogger("deferpower.tasks")

_READ_BYTES = 64 * 1024


def command_payload(
    argv: Sequence[str | os.PathLike[str]], cwd: str | os.PathLike[str], env: Mapping[str, str]
) -> str:
    """What is to be run, as the queue keeps it. Names of files need not be UTF-8.

    Raises:
        TaskError: it is nothing that can be run.
    """
    if isinstance(argv, (str, bytes)) or not argv or not argv[0]:
        raise TaskError(f"command: {argv!r} is no list of a program and its arguments")
    for name in env:
        if not name or "=" in name:
            raise TaskError(f"command: {name!r} is no name of an environment variable")
    kwargs = {
        "argv": [_text("argument", word) for word in argv],
        "cwd": str(Path(_text("directory", cwd)).absolute()),
        "env": {_text("variable", k): _text(f"value of {k}:", v) for k, v in env.items()},
    }
    # ASCII, since what is not UTF-8 (a lone surrogate here) could not be kept as it is.
    return json.dumps(((), kwargs), separators=(",", ":"))


def _text(what: str, value: str | os.PathLike[str]) -> str:
    try:
        text = os.fspath(value)
        if isinstance(text, str) and b"\0" not in os.fsencode(text):
            return text
    except (TypeError, UnicodeEncodeError):
        pass
    raise TaskError(f"command: {what} {value!a} is no text that a program can be given")


class Commands:
    """Runs the commands that one worker has claimed."""

    def __init__(
        self,
        database: Database,
        worker: int,
        device: Device,
        profile: Callable[[Task], Profile],
    ) -> None:
        """Nothing runs yet.

        Args:
            database: where output and notes are kept.
            worker: the worker's number there.
            device: whose clocks count.
            profile: how hard to work on a task now.
        """
        self._database = database
        self._worker = worker
        self._device = device
        self._profile = profile

    def run(self, run: Run, changed: Callable[[], object]) -> Ended:
        """Run a command to its end, in this thread.

        Args:
            run: the task.
            changed: called when it was started, frozen or thawed.

        Returns:
            What became of it. Nothing is raised: a failure is one of the command.
        """
        try:
            if run.context.should_stop:
                return run.stopped(self._device.wall_clock())
            return self._attend(run, changed)
        except Exception as error:
            return run.raised(error, self._device.wall_clock())

    def _attend(self, run: Run, changed: Callable[[], object]) -> Ended:
        if not hasattr(os, "waitid"):
            raise TaskError("commands need process groups and waitid, which this system lacks")
        _, asked = run.arguments()
        row = run.claimed
        profile = self._profile(run.spec.task(row.created_s, row.life_s))
        output = Output(self._database, self._worker, run.id, self._device.wall_clock())
        with contextlib.ExitStack() as stack:
            bell = stack.enter_context(Bell())
            read_end, write_end = os.pipe()
            stack.callback(os.close, read_end)
            with os.fdopen(write_end, "wb", buffering=0) as written:
                command = Command(
                    asked["argv"], cwd=asked["cwd"], env=asked["env"], output=written.fileno()
                )
                stack.enter_context(command)
                command.start()
            for refusal in profile.apply_to(command.pid):
                _log.debug("task %d: %s", run.id, refusal)
            attendant = _Attendant(command, run, output, self._note, self._device, changed)
            attendant.attend(read_end, bell)
        now_s = self._device.wall_clock()
        if attendant.told_to_end:
            return _ended_on_demand(run, now_s)
        return _ended_by_itself(run, command, output.last_line, now_s)

    def _note(self, task_id: int, text: str | None) -> None:
        """Let everybody know what a command is up to."""
        try:
            self._database.write(lambda cursor: rows.note(cursor, task_id, text))
        except DeferpowerError as error:
            _log.warning("task %d: %s; it goes on, but its note is not kept", task_id, error)


class _Attendant:
    """Watches over one command until it has ended.

    Attributes:
        told_to_end: whether it was sent SIGTERM from here.
    """

    def __init__(
        self,
        command: Command,
        run: Run,
        output: Output,
        note: Callable[[int, str | None], None],
        device: Device,
        changed: Callable[[], object],
    ) -> None:
        self.told_to_end = False
        self._command = command
        self._run = run
        self._output = output
        self._note = note
        self._device = device
        self._changed = changed
        self._has_ended = False
        self._may_pause = True
        self._kill_at = math.inf

    def attend(self, read_end: int, bell: Bell) -> None:
        """Return when it has ended, nothing of it is left that was to end, and its output is kept.

        Sleeps but for output, its end, what its task is told, and times that are over.
        """
        run, context = self._run, self._run.context
        context.changed = bell.ring
        waiter = threading.Thread(
            target=self._wait_for_end, args=[bell], name="deferpower-command", daemon=True
        )
        waiter.start()
        run.pid = self._command.pid
        self._changed()
        poll = select.poll()
        poll.register(bell.read_end, select.POLLIN)
        poll.register(read_end, select.POLLIN)
        try:
            while not self._has_ended:
                self._obey()
                for descriptor, _ in poll.poll(self._rest_ms()):
                    if descriptor == bell.read_end:
                        bell.silence()
                    elif not self._output.take(os.read(read_end, _READ_BYTES)):
                        poll.unregister(read_end)  # it has closed its output, and goes on
                self._output.flush_if_due(time.monotonic())
            self._command.poll()
        finally:
            run.pid = 0
            run.resume(self._device.clock())
        if self.told_to_end:
            self._command.sweep()
        self._output.take_rest(read_end)

    def _wait_for_end(self, bell: Bell) -> None:
        self._command.wait()
        self._has_ended = True
        bell.ring()

    def _rest_ms(self) -> float | None:
        until_s = min(self._kill_at, self._output.due_s)
        return None if until_s == math.inf else max(0.0, (until_s - time.monotonic()) * 1000)

    def _obey(self) -> None:
        """Do what the task is told."""
        context = self._run.context
        if self.told_to_end:
            if time.monotonic() >= self._kill_at:
                self._kill_at = math.inf
                self._command.sweep()
        elif context.is_final:
            self._end(context.stop_reason or "")
        elif context.should_stop and self._may_pause and not self._command.frozen:
            self._freeze(context.stop_reason or "")
        elif self._command.frozen and not context.should_stop:
            self._command.thaw()
            self._run.resume(self._device.clock())
            self._note(self._run.id, None)
            self._changed()

    def _freeze(self, reason: str) -> None:
        try:
            self._command.freeze()
        except PermissionError:
            self._may_pause = False
            self._note(self._run.id, "it runs as another user and cannot be paused; it goes on")
            return
        self._run.pause(self._device.clock())
        self._note(self._run.id, f"paused: {reason}")
        self._changed()

    def _end(self, reason: str) -> None:
        self.told_to_end = True
        self._kill_at = time.monotonic() + KILL_AFTER_S
        # A frozen one gets it when it is thawed, before it does anything else.
        self._command.send(signal.SIGTERM)
        self._command.thaw()
        self._command.send(signal.SIGCONT)  # somebody else may have stopped it
        self._run.resume(self._device.clock())
        self._note(self._run.id, f"ending: {reason}")


def _ended_on_demand(run: Run, now_s: float) -> Ended:
    if run.spec.at_most_once and not (run.cancelled or run.timed_out):
        why = f"ended before it was done ({run.context.stop_reason}), and it may run at most once"
        return run.failed(why, now_s, for_good=True)
    return run.stopped(now_s)


def _ended_by_itself(run: Run, command: Command, last_line: str, now_s: float) -> Ended:
    if command.exit_status == 0:
        return run.returned({"exit_status": 0}, now_s)
    how = f"exit status {command.exit_status}"
    if command.killed_by is not None:
        how = f"killed by {_signal_name(command.killed_by)}"
    return run.failed(f"{how}: {last_line}" if last_line else how, now_s)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
