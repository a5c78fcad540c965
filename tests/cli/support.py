"""A laptop in a directory, deferpower as a process, and bounded waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from waiting import PATIENCE_S


class Laptop:
    """A device tree with one battery and one adapter, written in place while it is being read."""

    def __init__(self, root: Path, *, plugged: bool = False, level: int = 40) -> None:
        self.root = root
        self._supplies = root / "sys/class/power_supply"
        for path, text in {
            "proc/stat": "cpu  10 0 0 10 0 0 0 0 0 0\ncpu0 10 0 0 10 0 0 0 0 0 0\n",
            "proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 6000 kB\n",
            "sys/class/power_supply/AC/type": "Mains\n",
            "sys/class/power_supply/AC/online": "0\n",
            "sys/class/power_supply/BAT0/type": "Battery\n",
            "sys/class/power_supply/BAT0/status": "Discharging\n",
            "sys/class/power_supply/BAT0/capacity": "40\n",
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        self.plug(plugged)
        self.charge(level)

    def plug(self, plugged: bool) -> None:
        """Pull the charger, or put it in."""
        self._put("AC/online", f"{int(plugged)}\n")
        self._put("BAT0/status", f"{'Charging' if plugged else 'Discharging':<11}\n")

    def charge(self, level: int) -> None:
        """Set the level, of two digits."""
        self._put("BAT0/capacity", f"{level}\n")

    def _put(self, name: str, text: str) -> None:
        # One write of the same length: a reader never sees half of it.
        with (self._supplies / name).open("r+b", buffering=0) as file:
            assert len(text) == os.fstat(file.fileno()).st_size
            file.write(text.encode())


class Gate:
    """A point at which a shell script waits, in one system call, until the test lets it pass."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        self.wait = f": < '{path}'"

    def open(self) -> None:
        """Let the script pass, once it is there."""
        with self._path.open("w"):
            pass


def command_line(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "deferpower", *words]


class Deferpower:
    """One running ``deferpower``, in a session without a terminal."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: dict[str, str],
        directory: Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:
        self._out = directory / "stdout"
        self._err = directory / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command_line(words),
                env={**os.environ, **env},
                cwd=directory,
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def out_bytes(self) -> bytes:
        return self._out.read_bytes()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of that name that ``--json`` told so far."""
        lines = [line for line in self.err.splitlines(keepends=True) if line.startswith('{"event')]
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if event["event"] == name]

    def event(self, name: str) -> dict[str, Any]:
        """The first event of that name, once it has come."""
        self.wait_until(lambda: self.events(name), f"event {name}")
        return self.events(name)[0]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Return once the condition holds; fail when deferpower ends before, or in time."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert not self.ended or condition(), f"ended before: {what}; said: {self.err}"
            assert time.monotonic() < end, f"never came: {what}; said: {self.err}"
            time.sleep(0.01)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> int:
        """The exit status."""
        return self.process.wait(PATIENCE_S)


def state(pid: int) -> str:
    """State letter of a process as proc_pid_stat(5) has it; ``""`` when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    return state(pid) not in ("", "Z", "X")


def group_states(group: int) -> dict[int, str]:
    """Living processes of a process group, with their states."""
    states = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat[2]) == group and stat[0] not in "ZX":
                states[int(entry.name)] = stat[0]
    return states


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def guard_of(pid: int) -> int:
    """The process that cleans up after this deferpower: its child in another session."""
    (guard,) = (child for child in children_of(pid) if _session(child) != _session(pid))
    return guard


def command_of(pid: int) -> int:
    """The command that this deferpower runs: its child in its own session."""
    (command,) = (child for child in children_of(pid) if _session(child) == _session(pid))
    return command


def _session(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
