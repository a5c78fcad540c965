"""The life of one ``deferpower run``: wait for the moment, run, freeze, thaw, end."""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

from deferpower.cli.facts import FIRST_LOOK_S
from deferpower.cli.reporting import Reporter
from deferpower.cli.signals import SignalQueue
from deferpower.cli.terminal import Terminal
from deferpower.command import KILL_AFTER_S, Command
from deferpower.device import Device
from deferpower.processing import BatteryAwareProcessor
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Decision, Task

TIMED_OUT = 124

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2)
_JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_COLLECTED = (
    *_ENDING,
    *_PASSED_ON,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGCHLD,
    signal.SIGWINCH,
)


class Options(NamedTuple):
    """How a run goes, beside its conditions.

    Attributes:
        poll_s: seconds between two looks at the machine.
        timeout_s: seconds that the command may run, pauses not counted; ``None`` for no end.
        pause: freeze the command when its moment is over.
    """

    poll_s: float
    timeout_s: float | None
    pause: bool


class Supervisor:
    """Runs one command once, at the right moment, and only while it lasts."""

    def __init__(
        self,
        command: Command,
        task: Task,
        device: Device,
        scheduler: IntelligentScheduler,
        processor: BatteryAwareProcessor,
        terminal: Terminal,
        reporter: Reporter,
        options: Options,
    ) -> None:
        """Bring together what a run needs; nothing starts yet."""
        self._command = command
        self._task = task
        self._device = device
        self._scheduler = scheduler
        self._processor = processor
        self._terminal = terminal
        self._reporter = reporter
        self._options = options
        self._signals = SignalQueue(_COLLECTED)
        self._may_pause = options.pause
        self._wants_terminal = False
        self._ran = _Stopwatch()
        self._paused = _Stopwatch()
        self._kill_at: float | None = None

    def run(self) -> int:
        """The exit status of the whole run.

        Raises:
            CommandError: the command cannot be executed.
        """
        with self._signals:
            started = time.monotonic()
            answer = self._wait_for_the_moment()
            if isinstance(answer, int):
                self._reporter.turn("cancelled", exit_code=128 + answer, signal=answer)
                return 128 + answer
            with self._command:
                self._start(answer, time.monotonic() - started)
                try:
                    self._attend()
                finally:
                    self._terminal.take_back(keep_modes=self._command.killed_by is None)
                return self._end()

    def _wait_for_the_moment(self) -> Decision | int:
        """The decision to start, or the signal that ended the waiting."""
        self._device.read(max_age_s=0)
        next_look = time.monotonic() + min(FIRST_LOOK_S, self._options.poll_s)
        while True:
            for signum in self._signals.wait(next_look - time.monotonic()):
                if signum in _ENDING:
                    return signum
                self._handle_while_nothing_runs(signum)
            if time.monotonic() < next_look:
                continue
            decision = self._decide(running=False)
            if decision.execute_now:
                return decision
            self._reporter.waiting(decision, None)
            next_look = self._next_look(decision)

    def _start(self, decision: Decision, waited_s: float) -> None:
        self._reporter.hide()
        self._wants_terminal = self._terminal.is_ours_alone
        self._command.start()
        self._processor.profile(self._task, self._device.latest).apply_to(self._command.pid)
        self._run_on()
        self._reporter.turn("started", decision, pid=self._command.pid, waited_s=waited_s)

    def _attend(self) -> None:
        """Watch over the command until it has ended."""
        next_look = time.monotonic() + self._options.poll_s
        while True:
            for signum in self._signals.wait(self._rest_s(next_look)):
                self._handle(signum)
            self._command.poll()
            if self._command.exit_status is not None:
                return
            if self._command.stopped_by in _JOB_CONTROL and not self._command.frozen:
                self._stop_with_the_command(self._command.stopped_by)
            self._enforce_timeout()
            if self._may_pause and time.monotonic() >= next_look:
                next_look = self._next_look(self._look())

    def _end(self) -> int:
        self._ran.stop()
        self._paused.stop()
        status = self._command.exit_status or 0
        if self._kill_at is not None:
            self._command.sweep()
            status = TIMED_OUT
        self._device.set_own_work(None)
        self._reporter.turn(
            "exited",
            exit_code=status,
            signal=self._command.killed_by,
            ran_s=self._ran.total_s,
            paused_s=self._paused.total_s,
        )
        return status

    def _look(self) -> Decision:
        # A frozen command still holds its memory: as for a running one, that must not keep it.
        decision = self._decide(running=True)
        if self._command.frozen:
            if decision.execute_now:
                self._thaw(decision)
            else:
                self._reporter.waiting(decision, self._command.pid)
        elif not decision.execute_now:
            self._freeze(decision)
        return decision

    def _freeze(self, decision: Decision) -> None:
        self._terminal.take_back()
        try:
            self._command.freeze()
        except PermissionError:
            self._may_pause = False
            self._run_on()
            self._reporter.note("the command runs as another user and cannot be paused; it goes on")
            return
        self._ran.stop()
        self._paused.start()
        # A frozen command uses nothing: whatever the machine does now is someone else's work.
        self._device.set_own_work(None)
        self._reporter.turn("paused", decision, pid=self._command.pid)

    def _thaw(self, decision: Decision | None) -> None:
        self._paused.stop()
        self._reporter.turn(
            "resumed", decision, pid=self._command.pid, paused_s=self._paused.latest_s
        )
        self._command.thaw()
        self._run_on()

    def _run_on(self) -> None:
        """Let the command run, with the terminal if it wants that, and account for it."""
        if self._wants_terminal:
            self._terminal.lend(self._command.pid)
        # Until it had the terminal, reading from it may have stopped the command.
        self._command.send(signal.SIGCONT)
        self._device.set_own_work([self._command.pid])
        self._ran.start()

    def _handle(self, signum: int) -> None:
        if signum in _ENDING:
            # Once asked to end, it is not paused again: it would never come to its end.
            self._may_pause = False
            self._command.send(signum)
            if self._command.frozen:
                self._thaw(None)
        elif signum in _PASSED_ON:
            self._command.send(signum)
        elif self._command.frozen:
            self._handle_while_nothing_runs(signum)
        elif signum == signal.SIGTSTP:
            self._command.send(signum)

    def _handle_while_nothing_runs(self, signum: int) -> None:
        if signum == signal.SIGTSTP:
            self._reporter.hide()
            self._signals.stop_self(whole_job=False)
        if signum in (signal.SIGTSTP, signal.SIGWINCH):
            self._reporter.show()

    def _stop_with_the_command(self, stopped_by: int) -> None:
        """The command was stopped by Ctrl-Z or for want of the terminal: so is this process.

        A shell that continues this process thereby continues the command.
        """
        wants_terminal = stopped_by != signal.SIGTSTP
        self._wants_terminal |= wants_terminal
        if not (wants_terminal and self._terminal.is_ours):
            was_lent = self._terminal.lent
            self._terminal.take_back()
            self._ran.stop()
            stopped = self._signals.stop_self(whole_job=was_lent)
            if wants_terminal and not stopped:
                # Nobody will ever bring it to the foreground; the system does the same.
                self._command.send(signal.SIGHUP)
        self._run_on()

    def _enforce_timeout(self) -> None:
        if self._kill_at is not None:
            if time.monotonic() >= self._kill_at:
                self._command.sweep()
        elif self._options.timeout_s is not None and self._ran.total_s >= self._options.timeout_s:
            self._kill_at = time.monotonic() + KILL_AFTER_S
            self._may_pause = False
            self._reporter.turn("timed_out", pid=self._command.pid, ran_s=self._ran.total_s)
            self._command.send(signal.SIGTERM)
            self._command.send(signal.SIGCONT)

    def _rest_s(self, next_look: float) -> float:
        """Seconds until something is to be done, if no signal comes before."""
        now = time.monotonic()
        rests = [float("inf")]
        if self._may_pause:
            rests.append(next_look - now)
        if self._kill_at is not None:
            rests.append(self._kill_at - now)
        elif self._options.timeout_s is not None and not self._command.frozen:
            rests.append(self._options.timeout_s - self._ran.total_s)
        return min(rests)

    def _decide(self, *, running: bool) -> Decision:
        reading = self._device.read(max_age_s=0)
        return self._scheduler.schedule_task(self._task, reading, running=running)

    def _next_look(self, decision: Decision) -> float:
        """One poll from now, or earlier where time alone may change the answer before that."""
        until_s = decision.scheduled_time - time.time()
        poll_s = self._options.poll_s
        return time.monotonic() + (min(until_s, poll_s) if until_s > 0 else poll_s)


class _Stopwatch:
    def __init__(self) -> None:
        self._sum_s = 0.0
        self._since: float | None = None
        self.latest_s = 0.0

    @property
    def total_s(self) -> float:
        """Seconds that it ran, all times together."""
        return self._sum_s + (0.0 if self._since is None else time.monotonic() - self._since)

    def start(self) -> None:
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        if self._since is not None:
            self.latest_s = time.monotonic() - self._since
            self._sum_s += self.latest_s
            self._since = None
