"""Who waits until all is sent: `Waiting`, told after each round."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator


class Waiting:
    """Has threads and event loops look again whenever something may have changed."""

    def __init__(self, look: Callable[[], bool | None]) -> None:
        """Nobody waits yet.

        Args:
            look: what a wait is to give; ``None`` while it goes on.
        """
        self._look = look
        self._calls: list[Callable[[], object]] = []

    def tell(self) -> None:
        """Have all who wait look again; from any thread."""
        for call in [*self._calls]:
            call()

    def wait(self, timeout_s: float | None) -> bool:
        """What `look` gave in the end; ``False`` when the time is over."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        news = threading.Event()
        with self._telling(news.set):
            while (found := self._look()) is None:
                left_s = None if until_s is None else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                news.wait(left_s)
                news.clear()
        return found

    async def wait_async(self, timeout_s: float | None) -> bool:
        """As `wait`, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        until_s = None if timeout_s is None else loop.time() + timeout_s
        news = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # a closed loop waits for nothing
                loop.call_soon_threadsafe(news.set)

        with self._telling(tell):
            while (found := await asyncio.to_thread(self._look)) is None:
                if until_s is not None and loop.time() >= until_s:
                    return False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until_s):
                        await news.wait()
                news.clear()
        return found

    @contextlib.contextmanager
    def _telling(self, call: Callable[[], object]) -> Iterator[None]:
        self._calls.append(call)
        try:
            yield
        finally:
            self._calls.remove(call)
