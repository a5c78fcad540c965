"""Sending to files and object stores (extra ``objects``: obstore)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import url2pathname

from deferpower.errors import ConfigError
from deferpower.sync.loop import OwnLoop
from deferpower.sync.secrets import Redactor, secrets_of
from deferpower.sync.target import (
    Outcome,
    SyncItem,
    TargetUnavailable,
    checked_limits,
    checked_timeout_s,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_SCHEMES = ("file", "memory", "s3", "gs", "az")
_CONCURRENT = 16


class ObjectTarget:
    """A directory or an object store: each item becomes one object.

    The object is named after the idempotency key (percent-encoded, where it is more than letters,
    digits and ``_.-~``), below the path of the URL, and holds the item's content. It appears whole
    or not at all, and the same item sent twice is one object. Where the store keeps a content
    type, it is the item's. A file is on its disk before it counts as delivered.

    - ``file:///directory``: made if it is not there;
    - ``memory://``: for tests; the objects are in ``store``;
    - ``s3://bucket/path``, ``gs://bucket/path``, ``az://container/path``: credentials, region and
      endpoint from the environment or the options, under the names that obstore gives them.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        max_items: int = 100,
        max_bytes: int = 1 << 23,
        **options: Any,
    ) -> None:
        """Check all that can be checked without sending anything.

        Args:
            url: see above.
            timeout_s: the longest that one object may take in all, credentials included.
            max_items: objects in one `send`, 16 at a time.
            max_bytes: of contents in one `send`.
            **options: for obstore: ``region``, ``endpoint``, ``access_key_id``,
                ``credential_provider``, ``client_options``, ...

        Raises:
            ConfigError: one of these cannot be used, or obstore is not installed.
        """
        parts = _split(url)
        self.limits = checked_limits(max_items, max_bytes)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._timeout_s = checked_timeout_s(timeout_s)
        values = [value for value in options.values() if isinstance(value, str)]
        hidden = [*secrets_of(parts._replace(path="")), *values]
        self._redacted = Redactor(text for text in hidden if text not in self.name)
        self._directory = Path(url2pathname(parts.path)) if parts.scheme == "file" else None
        self.store = _opened(url, self._directory, options, timeout_s, self._redacted)
        self._keeps_types = parts.scheme != "file"
        self.needs_network = parts.scheme not in ("file", "memory")
        self._own_loop = OwnLoop()

    def __repr__(self) -> str:
        return f"ObjectTarget({self.name!r})"

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item, its result the object's name. See `Target.send`."""
        return self._own_loop.run(self.send_async(items))

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item, its result the object's name. See `Target.send_async`."""
        if not items:
            return []
        # The first goes alone: a store that is down is asked once, not a hundred times.
        first = await self._put(items[0])
        down: TargetUnavailable | None = None
        free = asyncio.Semaphore(_CONCURRENT)

        async def put(item: SyncItem) -> Outcome:
            nonlocal down
            async with free:
                if down is None:
                    try:
                        return await self._put(item)
                    except TargetUnavailable as error:
                        down = error
                return Outcome("later", str(down))

        return [first, *await asyncio.gather(*map(put, items[1:]))]

    async def _put(self, item: SyncItem) -> Outcome:
        """Write one object.

        Raises:
            TargetUnavailable: the store, not the item, is to blame, as far as can be told.
        """
        import obstore
        from obstore.exceptions import BaseError, InvalidPathError

        name = object_name(item.idempotency_key)
        content = item.content.encode() if isinstance(item.content, str) else item.content
        attributes = {"Content-Type": item.content_type} if self._keeps_types else None
        if isinstance(content, Path) and not content.is_file():
            return Outcome("refused", f"the content cannot be read: no file {content}")
        try:
            async with asyncio.timeout(self._timeout_s):
                await obstore.put_async(self.store, name, content, attributes=attributes)
                if self._directory is not None:
                    await asyncio.to_thread(_flush, self._directory / name)
        except (InvalidPathError, ValueError) as error:
            return Outcome("refused", f"{self.name}: {self._said(error)}")
        except TimeoutError:
            raise TargetUnavailable(
                f"{self.name} did not answer within {self._timeout_s:.1f} s", maybe_delivered=True
            ) from None
        except (BaseError, OSError) as error:
            raise TargetUnavailable(
                f"{self.name}: {self._said(error)}", maybe_delivered=True
            ) from None
        return Outcome("delivered", result=name)

    def _said(self, error: Exception) -> str:
        """Its first paragraph: the rest is obstore's own state, credentials and all."""
        return self._redacted(str(error).partition("\n\n")[0]) or type(error).__name__

    def close(self) -> None:
        """End the event loop that `send` ran on. The objects of ``memory://`` stay."""
        self._own_loop.close()

    async def close_async(self) -> None:
        """As `close`."""
        await asyncio.to_thread(self.close)


def object_name(idempotency_key: str) -> str:
    """The name of an item's object: a single part of a path, in any store."""
    name = quote(idempotency_key, safe="")
    return name.replace(".", "%2E") if not name.strip(".") else name


def _flush(path: Path) -> None:
    """Have the file and its name on the disk: the queue forgets what is acknowledged."""
    _fsync(path, os.O_RDWR)
    if os.name == "posix":  # elsewhere a directory cannot be opened
        _fsync(path.parent, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("the URL to sync to cannot be read") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            "the URL to sync to must begin with https://, http:// or one of "
            + ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        )
    if parts.scheme == "file" and (
        parts.netloc not in ("", "localhost") or parts.path in ("", "/")
    ):
        raise ConfigError("a directory to sync to is written file:///absolute/path")
    if parts.scheme not in ("file", "memory") and not parts.netloc:
        raise ConfigError(f"the URL to sync to names no bucket: {parts.scheme}://BUCKET expected")
    return parts


def _opened(
    url: str,
    directory: Path | None,
    options: dict[str, Any],
    timeout_s: float,
    redacted: Redactor,
) -> ObjectStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError:
        raise ConfigError(
            "sync to files and object stores needs obstore: pip install 'deferpower[objects]'"
        ) from None
    scheme = url.partition(":")[0]
    opened: Callable[..., ObjectStore] = from_url  # the options of all stores, as they come
    try:
        if directory is not None:
            return LocalStore(directory, mkdir=True, **options)
        if scheme.lower() == "memory":
            return opened(url, **options)
        client_options = {"timeout": f"{timeout_s}s", **options.pop("client_options", {})}
        # One try each: the queue knows when the next one is due, and counts them.
        retry_config = options.pop("retry_config", {"max_retries": 0})
        return opened(url, client_options=client_options, retry_config=retry_config, **options)
    except (BaseError, OSError, TypeError, ValueError) as error:
        said = redacted(str(error).partition("\n\n")[0])
        raise ConfigError(f"cannot sync to {scheme}://...: {said}") from None
