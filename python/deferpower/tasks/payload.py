"""Arguments, results and checkpoints as JSON: the only form in which they are kept."""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deferpower.errors import TaskError


def _encoding() -> Callable[[Any], str]:
    """What writes a value as JSON."""
    # What holds itself is refused for its depth: looking for it would cost every call.
    encoder = json.JSONEncoder(
        allow_nan=False, separators=(",", ":"), ensure_ascii=False, check_circular=False
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    # ``encode`` makes this anew for each value, which takes longer than to write a few arguments.
    pieces = make(
        None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
    )
    return lambda value: "".join(pieces(value, 0))


_encode = _encoding()
_MOST_NESTED = 200
"""Lists and dicts in one another. Reading runs deeper in the stack than writing does."""


def payload(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The arguments of one call.

    Raises:
        TaskError: an argument is nothing that JSON can say; the message names the first one.
    """
    if type(args) is not tuple and isinstance(args, (str, bytes, Mapping)):
        raise TaskError(f"task {name}: args is {args!r:.80}; give a list of arguments")
    try:
        return _checked(_encode((args, kwargs if type(kwargs) is dict else dict(kwargs))))
    except Exception as error:  # what is given may fail in its own ways
        for place, value in [*enumerate(args), *kwargs.items()]:
            complaint = _complaint(value)
            if complaint:
                raise TaskError(
                    f"task {name}: argument {place!r} is nothing that JSON can hold ({complaint}); "
                    "pass text, numbers, lists and dicts, or the path of a file"
                ) from None
        kind = type(error).__name__
        raise TaskError(f"task {name}: arguments cannot be kept as JSON ({kind})") from None


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
        _checked(_encode(value))
    except RecursionError:
        return "it is nested too deeply or holds itself"
    except UnicodeError:
        return "it holds a lone surrogate, which is no character"
    except (TypeError, ValueError) as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__} when it was looked at"
    return None


def _checked(text: str) -> str:
    """The text, if it can be written to a file and read again.

    Raises:
        RecursionError: it is nested too deeply.
        UnicodeError: it holds what is no character.
    """
    if not text.isascii():
        text.encode()
    if len(text) > 2 * _MOST_NESTED and _depth(text) > _MOST_NESTED:
        raise RecursionError
    return text


def _depth(text: str) -> int:
    """How deeply lists and dicts lie in one another, at most: few of them are not looked into."""
    if (opened := text.count("[") + text.count("{")) <= _MOST_NESTED:
        return opened
    deepest = depth = 0
    for piece in _NESTING.finditer(text):
        if piece.group() in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif piece.group() in "]}":
            depth -= 1
    return deepest


_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
