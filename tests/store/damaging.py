"""A queue file with something of everything in it, ways to spoil it, and all that can be asked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from deferpower import (
    BackgroundSyncManager,
    BackgroundTaskManager,
    Constraints,
    DeferpowerError,
)
from deferpower.store.history import SLOT_S, Seen, add
from deferpower.sync import Limits, Outcome, SyncItem
from deferpower.testing import FakeDevice, run_until_idle

DAY_S = 86_400.0
LARGE = os.urandom(80_000)


class NotText(bytes):
    """What SQLite is to take for a text, though it is none."""


class Target:
    """Takes every item, but refuses those that say so."""

    name = "damaged"
    limits = Limits(3, 1 << 20)

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, items: Sequence[SyncItem], /) -> list[Outcome]:
        self.sent += [item.data for item in items]
        return [
            Outcome("refused", "no") if item.data == "refuse" else Outcome("delivered")
            for item in items
        ]

    async def send_async(self, items: Sequence[SyncItem], /) -> list[Outcome]:
        return self.send(items)

    def close(self) -> None: ...

    async def close_async(self) -> None: ...


class Work:
    """The functions of the queue, and what they were called with."""

    def __init__(self, manager: BackgroundTaskManager) -> None:
        self.ran: list[Any] = []
        manager.task(self.note, name="note", backoff_s=5.0)
        manager.task(self.fail, name="fail", max_attempts=1)
        manager.task(self.deep, name="deep", constraints=Constraints(charging=True))

    def note(self, *args: Any, **kwargs: Any) -> Any:
        self.ran.append(args[0] if args else None)
        return args[0] if args else None

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def deep(self, text: str) -> str:
        return self.note(text)  # type: ignore[no-any-return]


def fill(path: Path, device: FakeDevice) -> None:
    """Make the file: a task in each state, chains, keys, a period, sync items, history, a log."""
    manager = BackgroundTaskManager(path, device=device)
    work = Work(manager)
    done = manager.submit("note", ["done"], metadata={"a": 1})
    failed = manager.submit("fail", ["failed"])
    manager.submit("note", ["in vain"], after=failed)
    run_until_idle(manager)
    manager.submit("note", ["after one that is done"], after=done)
    first = manager.submit("note", ["later"], delay_s=DAY_S, key="a key")
    manager.submit("note", ["blocked"], after=[done, first])
    manager.cancel(manager.submit("note", ["cancelled"], delay_s=DAY_S).id)
    manager.submit("note", ["missed"], deadline_s=10.0, on_deadline="expire", constraints=_NEVER)
    manager.submit("deep", ["waits"], prefer=Constraints(idle=True))
    manager.task(lambda: None, name="again", every_s=3600.0)
    command = manager.submit_command(["true"], delay_s=DAY_S)
    device.clock.advance(60)
    run_until_idle(manager)
    manager.close()
    del work
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO logs VALUES (?, 0, ?)", (command.id, b"output\n"))
        cursor.execute("INSERT INTO workers VALUES (77, 'another boot', 4, '', 'then')")
        cursor.execute(
            "INSERT INTO tasks (spec, state, priority, created_s, due_s, payload, attempts, worker,"
            " started_s) SELECT spec, 2, 0, created_s, due_s, payload, 1, 77, created_s FROM tasks"
            " WHERE id = ?",
            (done.id,),
        )
        start = int(device.wall_clock()) // SLOT_S * SLOT_S
        add(cursor, [Seen(start - n * SLOT_S, 300.0, 0, 50.0, True, 0.5) for n in range(1, 30)])
    with BackgroundSyncManager(Target(), path, device=device) as sync:
        sync.queue_for_sync("refuse")
        sync.process_sync_queue()
        for number in range(4):
            sync.queue_for_sync({"item": number}, key=f"key {number}")
        sync.queue_for_sync(LARGE)
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("INSERT INTO sync_senders VALUES (77, 'another boot', 4, '', 'then')")
        connection.execute("UPDATE sync_items SET state = 1, sender = 77 WHERE key = 'key 3'")


_NEVER = Constraints(battery_above=99)


class Used(NamedTuple):
    """What became of all calls on a file.

    Attributes:
        said: the errors of ours.
        ran_new: whether a task that was submitted then has run.
        ids: the tasks that are still in the file.
    """

    said: list[str]
    ran_new: bool
    ids: set[int]


def use(path: Path, device: FakeDevice) -> Used:
    """Ask everything, run what may run; an error that is not ours passes through."""
    said: list[str] = []

    def attempt(call: Callable[[], object]) -> Any:
        try:
            return call()
        except DeferpowerError as error:
            said.append(str(error))
            return None

    manager = attempt(lambda: BackgroundTaskManager(path, device=device))
    if manager is None:  # a file that cannot be opened is refused as a whole, and left as it is
        return Used(said, True, _ids(path))
    work = Work(manager)
    manager.task(lambda: None, name="again", every_s=3600.0)
    ids = list(range(1, 16))

    def ask_all() -> None:
        attempt(manager.stats)
        attempt(manager.overview)
        attempt(manager.list)
        attempt(lambda: manager.list(states=["failed", "enqueued"]))
        attempt(manager.forecast)
        attempt(manager.export_history)
        attempt(manager.worker_pids)
        for task_id in ids:
            for ask in (manager.get, manager.why, manager.failures, manager.logs):
                attempt(lambda ask=ask, task_id=task_id: ask(task_id))  # type: ignore[misc]

    ask_all()
    attempt(lambda: manager.submit("note", ["new"]))
    for _ in range(2):
        attempt(lambda: run_until_idle(manager))
        device.clock.advance(3601)
    ask_all()
    for task_id in ids:
        attempt(lambda task_id=task_id: manager.cancel(task_id))  # type: ignore[misc]
        attempt(lambda task_id=task_id: manager.retry(task_id))  # type: ignore[misc]
    attempt(lambda: run_until_idle(manager))
    attempt(lambda: manager.submit("note", ["keyed"], key="a key", on_conflict="replace"))
    left = _ids(path)
    attempt(lambda: manager.prune(0.0))
    attempt(manager.close)
    sync = attempt(lambda: BackgroundSyncManager(Target(), path, device=device))
    if sync is not None:
        for ask in (sync.stats, sync.pending, sync.dead_letters, lambda: sync.sync_queues):
            attempt(ask)
        for item in range(1, 8):
            attempt(lambda item=item: sync.data(item))  # type: ignore[misc]
        attempt(lambda: sync.queue_for_sync("new", key="key 2"))
        attempt(sync.process_sync_queue)
        attempt(sync.replay)
        device.clock.advance(3600)
        attempt(sync.retry_now)
        attempt(sync.process_sync_queue)
        attempt(sync.discard)
        attempt(sync.close)
    return Used(said, "new" in work.ran, left)


def _ids(path: Path) -> set[int]:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return {row[0] for row in connection.execute("SELECT id FROM tasks")}
    except sqlite3.Error:
        return set()


def spoil(path: Path, table: str, column: str, place: int, value: object) -> bool:
    """Put a value into a cell, whatever the schema says; whether there is such a cell."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.pragma("foreign_keys", False)
        connection.pragma("ignore_check_constraints", True)
        connection.pragma("writable_schema", True)
        # NOT NULL is a matter of the schema; damage knows none.
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = ?", (table,)
        )
        connection.pragma("writable_schema", "RESET")
        keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
        key = ", ".join(keys)
        where = " AND ".join(f"{name} IS ?" for name in keys)
        found = connection.execute(
            f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET ?", (place,)
        ).fetchone()
        if found is None:
            return False
        given = "CAST(? AS TEXT)" if isinstance(value, NotText) else "?"
        statement = f"UPDATE {table} SET {column} = {given} WHERE {where}"
        with contextlib.suppress(apsw.ConstraintError, apsw.MismatchError):
            connection.execute(statement, (value, *found))
        return True


