"""What the program is told of its items: what became of one, how it stands, how a queue stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from deferpower.store.sync_items import ItemRow, ItemState
from deferpower.sync.target import Priority

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
"""In the order of their numbers in the store."""

ResultStatus: TypeAlias = Literal["synced", "retrying", "dead", "replaced"]
_STATUSES: Final[dict[ItemState, Literal["waiting", "sending", "dead"]]] = {
    ItemState.WAITING: "waiting",
    ItemState.SENDING: "sending",
    ItemState.DEAD: "dead",
}


class SyncResult(NamedTuple):
    """What became of an item that was sent.

    Attributes:
        item_id: what `BackgroundSyncManager.queue_for_sync` returned.
        status: ``synced``: acknowledged, and gone from the queue; ``retrying``: it failed and is
            tried again later; ``dead``: kept as a dead letter; ``replaced``: it failed, and a
            newer item of its key has taken its place.
        timestamp: when, seconds since the epoch.
        key: what the program called it.
        priority: of the item.
        size_bytes: of its content.
        error: why it was not delivered.
        result: what the target said: what a callable returned, an HTTP status, an object's name.
    """

    item_id: int
    status: ResultStatus
    timestamp: float
    key: str | None
    priority: Priority
    size_bytes: int
    error: str = ""
    result: Any = None


class SyncRecord(NamedTuple):
    """An item in the queue.

    Attributes:
        item_id: what `BackgroundSyncManager.queue_for_sync` returned.
        status: ``waiting``, ``sending``, or ``dead``.
        key: what the program called it.
        priority: decides when it is sent.
        content_type: ``application/json``, or else bytes.
        size_bytes: of its content.
        idempotency_key: what it is sent under, however often.
        queued_s: when it was queued, seconds since the epoch.
        due_s: it is not tried before then.
        attempts: how often it was sent, whoever was to blame that it did not arrive.
        failures: how often it failed by itself.
        error: what went wrong last.
    """

    item_id: int
    status: Literal["waiting", "sending", "dead"]
    key: str | None
    priority: Priority
    content_type: str
    size_bytes: int
    idempotency_key: str
    queued_s: float
    due_s: float
    attempts: int
    failures: int
    error: str | None

    @classmethod
    def of(cls, row: ItemRow) -> SyncRecord:
        """What a row says."""
        return cls(
            row.id,
            _STATUSES[row.state],
            row.key,
            PRIORITIES[row.priority],
            row.content_type,
            row.size_bytes,
            row.token.hex(),
            row.queued_s,
            row.due_s,
            row.attempts,
            row.failures,
            row.error,
        )


class SyncStats(NamedTuple):
    """How a queue stands.

    Attributes:
        queue: its name.
        target: where its items go.
        waiting: how many wait, by priority.
        sending: how many are being sent, by any process.
        dead: how many dead letters there are.
        pending_bytes: of what is not delivered and not dead.
        dead_bytes: of dead letters.
        failures: how often in a row the target failed.
        paused_until_s: nothing is tried before then, seconds since the epoch; ``None``: no pause.
        error: what the target last said.
        last_sync_s: when something last arrived; ``None``: never.
    """

    queue: str
    target: str
    waiting: Mapping[Priority, int]
    sending: int
    dead: int
    pending_bytes: int
    dead_bytes: int
    failures: int
    paused_until_s: float | None
    error: str | None
    last_sync_s: float | None

    @property
    def pending(self) -> int:
        """How many are not delivered and not dead."""
        return sum(self.waiting.values()) + self.sending
