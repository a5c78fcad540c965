"""What a running task knows of itself: `Context`, given to functions that ask for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deferpower.errors import DeferpowerError

if TYPE_CHECKING:
    from deferpower.store.turns import Claimed


class Stopped(DeferpowerError):
    """Raised by a task that stops since it was asked to; it runs again from its checkpoint."""


class Context:
    """One run of one task.

    Attributes:
        id: the task's number.
        name: the name of its function.
        attempt: which run this is, counted from 1.
        idempotency_key: the same in every run of this task, and of no other task.
        stop_reason: why it is asked to stop; ``None`` while it is not.
        is_final: whether that will not be taken back: it is cancelled, its time is over, or its
            worker shuts down.
        was_asked: whether it was asked at any time, even if that was taken back.
        changed: called when it is asked to stop, or not any more.
    """

    def __init__(
        self,
        row: Claimed,
        name: str,
        idempotency_key: str,
        save: Callable[[int, Any], str],
        results: Callable[[int], list[str | None]],
    ) -> None:
        self.id = row.id
        self.name = name
        self.attempt = row.attempts
        self.idempotency_key = idempotency_key
        self.stop_reason: str | None = None
        self.is_final = False
        self.was_asked = False
        self.changed: Callable[[], None] = _nothing
        self._resumed_from = row.checkpoint
        self._save = save
        self._results = results
        self._asked = threading.Event()
        # Else one thread could take back what another has just made final, and nobody asks again.
        self._changing = threading.Lock()

    @property
    def resumed_from(self) -> Any:
        """What the task gave `checkpoint` last, in this run or an earlier one; else ``None``."""
        return None if self._resumed_from is None else json.loads(self._resumed_from)

    @property
    def results(self) -> list[Any]:
        """Results of the tasks that it came after, in the order of ``after``."""
        return [None if text is None else json.loads(text) for text in self._results(self.id)]

    @property
    def should_stop(self) -> bool:
        """Whether to stop soon; ``stop_reason`` says why. Cost: no system call."""
        return self._asked.is_set()

    def wait_for_stop(self, timeout_s: float | None = None) -> bool:
        """Sleep until asked to stop.

        Args:
            timeout_s: how long at most; ``None`` for as long as it takes.

        Returns:
            Whether it was asked.
        """
        return self._asked.wait(timeout_s)

    def checkpoint(self, data: Any) -> None:
        """Keep where the task has come to; durable when this returns.

        Args:
            data: anything that JSON can hold; the next run finds it in ``resumed_from``.

        Raises:
            TaskError: JSON cannot hold it.
            StoreError: it cannot be written.
        """
        self._resumed_from = self._save(self.id, data)

    def stop_if_asked(self) -> None:
        """End this run if it was asked to stop; it runs again, and the attempt does not count.

        Raises:
            Stopped: it was asked; let it pass.
        """
        if self._asked.is_set():
            raise Stopped(self.stop_reason or "asked to stop")

    def ask_to_stop(self, reason: str, *, final: bool = False) -> None:
        """Tell the task to stop; the first reason stays, unless only a later one is final."""
        with self._changing:
            if self.is_final or (self._asked.is_set() and not final):
                return
            self.is_final = final
            self.was_asked = True
            self.stop_reason = reason
            self._asked.set()
        self.changed()

    def detach(self) -> None:
        """Tell nobody any more: who was told refers back, and only a collection would free both."""
        self.changed = _nothing

    def take_back_stop(self) -> None:
        """Let the task go on, if it has not stopped yet and the stop was not final."""
        with self._changing:
            if self.is_final or not self._asked.is_set():
                return
            self._asked.clear()
            self.stop_reason = None
        self.changed()


def _nothing() -> None:
    """Nobody wants to know."""
