"""What a sync target is: what it is handed, and what it answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from deferpower.errors import ConfigError, TargetError
from deferpower.thresholds import is_number

JSON_TYPE: Final = "application/json"
BYTES_TYPE: Final = "application/octet-stream"

Priority: TypeAlias = Literal["high", "normal", "low"]


class SyncItem(NamedTuple):
    """One thing to be sent.

    Attributes:
        idempotency_key: the same at every attempt, so that a receiver can tell a duplicate.
        content: JSON text as ``str``, or raw ``bytes``, or the file that holds either.
        content_type: `JSON_TYPE` for JSON; anything else is sent as the bytes that it is.
        key: what the program calls it, where it does: a newer item of this key replaces it.
        priority: decides when it is sent; receivers are not told.
    """

    idempotency_key: str
    content: str | bytes | Path
    content_type: str = JSON_TYPE
    key: str | None = None
    priority: Priority = "normal"

    @property
    def size_bytes(self) -> int:
        """Length of the content in bytes; asks the file system where it is a file."""
        if isinstance(self.content, Path):
            return self.content.stat().st_size
        if isinstance(self.content, bytes) or self.content.isascii():
            return len(self.content)
        return len(self.content.encode())

    @property
    def body(self) -> bytes:
        """The content in bytes; a file is read."""
        if isinstance(self.content, Path):
            return self.content.read_bytes()
        return self.content if isinstance(self.content, bytes) else self.content.encode()

    @property
    def data(self) -> Any:
        """What the program queued: the JSON value, or bytes.

        Raises:
            ValueError: the content is said to be JSON and is not.
        """
        return json.loads(self.body) if self.content_type == JSON_TYPE else self.body


def encoded(data: object) -> tuple[str | bytes, str]:
    """Content and content type of what a program wants sent.

    Args:
        data: a JSON value (mappings, lists, text, finite numbers, booleans, ``None``), or bytes.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), BYTES_TYPE
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":")), JSON_TYPE
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"data to sync must be a JSON value or bytes, not {type(data).__name__}: {error}"
        ) from None


class Outcome(NamedTuple):
    """What became of one item.

    Attributes:
        status: ``delivered``: acknowledged; ``refused``: for good, another try would end the same;
            ``later``: worth another try.
        error: why it was not delivered; lower case, without secrets.
        retry_after_s: how long the target asks to be left alone with it; None: it did not say.
        result: what a callable returned, the HTTP status, the name of an object.
    """

    status: Literal["delivered", "refused", "later"]
    error: str = ""
    retry_after_s: float | None = None
    result: Any = None


class ItemRefused(TargetError):
    """This item is refused for good. For callables to raise."""


class TargetUnavailable(TargetError):
    """The target cannot be reached, or takes nothing now, whatever the item.

    Attributes:
        retry_after_s: how long the target asks to be left alone; None: it did not say.
        maybe_delivered: the items may have arrived, only the acknowledgement did not.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, maybe_delivered: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.maybe_delivered = maybe_delivered


class BatchRefused(TargetError):
    """Several items were refused together; one alone may be to blame, or their sum too large."""


class Limits(NamedTuple):
    """How much a target takes in one `Target.send`.

    Attributes:
        max_items: items; 1 or more.
        max_bytes: of all contents together; an item that is larger goes alone.
    """

    max_items: int
    max_bytes: int


def checked_limits(max_items: int, max_bytes: int) -> Limits:
    """The limits of a target.

    Raises:
        ConfigError: one is not a whole number of 1 or more.
    """
    for name, value in (("max_items", max_items), ("max_bytes", max_bytes)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return Limits(max_items, max_bytes)


def checked_timeout_s(timeout_s: float) -> float:
    """A time limit in seconds.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    if not is_number(timeout_s) or not 0 < timeout_s < math.inf:
        raise ConfigError(f"timeout_s must be a number of seconds above 0, not {timeout_s!r}")
    return timeout_s


@runtime_checkable
class Target(Protocol):
    """Where items go. Both forms of sending do the same; a program uses the one that fits it.

    One that has an attribute ``needs_network`` that is false is sent to while offline, too.
    """

    @property
    def name(self) -> str:
        """What to call it in logs and errors: free of secrets."""

    @property
    def limits(self) -> Limits:
        """How much it takes at once."""

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item, in their order. Not for use on an event loop.

        Any exception other than `BatchRefused` says what `TargetUnavailable` says.

        Args:
            items: one or more, within `limits`.

        Raises:
            TargetUnavailable: none is known to have been delivered; the target needs a pause.
            BatchRefused: none was taken; fewer together may be. Never raised for a single item.
        """

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """As `send`, without blocking the event loop."""

    def close(self) -> None:
        """Let go of connections. A closed target opens them again when it is used."""

    async def close_async(self) -> None:
        """As `close`, for what was sent on this event loop too."""
