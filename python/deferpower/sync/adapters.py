"""A target from what a program has at hand: a function, a coroutine function, a URL."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from deferpower.errors import ConfigError
from deferpower.sync.loop import OwnLoop
from deferpower.sync.target import (
    BatchRefused,
    ItemRefused,
    Outcome,
    SyncItem,
    Target,
    TargetUnavailable,
    checked_limits,
)

AnyTarget: TypeAlias = Target | Callable[[Any], Any] | str
"""A target, a function of one item's data, or a URL."""

_ITEMS_AT_ONCE = 32  # for a function of one item: what it did is noted that often at least
_OUT_OF_REACH = (TargetUnavailable, ConnectionError, TimeoutError)


def as_target(value: AnyTarget) -> Target:
    """The target that a value stands for: itself, a `CallableTarget`, or the one of a URL.

    Args:
        value: a function of one item's data, a URL, or a target.

    Raises:
        ConfigError: it stands for none.
    """
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        if value.partition(":")[0].lower() in ("http", "https"):
            from deferpower.sync.http import HttpTarget

            return HttpTarget(value)
        from deferpower.sync.objects import ObjectTarget

        return ObjectTarget(value)
    if callable(value):
        return CallableTarget(value)
    raise ConfigError(f"a sync target is a callable, a URL or a Target, not {value!r}")


class CallableTarget:
    """Hands items to a function or a coroutine function of the program.

    It is called with one item's data (a JSON value, or bytes) or, with ``max_items`` given, with
    a list of them. What it returns is the result; with a list, one `Outcome` each may be
    returned instead. An exception is a failure of that item, which will be tried again:

    - `ItemRefused` refuses the item for good;
    - `TargetUnavailable`, `ConnectionError` and `TimeoutError` say that nothing can be sent now;
    - of a list, any other exception has it tried again in halves, so that the item to blame is
      found. What the function did before it raised will then be asked for a second time.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        max_items: int | None = None,
        max_bytes: int = 1 << 20,
    ) -> None:
        """Adapt a function.

        Args:
            function: plain or ``async def``; a plain one is called in a thread by `send_async`.
            max_items: hand it lists of up to this many; None: one item, not in a list.
            max_bytes: of the contents of a list together.

        Raises:
            ConfigError: it cannot be called, or a limit is no whole number of at least
                1.
        """
        if not callable(function):
            raise ConfigError(f"a sync target must be callable, not {function!r}")
        self.limits = checked_limits(_ITEMS_AT_ONCE if max_items is None else max_items, max_bytes)
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self._function = function
        self._takes_lists = max_items is not None
        call = getattr(function, "__call__", None)  # noqa: B004  an instance may be async itself
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        self._loop = OwnLoop()

    def __repr__(self) -> str:
        return f"CallableTarget({self.name})"

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item. See `Target.send`."""
        if self._is_async:
            return self._loop.run(self.send_async(items))
        if self._takes_lists:
            try:
                return self._answer(self._function([item.data for item in items]), len(items))
            except Exception as error:
                return _of_list(error, len(items))
        outcomes: list[Outcome] = []
        for item in items:
            try:
                outcomes.append(_delivered(self._function(item.data)))
            except _OUT_OF_REACH as error:
                return _cut_off(outcomes, error, len(items))
            except Exception as error:
                outcomes.append(_failed(error))
        return outcomes

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item. See `Target.send_async`."""
        if not self._is_async:
            return await asyncio.to_thread(self.send, items)
        if self._takes_lists:
            try:
                result = await self._function([item.data for item in items])
                return self._answer(result, len(items))
            except Exception as error:
                return _of_list(error, len(items))
        outcomes: list[Outcome] = []
        for item in items:
            try:
                outcomes.append(_delivered(await self._function(item.data)))
            except _OUT_OF_REACH as error:
                return _cut_off(outcomes, error, len(items))
            except Exception as error:
                outcomes.append(_failed(error))
        return outcomes

    def _answer(self, result: Any, count: int) -> Sequence[Outcome]:
        """The outcomes that a function of lists returned, or its result for each item."""
        if isinstance(result, list | tuple) and any(isinstance(one, Outcome) for one in result):
            return result
        return [Outcome("delivered", result=result)] * count

    def close(self) -> None:
        """End the event loop that an async function was run on."""
        self._loop.close()

    async def close_async(self) -> None:
        """As `close`."""
        await asyncio.to_thread(self.close)


def _delivered(result: Any) -> Outcome:
    return result if isinstance(result, Outcome) else Outcome("delivered", result=result)


def _failed(error: Exception) -> Outcome:
    if isinstance(error, ItemRefused):
        return Outcome("refused", str(error))
    return Outcome("later", _said(error))


def _of_list(error: Exception, count: int) -> list[Outcome]:
    if isinstance(error, _OUT_OF_REACH):
        raise _unavailable(error) from error
    if count > 1:
        raise BatchRefused(_said(error)) from error
    return [_failed(error)]


def _cut_off(outcomes: list[Outcome], error: Exception, count: int) -> list[Outcome]:
    """What was delivered before the target went away is known and must not be lost."""
    unavailable = _unavailable(error)
    if not outcomes:
        raise unavailable from error
    later = Outcome("later", str(unavailable), unavailable.retry_after_s)
    return outcomes + [later] * (count - len(outcomes))


def _unavailable(error: Exception) -> TargetUnavailable:
    if isinstance(error, TargetUnavailable):
        return error
    return TargetUnavailable(_said(error), maybe_delivered=True)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
