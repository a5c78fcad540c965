"""Where functions run if not in threads of the manager: an executor of the program's own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

from deferpower.store.turns import Ended
from deferpower.tasks import remote
from deferpower.tasks.runs import Run


class Outside:
    """Hands calls to an executor, and tells of their ends."""

    def __init__(
        self, executor: Executor, call: Callable[[Run], Ended], wall_clock: Callable[[], float]
    ) -> None:
        """Nothing is handed over yet.

        Args:
            executor: where calls go.
            call: calls the function of a run; used by an executor with threads of this process.
            wall_clock: seconds since the epoch.
        """
        self._executor = executor
        self._call = call
        self._wall_clock = wall_clock

    def start(self, run: Run, on_end: Callable[[Run, Ended], None]) -> None:
        """Hand over a run's call.

        Args:
            run: what to run.
            on_end: called, in any thread, with what became of it.

        Raises:
            TaskError: the executor could not find the function.
        """
        try:
            future = self._submit(run)
        except BrokenExecutor as error:
            text = f"it could not be started: {_said(error)}"
            on_end(run, run.failed(text, self._wall_clock()))
            return
        future.add_done_callback(lambda done: on_end(run, self._end_of(run, done)))
        run.context.changed()

    def _submit(self, run: Run) -> Future[Any]:
        if not isinstance(self._executor, ThreadPoolExecutor):
            # Never cancelled: some executors say yes to that while the call goes on elsewhere.
            call, sent = remote.call_for(run)
            return self._executor.submit(call, *sent)
        future = self._executor.submit(self._call, run)

        def cancel() -> None:
            if run.context.is_final:
                future.cancel()

        run.context.changed = cancel
        return future

    def _end_of(self, run: Run, done: Future[Any]) -> Ended:
        now_s = self._wall_clock()
        if done.cancelled():
            if run.context.is_final:
                return run.stopped(now_s)
            return run.failed("the executor cancelled it, or was shut down", now_s)
        error = done.exception()
        if isinstance(error, BrokenExecutor):
            return run.failed(_said(error), now_s)
        if error is not None:
            return run.raised(error, now_s)
        answer = done.result()
        return answer if isinstance(answer, Ended) else remote.ended(run, answer, now_s)


def _said(error: BrokenExecutor) -> str:
    return f"the executor broke, and needs to be replaced by a new one: {error}"
