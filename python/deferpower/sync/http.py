"""Sending to an HTTP server (extra ``http``: httpx2)."""

from __future__ import annotations

import asyncio
import re
import ssl
import weakref
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from deferpower.errors import ConfigError
from deferpower.sync.answers import Answer, outcomes
from deferpower.sync.loop import OwnLoop
from deferpower.sync.secrets import Redactor, secrets_of
from deferpower.sync.target import (
    BatchRefused,
    Outcome,
    SyncItem,
    TargetUnavailable,
    checked_limits,
    checked_timeout_s,
)
from deferpower.sync.wire import OWN_HEADERS, Message, fault, message

if TYPE_CHECKING:
    import httpx2

_METHODS = ("POST", "PUT", "PATCH")
_ANSWER_BYTES: Final = 1 << 20
_SLOWEST_BYTES_PER_S: Final = 1 << 14


class HttpTarget:
    """An HTTP server that takes items.

    **One item** is sent as itself: its content is the body, under its content type, with the
    headers ``Idempotency-Key`` and, where it has a key, ``Deferpower-Key`` (percent-encoded).

    **Several items** are one request: a JSON array, ``Content-Type: application/json``, with the
    header ``Deferpower-Batch: COUNT``. Its ``Idempotency-Key`` is made of the items' keys: the
    same items in the same order have the same one. Each element is an object::

        {"idempotency_key": "...", "key": "..." or null, "data": the JSON value}
        {"idempotency_key": "...", "key": ..., "content_type": "...", "data_base64": "..."}

    A server that took a part answers 207 and lists the rest; what it does not list is delivered::

        {"failed": [{"idempotency_key": "...", "status": 422, "error": "...", "retry_after_s": 5}]}

    ``error`` and ``retry_after_s`` may be left out; ``status`` means for the item what it would
    mean for a request. For a request it means:

    - any other 2xx: each item is delivered;
    - 404, 405, 410: each is refused, as halves of the batch would end the same;
    - 409: a single item is tried later, as the earlier attempt may be in the works;
    - any other 4xx but the next: a single item is refused; a batch is refused as one, so it is
      halved;
    - 401, 403, 407, 408, 421, 423, 425, 429, 1xx, 3xx, 5xx: the target is unavailable, for as long
      as Retry-After says;
    - 500: each is tried later, as one of the items may be what breaks the server.

    Redirects are not followed: most turn the request into one without a body, the others would
    carry items and credentials to a place that nobody chose. Proxies are taken from the
    environment. Nothing of the URL but its origin, and no header or credential, is ever shown.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        auth: str | tuple[str, str] | httpx2.Auth | None = None,
        compress: bool = False,
        timeout_s: float = 30.0,
        ca_file: str | Path | None = None,
        max_items: int = 100,
        max_bytes: int = 1 << 20,
    ) -> None:
        """Check all that can be checked without sending anything.

        Args:
            url: http or https; a user and password in it are used for basic authentication.
            method: POST, PUT or PATCH.
            headers: to send with each request.
            auth: a bearer token, a user and password for basic authentication, or httpx2's.
            compress: send bodies with gzip, files excepted.
            timeout_s: the longest that a request may take in all, beside a second for each 16 KiB
                of its body.
            ca_file: certificates (PEM) to trust in the place of the system's.
            max_items: in one request; 1 for servers that know nothing of batches.
            max_bytes: of contents in one request; 413 halves it further.

        Raises:
            ConfigError: one of these cannot be used, or httpx2 is not installed.
        """
        parts = _split(url)
        if method.upper() not in _METHODS:
            raise ConfigError(f"method must be one of {', '.join(_METHODS)}, not {method!r}")
        if parts.username is not None:
            if auth is not None:
                raise ConfigError("give either auth or a user in the URL, not both")
            auth = (unquote(parts.username), unquote(parts.password or ""))
        self.limits = checked_limits(max_items, max_bytes)
        origin = f"{parts.scheme}://{_without_user(parts)}"
        self.name = origin + ("/…" if parts.path.strip("/") or parts.query else "")
        self._method = method.upper()
        self._compress = compress
        self._timeout_s = checked_timeout_s(timeout_s)
        self._headers = _checked_headers(headers or {})
        secrets = secrets_of(parts)
        if isinstance(auth, str | tuple):
            secrets += [auth] if isinstance(auth, str) else auth
            self._headers["Authorization"] = _authorization(auth)
            auth = None
        secrets += [part for text in self._headers.values() for part in (text, *text.split())]
        self._redacted = Redactor(secrets)
        self._url, self._open = _opener(parts, origin, auth, timeout_s, ca_file)
        self._own_loop = OwnLoop()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"HttpTarget({self.name!r})"

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item, from one request. See `Target.send`."""
        return self._own_loop.run(self.send_async(items))

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """One outcome for each item, from one request. See `Target.send_async`."""
        if not items:
            return []
        if len(items) == 1 and (reason := fault(items[0])):
            return [Outcome("refused", reason)]
        try:
            if self._compress or any(isinstance(item.content, Path) for item in items):
                request = await asyncio.to_thread(message, items, self._compress)
            else:
                request = message(items, compress=False)
        except OSError as error:
            reason = f"the content cannot be read: {error}"
            if len(items) > 1:
                raise BatchRefused(reason) from error
            return [Outcome("refused", reason)]
        return outcomes(items, await self._answer(request), self.name, self._redacted)

    async def _answer(self, request: Message) -> Answer:
        """What the server says to it.

        Raises:
            TargetUnavailable: nothing that could be understood, or nothing in time.
        """
        import httpx2

        limit_s = self._timeout_s + request.size_bytes / _SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise self._unavailable("cannot be reached", error, False) from None
        except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol) as error:
            raise self._unavailable("cannot be asked", error, False) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise TargetUnavailable(
                f"{self.name} did not answer within {limit_s:.1f} s; the items may have arrived",
                maybe_delivered=True,
            ) from None
        except (httpx2.HTTPError, OSError) as error:
            problem = "broke off before it acknowledged the items, which may have arrived"
            raise self._unavailable(problem, error, True) from None

    async def _exchange(self, request: Message) -> Answer:
        import httpx2

        client = await self._client()
        async with client.stream(
            self._method,
            self._url,
            content=request.body,
            headers={**self._headers, **request.headers},
        ) as response:
            try:
                body = await _beginning(response)
            except (httpx2.HTTPError, OSError):
                if response.is_success:  # it may have been about to say something else
                    raise
                body = None
            return Answer(response.status_code, response.headers, body)

    async def _client(self) -> httpx2.AsyncClient:
        """The connections of the event loop that runs."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            # The first imports much, and each reads certificates: 70 ms without the loop.
            opened = await asyncio.to_thread(self._open)
            self._clients.setdefault(loop, opened)
        return self._clients[loop]

    def _unavailable(
        self, problem: str, error: Exception, maybe_delivered: bool
    ) -> TargetUnavailable:
        said = self._redacted(str(error)) or type(error).__name__
        return TargetUnavailable(f"{self.name} {problem}: {said}", maybe_delivered=maybe_delivered)

    def close(self) -> None:
        """Close the connections that `send` opened. See `Target.close`."""
        if self._own_loop.is_open:
            self._own_loop.run(self._close_here())
            self._own_loop.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop, and those that `send` opened."""
        await self._close_here()
        await asyncio.to_thread(self.close)

    async def _close_here(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


async def _beginning(response: httpx2.Response) -> bytes | None:
    """The body, None where it is longer than any server has reason to answer."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            return None
    return bytes(body)


def _split(url: str) -> SplitResult:
    if not re.fullmatch(r"[!-~]*", url):
        raise ConfigError("the URL to sync to must be of visible ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        # urlsplit judges a port only when it is asked for.
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigError("the URL to sync to cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError("the URL to sync to must begin with https:// or http://")
    if not is_usable:
        raise ConfigError(f"the URL to sync to names no host: {parts.scheme}://HOST/... expected")
    return parts


def _without_user(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _authorization(auth: str | tuple[str, str]) -> str:
    """The header that a bearer token, or a user and a password, make."""
    if isinstance(auth, str):
        return _visible(f"Bearer {auth}", "auth")
    if [*map(type, auth)] != [str, str] or ":" in auth[0]:
        raise ConfigError("auth as a tuple is (user, password), the user without a colon")
    return f"Basic {b64encode(':'.join(auth).encode()).decode()}"


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    checked = {}
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ConfigError(f"not a name of an HTTP header: {name!r}")
        if name.lower() in OWN_HEADERS:
            raise ConfigError(f"the header {name} is set for each request; leave it out")
        checked[name] = _visible(value, f"the header {name}")
    return checked


def _visible(value: str, place: str) -> str:
    """The value itself. It is a secret: an error must not show it."""
    if not isinstance(value, str) or not re.fullmatch(r"([!-~]([ -~\t]*[!-~])?)?", value):
        raise ConfigError(f"{place} may hold visible ASCII characters only")
    return value


def _opener(
    parts: SplitResult,
    origin: str,
    auth: httpx2.Auth | None,
    timeout_s: float,
    ca_file: str | Path | None,
) -> tuple[httpx2.URL, Callable[[], httpx2.AsyncClient]]:
    """Where to send, and what opens a client; not to be called on an event loop."""
    try:
        import httpx2
    except ImportError:
        raise ConfigError("sync over HTTP needs httpx2: pip install 'deferpower[http]'") from None
    try:
        shown = httpx2.URL(origin)
        url = httpx2.URL(parts._replace(netloc=_without_user(parts), fragment="").geturl())
    except httpx2.InvalidURL:
        raise ConfigError(f"the URL to sync to cannot be read: {origin}/...") from None
    if auth is not None and not isinstance(auth, httpx2.Auth):
        raise ConfigError("auth is a token, (user, password), or an httpx2.Auth")
    trusted = None if ca_file is None else _trusted(ca_file)

    # httpx2 logs the URL of each request. All but the origin travels where it does not look.
    async def conceal(request: httpx2.Request) -> None:
        request.extensions = {**request.extensions, "target": request.url.raw_path}
        request.url = shown

    async def reveal(response: httpx2.Response) -> None:
        response.request.url = url  # digests are made of it

    def open_client() -> httpx2.AsyncClient:
        import anyio

        anyio.run(anyio.sleep, 0)  # has it import what the first request would
        return httpx2.AsyncClient(
            auth=auth,
            headers={"User-Agent": "deferpower", "Accept-Encoding": "identity"},
            verify=True if trusted is None else trusted,
            timeout=timeout_s,
            event_hooks={"request": [conceal], "response": [reveal]},
        )

    return url, open_client


def _trusted(ca_file: str | Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"ca_file {str(ca_file)!r} cannot be used: {error}") from None
