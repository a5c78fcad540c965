"""A target used from a thread, whose sending runs on the program's own event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Sequence

from deferpower.sync.target import Limits, Outcome, SyncItem, Target


class OnLoop:
    """A target whose `send` runs `send_async` on an event loop and waits for it.

    So sessions and locks that belong to that loop may be used by an async target.
    """

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        self._target = target
        self._loop = loop

    @property
    def name(self) -> str:
        """That of the target."""
        return self._target.name

    @property
    def limits(self) -> Limits:
        """Those of the target."""
        return self._target.limits

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """See `Target.send`. Not to be called on that loop.

        Raises:
            concurrent.futures.CancelledError: the loop ended meanwhile.
        """
        sending = self.send_async(items)
        try:
            future = asyncio.run_coroutine_threadsafe(sending, self._loop)
        except RuntimeError:  # it is closed
            sending.close()
            raise concurrent.futures.CancelledError from None
        return future.result()

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        """See `Target.send_async`."""
        return await self._target.send_async(items)

    def close(self) -> None:
        """See `Target.close`."""
        self._target.close()

    async def close_async(self) -> None:
        """See `Target.close_async`."""
        await self._target.close_async()
