"""Where coroutine functions run: the program's event loop, or one of the manager's own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from deferpower.tasks.current import CURRENT
from deferpower.tasks.runs import is_interrupt

if TYPE_CHECKING:
    from deferpower.store.turns import Ended
    from deferpower.tasks.runs import Run

_JOIN_S = 5.0


class Coroutines:
    """Starts coroutines on a loop from other threads, and tells of their ends."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._own: _OwnLoop | None = None
        self._tasks: set[asyncio.Task[Ended]] = set()
        """A loop holds its tasks but weakly."""
        self._lock = threading.Lock()

    def use(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        """Have coroutines run on this loop, each in a copy of this context."""
        self._loop, self._context = loop, context

    @property
    def is_here(self) -> bool:
        """Whether the loop runs in this thread, and so goes on when the caller has returned."""
        loop = self._own.loop if self._loop is None and self._own is not None else self._loop
        return loop is not None and loop is asyncio._get_running_loop()

    def start(self, run: Run, on_end: Callable[[Run, Ended], None]) -> None:
        """Start a run's coroutine; it is cancelled once its context is told to stop for good.

        Args:
            run: what to run.
            on_end: called in the loop's thread with what became of it.
        """
        loop = self._home()

        def begin() -> None:
            context = self._context.copy()
            context.run(CURRENT.set, run)
            task = loop.create_task(
                self._body(run), name=f"deferpower task {run.id}", context=context
            )

            def end(done: asyncio.Task[Ended]) -> None:
                self._tasks.discard(done)
                on_end(run, self._end_of(run, done))

            self._tasks.add(task)
            task.add_done_callback(end)
            is_cancelled = False

            def cancel() -> None:
                nonlocal is_cancelled
                if run.context.is_final and not is_cancelled:  # twice would cut its end short
                    is_cancelled = True
                    task.cancel()

            def change() -> None:
                with contextlib.suppress(RuntimeError):  # a loop that is closed has cancelled it
                    loop.call_soon_threadsafe(cancel)

            run.context.changed = change
            cancel()

        loop.call_soon_threadsafe(begin)

    async def _body(self, run: Run) -> Ended:
        function = run.function
        assert function is not None
        try:
            args, kwargs = run.arguments()
            value = await function.function(*args, **kwargs)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            return run.raised(error, self._wall_clock())  # any other would end the whole loop
        return run.returned(value, self._wall_clock())

    def _end_of(self, run: Run, done: asyncio.Task[Ended]) -> Ended:
        if not done.cancelled():
            return run.stopped(self._wall_clock()) if done.exception() else done.result()
        if run.context.is_final:
            return run.stopped(self._wall_clock())
        return run.failed(
            "its coroutine was cancelled by something other than its manager; "
            "let it catch CancelledError from what it awaits",
            self._wall_clock(),
        )

    def _home(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            return loop
        with self._lock:
            if self._own is None:
                self._own = _OwnLoop()
            return self._own.loop

    def close(self) -> None:
        """End a loop of the manager's own, once nothing runs there any more."""
        own, self._own = self._own, None
        if own is not None:
            own.close()


class _OwnLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        runs = threading.Event()
        # A daemon: a coroutine that does not end must not hold up the end of the program.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(runs)), name="deferpower-loop", daemon=True
        )
        self._thread.start()
        runs.wait()

    async def _live(self, runs: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        runs.set()
        await self._over.wait()

    def close(self) -> None:
        """End it; waited for, unless it is this thread's."""
        self.loop.call_soon_threadsafe(self._over.set)
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
