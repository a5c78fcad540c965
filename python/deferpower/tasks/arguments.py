"""Whether a function can be called with what it is given: a mistake shows where it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deferpower.errors import TaskError

_IN_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Arguments:
    """What a function takes."""

    def __init__(self, function: Callable[..., Any], given: Sequence[Any]) -> None:
        """Look at a function.

        Args:
            function: one that tells nothing of itself, such as some of C, takes anything.
            given: what it gets before its arguments, such as a context.
        """
        self._given = tuple(given)
        self._signature: inspect.Signature | None = None
        self._fitting = range(0)
        try:
            self._signature = inspect.signature(function)
        except (TypeError, ValueError):
            return
        parameters = self._signature.parameters.values()
        in_place = [p for p in parameters if p.kind in _IN_PLACE]
        if all(p.kind in _IN_PLACE for p in parameters):
            needed = sum(p.default is inspect.Parameter.empty for p in in_place)
            skipped = len(self._given)
            self._fitting = range(max(needed - skipped, 0), len(in_place) - skipped + 1)

    def check(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Whether it can be called so.

        Raises:
            TaskError: it cannot.

        Cost: 0.1 us for arguments by their places, 3 us by their names.
        """
        if self._signature is None or (not kwargs and len(args) in self._fitting):
            return
        try:
            self._signature.bind(*self._given, *args, **kwargs)
        except TypeError as error:
            taken = self._taken(self._signature)
            raise TaskError(
                f"task {name}: it cannot be called so: {error}; it takes {taken}"
            ) from None

    def _taken(self, signature: inspect.Signature) -> str:
        """What it takes in words, without types and what it gets anyway."""
        empty = inspect.Parameter.empty
        named = [p.replace(annotation=empty) for p in signature.parameters.values()]
        return str(inspect.Signature(named[len(self._given) :]))
