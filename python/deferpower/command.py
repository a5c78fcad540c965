"""A command that can be frozen and thawed, and that never outlives the process that started it.

    with Command(["tar", "czf", "out.tgz", "docs"]) as command:
        command.start()
        command.freeze()
        command.thaw()

The command leads a process group of its own; unless told otherwise its standard streams, working
directory and environment are those of this process. Who wants to know at once that it ended or
stopped waits for SIGCHLD, or in a thread with `Command.wait`, and then calls `Command.poll`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from deferpower.errors import TaskError

MARKER = "DEFERPOWER_RUN_ID"
"""Environment variable by which the processes of one command are found, wherever they moved to.
A command within a command carries the marks of both, joined by colons."""

KILL_AFTER_S = 10.0
"""How long a command has to end by itself after SIGTERM."""

_GUARD = Path(__file__).with_name("_guard.py")
# What this process may ignore for itself (Python does SIGPIPE and SIGXFSZ; a process that lends
# out its terminal, SIGTTOU) is no business of the command's.
_DEFAULTS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU]
_REAP_PAUSE_S = 0.01


class CommandError(TaskError):
    """A command cannot be started.

    Attributes:
        exit_status: what a shell would answer: 127 when it is not found, else 126.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Command:
    """One command in a process group of its own, under guard.

    Attributes:
        pid: process id, and number of the process group; 0 before the start.
        frozen: stopped by `freeze`.
        stopped_by: the signal that stopped it, frozen or not; ``None`` while it runs.
        exit_status: as a shell tells it (128 + n when killed by signal n); ``None`` until it ended.
        killed_by: the signal that killed it, if one did.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        output: int | None = None,
    ) -> None:
        """Find the program, so that a mistyped one is told now and not when it is due.

        Args:
            argv: program, as a path or a name to look up on the PATH, and its arguments.
            cwd: working directory.
            env: what is added to the environment of this process, or takes its place there.
            output: descriptor to which standard output and standard error go. Standard input is
                then empty.

        Raises:
            CommandError: there is no such program or directory, or it cannot be executed.
        """
        self._argv = list(argv)
        self._cwd = cwd
        self._env = {**os.environ, **(env or {})}
        self._output = output
        self._program = self._find()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._to_guard = -1
        self.pid = 0
        self.frozen = False
        self.stopped_by: int | None = None
        self.exit_status: int | None = None
        self.killed_by: int | None = None

    def start(self) -> None:
        """Start the guard, then the command.

        Whenever this process dies from here on, the guard reads an end of file and finds the
        command by its marker, even if the number of its process group was never told.

        Raises:
            CommandError: the program cannot be executed.
        """
        mark = os.urandom(16).hex()
        outer = os.environ.get(MARKER)
        self._env[MARKER] = f"{outer}:{mark}" if outer else mark
        read_end, self._to_guard = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), MARKER, mark],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
        finally:
            os.close(read_end)
        try:
            self.pid = self._spawn()
        except OSError as error:
            self._find()  # it may have gone since
            raise _not_executable(self._argv[0], error) from None
        self._tell_guard(b"%d\n" % self.pid)

    def _spawn(self) -> int:
        if self._output is None and self._cwd is None:
            return os.posix_spawn(
                self._program, self._argv, self._env, setpgroup=0, setsigdef=_DEFAULTS
            )
        # posix_spawn changes no directory, and Popen no signals but those that Python ignores.
        self._process = subprocess.Popen(
            self._argv,
            executable=self._program,
            cwd=self._cwd,
            env=self._env,
            stdin=None if self._output is None else subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            process_group=0,
        )
        return self._process.pid

    def wait(self) -> None:
        """Return once it has ended, however it ends. Takes no note of it: `poll` does."""
        # Somebody else may have seen the end first.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def freeze(self) -> None:
        """Stop the whole process group where it stands.

        Raises:
            PermissionError: the command runs as another user, who alone can stop it.
        """
        if self._alive and not self.frozen:
            os.killpg(self.pid, signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        """Let a frozen command go on."""
        if self.frozen:
            self.frozen = False
            self.send(signal.SIGCONT)

    def send(self, signum: int) -> None:
        """Send a signal to the whole process group; nothing happens when it has ended."""
        if self._alive:
            # The process may have ended and not be reaped yet, or run as another user, to whom
            # the terminal's signals go without us.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signum)
            if signum == signal.SIGCONT:
                self.stopped_by = None

    def poll(self) -> None:
        """Take note of what became of the command since the last call. Never blocks."""
        while self._alive:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                self.stopped_by = os.WSTOPSIG(status)
            elif os.WIFCONTINUED(status):
                self.stopped_by = None
            else:
                self._note_end(status)

    def sweep(self) -> None:
        """Kill what is left of the command, processes that left its group included."""
        self.send(signal.SIGKILL)
        self._dismiss_guard()
        while self._alive:
            self.poll()
            time.sleep(_REAP_PAUSE_S)

    def __enter__(self) -> Command:
        """The command, not started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the guard go; a command that has not ended is swept away."""
        if self._alive:
            self.sweep()
        self._tell_guard(b".")
        self._dismiss_guard()

    def _find(self) -> str:
        """The path of the program, found as a shell finds it.

        Raises:
            CommandError: there is none, or none that may be executed.
        """
        name, cwd = self._argv[0], self._cwd or ""
        if cwd and not Path(cwd).is_dir():
            raise CommandError(f"{name}: its working directory {cwd} does not exist", 126)
        path = [""] if "/" in name else [f"{d or '.'}/" for d in os.get_exec_path(self._env)]
        # With PTH118 heeded, "./tool" would lose its dot and be looked for elsewhere.
        found = [os.path.join(cwd, d + name) for d in path]  # noqa: PTH118
        there = [file for file in found if os.access(file, os.F_OK)]
        for file in there:
            if Path(file).is_file() and os.access(file, os.X_OK):
                return file
        if there:
            kind = (
                "is a directory" if Path(there[0]).is_dir() else "is not executable; try chmod +x"
            )
            raise CommandError(f"{name}: {kind}", 126)
        where = "no such file" if "/" in name else "command not found; is it on the PATH?"
        raise CommandError(f"{name}: {where}", 127)

    @property
    def _alive(self) -> bool:
        return self.pid != 0 and self.exit_status is None

    def _note_end(self, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.frozen = False
        self.stopped_by = None
        self.killed_by = -code if code < 0 else None
        if self._process is not None:
            self._process.returncode = code  # else it would wait for an end that was seen here
        self.exit_status = 128 - code if code < 0 else code

    def _tell_guard(self, message: bytes) -> None:
        if self._to_guard >= 0:
            # Someone may have killed the guard; the command goes on without.
            with contextlib.suppress(BrokenPipeError):
                os.write(self._to_guard, message)

    def _dismiss_guard(self) -> None:
        if self._to_guard >= 0:
            os.close(self._to_guard)
            self._to_guard = -1
        if self._guard is not None:
            self._guard.wait()
            self._guard = None


def _not_executable(name: str, error: OSError) -> CommandError:
    reasons = {
        errno.ENOEXEC: "no format that can be executed; a script begins with #! and its "
        "interpreter, as in #!/bin/sh",
        errno.ENOENT: "the interpreter that its first line names does not exist",
    }
    return CommandError(f"{name}: {reasons.get(error.errno or 0, error.strerror)}", 126)
