"""Where tasks run: threads of this process, its event loop, or an executor of the program's own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from deferpower.errors import DeferpowerError, TaskError
from deferpower.store.turns import Ended
from deferpower.tasks import remote
from deferpower.tasks.runs import Run

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.tasks.commands import Commands
    from deferpower.tasks.events import Events
    from deferpower.tasks.function import TaskFunction
    from deferpower.tasks.worker import Worker

_log = logging.getLogger("deferpower.tasks")

_COMPANY_S = 0.01
"""How long a result may wait for others to be written with it."""


class Runner:
    """Runs what a worker has claimed.

    Threads take one task after the other, and the worker's next turn when there is none left; so
    nothing is handed from thread to thread but the first task after a rest. They end when nothing
    may start any more.

    Attributes:
        loop: where coroutine functions run; ``None`` until one is needed.
        rested: called when a thread has nothing left to do, a task has ended elsewhere, or a
            command was started, frozen or thawed.
    """

    def __init__(
        self,
        worker: Worker,
        device: Device,
        events: Events,
        slots: Callable[[], int],
        executor: Executor | None,
        commands: Commands,
    ) -> None:
        """Nothing runs yet.

        Args:
            worker: where tasks come from.
            device: whose clocks count.
            events: where to tell what happens.
            slots: how many threads may run tasks now.
            executor: where functions run; ``None`` for threads made when they are needed.
            commands: how commands run.
        """
        self.loop: asyncio.AbstractEventLoop | None = None
        self.rested: Callable[[], None] = _nothing
        self._worker = worker
        self._device = device
        self._events = events
        self._slots = slots
        self._executor = executor
        self._commands = commands
        self._threads = 0
        self._lock = threading.Lock()
        self._ended = threading.Condition()
        self._written_s = 0.0
        self._stopping = False

    def start_ready(self) -> None:
        """Have threads begin what was claimed."""
        with self._lock:
            most = self._slots() + self._worker.paused
            wanted = min(most, self._threads + self._worker.ready)
            starting = max(0, wanted - self._threads)
            self._threads += starting
        for _ in range(starting):
            # No daemon: at the end of the program a task that runs may end, too.
            threading.Thread(target=self._run_all, name="deferpower-task").start()

    def _run_all(self) -> None:
        """Run tasks until none may start."""
        try:
            while self._may_begin():
                run = self._worker.next_run()
                if run is not None:
                    self.run(run)
                    if self._device.clock() - self._written_s > _COMPANY_S:
                        self._take_turn()
                elif not self._take_turn() and not self._worker.ready:
                    break
        except DeferpowerError as error:
            _log.error("worker: what has ended is not written yet: %s", error)
        finally:
            with self._lock:
                self._threads -= 1
            self._rest()

    def _may_begin(self) -> bool:
        # The interpreter waits for this thread when the main thread has ended.
        return not self._stopping and threading.main_thread().is_alive()

    def _take_turn(self) -> int:
        claimed = self._worker.turn()
        self._written_s = self._device.clock()
        if claimed > 1:
            self.start_ready()
        return claimed

    def _rest(self) -> None:
        with self._ended:
            self._ended.notify_all()
        self.rested()

    def run_here(self, run: Run) -> None:
        """Run one task to its end, wherever it runs."""
        self.run(run)
        if run.future is not None:
            wait([run.future])

    def run(self, run: Run) -> None:
        """Run one task to its end, or hand it to where it runs."""
        began_s = self._device.clock()
        run.begin(began_s)
        self._events.emit("started", run.id, run.spec.name)
        function = run.function
        if function is None:
            self._worker.note_end(run, self._commands.run(run, lambda: self.rested()))
        elif function.is_async:
            self._run_on_loop(run, function)
        elif self._executor is not None:
            self._run_on_executor(run, function, self._executor)
        else:
            self._worker.note_end(run, self._call(run, function))
            self._worker.adapt(self._device.clock() - began_s)

    def _call(self, run: Run, function: TaskFunction[..., Any]) -> Ended:
        try:
            args, kwargs = run.arguments()
            value = function.function(*args, **kwargs)
        except Exception as error:
            return run.raised(error, self._device.wall_clock())
        except SystemExit as error:
            # It ends a thread without a word, and this one runs other tasks, too.
            return run.failed(f"it called sys.exit({error.code!r})", self._device.wall_clock())
        return run.returned(value, self._device.wall_clock())

    def _run_on_loop(self, run: Run, function: TaskFunction[..., Any]) -> None:
        if self.loop is None or self.loop.is_closed():
            self.loop = _own_loop()
        args, kwargs = run.arguments()
        coroutine = function.function(*args, **kwargs)
        self._follow(run, asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    def _run_on_executor(
        self, run: Run, function: TaskFunction[..., Any], executor: Executor
    ) -> None:
        try:
            if isinstance(executor, ThreadPoolExecutor):
                args, kwargs = run.arguments()
                future = executor.submit(function.function, *args, **kwargs)
            else:
                call, sent = remote.call_for(run, function)
                future = executor.submit(call, *sent)
        except TaskError as error:
            ended = run.failed(str(error), self._device.wall_clock(), for_good=True)
            self._worker.note_end(run, ended)
            return
        self._follow(run, future)

    def _follow(self, run: Run, future: Future[Any]) -> None:
        run.future = future
        future.add_done_callback(lambda done: self._end_elsewhere(run, done))

    def _end_elsewhere(self, run: Run, done: Future[Any]) -> None:
        now_s = self._device.wall_clock()
        if done.cancelled():
            ended = run.stopped(now_s)
        elif (error := done.exception()) is not None:
            ended = run.raised(error, now_s)
        else:
            ended = run.returned(done.result(), now_s)
        self._worker.note_end(run, ended)
        self._rest()

    def stop(self) -> None:
        """Begin nothing more, give back what has not begun, and tell what runs to stop."""
        self._stopping = True
        self._worker.release_ready()
        for run in self._worker.runs:
            run.context.ask_to_stop("the worker is shutting down", final=True)
            if run.future is not None:
                run.future.cancel()

    def wind_up(self, timeout_s: float | None) -> None:
        """Wait for what runs, and write what became of it."""
        with self._ended:
            self._ended.wait_for(self._worker.has_rest, timeout_s)
        self._worker.turn(0)
        self.rested = _nothing


def _nothing() -> None:
    """Nobody waits."""


def _own_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="deferpower-loop", daemon=True).start()
    return loop
