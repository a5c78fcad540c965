"""Tasks whose rows make no sense: set aside, so that all others go on.

What can be found anew is: a lane, and a worker that nobody knows. Any other task of which a value
cannot be has failed, and says why; its row as it was is kept in the table ``tasks_damaged``. What
of it can be read stays, so that it may be retried.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import StoreError
from deferpower.store import aside, chains
from deferpower.store import tasks as rows
from deferpower.store.records import DamagedError, State, TaskRow, fits
from deferpower.tasks.spec import Spec

if TYPE_CHECKING:
    import apsw

    from deferpower.tasks.events import Events
    from deferpower.tasks.queue import Queue

_log = logging.getLogger("deferpower.tasks")

_NAMELESS = Spec(name="damaged")
_JSON = ("payload", "result", "checkpoint", "metadata")
_NEUTRAL = {"priority": 0, "attempts": 0, "crashes": 0, "blockers": 0, "payload": "[[],{}]"}
"""What takes the place of a value that cannot be and may not be ``NULL``, but for moments."""
_MOMENTS = ("created_s", "due_s")


class Mended(NamedTuple):
    """What was done.

    Attributes:
        set_aside: tasks that have failed, and why.
        cascade: tasks that failed with them.
        replaced: how many were given another lane.
    """

    set_aside: dict[int, str]
    cascade: list[int]
    replaced: int


def heal(
    queue: Queue, events: Events, error: DamagedError, held: Iterable[int], now_s: float
) -> Mended:
    """Set aside what has led to an error, and tell of it; raise it again if nothing was found."""
    mended = mend(queue, held, now_s)
    if not mended.set_aside and not mended.replaced:
        raise error
    for task, why in mended.set_aside.items():
        _log.error("task %d: the file is damaged (%s); it has failed", task, why)
        events.emit("failed", task, detail=why)
        events.release(task)
    events.failed_with_others(mended.cascade)
    return mended


def mend(queue: Queue, held: Iterable[int], now_s: float) -> Mended:
    """Set aside what cannot be run: of the tasks that nobody holds, and of some that somebody does.

    Cost: looks at every task that has not ended; 20 us for each.
    """
    bad = queue.database.read(lambda cursor: _senseless(cursor, held))
    bad_specs = [spec for spec in queue.database.read(_specs) if not _has_spec(queue, spec)]
    bad_lanes = [lane for lane in queue.database.read(_lanes) if not _has_lane(queue, lane)]

    def work(cursor: apsw.Cursor) -> Mended:
        replaced = _leave_lanes(cursor, bad_lanes, now_s)
        set_aside = {task: why for task in bad if (why := _complaint(cursor, task)) is not None}
        for spec in bad_specs:
            for task in _of_spec(cursor, spec):
                set_aside.setdefault(task, f"what it is, spec {spec!a:.80}, cannot be understood")
        nameless = queue.specs.add(cursor, _NAMELESS.to_text()) if set_aside else 0
        for task, why in set_aside.items():
            _set_aside(cursor, task, why, now_s, nameless, bad_specs)
        return Mended(set_aside, chains.settle(cursor, set_aside, now_s), replaced)

    return queue.database.write(work)


def _senseless(cursor: apsw.Cursor, held: Iterable[int]) -> list[int]:
    open_ones = cursor.execute(
        "SELECT id FROM tasks WHERE worker IS NULL"
        " AND (finished_s IS NULL OR typeof(finished_s) NOT IN ('real', 'integer'))"
    ).fetchall()
    wanted = {*held, *(int(row[0]) for row in open_ones)}  # type: ignore[arg-type]
    return [task for task in sorted(wanted) if _complaint(cursor, task) is not None]


def _complaint(cursor: apsw.Cursor, task: int) -> str | None:
    """Why a row makes no sense; ``None`` if it does, or is not there any more."""
    try:
        row = rows.get(cursor, task)
        if row is None:
            return None
        args, kwargs = json.loads(row.payload)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            return "its arguments are none"
        for text in (row.result, row.checkpoint, row.metadata):
            if text is not None:
                json.loads(text)
    except UnicodeDecodeError:
        return "a text in it is none"
    except (ValueError, TypeError, RecursionError):
        return "what should be JSON in it is none"
    except DamagedError as error:
        return str(error).partition("the file is damaged (")[2].partition("); move")[0]
    return None


def _specs(cursor: apsw.Cursor) -> list[object]:
    query = "SELECT DISTINCT spec FROM tasks WHERE finished_s IS NULL"
    return [row[0] for row in cursor.execute(query)]


def _of_spec(cursor: apsw.Cursor, spec: object) -> list[int]:
    query = "SELECT id FROM tasks WHERE spec IS ? AND finished_s IS NULL"
    return [row[0] for row in cursor.execute(query, (spec,))]


def _lanes(cursor: apsw.Cursor) -> list[object]:
    query = "SELECT DISTINCT lane FROM tasks WHERE lane IS NOT NULL"
    return [row[0] for row in cursor.execute(query)]


def _has_spec(queue: Queue, spec: object) -> bool:
    try:
        return isinstance(spec, int) and queue.spec_of(spec) is not None
    except StoreError:
        return False


def _has_lane(queue: Queue, lane: object) -> bool:
    try:
        return isinstance(lane, int) and queue.lanes[lane] is not None
    except StoreError:
        return False


def _leave_lanes(cursor: apsw.Cursor, lanes: Iterable[object], now_s: float) -> int:
    """Have tasks of these lanes, and those that are nowhere, be looked at in the next turn."""
    before = cursor.connection.total_changes()
    for lane in lanes:
        cursor.execute(
            "UPDATE tasks SET lane = NULL, wake_s = ? WHERE lane IS ?",
            (now_s, lane),
        )
    cursor.execute(
        f"UPDATE tasks SET wake_s = ? WHERE state = {State.ENQUEUED:d} AND finished_s IS NULL"
        " AND lane IS NULL AND wake_s IS NULL AND worker IS NULL",
        (now_s,),
    )
    return cursor.connection.total_changes() - before


def _set_aside(
    cursor: apsw.Cursor,
    task: int,
    why: str,
    now_s: float,
    nameless: int,
    bad_specs: Iterable[object],
) -> None:
    """Keep a row as it is elsewhere, and end its task with what of it makes sense."""
    aside.keep(cursor, "tasks", task)
    changed: dict[str, object] = {
        "state": int(State.FAILED),
        "finished_s": now_s,
        "error": f"the file is damaged ({why}); what stood there is kept in table tasks_damaged",
        "asked": 0,
        **dict.fromkeys(("lane", "wake_s", "worker", "note")),
    }
    for column in TaskRow._fields[1:]:
        if column not in changed and not _is_sound(cursor, task, column, bad_specs):
            changed[column] = _NEUTRAL.get(column)
            if column in _MOMENTS:
                changed[column] = now_s
            elif column == "spec":
                changed[column] = nameless
    names = ", ".join(f"{column} = ?" for column in changed)
    cursor.execute(f"UPDATE tasks SET {names} WHERE id = ?", (*changed.values(), task))


def _is_sound(cursor: apsw.Cursor, task: int, column: str, bad_specs: Iterable[object]) -> bool:
    """Whether one value of a row can be."""
    try:
        value = cursor.execute(f"SELECT {column} FROM tasks WHERE id = ?", (task,)).get
        if column == "spec" and value in bad_specs:
            return False
        if column == "payload":
            args, kwargs = json.loads(value)
            return isinstance(args, list) and isinstance(kwargs, dict)
        if column in _JSON and value is not None:
            json.loads(value)
    except (ValueError, TypeError, RecursionError):  # UnicodeDecodeError among them
        return False
    return fits(TaskRow, column, value)
