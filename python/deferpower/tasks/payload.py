"""Arguments, results and checkpoints as JSON: the only form in which they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deferpower.errors import TaskError

# What holds itself is refused for its depth: looking for it would cost every call.
_encode = json.JSONEncoder(
    allow_nan=False, separators=(",", ":"), ensure_ascii=False, check_circular=False
).encode


def payload(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The arguments of one call.

    Raises:
        TaskError: an argument is nothing that JSON can say; the message names the first one.
    """
    try:
        return _encode((args, kwargs))
    except (TypeError, ValueError, RecursionError, UnicodeError) as error:
        for place, value in [*enumerate(args), *kwargs.items()]:
            complaint = _complaint(value)
            if complaint:
                raise TaskError(
                    f"task {name}: argument {place!r} is nothing that JSON can hold ({complaint}); "
                    "pass text, numbers, lists and dicts, or the path of a file"
                ) from None
        raise TaskError(f"task {name}: arguments cannot be kept as JSON: {error}") from None


def to_json(what: str, value: Any) -> str:
    """A value as JSON.

    Raises:
        TaskError: JSON cannot say it.
    """
    complaint = _complaint(value)
    if complaint:
        raise TaskError(f"{what} is nothing that JSON can hold ({complaint})")
    return _encode(value)


def _complaint(value: Any) -> str | None:
    try:
        _encode(value).encode()
    except RecursionError:
        return "it is nested too deeply or holds itself"
    except UnicodeError:
        return "it holds a lone surrogate, which is no character"
    except (TypeError, ValueError) as error:
        return str(error)
    return None