TABLES = {
    "meta": ("value",),
    "specs": ("text",),
    "lanes": ("text",),
    "workers": ("boot_id", "pid", "pid_namespace", "started"),
    "tasks": (
        *("spec", "state", "lane", "priority", "created_s", "since_s", "due_s", "not_before_s"),
        *("life_s", "wake_s", "payload", "attempts", "crashes", "worker", "asked", "blockers"),
        *("unique_key", "started_s", "finished_s", "result", "error", "checkpoint", "note"),
        "metadata",
    ),
    "links": ("before", "after", "place", "any_end"),
    "failures": ("task", "attempt", "started_s", "ended_s", "error"),
    "logs": ("task", "place", "data"),
    "sync_queues": (
        *("name", "target", "items", "bytes", "last_item", "failures", "paused_until_s"),
        *("error", "delivered_s"),
    ),
    "sync_senders": ("boot_id", "pid", "pid_namespace", "started"),
    "sync_items": (
        *("queue", "priority", "state", "width", "key", "token", "content_type", "size_bytes"),
        *("queued_s", "due_s", "attempts", "failures", "sender", "error", "content"),
    ),
    "history": ("seconds", "utc_offset_s", "percent", "plugged", "activity"),
}

ODD_VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 99, 2**63 - 1, -(2**63), 1e308, -1e308, float("inf"), 0.5),
    *("", "text", "{}", "[]", "[[], {}]", "[1, 2]", '{"name": 5}', "[" * 5000, "\0", "é" * 50),
    *(b"", b"\xff\xfe", b"[[], {}]"),
    NotText(b"[[], {}] \xff"),
)
