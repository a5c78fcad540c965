"""Calling a task's function in another process, where only its name can be sent."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deferpower.errors import TaskError

if TYPE_CHECKING:
    from deferpower.tasks.function import TaskFunction
    from deferpower.tasks.runs import Run


def call_for(
    run: Run, function: TaskFunction[..., Any]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What to submit to an executor, so that it runs the task's function.

    Raises:
        TaskError: the function cannot be found by its name there.
    """
    if function.pass_context:
        raise TaskError(
            f"task {run.spec.name}: it takes a context, which cannot be sent to another process; "
            "run it on threads, the default executor"
        )
    inner = function.function
    if "<locals>" in inner.__qualname__ or "<lambda>" in inner.__qualname__:
        raise TaskError(
            f"task {run.spec.name}: {inner.__qualname__} is no function of a module, so another "
            "process cannot find it; define it at the top of a module"
        )
    args, kwargs = run.arguments()
    return call, (inner.__module__, inner.__qualname__, args, kwargs)


def call(module: str, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function by the names of its module and itself."""
    from deferpower.tasks.function import TaskFunction

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, TaskFunction):
        found = found.function
    return found(*args, **kwargs)
