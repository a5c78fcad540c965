"""Asking about tasks, waiting for them, and changing their fate: one half of a manager."""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from deferpower.errors import ConfigError
from deferpower.store import owner, workers
from deferpower.store import tasks as rows
from deferpower.store.records import decoded
from deferpower.task import TaskClass
from deferpower.tasks.handle import Handle
from deferpower.tasks.intake import moment
from deferpower.tasks.overview import Overview, overview
from deferpower.tasks.record import Failure, TaskFailed, TaskRecord, TaskState
from deferpower.tasks.spec import COMMAND
from deferpower.tasks.why import Why, explain

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.predictor import HourForecast
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.store.workers import Owner
    from deferpower.tasks.events import Event, EventKind, Events
    from deferpower.tasks.function import Registry
    from deferpower.tasks.intake import Intake
    from deferpower.tasks.queue import Queue
    from deferpower.tasks.waiters import Waiters
    from deferpower.tasks.worker import Worker
    from deferpower.traces import Slot

_log = logging.getLogger("deferpower.tasks")

_POLL_S = 0.25


class Asking(ABC):
    """What `BackgroundTaskManager` answers about its tasks."""

    device: Device
    _queue: Queue
    _intake: Intake
    _registry: Registry
    _scheduler: IntelligentScheduler
    _events: Events
    _waiters: Waiters
    _retention_s: float

    @property
    @abstractmethod
    def _worker(self) -> Worker | None:
        """Who runs tasks in this process, if anybody has yet."""

    @property
    @abstractmethod
    def _is_started(self) -> bool:
        """Whether it runs them by itself, as their moments come."""

    @abstractmethod
    def _wake(self) -> None:
        """Have it look at the queue again, if it runs them by itself."""

    @abstractmethod
    def _giving_way(self, awaited: int) -> contextlib.AbstractContextManager[None]:
        """For as long as a task that runs here waits for another one."""

    def _queue_of(self, *classes: TaskClass) -> list[TaskRecord]:
        states = (TaskState.ENQUEUED, TaskState.BLOCKED)
        return [r for r in self.list(states=states) if r.spec.task_class in classes]

    @property
    def critical_tasks(self) -> list[TaskRecord]:
        """Critical tasks that wait, newest first."""
        return self._queue_of(TaskClass.CRITICAL)

    @property
    def background_tasks(self) -> list[TaskRecord]:
        """Background and normal tasks that wait, newest first."""
        return self._queue_of(TaskClass.BACKGROUND, TaskClass.NORMAL)

    @property
    def charging_only_tasks(self) -> list[TaskRecord]:
        """Tasks that wait for the charger whatever the level, newest first."""
        return self._queue_of(TaskClass.CHARGING_ONLY)

    def get(self, task_id: int) -> TaskRecord:
        """One task.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is none.
        """
        return self._queue.get(task_id)

    def handle(self, task_id: int) -> Handle:
        """A handle on a task by its number, as `submit` gave one.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is none.
        """
        return Handle(self, self.get(task_id).id)

    def list(
        self,
        states: TaskState | str | Iterable[TaskState | str] | None = None,
        *,
        limit: int = 1000,
        before: int | None = None,
    ) -> list[TaskRecord]:
        """Tasks, the newest first.

        Args:
            states: only those in this one, or in these; ``None`` for all.
            limit: at most so many.
            before: only those with a smaller number; to go on where the last list ended.

        Raises:
            ConfigError: a state is unknown, or the limit is no whole number of 0 or more.
            TaskError: the number that they come before is none.
        """
        if isinstance(states, str):
            states = (states,)
        wanted = None if states is None else [_state(state) for state in states]
        return self._queue.list(wanted, limit, before)

    def why(self, task_id: int, *, for_others: bool = False) -> Why:
        """Why a task waits, or what became of it.

        Args:
            task_id: which one.
            for_others: other programs run the tasks, and their functions are not known here.

        Raises:
            TaskError: there is none.
        """
        record = self.get(task_id)
        return explain(
            record,
            self._queue,
            self._scheduler,
            self.device.read(),
            self.device.wall_clock(),
            knows_function=None if for_others else self._knows(record.name),
            crew=self._worker if self._is_started and not for_others else None,
            workers=_pids(self._worker_processes() - {owner.this_process()}),
        )

    def cancel(self, task_id: int) -> TaskState:
        """Cancel a task that waits, or ask a running one to stop.

        Args:
            task_id: its number.

        Returns:
            Its state before; one that had ended stays as it is.

        Raises:
            TaskError: there is none.
        """
        state, failed = self._queue.cancel(task_id, self.device.wall_clock())
        if not state.has_ended and state is not TaskState.RUNNING:
            self._tell_end("cancelled", task_id)
        for other in failed:
            self._tell_end("failed", other)
        self._wake()
        return state

    def _tell_end(self, kind: EventKind, task_id: int) -> None:
        self._events.emit(kind, task_id)
        self._events.release(task_id)

    def retry(self, task_id: int) -> None:
        """Have a task that failed, expired or was cancelled wait again, its attempts forgotten.

        So does what it comes after, if that failed or expired, and what failed for having waited
        for it. One before it that failed and may run at most once is not run again, and no longer
        waited for. It begins from its checkpoint. One that waits or runs is left as it is.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is none, or it succeeded, or it comes after one that was cancelled, or
                another task holds its key now.
        """
        self._intake.retry(task_id, self.device.wall_clock())
        self._wake()

    def logs(self, task_id: int) -> bytes:
        """What a command has written so far, in all its runs.

        Of a long one the beginning and the end: 256 and 768 KiB. A line in between says how much
        was left out.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is no such task.
        """
        return self._queue.log(task_id)[0]

    def follow_logs(self, task_id: int) -> Iterator[bytes]:
        """What a command has written, and what it goes on to write, until it has ended.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is no such task.
        """
        place = 0
        while True:
            ended = self.get(task_id).state.has_ended
            data, place = self._queue.log(task_id, place)
            if data:
                yield data
            if ended:
                break
            time.sleep(_POLL_S)

    def prune(self, older_than_s: float | None = None) -> int:
        """Delete tasks that ended longer ago than this.

        Args:
            older_than_s: seconds; ``None`` takes ``retention_s``.

        Returns:
            How many.
        """
        age_s = self._retention_s if older_than_s is None else moment("older_than_s", older_than_s)
        return self._queue.prune(self.device.wall_clock() - (age_s or 0.0))

    def forecast(self, hours: int = 24) -> tuple[HourForecast, ...]:
        """When the device will probably be idle, charging, or both, as far as its history tells.

        Args:
            hours: how many, 1-168, from the next full local hour on.

        Raises:
            ConfigError: so many hours cannot be.
        """
        return tuple(self._queue.foresight.forecast(hours))

    def export_history(self) -> tuple[Slot, ...]:
        """What workers of this queue have seen of the device in the last 8 weeks, by slot."""
        return tuple(self._queue.foresight.slots())

    def import_history(self, slots: Iterable[Slot]) -> int:
        """Add to the history of the device what another program recorded of it.

        Of what was observed already the more complete stays.

        Args:
            slots: as `read_trace` gives them, of one device.

        Returns:
            How many were added, those older than 8 weeks left out.

        Raises:
            ConfigError: one lies in the future; then nothing was added.
        """
        return self._queue.foresight.take_over(slots)

    def stats(self) -> dict[TaskState, int]:
        """How many tasks there are in each state."""
        return self._queue.stats()

    def _knows(self, name: str) -> bool:
        return name == COMMAND or self._registry.get(name) is not None

    def overview(self, *, for_others: bool = False) -> Overview:
        """What runs, and what waits for what, by reason. Cost: 0.3 s for a million tasks.

        Args:
            for_others: other programs run the tasks, and their functions are not known here; so
                none counts as missing.
        """
        worker = self._worker
        return overview(
            self._queue,
            self._scheduler,
            self.device.read(),
            self.device.wall_clock(),
            knows_function=lambda name: for_others or self._knows(name),
            worker=None if worker is None else worker.id,
            workers=self.worker_pids(),
        )

    def worker_pids(self) -> tuple[int, ...]:
        """Processes that run tasks of this queue, this one included if it does."""
        return _pids(self._worker_processes())

    def _worker_processes(self) -> set[Owner]:
        found = self._queue.database.read(lambda cursor: workers.others(cursor, workers.NOBODY))
        return {process for process in found.values() if not owner.is_dead(process)}

    @property
    def path(self) -> str | None:
        """The queue's file, absolute; ``None`` in memory."""
        return self._queue.database.path

    def failures(self, task_id: int) -> tuple[Failure, ...]:
        """The attempts of a task that failed, in order.

        Args:
            task_id: its number.

        Raises:
            TaskError: there is no such task.
        """
        self.get(task_id)
        found = self._queue.database.read(lambda cursor: rows.failures(cursor, task_id))
        return tuple(decoded(Failure, row, f"task {task_id}, attempt") for row in found)

    def on_event(self, callback: Callable[[Event], None]) -> Callable[[Event], None]:
        """Have a callback called with each `Event`, in the thread in which it happens.

        What it raises is logged.

        Args:
            callback: is given the event.

        Returns:
            The callback, so that this may be used as a decorator.
        """
        self._events.subscribe(callback)
        return callback

    def result(self, task_id: int, timeout_s: float | None = None) -> Any:
        """The result of a task, once it has ended. Blocks.

        In a task, it gives the task's place to others meanwhile. When no process runs tasks of
        this queue, a warning is logged once as the wait begins.

        Args:
            task_id: its number.
            timeout_s: how long; ``None`` for as long as it takes.

        Raises:
            TaskFailed: it ended without a result.
            TimeoutError: it has not ended in time.
            TaskError: there is none, or a task would wait for itself.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        record = self._awaited(task_id, timeout_s)
        if record.state.has_ended:
            return _result(record)
        news = threading.Event()
        with self._waiters.waiting_for(task_id, news.set), self._giving_way(task_id):
            while not (record := self.get(task_id)).state.has_ended:
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise _late(record, timeout_s)
                news.wait(left_s)
                news.clear()
        return _result(record)

    def _awaited(self, task_id: int, timeout_s: float | None) -> TaskRecord:
        """A task as a wait for it begins."""
        record = self.get(task_id)
        is_asked = record.state.has_ended or timeout_s == 0
        if not (is_asked or self._is_started or self._worker_processes()):
            way = "call start()"
            if record.name == COMMAND and self.path is not None:
                way = f"run: deferpower worker --queue {shlex.quote(self.path)}"
            _log.warning(
                "task %d (%s): waited for, but nobody runs tasks of this queue; %s",
                *(task_id, record.name, way),
            )
        return record

    async def result_async(self, task_id: int, timeout_s: float | None = None) -> Any:
        """As `result`, without holding up the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        until_s = None if timeout_s is None else loop.time() + timeout_s
        record = await asyncio.to_thread(self._awaited, task_id, timeout_s)
        if record.state.has_ended:
            return _result(record)
        news = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # a closed loop waits for nothing
                loop.call_soon_threadsafe(news.set)

        with self._waiters.waiting_for(task_id, tell), self._giving_way(task_id):
            while not (record := await asyncio.to_thread(self.get, task_id)).state.has_ended:
                if until_s is not None and loop.time() >= until_s:
                    raise _late(record, timeout_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until_s):
                        await news.wait()
                news.clear()
        return _result(record)


def _pids(processes: Iterable[Owner]) -> tuple[int, ...]:
    return tuple(sorted({process.pid for process in processes}))


def _state(state: TaskState | str) -> TaskState:
    try:
        return TaskState(state)
    except ValueError:
        raise ConfigError(
            f"state: {state!r} is unknown; known are {', '.join(TaskState)}"
        ) from None


def _late(record: TaskRecord, timeout_s: float | None) -> TimeoutError:
    return TimeoutError(f"task {record.id}: still {record.state} after {timeout_s} s")


def _result(record: TaskRecord) -> Any:
    if record.state is TaskState.SUCCEEDED:
        return record.result
    raise TaskFailed(record)
