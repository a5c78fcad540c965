"""Which run the calling code belongs to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deferpower.tasks.runs import Run

CURRENT: ContextVar[Run | None] = ContextVar("deferpower_run", default=None)
"""The run in whose thread or coroutine, or a thread started from it with ``asyncio.to_thread``,
this is read; ``None`` outside of tasks."""
