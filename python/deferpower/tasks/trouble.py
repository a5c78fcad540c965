"""What keeps a worker from its work, as when the disk is full or the file is locked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from deferpower.errors import DeferpowerError, StoreError

_log = logging.getLogger("deferpower.tasks")

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0


class Trouble:
    """Failures of a worker in a row: each kind is said once, and tried again ever more seldom."""

    def __init__(self) -> None:
        """None yet."""
        self._said: set[str] = set()
        self._retry_s = _FIRST_RETRY_S

    def tell(self, error: Exception) -> float:
        """Log a failure, if it was not yet; how many seconds to wait before the next try."""
        text = str(error)
        if text not in self._said:
            self._said.add(text)
            # What is no error of ours is a fault in the program: there, where it was counts.
            unexpected = not isinstance(error, DeferpowerError)
            _log.error(
                "worker: %s; nothing is run until that is over",
                f"unexpected error: {text}" if unexpected else text,
                exc_info=error if unexpected else None,
            )
        retry_s, self._retry_s = self._retry_s, min(2 * self._retry_s, _LONGEST_RETRY_S)
        return retry_s

    def over(self) -> None:
        """Note that all is well."""
        if self._said:
            _log.warning("worker: goes on")
            self._said.clear()
        self._retry_s = _FIRST_RETRY_S


@contextlib.contextmanager
def survived() -> Iterator[None]:
    """Log a failure of the store, and go on: a worker ends whether it can be written or not."""
    try:
        yield
    except StoreError as error:
        _log.error(
            "worker: %s; it ends all the same: what it could not write the end of runs again once "
            "this program has ended",
            error,
        )
