"""The queues that are compared."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benches.peers.contenders.contender import Contender

FSYNC, NO_FSYNC = "fsync", "no fsync"
"""Each commit reaches the disk, or is left to the system: it survives the process alone."""


class Named(NamedTuple):
    """Where a contender is found: its module alone is imported, since imports are measured."""

    module: str
    contender: str
    durabilities: tuple[str, ...] = (FSYNC, NO_FSYNC)

    def load(self) -> type[Contender]:
        module = importlib.import_module(f"{__name__}.{self.module}")
        found: type[Contender] = getattr(module, self.contender)
        return found


ONLY_FSYNC = (FSYNC,)
DEFERPOWER, BY_HAND, BARE = "deferpower", "deferpower, device by hand", "bare apsw"
BARE_SQLITE3, HUEY, APSCHEDULER = "bare sqlite3", "huey", "APScheduler"
PERSIST_QUEUE, PERSIST_QUEUE_ACK = "persist-queue", "persist-queue, acknowledging"
CONTENDERS = {
    DEFERPOWER: Named("deferpower", "Deferpower"),
    BY_HAND: Named("by_hand", "DeferpowerByHand"),
    BARE: Named("bare", "BareApsw"),
    BARE_SQLITE3: Named("bare", "BareSqlite3"),
    HUEY: Named("huey", "Huey"),
    PERSIST_QUEUE: Named("persist_queue", "PersistQueue", ONLY_FSYNC),
    PERSIST_QUEUE_ACK: Named("persist_queue", "PersistQueueAck", ONLY_FSYNC),
    APSCHEDULER: Named("apscheduler", "Apscheduler", ONLY_FSYNC),
}
