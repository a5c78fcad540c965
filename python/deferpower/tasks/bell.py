"""A descriptor that other threads make readable, to end a poll: `Bell`."""

from __future__ import annotations

import contextlib
import os
import threading
from types import TracebackType


class Bell:
    """Rung by any thread, at any time; after it was closed, nobody hears it.

    Attributes:
        read_end: readable from when it is rung until it is silenced.
    """

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)
        # Without it, a late ring could reach another file that got the descriptor's number.
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Make it readable."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._write_end >= 0:
                os.write(self._write_end, b"!")

    def silence(self) -> None:
        """Take back all rings so far."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read_end, 512):
                pass

    def __enter__(self) -> Bell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        with self._lock:
            os.close(self._write_end)
            self._write_end = -1
        os.close(self.read_end)
