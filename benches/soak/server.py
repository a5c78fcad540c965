"""An HTTP server on loopback that misbehaves, and remembers what it took."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_CLEAN_S = 2.0
_SLOW_S = 6.0


class Receipt(NamedTuple):
    """One arrival of an item.

    Attributes:
        at_ns: when, on the monotonic clock.
        is_clean: whether whoever sent it was told so at once; if not, sending it again is right.
    """

    at_ns: int
    is_clean: bool


class Server:
    """The server; serves on a thread of its own.

    Attributes:
        receipts: arrivals of each item that were taken, by the item's own number.
        is_good: whether it behaves, as it must when all is to be delivered in the end.
        requests: how many there were, by what it did with them.
    """

    def __init__(self, dice: random.Random) -> None:
        self.receipts: dict[str, list[Receipt]] = defaultdict(list)
        self.requests: dict[str, int] = defaultdict(int)
        self.is_good = False
        self.lock = threading.Lock()
        self._dice = dice
        self._server = _Listener(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self._server.server_port}/inbox"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def behaviour(self) -> str:
        """What to do with a request."""
        kinds = ("take", "fail", "full", "refuse some", "hang up", "be slow")
        with self.lock:
            kind = "take" if self.is_good else self._dice.choices(kinds, (60, 10, 8, 10, 8, 1))[0]
            self.requests[kind] += 1
        return kind

    def take(self, elements: list[tuple[str, str]], *, is_clean: bool) -> None:
        """Remember what has arrived."""
        now_ns = time.monotonic_ns()
        with self.lock:
            for number, _ in elements:
                self.receipts[number].append(Receipt(now_ns, is_clean))

    def some(self, elements: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """A part of these."""
        with self.lock:
            return [element for element in elements if self._dice.random() < 0.3]


class _Listener(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked was killed; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            # Who asked may have been killed, in the midst of asking, or is tired of waiting.
            with contextlib.suppress(ConnectionError, json.JSONDecodeError):
                self._serve()

        def _serve(self) -> None:
            began_s = time.monotonic()
            elements = self._elements()
            match server.behaviour():
                case "take":
                    self._answer(200)
                    server.take(elements, is_clean=time.monotonic() - began_s < _CLEAN_S)
                case "fail":
                    self._answer(500)
                case "full":
                    self._answer(503, {"Retry-After": "1"})
                case "refuse some":
                    self._refuse_some(elements)
                case "hang up":
                    server.take(elements, is_clean=False)
                    self.close_connection = True
                case "be slow":
                    server.take(elements, is_clean=False)
                    time.sleep(_SLOW_S)
                    self._answer(200)

        def _elements(self) -> list[tuple[str, str]]:
            """Number and idempotency key of what was sent."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "Deferpower-Batch" in self.headers:
                return [(e["data"]["number"], e["idempotency_key"]) for e in body]
            return [(body["number"], self.headers["Idempotency-Key"])]

        def _refuse_some(self, elements: list[tuple[str, str]]) -> None:
            if "Deferpower-Batch" not in self.headers:
                self._answer(503)
                return
            refused = server.some(elements)
            rows = [{"idempotency_key": key, "status": 503} for _, key in refused]
            self._answer(207, {"Content-Type": "application/json"}, {"failed": rows})
            # A part of a batch that is refused is no reason to send the rest again.
            server.take([e for e in elements if e not in refused], is_clean=True)

        def _answer(
            self, status: int, headers: dict[str, str] | None = None, value: Any = None
        ) -> None:
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
