"""`BackgroundTaskManager`: defer functions until the device can spare it.

What not every program uses (asyncio, executors, commands) is imported late: asyncio alone takes
50 ms and 10 MiB.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from deferpower.errors import ConfigError, TaskError
from deferpower.policy import Policy
from deferpower.store.records import DamagedError
from deferpower.task import Task
from deferpower.tasks.asking import Asking
from deferpower.tasks.calls import Calls
from deferpower.tasks.crew import Crew
from deferpower.tasks.events import Events
from deferpower.tasks.exits import stop_at_exit
from deferpower.tasks.function import Registry, TaskFunction, TaskOptions
from deferpower.tasks.handle import Handle
from deferpower.tasks.intake import Added, Intake, OnConflict, moment
from deferpower.tasks.pace import Pace
from deferpower.tasks.queue import Queue
from deferpower.tasks.record import TaskRecord
from deferpower.tasks.runner import Runner
from deferpower.tasks.spec import COMMAND
from deferpower.tasks.waiters import Waiters
from deferpower.tasks.worker import Worker
from deferpower.thresholds import is_number
from deferpower.uncut import uncut

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from deferpower.device import Device
    from deferpower.store.database import Durability
    from deferpower.tasks.commands import Commands

R = TypeVar("R")


class BackgroundTaskManager(Asking):
    """A queue of tasks that run when the device can spare it.

    With a path, tasks outlive the program, and several programs may share them. May be shared by
    threads; after a fork the child goes on with the same file, without running tasks itself until
    it calls `start`.

    ``with tasks:`` runs them while the block lasts. It may be entered again, and outside of it
    tasks can be deferred and asked about all the same, until the manager is closed. One that is no
    longer used closes its file by itself.

    Attributes:
        device: the machine that is watched.
        policy: where all lines are drawn.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        device: Device | None = None,
        policy: Policy | None = None,
        executor: Executor | None = None,
        durability: Durability = "full",
        max_queued: int = 1_000_000,
        max_workers: int | None = None,
        retention_s: float = 86_400.0,
        predicates: Mapping[str, Callable[..., bool]] | None = None,
    ) -> None:
        """Open a queue; nothing runs before `start`.

        Args:
            path: SQLite file, made if it is not there; ``None`` keeps tasks in memory.
            device: where readings and clocks come from; ``None`` makes one by the policy.
            policy: ``None`` takes the defaults.
            executor: where functions run; ``None`` for threads of this process, as many as the
                battery-aware profile allows. One that is no ``ThreadPoolExecutor`` gets functions
                by the names of their modules, and text. It stays the program's own to shut down.
            durability: ``"full"`` survives a loss of power, ``"process"`` the death of any process.
            max_queued: tasks that may wait or run at once.
            max_workers: tasks that may run at once; ``None`` leaves it to the executor's own
                number of workers, or else to the profile.
            retention_s: how long tasks are kept when they have ended.
            predicates: the program's own conditions by name, for ``Constraints(custom=...)``. Each
                is given a `Reading`, and says whether it holds.

        Raises:
            ConfigError: a value cannot be used.
            StoreError: the file cannot be used.
        """
        for name, value in (("max_queued", max_queued), ("max_workers", max_workers)):
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}: {value!r} is no whole number of at least 1")
        if not is_number(retention_s) or retention_s < 0:
            raise ConfigError(f"retention_s: {retention_s!r} is no number of seconds of at least 0")
        if durability not in ("full", "process"):
            raise ConfigError(f"durability: {durability!r} is neither 'full' nor 'process'")
        self.policy = policy or Policy()
        self.device = device or self.policy.device()
        backend = self.device.backend_name
        self._classifier = self.policy.classifier(backend)
        self._scheduler = self.policy.scheduler(
            self.device, classifier=self._classifier, predicates=predicates
        )
        self._executor = executor
        self._pace = Pace(
            self.device,
            self.policy.processor(self._classifier),
            max_workers or getattr(executor, "_max_workers", None),
        )
        self._retention_s = retention_s
        self._registry = Registry()
        self._queue = Queue(path, self._scheduler, self.device, durability=durability)
        self._waiters = Waiters(self._queue.database, self._scheduler.open_watch)
        self._events = Events(self.device.wall_clock, self._waiters.release)
        self._intake = Intake(self._queue, max_queued)
        self._calls = Calls(self._registry, self._classifier, self.device.wall_clock)
        self._periodic: list[TaskFunction[..., Any]] = []
        self._crews: dict[int, Crew] = {}

    @overload
    def task(
        self, function: Callable[..., R], /, **options: Unpack[TaskOptions]
    ) -> TaskFunction[..., R]: ...
    @overload
    def task(
        self, function: None = None, /, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[..., R]], TaskFunction[..., R]]: ...
    def task(
        self, function: Callable[..., R] | None = None, /, **options: Unpack[TaskOptions]
    ) -> TaskFunction[..., R] | Callable[[Callable[..., R]], TaskFunction[..., R]]:
        """Make a function one that can be deferred: ``@manager.task`` or ``@manager.task(...)``.

        Args:
            function: the function, or coroutine function.
            options: see `TaskOptions`.

        Returns:
            The function, which can be called as before, or deferred; without a ``function``, what
            makes one of it.

        Raises:
            ConfigError: the name is taken.
            TaskError: an option cannot be used, or the function has no name of its own, as a
                lambda has none.
        """

        def decorate(wrapped: Callable[..., R]) -> TaskFunction[..., R]:
            if not callable(wrapped):
                raise TaskError(f"task: {wrapped!r} cannot be called")
            given: dict[str, Any] = {**options}
            name = given.pop("name", None)
            name = _name_of(wrapped) if name is None else name
            deadline_s = moment("deadline_s", given.pop("deadline_s", None))
            pass_context = given.pop("pass_context", False)
            given.setdefault("description", (wrapped.__doc__ or "").strip().partition("\n")[0])
            made: TaskFunction[..., R] = TaskFunction(
                self,
                wrapped,
                self._calls.spec(name, **given),
                deadline_s=deadline_s,
                pass_context=pass_context,
            )
            self._registry.add(made)
            if made.spec.every_s is not None:
                self._periodic.append(made)
                if self._worker is not None:
                    self._begin_periodic()
            self._wake()
            return made

        return decorate if function is None else decorate(function)

    def submit(
        self,
        function: TaskFunction[..., Any] | str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay_s: float = 0.0,
        not_before_s: float | None = None,
        deadline_s: float | None = None,
        key: str | None = None,
        on_conflict: OnConflict = "keep",
        after: Iterable[Handle | int] | Handle | int = (),
        metadata: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Handle:
        """Have a function run when its moment comes; durable when this returns.

        Args:
            function: what ``@manager.task`` made, or the name of one that another program
                registers.
            args: positional arguments, as JSON can hold them.
            kwargs: and named ones.
            delay_s: not before so many seconds from now,
            not_before_s: or before this moment, seconds since the epoch.
            deadline_s: life in seconds from now; ``None`` takes the function's.
            key: of all tasks with the same key only one waits or runs.
            on_conflict: when there is one with this key: ``"keep"`` it, ``"replace"`` it, or
                ``"append"``, to run after it.
            after: tasks that must succeed first.
            metadata: the program's own, kept with the task.
            changes: options of ``task`` for this one alone, such as ``priority`` or
                ``constraints``.

        Returns:
            A handle on the task, or with ``on_conflict="keep"`` on the one that was
            there.

        Raises:
            TaskError: an argument or an option cannot be used.
            QueueFull: there is no room.
            StoreError: the file cannot be written.
        """
        call = self._calls.call(
            function,
            args,
            kwargs or {},
            (delay_s, not_before_s, deadline_s, key, on_conflict, after, metadata),
            changes,
        )
        added = self._intake.add(call, self.device.wall_clock())
        self._tell_added(added, call.spec.name)
        return Handle(self, added.ids[0])

    def submit_command(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Handle:
        """Have a command run when its moment comes; durable when this returns.

        It is frozen (SIGSTOP to its process group) while its conditions do not hold, unless
        ``pauses=False``. Status 0 is success, ``{"exit_status": 0}`` its result; any other is a
        failure, and final unless ``max_attempts`` allows more runs. What it writes to standard
        output and standard error is kept (`logs`); standard input is empty.

        Args:
            argv: program and arguments; no shell is between.
            cwd: working directory, seen from that of this process; ``None`` for this one.
            env: what is added to the environment of the process that runs it.
            options: as for `submit`, and those of `task`. Unless told otherwise it is of class
                ``background``, and runs once (``max_attempts=1``).

        Returns:
            A handle on the task.

        Raises:
            TaskError: an argument or an option cannot be used.
            QueueFull, StoreError: as for `submit`.
        """
        from deferpower.tasks.commands import command_payload

        text = command_payload(argv, "." if cwd is None else cwd, env or {})
        call = self._calls.command(text, options)
        added = self._intake.add(call, self.device.wall_clock())
        self._tell_added(added, COMMAND)
        return Handle(self, added.ids[0])

    def submit_many(
        self,
        function: TaskFunction[..., Any] | str,
        calls: Iterable[Sequence[Any]],
        **options: Any,
    ) -> list[Handle]:
        """Have a function run once for each list of arguments; all are written in one commit.

        Args:
            function: as for `submit`.
            calls: positional arguments of each.
            options: as for `submit`; they hold for all.

        Returns:
            A handle on each, in order.

        Raises:
            TaskError, QueueFull, StoreError: as for `submit`; then none was added.
        """
        call = self._calls.many(function, options)
        name = call.spec.name
        payloads = [self._calls.payload(function, name, args, {}) for args in calls]
        if not payloads:
            return []
        added = self._intake.add_alike(call, payloads, self.device.wall_clock())
        self._tell_added(added, name)
        return [Handle(self, task_id) for task_id in added.ids]

    def _tell_added(self, added: Added, name: str) -> None:
        if self._events.are_told:
            for task_id in added.ids:
                self._events.emit("submitted", task_id, name)
        for task_id in added.cancelled:
            self._tell_end("cancelled", task_id)
        for task_id in added.failed:
            self._tell_end("failed", task_id)
        if self._queue.database.wal_path is None:
            self._wake()  # a file rings by itself when it is written to

    def start(self) -> None:
        """Run tasks on a quiet thread, as their moments come, until `stop`.

        It ends by itself when the program does: tasks are told to stop then, as by `stop`.
        """
        self._start(self._crew())

    def _start(self, crew: Crew) -> None:
        from deferpower.tasks.service import Service

        crew.start(
            lambda: Service(
                crew.worker, crew.runner, self._queue, self.device, self._scheduler, self.prune
            ),
            self._begin_periodic,
        )

    def stop(self, timeout_s: float | None = 15.0) -> None:
        """Begin nothing more, tell what runs to stop, and wait for it. May be called by a task.

        Coroutines are cancelled. What stops before it is done runs again after the next `start`,
        and its attempt does not count.

        Args:
            timeout_s: how long; ``None`` for as long as it takes. A command is killed when it has
                not ended 10 s after SIGTERM. A function that still runs when the time is over
                holds its place until it ends, or this process does; then it runs again.
        """
        # Those of a parent that forked this process stay the parent's.
        crew = self._crews.pop(os.getpid(), None)
        if crew is not None:
            crew.stop(timeout_s)
            self._queue.foresight.close()

    def close(self) -> None:
        """Stop, and close the file. What waits stays there; what was in memory is gone."""
        self.stop()
        self._queue.database.close()
        self._waiters.release_all()

    def __enter__(self) -> BackgroundTaskManager:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> BackgroundTaskManager:
        """Start; coroutine functions run on this event loop, with the context variables of now."""
        import asyncio

        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def start() -> None:
            crew = self._crew()
            crew.runner.use_loop(loop, context)
            self._start(crew)

        try:
            await uncut(asyncio.to_thread(start))
        except asyncio.CancelledError:
            await self.__aexit__(None, None, None)  # nobody else will
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, without holding up the loop. One cancellation does not cut it short."""
        import asyncio

        await uncut(asyncio.to_thread(self.stop))

    async def submit_async(self, *args: Any, **kwargs: Any) -> Handle:
        """As `submit`, without holding up the event loop while it is written."""
        import asyncio

        return await asyncio.to_thread(self.submit, *args, **kwargs)

    async def submit_many_async(self, *args: Any, **kwargs: Any) -> list[Handle]:
        """As `submit_many`, without holding up the event loop while they are written."""
        import asyncio

        return await asyncio.to_thread(self.submit_many, *args, **kwargs)

    def defer_non_critical(
        self, task: Task | Mapping[str, Any], args: Sequence[Any] = ()
    ) -> Handle:
        """Run a described task now if the device can spare it, else have it wait.

        Args:
            task: a `Task`, or a mapping with the names of its attributes. The function is found by
                ``name`` or else by ``type``; ``args`` and ``kwargs`` are what it is called with.
            args: positional arguments, for a `Task`.

        Returns:
            The task: ended, if it could run now; else waiting. Critical tasks always run now.

        Raises:
            TaskError: it is described wrongly, or says neither name nor type.
        """
        known = Task.of(task)
        given: Mapping[str, Any] = task if isinstance(task, Mapping) else {}
        name = given.get("name") or known.type
        if not name:
            raise TaskError(
                "task: it has neither name nor type, so its function cannot be found; "
                "add the name of a registered function"
            )
        task_class = known.task_class or self._classifier.classify_task(task).task_class
        handle = self.submit(
            name,
            given.get("args", args),
            given.get("kwargs"),
            deadline_s=known.deadline_s,
            type=known.type,
            description=known.description,
            priority=known.priority,
            task_class=task_class,
            constraints=known.constraints,
            prefer=known.prefer,
            on_deadline=known.on_deadline,
            override=known.override,
        )
        if not self._is_started:
            self._run_here(1, handle.id)
        return handle

    def process_background_tasks(self, limit: int | None = None) -> list[TaskRecord]:
        """Run what may start now, in this thread; for programs that have no worker running.

        Args:
            limit: most tasks to run; ``None`` takes ``max_background_batch``.

        Returns:
            The tasks that ran, as they stand afterwards.
        """
        most = self._scheduler.thresholds.max_background_batch if limit is None else limit
        return [self.get(task_id) for task_id in self._run_here(most)]

    def _run_here(self, most: int, only: int | None = None) -> list[int]:
        """Run up to so many tasks in this thread; their ids."""
        crew = self._crew()
        self._begin_periodic()
        return crew.run_here(most, only)

    def _crew(self) -> Crew:
        """Who runs tasks in this process."""
        pid = os.getpid()
        crew = self._crews.get(pid)
        if crew is not None:
            return crew
        worker = Worker(
            self._queue,
            self._registry,
            self.device,
            self._scheduler,
            self._events,
            self._pace.slots,
            in_threads=self._executor is None,
        )

        def commands() -> Commands:
            from deferpower.tasks.commands import Commands

            return Commands(self._queue.database, worker.id, self.device, self._pace.profile)

        made = Crew(worker, Runner(worker, self.device, self._events, self._executor, commands))
        crew = self._crews.setdefault(pid, made)
        if crew is made:
            stop_at_exit(self)
        else:
            worker.leave()  # another thread was faster
        return crew

    def _wake(self) -> None:
        crew = self._crews.get(os.getpid())
        if crew is not None and (service := crew.service) is not None:
            service.wake()

    def _giving_way(self, awaited: int) -> contextlib.AbstractContextManager[None]:
        crew = self._crews.get(os.getpid())
        return contextlib.nullcontext() if crew is None else crew.runner.giving_way(awaited)

    def _begin_periodic(self) -> None:
        """Have periodic functions run that were not seen to before."""
        while last := self._periodic[-1:]:
            (function,) = last
            try:
                added = self._intake.add_periodic(
                    function.spec, function.deadline_s, self.device.wall_clock()
                )
            except DamagedError as error:
                self._crew().worker.mend(error)
                continue
            if added is not None:
                self._tell_added(added, function.name)
            # Another thread may have registered one since, or have seen to this one as well.
            with contextlib.suppress(ValueError):
                self._periodic.remove(function)

    @property
    def _worker(self) -> Worker | None:
        crew = self._crews.get(os.getpid())
        return None if crew is None else crew.worker

    @property
    def _is_started(self) -> bool:
        crew = self._crews.get(os.getpid())
        return crew is not None and crew.service is not None


def _name_of(function: Callable[..., Any]) -> str:
    """The name that waiting tasks can find a function by, also after a restart."""
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise TaskError(
            f"task: {function!r} has no name that its tasks could be found by; "
            "give it one with name=..."
        )
    return str(name)
