"""Kill workers at random moments, thousands of times, and prove that no task was lost.

Two workers and a submitting process share one file; each is killed and replaced, again and again.
``python -m benches.crash.campaign --help`` says more.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import apsw
from benches.crash.evidence import QUARANTINED, Held, Retried, Verdict, examine
from benches.crash.programs import Durability, Place, make, submit, work

from deferpower import TaskError, TaskState
from deferpower.store.records import ENDED

_WORKERS = 2
_LONGEST_WORKER_S = 0.2
_LONGEST_SUBMITTER_S = 0.6
_LONGEST_MAKER_S = 0.03
_TOLD_FIRST = 0.1
"""How many of the workers are told to end, and killed on their way out."""
_WAY_OUT_S = 0.02
_RETRY_EVERY = 50
_RESTORING = (122, 128)
_DRAIN_S = 60.0
_LEAVE_S = 20.0


class Process:
    """A child that is to be killed.

    Attributes:
        number: counts the children; unlike a process id it is never used again.
    """

    def __init__(self, number: int, main: Callable[[], NoReturn], log: Path, ends_s: float) -> None:
        self.number = number
        self.kills_at_s = ends_s
        self.pid = os.fork()
        if self.pid == 0:
            _be(main, log)

    def freeze(self) -> bool:
        """Hold it wherever it is; false if it has ended."""
        os.kill(self.pid, signal.SIGSTOP)
        return os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1])

    def kill(self) -> None:
        """Kill it where it is held."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self) -> int:
        """Tell it to end, and wait; its exit status, below 0 when it took a kill."""
        os.kill(self.pid, signal.SIGTERM)
        given_up_s = time.monotonic() + _LEAVE_S
        while time.monotonic() < given_up_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.kill()
        return -signal.SIGKILL


def _be(main: Callable[[], NoReturn], log: Path) -> NoReturn:
    try:
        errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(errors, 2)
        main()
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


