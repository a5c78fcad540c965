"""The processes of a soak, and what is done to them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw
from benches.machine import REPOSITORY
from benches.soak.place import DISK, PLACE, PROCESS, URL, Place

import deferpower

_PACKAGE = Path(deferpower.__file__).parents[1]
_BUSY_MS = 2000
_LEAVE_S = 30.0
_STOP_S = 10.0
_GAVE_UP = (1, 2)
"""What programs end with that cannot open their queue."""


class Death(NamedTuple):
    """The end of a process that was killed, or told to end.

    Attributes:
        at_ns: when, on the monotonic clock.
        role: what it was.
        held: tasks that it had claimed and not written the end of; ``None`` where that could not
            be read.
    """

    at_ns: int
    role: str
    held: frozenset[int] | None


class Process:
    """One process of a soak.

    Attributes:
        name: tells it from all others, of all times.
        role: what it is.
        ends_s: when it is to be killed, on the monotonic clock.
    """

    def __init__(
        self, place: Place, role: str, name: str, url: str, *, seed: int, ends_s: float, pure: bool
    ) -> None:
        self.name, self.role, self.ends_s = name, role, ends_s
        self._place = place
        env = {
            **os.environ,
            PLACE: str(place.directory),
            DISK: str(place.disk),
            PROCESS: name,
            URL: url,
            "DEFERPOWER_ROOT": str(place.root),
            "PYTHONPATH": f"{_PACKAGE}:{REPOSITORY}",
            # By itself glibc gives threads pools of their own, and keeps in each what was freed
            # there: up to 6 MB that creep up for many minutes and hide what a process holds.
            "MALLOC_ARENA_MAX": "1",
        }
        if pure:
            env["DEFERPOWER_BACKEND"] = "pure"
        words = {
            "worker": [
                "-m",
                "deferpower",
                "worker",
                "--app",
                "benches.soak.app:manager",
                "--plain",
            ],
            "command worker": [
                *("-m", "deferpower", "worker", "--plain", "--queue", str(place.queue)),
                *("--policy", str(place.policy)),
            ],
        }.get(role, ["-m", "benches.soak.programs", role, str(seed)])
        with place.log(role).open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, *words],
                cwd=REPOSITORY,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def kill(self) -> Death | None:
        """Freeze it wherever it is, see what it holds, and kill it; ``None`` if it has ended.

        Nobody takes anything from it while it lives, so what it holds then is what was in flight.
        """
        self.child.send_signal(signal.SIGSTOP)
        end_s = time.monotonic() + _STOP_S
        while time.monotonic() < end_s:
            if self.child.poll() is not None:
                return None
            if _state(self.pid) == "T":
                break
            time.sleep(0.001)
        held = self._held()
        at_ns = time.monotonic_ns()
        self.child.kill()
        self.child.wait()
        return Death(at_ns, self.role, held)

    def end(self) -> tuple[int, Death]:
        """Tell it to end, and wait; its status, and what it could not write the end of."""
        self.child.terminate()
        try:
            status = self.child.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            held = self._held()
            self.child.kill()
            return self.child.wait(), Death(time.monotonic_ns(), self.role, held)
        return status, Death(time.monotonic_ns(), self.role, self._held())

    def _held(self) -> frozenset[int] | None:
        select = (
            "SELECT tasks.id FROM workers JOIN tasks ON tasks.worker = workers.id"
            " WHERE workers.pid = ?"
        )
        try:
            with looking(self._place.queue) as connection:
                return frozenset(row[0] for row in connection.execute(select, (self.pid,)))
        except apsw.Error:  # frozen while it kept everybody out, or the disk has no room to look
            return None


@contextlib.contextmanager
def looking(queue: Path) -> Iterator[apsw.Connection]:
    """A connection that is closed again at once."""
    connection = apsw.Connection(str(queue), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        yield connection
    finally:
        connection.close()


def fill(place: Place) -> None:
    """Take all the room of the disk."""
    with contextlib.suppress(OSError), place.ballast.open("ab", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while ballast.write(b"x" * size):
                    pass


def left_processes(place: Place) -> list[int]:
    """Processes that belong to this soak and still live, this one aside."""
    mark = f"{PLACE}={place.directory}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Fleet:
    """All processes: those that live as long as the soak, and those that are killed.

    Attributes:
        steady: by name, those that nobody kills.
        deaths: how each other one ended, by name.
        violations: what must not be.
        ends: how many were killed, told to end, or ended by themselves, by how and role.
    """

    STEADY = (("embedder", False), ("worker", True), ("submitter", False))
    DOOMED = ("worker", "command worker", "submitter", "sender")

    def __init__(self, place: Place, url: str, dice: random.Random, longest_s: float) -> None:
        self._place, self._url, self._dice, self._longest_s = place, url, dice, longest_s
        self._count = 0
        self.deaths: dict[str, Death] = {}
        self.violations: list[str] = []
        self.ends: Counter[str] = Counter()
        self.steady = {
            f"{role}, {'pure' if pure else 'native'}": self._begin(role, pure=pure, dies=False)
            for role, pure in self.STEADY
        }
        self.doomed = [self._begin(role) for role in self.DOOMED]

    def _begin(self, role: str, *, pure: bool | None = None, dies: bool = True) -> Process:
        self._count += 1
        return Process(
            self._place,
            role,
            f"{role.replace(' ', '-')}-{self._count}",
            self._url,
            seed=self._dice.getrandbits(32),
            ends_s=time.monotonic() + self._dice.uniform(0.3, self._longest_s) if dies else 0.0,
            pure=self._dice.random() < 0.3 if pure is None else pure,
        )

    def wait_for_the_steady(self) -> None:
        """Wait until they can be told to end."""
        end_s = time.monotonic() + _LEAVE_S
        waited = [process.pid for process in self.steady.values() if process.role != "worker"]
        while not all(self._place.ready(pid).exists() for pid in waited):
            if time.monotonic() > end_s:
                raise TimeoutError(f"not ready after {_LEAVE_S:g} s; see their logs")
            time.sleep(0.01)
        while "running" not in self._place.log("worker").read_text():
            if time.monotonic() > end_s:
                raise TimeoutError(f"no worker after {_LEAVE_S:g} s; see its log")
            time.sleep(0.01)

    def replace_the_due(self) -> None:
        """Kill those whose time has come, or tell them to end, and put others in their place."""
        for number, process in enumerate(self.doomed):
            if process.ends_s <= time.monotonic():
                self._finish(process, told=self._dice.random() < 0.15)
                self.doomed[number] = self._begin(process.role)

    def _finish(self, process: Process, *, told: bool) -> None:
        if process.child.poll() is not None:
            self._note_own_end(process)
            return
        if told:
            status, death = process.end()
            self.deaths[process.name] = death
            if status in _GAVE_UP and self._place.ballast.exists():
                self.ends[f"gave up on a full disk: {process.role}"] += 1
                return
            self.ends[f"told to end: {process.role}"] += 1
            # A signal may come before the program has said what it does at one.
            if status not in (0, -signal.SIGTERM):
                self.violations.append(f"{process.name} was told to end and did so with {status}")
            return
        death_or_none = process.kill()
        if death_or_none is None:
            self._note_own_end(process)
            return
        self.deaths[process.name] = death_or_none
        self.ends[f"killed: {process.role}"] += 1

    def _note_own_end(self, process: Process) -> None:
        """A program that cannot open its queue on a full disk says so, and ends."""
        status = process.child.wait()
        self.deaths[process.name] = Death(time.monotonic_ns(), process.role, frozenset())
        self.ends[f"gave up on a full disk: {process.role}"] += 1
        if status not in _GAVE_UP:
            self.violations.append(f"{process.name} ended by itself with {status}")

    def see_to_the_steady(self) -> None:
        """Note those that ended although nobody wanted it."""
        for name, process in self.steady.items():
            status = process.child.poll()
            if status is not None and process.name not in self.deaths:
                self.deaths[process.name] = Death(time.monotonic_ns(), process.role, None)
                self.violations.append(f"{name} ended by itself with {status}")

    def spare(self) -> None:
        """End those that were to be killed; the steady ones go on."""
        for process in self.doomed:
            self._finish(process, told=True)
        self.doomed = []

    def end(self) -> None:
        """Tell the steady ones to end."""
        for name, process in self.steady.items():
            if process.name in self.deaths:
                continue
            status, death = process.end()
            self.deaths[process.name] = death
            if status:
                self.violations.append(f"{name} was told to end and did so with {status}")

    def kill_all(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        for process in [*self.doomed, *self.steady.values()]:
            if process.child.poll() is None:
                process.child.kill()
                process.child.wait()
