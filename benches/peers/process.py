"""A contender in a process of its own, as the one who measures sees it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from benches.machine import REPOSITORY
from benches.peers.contenders import FSYNC


class Used(NamedTuple):
    """What all threads of a process have used so far."""

    cpu_s: float
    wake_ups: int


class Process:
    """Runs `serve`; kills it on leaving the ``with`` block."""

    def __init__(
        self,
        name: str,
        directory: Path,
        durability: str = FSYNC,
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benches.peers.serve", name, str(directory), durability]
        self._process = subprocess.Popen(
            [*prefix, *command],
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def __call__(self, method: str, *arguments: object) -> dict[str, Any]:
        """Have it do something, and wait for what it says of it."""
        self.tell(method, *arguments)
        return self.answer()

    def tell(self, method: str, *arguments: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args!r} ended; see its error above")
        found: dict[str, Any] = json.loads(line)
        return found

    def used(self) -> Used:
        """Source: ``schedstat`` and ``status`` of its threads. The one that serves only waits."""
        cpu_ns = wake_ups = 0
        for thread in Path("/proc", str(self._process.pid), "task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has ended
                cpu_ns += int((thread / "schedstat").read_text().split()[0])
                wake_ups += _status(thread, "voluntary_ctxt_switches")
        return Used(cpu_ns * 1e-9, wake_ups)

    def resident_bytes(self) -> int:
        return _status(Path("/proc", str(self._process.pid)), "VmRSS") * 1024

    def end(self) -> None:
        """Let it come to its end, for whoever looks on."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Peers leave threads behind that never end.
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _status(directory: Path, name: str) -> int:
    for line in (directory / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"the kernel does not say {name}")
