"""An HTTP server on loopback that misbehaves on command and remembers what it was sent.

It runs on an event loop in a thread of its own, from the standard library alone. What it remembers
is bounded: every key is counted, whole requests are kept for the latest 1,000 only.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_KEPT_REQUESTS = 1000
_LARGEST_BODY_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body without its compression."""
        if self.headers.get("content-encoding") == "gzip":
            return gzip.decompress(self.body)
        return self.body

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of its items."""
        if "deferpower-batch" in self.headers:
            return [element["idempotency_key"] for element in json.loads(self.content)]
        return [self.headers.get("idempotency-key", "")]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


@dataclasses.dataclass(frozen=True)
class Hang:
    """Read the request, never answer."""


@dataclasses.dataclass(frozen=True)
class ResetWhileReading:
    """Reset the connection in the middle of the request's body: nothing has arrived."""


@dataclasses.dataclass(frozen=True)
class ResetWhileAnswering:
    """Take the items, reset the connection in the middle of the response's body."""

    status: int = 200


@dataclasses.dataclass(frozen=True)
class CloseUnanswered:
    """Take the items, close the connection without a word."""


@dataclasses.dataclass(frozen=True)
class Drip:
    """Take the items, answer one byte at a time, for ever."""

    interval_s: float = 0.02


@dataclasses.dataclass(frozen=True)
class Refuse:
    """Answer 207: each item of which ``refused`` holds fails with ``status``."""

    refused: Callable[[str], bool]
    status: int = 422
    retry_after_s: float | None = None


Behaviour = (
    Answer | Hang | ResetWhileReading | ResetWhileAnswering | CloseUnanswered | Drip | Refuse
)

OK = Answer()


class Server:
    """The server. Use as a context manager.

    Attributes:
        requests: the latest ones, oldest first.
        count: of all requests whose headers arrived.
        connections: how often somebody connected.
        received: how often each idempotency key arrived whole and was taken.
        behave: what to do with a request once the script is used up.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: collections.deque[Request] = collections.deque(maxlen=_KEPT_REQUESTS)
        self.count = 0
        self.connections = 0
        self.received: collections.Counter[str] = collections.Counter()
        self.behave: Callable[[Request], Behaviour] = lambda request: OK
        self._script: collections.deque[Behaviour] = collections.deque()
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._serving: set[asyncio.Task[Any]] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/inbox"

    def script(self, *behaviours: Behaviour) -> None:
        """Do these things with the next requests, one each."""
        self._script.extend(behaviours)

    def __enter__(self) -> Server:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens on the port meanwhile, and open connections are cut."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self.listen(), self._loop).result(10)

    async def listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, ssl=self._tls, backlog=128
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        assert self._listener is not None
        self._listener.close()
        tasks = [*self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            while await self._serve(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away
        except asyncio.CancelledError:
            pass  # the server is shut; asyncio would log it as an error
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")
        method, target, _ = line.split(" ")
        pairs = (text.split(":", 1) for text in lines if text)
        headers = {name.lower(): value.strip() for name, value in pairs}
        size_bytes = int(headers.get("content-length", "0"))
        assert size_bytes <= _LARGEST_BODY_BYTES
        self.count += 1
        if self._script and isinstance(self._script[0], ResetWhileReading):
            self._script.popleft()
            await reader.readexactly(size_bytes // 2)
            _reset(writer)
            return False
        request = Request(method, target, headers, await reader.readexactly(size_bytes))
        self.requests.append(request)
        behaviour = self._script.popleft() if self._script else self.behave(request)
        return await self._behave(behaviour, request, writer)

    async def _behave(
        self, behaviour: Behaviour, request: Request, writer: asyncio.StreamWriter
    ) -> bool:
        match behaviour:
            case Answer(status, headers, body):
                if 200 <= status < 300:
                    self.received.update(request.keys)
                await _answer(writer, status, headers, body)
                return True
            case Refuse(refused, status, retry_after_s):
                failed = [key for key in request.keys if refused(key)]
                self.received.update(key for key in request.keys if not refused(key))
                row: dict[str, Any] = {"status": status, "error": "not this one"}
                if retry_after_s is not None:
                    row["retry_after_s"] = retry_after_s
                rows = [{"idempotency_key": key, **row} for key in failed]
                body = json.dumps({"failed": rows}).encode()
                await _answer(writer, 207, {"Content-Type": "application/json"}, body)
                return True
            case Hang():
                await asyncio.Event().wait()
            case ResetWhileAnswering(status):
                self.received.update(request.keys)
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\nhalf".encode())
                await writer.drain()
                _reset(writer)
            case CloseUnanswered():
                self.received.update(request.keys)
            case Drip(interval_s):
                self.received.update(request.keys)
                writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                while True:
                    writer.write(b".")
                    await writer.drain()
                    await asyncio.sleep(interval_s)
            case ResetWhileReading():
                raise AssertionError("a request that has been read cannot be cut: script it")
        return False


async def _answer(
    writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes
) -> None:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: the other side loses what it has not read."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    assert connection is not None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def elements(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """The elements of all batches."""
    return [element for request in requests for element in json.loads(request.content)]