class Round:
    """One file, and the processes that are killed over it."""

    def __init__(self, place: Place, dice: random.Random) -> None:
        self._place = place
        self._dice = dice
        self._started = 0
        self._held: dict[int, Held] = {}
        self._retried: list[Retried] = []
        self._violations: list[str] = []
        self._phases: Counter[str] = Counter()
        self._submitters_killed = 0
        self._makers_killed = 0

    def run(self, kills: int, given_up_s: float) -> Verdict:
        """Kill workers so many times, let the last ones run everything, and look at what is left.

        Args:
            kills: workers to be killed.
            given_up_s: when to end although there were fewer, on the monotonic clock.
        """
        self._create()
        for path in (self._place.runs, self._place.promises, self._place.log):
            path.touch()
        self._kill_all(kills, given_up_s)
        self._drain()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
            self._violations.append("a process is left")
        verdict = examine(self._place, self._held, self._retried)
        figures = {
            "workers killed": len(self._held),
            **{f"  {phase}": self._phases[phase] for phase in sorted(self._phases)},
            "submitters killed": self._submitters_killed,
            "killed while they made the file": self._makers_killed,
            **verdict.figures,
        }
        if len(self._held) < kills:
            self._violations.append(f"time was up after {len(self._held)} of {kills} kills")
        return Verdict(self._violations + verdict.violations, figures)

    def _create(self) -> None:
        """Make the file, by processes that are killed over it until one of them gets to the end."""
        while True:
            maker = Process(0, lambda: make(self._place), self._place.log, 0.0)
            # Longer each time: on a busy machine, too, one of them shall get to the end.
            time.sleep(self._dice.uniform(0, _LONGEST_MAKER_S + 0.001 * self._makers_killed))
            if not maker.freeze():
                return
            maker.kill()
            self._makers_killed += 1

    def _kill_all(self, kills: int, given_up_s: float) -> None:
        submitter = self._submitter()
        workers = [self._worker() for _ in range(_WORKERS)]
        while len(self._held) < kills and time.monotonic() < given_up_s:
            next_one = min([submitter, *workers], key=lambda process: process.kills_at_s)
            time.sleep(max(0.0, next_one.kills_at_s - time.monotonic()))
            if next_one is submitter:
                self._kill_submitter(submitter)
                submitter = self._submitter()
                continue
            workers.remove(next_one)
            self._kill_worker(next_one)
            if self._started % _RETRY_EVERY == 0:
                self._retry_quarantined()
            workers.append(self._worker())
        self._kill_submitter(submitter)
        for worker in workers:
            self._kill_worker(worker)

    def _worker(self) -> Process:
        self._started += 1
        number = self._started
        ends_s = time.monotonic() + self._dice.uniform(0, _LONGEST_WORKER_S)
        return Process(number, lambda: work(self._place, number), self._place.log, ends_s)

    def _submitter(self) -> Process:
        self._started += 1
        seed = self._dice.getrandbits(32)
        ends_s = time.monotonic() + self._dice.uniform(0, _LONGEST_SUBMITTER_S)
        return Process(self._started, lambda: submit(self._place, seed), self._place.log, ends_s)

    def _kill_submitter(self, submitter: Process) -> None:
        if submitter.freeze():
            submitter.kill()
            self._submitters_killed += 1
        else:
            self._violations.append("a submitter ended by itself; see its last words in the log")

    def _kill_worker(self, worker: Process) -> None:
        """Kill a worker, and note what it held.

        It is frozen first: nobody else takes anything from it while it lives, so what it holds
        then is exactly what was in flight when it was killed.
        """
        told = self._dice.random() < _TOLD_FIRST
        if told:
            os.kill(worker.pid, signal.SIGTERM)
            time.sleep(self._dice.uniform(0, _WAY_OUT_S))
        if not worker.freeze():
            if not told:
                self._violations.append("a worker ended by itself; see its last words in the log")
            return
        at_ns = time.monotonic_ns()
        held = self._held_by(worker.pid, at_ns)
        worker.kill()
        self._held[worker.number] = held
        self._phases[_phase(held)] += 1

    def _held_by(self, pid: int, at_ns: int) -> Held:
        select = (
            "SELECT workers.id, tasks.id FROM workers LEFT JOIN tasks ON tasks.worker = workers.id"
            " WHERE workers.pid = ?"
        )
        if self._keeps_everybody_out():
            return Held(at_ns, None)
        try:
            with self._connection() as connection:
                rows = connection.execute(select, (pid,)).fetchall()
        except apsw.BusyError:  # it was about to close the file, as the last one that had it open
            return Held(at_ns, None)
        if not rows:
            return Held(at_ns, frozenset(), registered=False)
        return Held(at_ns, frozenset(task for _, task in rows if isinstance(task, int)))

    def _keeps_everybody_out(self) -> bool:
        """Whether the frozen process restores the log, so that to read would be to wait for it.

        Source: SQLite's wal.c and os_unix.c: the locks that whoever restores it holds.
        """
        try:
            with Path(f"{self._place.queue}-shm").open("r+b") as shared:
                for byte in _RESTORING:
                    fcntl.lockf(shared, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _retry_quarantined(self) -> None:
        """Have quarantined tasks run again, and those that waited for them in vain."""
        manager = self._place.open()
        try:
            # The oldest first: what comes after one comes back with it.
            for task in reversed(manager.list([TaskState.FAILED], limit=100_000)):
                error = task.error or ""
                if error.startswith(QUARANTINED):
                    at_ns = time.monotonic_ns()
                    self._retried.append(Retried(task.id, at_ns, task.attempts, task.crashes))
                if error.startswith((QUARANTINED, "task ")):
                    # It may have come back with another, and be done already.
                    with contextlib.suppress(TaskError):
                        manager.retry(task.id)
        finally:
            manager.close()

    def _drain(self) -> None:
        """Let workers that nobody kills run whatever is left."""
        workers = [self._worker() for _ in range(_WORKERS)]
        given_up_s = time.monotonic() + _DRAIN_S
        while time.monotonic() < given_up_s:
            self._retry_quarantined()
            if not self._open_tasks():
                break
            time.sleep(0.05)
        for worker in workers:
            status = worker.end()
            if status:
                self._violations.append(f"a worker that was told to end did so with {status}")

    def _open_tasks(self) -> int:
        ended = ", ".join(str(int(state)) for state in ENDED)
        with self._connection() as connection:
            left: int = connection.execute(
                f"SELECT count(*) FROM tasks WHERE state NOT IN ({ended})"
                " OR error LIKE 'quarantined%' OR error LIKE 'task %'"
            ).get
        return left

    def _connection(self) -> contextlib.closing[apsw.Connection]:
        # Closed before the next fork: SQLite's locks do not survive one.
        return contextlib.closing(
            apsw.Connection(str(self._place.queue), flags=apsw.SQLITE_OPEN_READWRITE)
        )


def _phase(held: Held) -> str:
    match held:
        case Held(tasks=None):
            return "restoring the log, or about to remove it"
        case Held(registered=False):
            return "opening the file, or leaving it"
        case Held(tasks=frozenset(tasks)):
            return f"holding {_many(len(tasks))}"
    raise AssertionError(held)


def _many(tasks: int) -> str:
    if tasks < 2:
        return "1 task" if tasks else "no task"
    return "2 to 9 tasks" if tasks < 10 else "10 tasks or more"


def main() -> int:
    """Run the campaign; 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2000, help="workers to kill (2000)")
    parser.add_argument(
        "--seed", type=int, default=None, help="for the moments; a new one each time"
    )
    parser.add_argument("--limit-s", type=float, default=600.0, help="give up after so long (600)")
    parser.add_argument("--keep", type=Path, help="directory that the files are left in")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}: {options.kills} kills", flush=True)
    given_up_s = time.monotonic() + options.limit_s
    failed = False
    with contextlib.ExitStack() as stack:
        top = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rounds: list[Durability] = ["full", "process"]
        for number, durability in enumerate(rounds):
            place = Place(top / durability, durability)
            place.directory.mkdir(parents=True)
            share = (options.kills + number) // len(rounds)
            began_s = time.monotonic()
            left_s = (given_up_s - began_s) / (len(rounds) - number)
            verdict = Round(place, random.Random(f"{seed} {durability}")).run(
                share, began_s + left_s
            )
            _report(durability, verdict, time.monotonic() - began_s)
            failed = failed or bool(verdict.violations)
    return int(failed)


def _report(durability: str, verdict: Verdict, took_s: float) -> None:
    print(f"\ndurability {durability}, {took_s:.0f} s")
    for name, figure in verdict.figures.items():
        print(f"  {name:44} {figure:7}")
    print(f"  {'violations':44} {len(verdict.violations):7}", flush=True)
    for sentence in verdict.violations[:20]:
        print(f"  ! {sentence}")


if __name__ == "__main__":
    sys.exit(main())
