"""Calling a task's function in another process, where only its name can be sent.

Nothing but text crosses: arguments and results as JSON, as they are kept. So no result and no
exception can break the executor's own way of carrying them.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from deferpower.errors import TaskError

if TYPE_CHECKING:
    from deferpower.store.turns import Ended
    from deferpower.tasks.function import TaskFunction
    from deferpower.tasks.runs import Run

Answer: TypeAlias = tuple[Literal["returned", "raised", "missing"], str | None, str | None]
"""``returned`` with the result as JSON and what was lost of it, ``raised`` with the traceback, or
``missing`` with why the function was not found there."""


def call_for(run: Run) -> tuple[Callable[..., Answer], tuple[str, ...]]:
    """What to submit to an executor, so that it runs the task's function.

    Raises:
        TaskError: the function cannot be found by its name there.
    """
    function = run.function
    assert function is not None
    if function.pass_context:
        raise TaskError(
            f"task {run.spec.name}: it takes a context, which cannot be sent to another process; "
            "run it on threads, the default executor"
        )
    inner = function.function
    module = getattr(inner, "__module__", None)
    name = getattr(inner, "__qualname__", None)
    if module is None or name is None or not _is_found(function, module, name):
        raise TaskError(
            f"task {run.spec.name}: {name or inner!r} is no function at the top of a module, so "
            "another process cannot find it; define it there"
        )
    # An executor may take equal calls for one: the key and the attempt tell them apart.
    return call, (
        module,
        name,
        run.claimed.payload,
        f"{run.context.idempotency_key}/{run.context.attempt}",
    )


def _is_found(function: TaskFunction[..., Any], module: str, name: str) -> bool:
    try:
        found = _named(sys.modules[module], name)
    except (KeyError, AttributeError):
        return False
    return found is function or found is function.function


def _named(found: Any, name: str) -> Any:
    for part in name.split("."):
        found = getattr(found, part)
    return found


def call(module: str, name: str, payload: str, _key: str) -> Answer:
    """Call a function by the names of its module and itself; in the other process."""
    from deferpower.tasks.function import TaskFunction
    from deferpower.tasks.runs import error_text, is_interrupt, result_text

    try:
        found = _named(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return "missing", f"{module}.{name} is not found where the executor runs it: {error}", None
    try:
        args, kwargs = json.loads(payload)
        function = found.function if isinstance(found, TaskFunction) else found
        value = function(*args, **kwargs)
    except BaseException as error:
        if is_interrupt(error) and isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C, which a terminal sends to all processes in it
        return "raised", error_text(error), None
    return ("returned", *result_text(value))


def ended(run: Run, answer: Answer, now_s: float) -> Ended:
    """What an answer means for the task."""
    kind, text, lost = answer
    if kind == "returned":
        return run.succeeded(text, lost, now_s)
    return run.failed(text or "", now_s, for_good=kind == "missing")
