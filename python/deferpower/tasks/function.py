"""Functions that can be deferred: `TaskFunction` is what ``@manager.task`` makes of one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar

from deferpower.constraints import Constraints
from deferpower.errors import ConfigError
from deferpower.task import TaskClass, Verdict
from deferpower.tasks.handle import Handle
from deferpower.tasks.spec import COMMAND, Priority, Spec

P = ParamSpec("P")
R = TypeVar("R")


class TaskOptions(TypedDict, total=False):
    """How the tasks of a function are run. What is left out keeps its default.

    Attributes:
        name: what waiting tasks find the function by; else its own. Keep it when the function is
            renamed: what waits would no longer find it.
        deadline_s: life of its tasks in seconds; no end unless given.
        pass_context: give it a `Context` as its first argument (no).
        description: one line in plain words; else the first line of its docstring.
        type: kind of work, which may tell the class.
        task_class: how it is treated when power is scarce; else the classifier tells.
        constraints: what must hold.
        prefer: what is waited for, but not for ever.
        priority: which of several goes first: ``"high"``, ``"normal"`` or ``"low"``.
        on_deadline: ``"run"`` at the deadline whatever holds, or ``"expire"``.
        override: a verdict that always wins.
        max_attempts: runs that may fail before it has failed for good (5).
        backoff_s: longest wait before the second attempt (30), doubled for each further one,
        backoff_cap_s: up to this (18000).
        timeout_s: seconds after which a run is told to stop, and counts as failed if it does.
        at_most_once: never run a second time, even if the first one's end is unknown (no).
        every_s: run again in each period of this length.
        flex_s: the last part of each period, in which it may start; else all of it.
    """

    name: str | None
    deadline_s: float | None
    pass_context: bool
    description: str
    type: str
    task_class: TaskClass | str | None
    constraints: Constraints
    prefer: Constraints
    priority: Priority
    on_deadline: Literal["run", "expire"]
    override: Verdict | str | None
    max_attempts: int
    backoff_s: float
    backoff_cap_s: float
    timeout_s: float | None
    at_most_once: bool
    every_s: float | None
    flex_s: float | None


class Manager(Protocol):
    """Where a deferred call goes: a `BackgroundTaskManager`, which documents each."""

    def submit(self, *args: Any, **kwargs: Any) -> Handle: ...  # noqa: D102
    async def submit_async(self, *args: Any, **kwargs: Any) -> Handle: ...  # noqa: D102
    def submit_many(self, *args: Any, **kwargs: Any) -> list[Handle]: ...  # noqa: D102
    async def submit_many_async(self, *args: Any, **kwargs: Any) -> list[Handle]: ...  # noqa: D102


class TaskFunction(Generic[P, R]):
    """A function that can be called at once, or deferred.

    Attributes:
        name: the name under which waiting tasks find it.
        function: the function itself.
        spec: how its tasks are run.
        once: the same for a run that is asked for by hand, beside those of a periodic function.
        deadline_s: their life in seconds; ``None`` for no end.
        pass_context: whether it is given a `Context` as its first argument.
        is_async: whether it is a coroutine function.
    """

    def __init__(
        self,
        manager: Manager,
        function: Callable[..., Any],
        spec: Spec,
        *,
        deadline_s: float | None,
        pass_context: bool,
        call_options: dict[str, Any] | None = None,
    ) -> None:
        self.name = spec.name
        self.function = function
        self.spec = spec
        self.once = spec if spec.every_s is None else spec.without_period()
        self.deadline_s = deadline_s
        self.pass_context = pass_context
        self.is_async = inspect.iscoroutinefunction(function)
        self._manager = manager
        self._call_options = call_options or {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns, called now as if it were not a task. Arguments are its own."""
        result: R = self.function(*args, **kwargs)
        return result

    def defer(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Have it run when its moment comes; durable when this returns.

        Args:
            args: what it is called with,
            kwargs: likewise.

        Returns:
            A handle on the task.

        Raises:
            TaskError: an argument is nothing that JSON can hold.
            QueueFull: there is no room.
            StoreError: the file cannot be written.
        """
        return self._manager.submit(self, args, kwargs, **self._call_options)

    async def defer_async(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """As `defer`, without holding up the event loop while it is written."""
        return await self._manager.submit_async(self, args, kwargs, **self._call_options)

    def defer_many(self, calls: Iterable[Sequence[Any]]) -> list[Handle]:
        """Have it run once for each list of arguments; all are written in one commit.

        Args:
            calls: positional arguments of each.

        Returns:
            A handle on each, in order.

        Raises:
            TaskError, QueueFull, StoreError: as for `defer`; then none was added.
        """
        return self._manager.submit_many(self, calls, **self._call_options)

    async def defer_many_async(self, calls: Iterable[Sequence[Any]]) -> list[Handle]:
        """As `defer_many`, without holding up the event loop while they are written."""
        return await self._manager.submit_many_async(self, calls, **self._call_options)

    def options(
        self,
        **call_options: Any,
    ) -> TaskFunction[P, R]:
        """This function, deferred with options of `BackgroundTaskManager.submit`.

        ``reindex.options(delay_s=60, key="notes").defer("/notes")``

        Args:
            call_options: such as ``delay_s``, ``key`` or ``after``.
        """
        return TaskFunction(
            self._manager,
            self.function,
            self.spec,
            deadline_s=self.deadline_s,
            pass_context=self.pass_context,
            call_options={**self._call_options, **call_options},
        )


class Registry:
    """Functions by name."""

    def __init__(self) -> None:
        self._functions: dict[str, TaskFunction[..., Any]] = {}

    def add(self, function: TaskFunction[..., Any]) -> None:
        """Take in a function.

        Raises:
            ConfigError: its name is taken by another one.
        """
        name = function.name
        if name == COMMAND:
            raise ConfigError(f"task: the name {name!r} is kept for commands; choose another")
        known = self._functions.get(name)
        if known is not None:
            raise ConfigError(
                f"task: the name {name!r} is taken by {_place(known)}; "
                f"give {_place(function)} another with name=..."
            )
        self._functions[name] = function

    def get(self, name: str) -> TaskFunction[..., Any] | None:
        """The function of a name."""
        return self._functions.get(name)

    def __getitem__(self, name: str) -> TaskFunction[..., Any]:
        return self._functions[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._functions)


def _place(function: TaskFunction[..., Any]) -> str:
    found = function.function
    code = getattr(found, "__code__", None)
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    return f"{getattr(found, '__qualname__', repr(found))}{where}"
