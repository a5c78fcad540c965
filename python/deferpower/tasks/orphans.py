"""Tasks whose worker has died: taken back, since nobody else will."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from deferpower.store import chains, owner, workers
from deferpower.store.records import ENDED, DamagedError, State
from deferpower.tasks import mending
from deferpower.tasks.spec import MOST_CRASHES

if TYPE_CHECKING:
    import apsw

    from deferpower.tasks.events import EventKind, Events
    from deferpower.tasks.queue import Queue

_KINDS: dict[State, EventKind] = {
    State.ENQUEUED: "orphaned",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}


def adopt(queue: Queue, events: Events, worker_id: int, now_s: float) -> None:
    """Have tasks of dead workers, and of unknown ones, run again, or end.

    Called by a worker that lives.
    """
    found, unknown = queue.database.read(
        lambda cursor: (workers.others(cursor, worker_id), workers.unknown(cursor))
    )
    found.update(dict.fromkeys(unknown, workers.NO_PROCESS))
    for dead_id, process in found.items():
        if not owner.is_dead(process):
            continue
        same_boot = owner.is_of_this_boot(process)
        try:
            _adopt(queue, events, dead_id, same_boot, now_s)
        except DamagedError as error:
            held = queue.database.read(functools.partial(workers.held, worker=dead_id))
            mending.heal(queue, events, error, held, now_s)
            _adopt(queue, events, dead_id, same_boot, now_s)


def _adopt(queue: Queue, events: Events, dead_id: int, same_boot: bool, now_s: float) -> None:
    def work(cursor: apsw.Cursor) -> tuple[list[workers.Fate], list[int]]:
        orphans = workers.orphans(cursor, dead_id, same_boot)
        fates = [_fate(queue, cursor, row) for row in orphans]
        cascade = chains.settle(cursor, workers.adopt(cursor, fates, now_s), now_s)
        workers.forget(cursor, dead_id)
        return fates, cascade

    fates, cascade = queue.database.write(work)
    for fate in fates:
        kind = _KINDS[fate.state]
        events.emit(kind, fate.id, detail=fate.error or "its worker died; it runs again")
        if fate.state in ENDED:
            events.release(fate.id)
    events.failed_with_others(cascade)


def _fate(queue: Queue, cursor: apsw.Cursor, row: workers.Orphan) -> workers.Fate:
    # When the whole machine went down, no task is to blame.
    crashes = row.crashes + 1 if row.same_boot else row.crashes
    if row.asked:
        return workers.Fate(row.id, State.CANCELLED, crashes)
    error = None
    if queue.spec_of(row.spec, cursor).at_most_once:
        error = "its worker died while it ran, and it may run at most once"
    elif crashes >= MOST_CRASHES:
        error = f"quarantined: its worker died {crashes} times while it ran"
    state = State.ENQUEUED if error is None else State.FAILED
    return workers.Fate(row.id, state, crashes, error)
