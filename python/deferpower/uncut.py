"""Coroutines that one cancellation does not cut short: `uncut`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uncut(work: Awaitable[T]) -> T:
    """Await work to its end; who is cancelled meanwhile is so afterwards.

    Raises:
        asyncio.CancelledError: the caller was cancelled; the work has ended.
        Exception: whatever the work raised.
    """
    import asyncio  # late: most programs that defer do so without a loop

    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await working
        raise
