"""Who runs the tasks of a manager in one process: `Crew`."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deferpower.errors import StoreError

if TYPE_CHECKING:
    from deferpower.tasks.runner import Runner
    from deferpower.tasks.service import Service
    from deferpower.tasks.worker import Worker

_log = logging.getLogger("deferpower.tasks")


class Crew:
    """A worker, its runner, and the quiet thread once it was started.

    Attributes:
        worker: claims tasks, and writes what became of them.
        runner: runs them.
        service: the quiet thread; ``None`` while it was not started.
    """

    def __init__(self, worker: Worker, runner: Runner) -> None:
        self.worker = worker
        self.runner = runner
        self.service: Service | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def start(self, service: Callable[[], Service], prepare: Callable[[], None]) -> None:
        """Start the quiet thread, unless it runs, or all is over.

        Args:
            service: makes it.
            prepare: called before; what it raises leaves all as it was, so that a later call
                starts the thread.
        """
        with self._lock:
            if self.service is None and not self._is_over:
                prepare()
                self.service = service()
                try:
                    self.service.start()
                except BaseException:
                    self.service = None
                    raise

    def run_here(self, most: int, only: int | None = None) -> list[int]:
        """Run up to so many tasks that may start in this thread; their ids.

        Args:
            most: most tasks to run.
            only: run no other task than this.
        """
        worker = self.worker
        worker.adopt_orphans()
        ran: list[int] = []
        try:
            while len(ran) < most:
                worker.turn(1, only)
                run = worker.next_run()
                if run is None and worker.is_behind():
                    continue
                if run is None:
                    worker.turn(1, only)  # the last turn may have freed what waited for another
                    run = worker.next_run()
                if run is None:
                    break
                self.runner.run_here(run)
                ran.append(run.id)
        finally:
            worker.turn(0)
        return ran

    def stop(self, timeout_s: float | None) -> None:
        """Begin nothing more, tell what runs to stop, and wait for it so long."""
        with self._lock:
            self._is_over = True
            service, self.service = self.service, None
        try:
            with _survived():
                self.runner.stop()
        finally:
            if service is not None:
                service.stop()
            with _survived():
                self.runner.wind_up(timeout_s)


@contextlib.contextmanager
def _survived() -> Iterator[None]:
    """Log a failure of the store, and go on: a worker ends whether it can be written or not."""
    try:
        yield
    except StoreError as error:
        _log.error(
            "worker: %s; it ends all the same: what it could not write the end of runs again once "
            "this program has ended",
            error,
        )
