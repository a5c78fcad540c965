"""A thread that goes round when there is something to do, and sleeps else: `QuietThread`.

What keeps it from its work, as when the disk is full or the file is locked, is its `Trouble`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from deferpower.errors import DeferpowerError

if TYPE_CHECKING:
    import logging

    from deferpower._contract import Watch

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0


class Trouble:
    """Failures in a row: each kind is said once, and tried again ever more seldom."""

    def __init__(self, log: logging.Logger, who: str, standstill: str) -> None:
        """None yet.

        Args:
            log: where it is said.
            who: whose work it keeps back.
            standstill: what does not happen meanwhile.
        """
        self._log = log
        self._who = who
        self._standstill = standstill
        self._said: set[str] = set()
        self._retry_s = _FIRST_RETRY_S

    def tell(self, error: Exception) -> float:
        """Log a failure, if it was not yet; how many seconds to wait before the next try."""
        text = str(error)
        if text not in self._said:
            self._said.add(text)
            # What is no error of ours is a fault in the program: there, where it was counts.
            unexpected = not isinstance(error, DeferpowerError)
            self._log.error(
                "%s: %s; %s until that is over",
                *(self._who, f"unexpected error: {text}" if unexpected else text, self._standstill),
                exc_info=error if unexpected else None,
            )
        retry_s, self._retry_s = self._retry_s, min(2 * self._retry_s, _LONGEST_RETRY_S)
        return retry_s

    def over(self) -> None:
        """Note that all is well."""
        if self._said:
            self._log.warning("%s: goes on", self._who)
            self._said.clear()
        self._retry_s = _FIRST_RETRY_S


class QuietThread(ABC):
    """What tasks and sync are done by when nobody else takes the time."""

    def __init__(self, name: str, watch: Watch, wal_path: str | None, trouble: Trouble) -> None:
        """It starts with `start`.

        Args:
            name: of the thread.
            watch: what it sleeps in; it is closed in the end.
            wal_path: a file whose writes end its sleep; ``None`` for none.
            trouble: takes its failures; whoever goes round says when that is over.
        """
        self._trouble = trouble
        self._watch = watch
        if wal_path is not None:
            watch.follow(wal_path)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; where there can be none, it is over."""
        try:
            self._thread.start()
        except BaseException:
            self._watch.close()
            raise

    def wake(self) -> None:
        """Have the thread go round once more."""
        self._watch.wake()

    def stop(self) -> None:
        """Have the thread end after the round under way, and wait until it has."""
        self._stopping.set()
        self.wake()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._watch.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._go_round()
            except Exception as error:
                # A full disk or a locked file passes; nothing that was committed is lost.
                self._stopping.wait(self._trouble.tell(error))

    @abstractmethod
    def _go_round(self) -> None:
        """Do what there is to do, and wait for more."""
