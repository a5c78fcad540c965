"""Signals as something to wait for, in order, instead of something that interrupts."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

# select() takes no infinite wait of this kind; waking up once an hour costs nothing.
_LONGEST_WAIT_S = 3600.0
_NO_SIGNAL = 0


class SignalQueue:
    """Collects signals while it is open; `wait` returns as soon as one arrives.

    A signal that this process was started with as ignored (nohup does so with SIGHUP) stays so.
    """

    def __init__(self, signals: Iterable[int]) -> None:
        """Name the signals to collect; SIGCHLD among them makes the end of a child seen at once."""
        self._signals = [s for s in signals if signal.getsignal(s) != signal.SIG_IGN]
        self._pending: list[int] = []

    def __enter__(self) -> SignalQueue:
        """Begin to collect."""
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._handlers: dict[int, Any] = {s: signal.signal(s, _noted) for s in self._signals}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the signals as they were."""
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_end)
        os.close(self._write_end)

    def wait(self, timeout_s: float) -> list[int]:
        """Signals that have arrived, in order, waiting at most ``timeout_s`` for the first."""
        if not self._pending:
            select.select([self._read_end], [], [], min(max(timeout_s, 0.0), _LONGEST_WAIT_S))
        arrived, self._pending = self._pending + self._drain(), []
        return arrived

    def wake(self) -> None:
        """Have `wait` return now, with no signal; from any thread."""
        with contextlib.suppress(OSError):  # it wakes already, or is closed
            os.write(self._write_end, bytes((_NO_SIGNAL,)))

    def stop_self(self, *, whole_job: bool) -> bool:
        """Stop this process, as Ctrl-Z does, until a shell continues it.

        Args:
            whole_job: stop the pipeline or script that this process is part of too. Not wanted
                when this process was sent SIGTSTP, for then so were they.

        Returns:
            Whether it was stopped; ``False`` when there is no shell that could continue it, and
            the system therefore did nothing.
        """
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        if whole_job:
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        else:
            os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        arrived = self._drain()
        self._pending += [s for s in arrived if s != signal.SIGCONT]
        return signal.SIGCONT in arrived

    def _drain(self) -> list[int]:
        arrived = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._read_end, 512):
                arrived += chunk
        return [signum for signum in arrived if signum != _NO_SIGNAL]


def _noted(signum: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has carried the signal already."""
