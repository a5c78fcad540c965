"""What the answer of an HTTP server means for the items of a request.

The table stands in the docstring of `HttpTarget`.

Source: RFC 9110 (status codes, Retry-After), RFC 6585 (429), RFC 8470 (425).
"""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from deferpower.sync.target import BatchRefused, Outcome, SyncItem, TargetUnavailable

LONGEST_PAUSE_S: Final = 86_400.0
"""However long a server asks to be left alone, it is asked again after a day."""

_PARTLY = 207
_CONFLICT = 409
_BROKEN = 500
_PROBLEM = "application/problem+json"
_WRONG_PLACE = frozenset({404, 405, 410})
_NOT_NOW = frozenset({401, 403, 407, 408, 421, 423, 425, 429})


class Answer(NamedTuple):
    """An HTTP response.

    Attributes:
        status: its code.
        headers: by name in any case.
        body: its beginning, None where it was too long to be read to its end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def outcomes(
    items: Sequence[SyncItem], answer: Answer, name: str, redacted: Callable[[str], str]
) -> list[Outcome]:
    """One outcome for each item.

    Args:
        items: what was sent.
        answer: what came back.
        name: of the target, for errors.
        redacted: makes text of the server fit to be shown.

    Raises:
        TargetUnavailable, BatchRefused: see `deferpower.sync.target.Target.send`.
    """
    status = answer.status
    if status == _PARTLY:
        return _partly(items, answer, name, redacted)
    if _is_success(status):
        return [Outcome("delivered", result=status)] * len(items)
    error = _told(answer, name, redacted)
    pause_s = retry_after_s(answer.headers)
    if status in _WRONG_PLACE:
        return [Outcome("refused", error)] * len(items)
    if status == _BROKEN:
        return [Outcome("later", error, pause_s)] * len(items)
    if not _is_items_fault(status):
        raise TargetUnavailable(error, retry_after_s=pause_s)
    if len(items) > 1:
        raise BatchRefused(error)
    if status == _CONFLICT:
        return [Outcome("later", error, pause_s)]
    return [Outcome("refused", error)]


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """How long the server asks to be left alone, in seconds, a day at most; None: it does not.

    Args:
        headers: of the response. A date is taken by the server's own clock where it tells it.
        now_s: the time of day since the epoch.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_PAUSE_S)
    at_s = _date_s(text)
    if at_s is None:
        return None
    server_now_s = _date_s(headers.get("date", ""))
    if server_now_s is None:
        server_now_s = time.time() if now_s is None else now_s
    return min(max(at_s - server_now_s, 0.0), LONGEST_PAUSE_S)


def _date_s(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _is_items_fault(status: int) -> bool:
    return 400 <= status < 500 and status not in _NOT_NOW


def _partly(
    items: Sequence[SyncItem], answer: Answer, name: str, redacted: Callable[[str], str]
) -> list[Outcome]:
    failed = _failed_items(answer.body)
    unknown = None if failed is None else failed.keys() - {item.idempotency_key for item in items}
    if failed is None or unknown:
        raise TargetUnavailable(
            f"{name} answered 207 without a list of the items that failed "
            '({"failed": [{"idempotency_key": ..., "status": ...}]})',
            retry_after_s=retry_after_s(answer.headers),
            maybe_delivered=True,
        )
    told = []
    for item in items:
        if item.idempotency_key not in failed:
            told.append(Outcome("delivered", result=answer.status))
            continue
        status, error, pause_s = failed[item.idempotency_key]
        text = f"{name} answered {status} for the item"
        if error:
            text += f": {redacted(error)}"
        is_refused = _is_items_fault(status) and status != _CONFLICT
        told.append(Outcome("refused" if is_refused else "later", text, pause_s))
    return told


def _failed_items(body: bytes | None) -> dict[str, tuple[int, str, float | None]] | None:
    """Status, error and pause by idempotency key; None: the body does not say."""
    try:
        rows = json.loads(body or b"", parse_constant=_no_number)["failed"]
        return {_text(row["idempotency_key"]): _failure(row) for row in rows}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _failure(row: Mapping[str, Any]) -> tuple[int, str, float | None]:
    status = row["status"]
    if type(status) is not int or not 300 <= status < 600:
        raise ValueError("a failed item has a status from 300 to 599")
    pause_s = row.get("retry_after_s")
    if pause_s is not None:
        if not isinstance(pause_s, (int, float)):
            raise TypeError("number expected")
        # A number of any length: compared before it is made a float.
        pause_s = float(min(max(pause_s, 0), LONGEST_PAUSE_S))
    return status, _text(row.get("error", "")), pause_s


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _told(answer: Answer, name: str, redacted: Callable[[str], str]) -> str:
    """One line: the status, and what the server says about it."""
    line = f"{name} answered {answer.status}"
    if 300 <= answer.status < 400:
        return f"{line}: redirects are not followed; give the URL where it is now"
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.body or kind not in ("", "text/plain", "application/json", _PROBLEM):
        return line
    return f"{line}: {redacted(answer.body.decode(errors='replace'))}"
