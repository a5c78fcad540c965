"""Where tasks run: threads of this process, its event loop, or an executor of the program's own."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deferpower.errors import DeferpowerError, TaskError
from deferpower.store.turns import Ended
from deferpower.tasks.current import CURRENT
from deferpower.tasks.runs import Run, is_interrupt

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from deferpower.device import Device
    from deferpower.tasks.commands import Commands
    from deferpower.tasks.coroutines import Coroutines
    from deferpower.tasks.events import Events
    from deferpower.tasks.executors import Outside
    from deferpower.tasks.worker import Worker

_log = logging.getLogger("deferpower.tasks")

COMPANY_S = 0.01
"""How long a result may wait for others to be written with it."""


class Runner:
    """Runs what a worker has claimed.

    Threads take one task after the other, and the worker's next turn when there is none left; so
    nothing is handed from thread to thread but the first task after a rest. They end when nothing
    may start any more. Coroutines and an executor's calls are handed over by such a thread; then
    they take up a place without one.

    Attributes:
        rested: called when there may be something to do for whoever takes turns: a thread has
            nothing left to run, a task has ended elsewhere, ends would wait for a long task, or a
            command was started, frozen or thawed.
        took_turn: called when a thread of it has taken a turn, and so maybe begins what nobody
            else knows of.
    """

    def __init__(
        self,
        worker: Worker,
        device: Device,
        events: Events,
        executor: Executor | None,
        commands: Callable[[], Commands],
    ) -> None:
        """Nothing runs yet.

        Args:
            worker: where tasks come from.
            device: whose clocks count.
            events: where to tell what happens.
            executor: where functions run; ``None`` for threads made when they are needed.
            commands: makes what runs commands, once there is one.
        """
        self.rested: Callable[[], None] = _nothing
        self.took_turn: Callable[[], None] = _nothing
        self._worker = worker
        self._device = device
        self._events = events
        self._outside: Outside | None = None
        if executor is not None:
            from deferpower.tasks.executors import Outside

            self._outside = Outside(executor, self._call, device.wall_clock)
        self._make_commands = commands
        self._commands: Commands | None = None
        self._coroutines: Coroutines | None = None
        self._threads = 0
        self._elsewhere = 0
        self._lock = threading.Lock()
        self._ended = threading.Condition()
        self._took_turn_s = 0.0
        self._is_watched = False
        self._stopping = False
        self._wound_up = False

    def use_loop(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        """Have coroutine functions run on this event loop, in copies of this context."""
        self._with_coroutines().use(loop, context)

    def _with_coroutines(self) -> Coroutines:
        if self._coroutines is None:
            from deferpower.tasks.coroutines import Coroutines

            with self._lock:
                self._coroutines = self._coroutines or Coroutines(self._device.wall_clock)
        return self._coroutines

    def _with_commands(self) -> Commands:
        with self._lock:
            if self._commands is None:
                self._commands = self._make_commands()
            return self._commands

    @property
    def _is_on_loop(self) -> bool:
        """Whether coroutines go on only once the caller has returned."""
        return self._coroutines is not None and self._coroutines.is_here

    def start_ready(self) -> None:
        """Have threads begin what was claimed."""
        with self._lock:
            wanted = min(self._room(), self._threads + self._worker.ready)
            starting = 0 if self._stopping else max(0, wanted - self._threads)
            # Counted at once: another thread that asks meanwhile must not start as many again.
            self._threads += starting
        for started in range(starting):
            try:
                # No daemon: at the end of the program a task that runs may end, too.
                threading.Thread(target=self._run_all, name="deferpower-task").start()
            except BaseException:
                with self._lock:
                    self._threads -= starting - started
                raise

    def _room(self) -> int:
        """How many threads there may be."""
        return self._worker.places + self._worker.resting - self._elsewhere

    def _run_all(self) -> None:
        """Run tasks until none may start."""
        try:
            while self._run_one_or_turn():
                pass
        except DeferpowerError as error:
            _log.error("worker: what has ended is not written yet: %s", error)
        finally:
            with self._lock:
                self._threads -= 1
            self._tell()

    def _run_one_or_turn(self) -> bool:
        """Run a task, or look for some; whether there may be more."""
        if self._stopping:
            return False
        run = self._worker.next_run()
        if run is not None:
            self._have_watched()
            self.run(run)
            if time.monotonic() - self._took_turn_s <= COMPANY_S:
                return run.is_over or self._threads <= self._room()
        found = self._take_turn() > 0 or run is not None or self._worker.ready > 0
        # There may be one too many: the battery asks for fewer, or a coroutine took up the place.
        return found and self._threads <= self._room()

    def _take_turn(self) -> int:
        claimed = self._worker.turn()
        self._took_turn_s = time.monotonic()
        self.took_turn()
        if claimed > 1:
            self.start_ready()
        return claimed

    def _have_watched(self) -> None:
        """See to it that nothing waits for this thread, should its next task take long."""
        if not self._is_watched and (self._worker.has_news or self._worker.ready):
            self._is_watched = True
            self.rested()

    @property
    def is_watched(self) -> bool:
        """Whether somebody is to look in a while whether threads are held up by long tasks."""
        return self._is_watched

    def is_held_up(self, for_s: float) -> bool:
        """Whether no thread has taken a turn for so long; if so, what has not begun is given back.

        Then others may run it, and the turn that follows writes what has ended.
        """
        if time.monotonic() - self._took_turn_s < for_s:
            return False
        self._is_watched = False
        if self._worker.ready and self._threads >= self._room():
            self._worker.release_ready()
        return True

    def run_here(self, run: Run) -> None:
        """Run one task to its end, wherever it runs.

        Raises:
            TaskError: it runs on the event loop of this very thread.
        """
        if run.is_async and self._is_on_loop:
            self._end(run, run.stopped(self._device.wall_clock()))
            raise TaskError(
                f"task {run.spec.name}: it runs on this event loop, which cannot be waited for "
                "here; call from another thread: await asyncio.to_thread(...)"
            )
        self.run(run)
        with self._ended:
            self._ended.wait_for(lambda: run.is_over)

    def run(self, run: Run) -> None:
        """Run one task to its end, or hand it to where it runs."""
        if self._stopping:
            self._end(run, run.stopped(self._device.wall_clock()))
            return
        began_s = self._device.clock()
        run.begin(began_s)
        self._events.emit("started", run.id, run.spec.name)
        if run.function is None:
            self._end(run, self._with_commands().run(run, lambda: self.rested()))
        elif run.is_async:
            coroutines = self._with_coroutines()
            self._hand_over(run, lambda: coroutines.start(run, self._end_elsewhere))
        elif self._outside is not None:
            outside = self._outside
            self._hand_over(run, lambda: outside.start(run, self._end_elsewhere))
        else:
            self._end(run, self._call(run))
            self._worker.adapt(self._device.clock() - began_s)

    def _call(self, run: Run) -> Ended:
        """Call the function, in this thread."""
        function = run.function
        assert function is not None
        token = CURRENT.set(run)
        try:
            args, kwargs = run.arguments()
            value = function.function(*args, **kwargs)
        except BaseException as error:
            if not is_interrupt(error):
                return run.raised(error, self._device.wall_clock())
            self._end(run, run.stopped(self._device.wall_clock()))
            raise
        finally:
            CURRENT.reset(token)
        return run.returned(value, self._device.wall_clock())

    def _hand_over(self, run: Run, start: Callable[[], None]) -> None:
        with self._lock:
            self._elsewhere += 1
        try:
            start()
        except TaskError as error:
            ended = run.failed(str(error), self._device.wall_clock(), for_good=True)
            self._end_elsewhere(run, ended)
        except Exception as error:
            text = f"it could not be started: {type(error).__name__}: {error}"
            self._end_elsewhere(run, run.failed(text, self._device.wall_clock()))

    def _end(self, run: Run, ended: Ended) -> None:
        if run.is_over:
            return
        self._worker.note_end(run, ended)
        run.is_over = True
        if self._stopping:
            self._tell_ended()

    def _end_elsewhere(self, run: Run, ended: Ended) -> None:
        with self._lock:
            self._elsewhere -= 1
        self._end(run, ended)
        self._tell_ended()
        self._tell()

    def _tell_ended(self) -> None:
        with self._ended:
            self._ended.notify_all()

    def _tell(self) -> None:
        """Have somebody take the next turn."""
        if not self._wound_up:
            self.rested()
            return
        if self._worker.has_left:
            return
        try:
            self._write_and_leave()
        except DeferpowerError as error:
            _log.error("worker: what has ended since it was stopped is not written: %s", error)

    @contextlib.contextmanager
    def giving_way(self, awaited: int) -> Iterator[None]:
        """Give the place of the task that calls this to others, while it waits for one of them.

        Else tasks that wait for others might take up all places, and wait for ever.

        Raises:
            TaskError: the task would wait for itself.
        """
        run = CURRENT.get()
        runs = {known.id: known for known in self._worker.runs}
        if run is None or runs.get(run.id) is not run:
            yield
            return
        ahead: int | None = awaited
        with self._lock:  # else two could begin to wait for each other, and neither see it
            while ahead is not None and (other := runs.get(ahead)) is not None:
                if other is run:
                    raise TaskError(
                        f"task {run.id} ({run.spec.name}): it would wait for itself, as task "
                        f"{awaited} ends only after it; have one of them deferred with after="
                    )
                ahead = other.waits_for
            run.waits_for = awaited
        self.rested()
        try:
            yield
        finally:
            run.waits_for = None

    def stop(self) -> None:
        """Begin nothing more, give back what has not begun, and tell what runs to stop."""
        self._stopping = True
        try:
            self._worker.retire()
        finally:
            for run in self._worker.runs:
                run.context.ask_to_stop("the worker is shutting down", final=True)

    def wind_up(self, timeout_s: float | None) -> None:
        """Wait for what runs, and write what became of it; what ends later is written then.

        A task that calls this is not waited for, nor are coroutines from their loop's thread.
        """
        with self._ended:
            self._ended.wait_for(
                lambda: not any(map(self._is_awaited, self._worker.runs)), timeout_s
            )
        self._wound_up = True
        try:
            self._write_and_leave()
        finally:
            self.rested = _nothing

    def _write_and_leave(self) -> None:
        try:
            self._worker.turn(0)
            self._worker.leave()
        finally:
            left = any(run.is_async and not run.is_over for run in self._worker.runs)
            if self._coroutines is not None and not left:
                self._coroutines.close()

    def _is_awaited(self, run: Run) -> bool:
        if run.is_over or run is CURRENT.get():
            return False
        return not (run.is_async and self._is_on_loop)


def _nothing() -> None:
    """Nobody waits."""
