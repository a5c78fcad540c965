"""Items whose sender is gone: taken back, since nobody else will."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from deferpower.store import owner, senders
from deferpower.store import sync_items as rows
from deferpower.store import sync_queues as queues
from deferpower.store.sync_items import Fate, Gone, ItemState
from deferpower.store.workers import Owner

if TYPE_CHECKING:
    import apsw

    from deferpower.store.database import Database
    from deferpower.sync.queue import SyncQueue

Mark: TypeAlias = tuple[str | int, int]
"""A store and a sender of it."""

SHRINK = 4
"""What was there when something went wrong goes again in batches smaller by this factor."""
_DIED = "its process died while it was being sent"

# Rounds of this process that hold items. Whoever else holds some here could not give them back,
# as when the disk was full.
_under_way: set[Mark] = set()


def mark(database: Database, sender: int) -> Mark:
    """Note that a round of this process goes on; before others can see its sender."""
    made = database.path or id(database), sender
    _under_way.add(made)
    return made


def unmark(marks: Iterable[Mark]) -> None:
    """Note that a round is over."""
    _under_way.difference_update(marks)


def adopt(queue: SyncQueue, max_failures: int, now_s: float) -> None:
    """Have items wait again that dead processes were sending: they may have arrived, or not."""
    database = queue.database
    for sender in database.read(rows.senders):
        gone = _adopt(database, sender, max_failures, now_s)
        queue.remove_files(gone)


def _adopt(database: Database, sender: int, max_failures: int, now_s: float) -> list[Gone]:
    process = database.read(lambda cursor: senders.owner_of(cursor, sender))
    if process is not None and not _is_over(database, sender, process):
        return []
    same_boot = process is not None and owner.is_of_this_boot(process)

    def work(cursor: apsw.Cursor) -> list[Gone]:
        held = rows.held(cursor, sender)
        # One that was sent by itself may be what killed the process.
        failure = 1 if len(held) == 1 and same_boot else 0
        width = max(len(held) // SHRINK, 1)
        fates = []
        for item, _, failures in held:
            dead = failures + failure >= max_failures
            state = ItemState.DEAD if dead else ItemState.WAITING
            fates.append(Fate(item, state, now_s, width, failures + failure, _DIED))
        replaced = rows.put_back(cursor, sender, fates)
        queue_of = {item: queue for item, queue, _ in held}
        for gone in replaced:
            queues.give_room(cursor, queue_of[gone.id], 1, gone.size_bytes)
        senders.forget(cursor, sender)
        return replaced

    return database.write(work)


def _is_over(database: Database, sender: int, process: Owner) -> bool:
    if process == owner.this_process():
        return (database.path or id(database), sender) not in _under_way
    return owner.is_dead(process)
