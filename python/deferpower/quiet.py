"""A thread that goes round when there is something to do, and sleeps else: `QuietThread`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deferpower._contract import Watch


class QuietThread(ABC):
    """What tasks and sync are done by when nobody else takes the time."""

    def __init__(self, name: str, watch: Watch, wal_path: str | None) -> None:
        """It starts with `start`.

        Args:
            name: of the thread.
            watch: what it sleeps in; it is closed in the end.
            wal_path: a file whose writes end its sleep; ``None`` for none.
        """
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
                self._stopping.wait(self._complain(error))

    @abstractmethod
    def _go_round(self) -> None:
        """Do what there is to do, and wait for more."""

    @abstractmethod
    def _complain(self, error: Exception) -> float:
        """Say what was wrong with a round; how many seconds to wait before the next."""
