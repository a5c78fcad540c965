"""What `defer` gives back: a `Handle` on one task, to ask about it and to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from deferpower.tasks.record import TaskRecord, TaskState
    from deferpower.tasks.why import Why


class Manager(Protocol):
    """What a handle asks; `BackgroundTaskManager` answers, and documents each."""

    def get(self, task_id: int) -> TaskRecord: ...  # noqa: D102
    def why(self, task_id: int) -> Why: ...  # noqa: D102
    def cancel(self, task_id: int) -> TaskState: ...  # noqa: D102
    def result(self, task_id: int, timeout_s: float | None = None) -> Any: ...  # noqa: D102
    async def result_async(  # noqa: D102
        self, task_id: int, timeout_s: float | None = None
    ) -> Any: ...


class Handle:
    """One task of a manager.

    Attributes:
        id: its number.
    """

    __slots__ = ("_manager", "id")

    def __init__(self, manager: Manager, id: int) -> None:
        self._manager = manager
        self.id = id

    def __repr__(self) -> str:
        return f"Handle(id={self.id})"

    @property
    def record(self) -> TaskRecord:
        """The task as it stands now."""
        return self._manager.get(self.id)

    @property
    def state(self) -> TaskState:
        """Where it stands now."""
        return self.record.state

    def why(self) -> Why:
        """Why it waits, or what became of it."""
        return self._manager.why(self.id)

    def cancel(self) -> None:
        """Cancel it, or ask it to stop if it runs."""
        self._manager.cancel(self.id)

    def result(self, timeout_s: float | None = None) -> Any:
        """What it returned, once it has ended. Blocks.

        Args:
            timeout_s: how long; ``None`` for as long as it takes.

        Raises:
            TaskFailed: it ended without a result.
            TimeoutError: it has not ended in time.
        """
        return self._manager.result(self.id, timeout_s)

    async def result_async(self, timeout_s: float | None = None) -> Any:
        """As `result`, without holding up the event loop."""
        return await self._manager.result_async(self.id, timeout_s)
