"""The durable queue of items to sync: adding them and asking about them. `Round` sends them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deferpower.errors import ConfigError, QueueFull
from deferpower.store import sync_damage
from deferpower.store import sync_items as rows
from deferpower.store import sync_queues as queues
from deferpower.store.database import Database, Durability
from deferpower.store.failures import refused
from deferpower.store.payloads import Payloads
from deferpower.store.records import checked_limit, damaged, is_row_number
from deferpower.store.schema import MIGRATIONS
from deferpower.store.sync_items import Gone, ItemState, NewItem
from deferpower.sync.records import PRIORITIES, SyncRecord, SyncStats
from deferpower.sync.target import Priority, SyncItem, encoded

if TYPE_CHECKING:
    import apsw

_log = logging.getLogger("deferpower.sync")

T = TypeVar("T")
_TOKEN_BYTES = 16
_SPILL_BYTES = 1 << 16
"""Longer contents go into files: in the database they would be written three times over."""
_LONGEST_KEY = 1000


class SyncQueue:
    """The items of one queue of one store.

    Attributes:
        database: where they are kept.
        id: the queue's number there.
        found: the queue as it was before this program opened it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        name: str,
        target_name: str | None = None,
        *,
        durability: Durability = "full",
        max_items: int = 1_000_000,
        max_bytes: int = 1 << 30,
        max_item_bytes: int = 1 << 26,
    ) -> None:
        """Open the queue, and sweep away what a crash left beside the database.

        Args:
            path: as for `Database`.
            name: of the queue, which is made if it is not there.
            target_name: where its items go from now on; ``None`` leaves it as it is.
            durability: as for `Database`.
            max_items: items that it may hold,
            max_bytes: and bytes,
            max_item_bytes: and of one item.

        Raises:
            StoreError: the file cannot be used.
        """
        self.database = Database(path, MIGRATIONS, durability=durability)
        self.found = self.database.write(
            lambda cursor: queues.open_queue(cursor, name, target_name)
        )
        self.id = self.found.id
        self._most = max_items, max_bytes
        self._max_item_bytes = max_item_bytes
        found_path = self.database.path
        self._payloads = None if found_path is None else Payloads(found_path)
        if self._payloads is not None:
            self._payloads.sweep(lambda: self.database.read(rows.tokens_of_files))

    def add(self, data: object, priority: Priority, key: str | None, now_s: float) -> int:
        """Add an item, in the place of an older one of its key; its id.

        Raises:
            ConfigError: the data, the priority or the key cannot be used.
            QueueFull: there is no room.
            StoreError: the file cannot be written.
        """
        item, spilled = self._new(data, _number(priority), _checked_key(key), now_s)
        if key is None:
            return self._write([item], spilled)[0]
        return self._in_file(spilled, lambda: self._replace(item, key))

    def add_many(self, many: Iterable[object], priority: Priority, now_s: float) -> list[int]:
        """Add items without keys, all or none, in one commit; their ids.

        Raises:
            ConfigError, QueueFull, StoreError: as for `add`.
        """
        number = _number(priority)
        items, files = [], []
        for data in many:
            item, spilled = self._new(data, number, None, now_s)
            items.append(item)
            files += spilled
        return self._write(items, files) if items else []

    def _new(
        self, data: object, priority: int, key: str | None, now_s: float
    ) -> tuple[NewItem, list[tuple[bytes, bytes]]]:
        """A row, and the file for its content if that is long."""
        content, content_type = encoded(data)
        size_bytes = len(content)  # JSON is written in ASCII alone
        if size_bytes > self._max_item_bytes:
            raise ConfigError(
                f"data to sync: {size_bytes} bytes, and {self._max_item_bytes} is the most for one "
                "item; split it, or raise max_item_bytes"
            )
        token = os.urandom(_TOKEN_BYTES)
        spills = self._payloads is not None and size_bytes > _SPILL_BYTES
        kept = None if spills else content
        item = NewItem(self.id, priority, key, token, content_type, size_bytes, now_s, now_s, kept)
        if not spills:
            return item, []
        return item, [(token, content if isinstance(content, bytes) else content.encode())]

    def _write(self, items: Sequence[NewItem], files: list[tuple[bytes, bytes]]) -> list[int]:
        size_bytes = sum(item.size_bytes for item in items)

        def work(cursor: apsw.Cursor) -> list[int]:
            return rows.add(cursor, items, self._make_room(cursor, len(items), size_bytes))

        return self._in_file(files, lambda: self.database.write(work))

    def _in_file(self, files: list[tuple[bytes, bytes]], write: Callable[[], T]) -> T:
        """Have contents in their files before what names them is written."""
        if not files or self._payloads is None:
            return write()
        with self._payloads.writing(files):
            return write()

    def _replace(self, item: NewItem, key: str) -> int:
        def work(cursor: apsw.Cursor) -> tuple[int, list[Gone]]:
            older = rows.of_key(cursor, self.id, key)
            dead = [row.id for row in older if row.state is ItemState.DEAD]
            gone = rows.remove(cursor, dead)
            waits = next((row for row in older if row.state is ItemState.WAITING), None)
            freed = sum(row.size_bytes for row in older)
            last = self._make_room(cursor, 1 - len(older), item.size_bytes - freed)
            if waits is None:
                return rows.add(cursor, [item], last)[0], gone
            if rows.has_file(cursor, waits.token):
                gone.append(Gone(waits.id, waits.size_bytes, waits.token))
            rows.replace(cursor, waits.id, item)
            return waits.id, gone

        item_id, gone = self.database.write(work)
        self.remove_files(gone)
        return item_id

    def _make_room(self, cursor: apsw.Cursor, items: int, size_bytes: int) -> int:
        """Use up room; the number of the last item."""
        last = queues.take_room(cursor, self.id, items, size_bytes, self._most)
        if last is not None:
            return last
        row = queues.get(cursor, self.id)
        dead = rows.count(cursor, self.id, ItemState.DEAD)
        most, most_bytes = self._most
        raise QueueFull(
            f"sync queue {row.name!r}: it holds {row.items} items ({dead} of them dead letters) of "
            f"{row.bytes} bytes, and {most} items and {most_bytes} bytes are the most; no room for "
            f"{max(items, 1)} more of {size_bytes} bytes; let it sync, replay or discard dead "
            "letters, or raise max_items or max_bytes"
        )

    def sync_item(self, row: rows.Claimed) -> SyncItem:
        """A claimed item as targets take it."""
        content: str | bytes | Path | None = row.content
        if content is None:
            assert self._payloads is not None
            content = self._payloads.path(row.token)
        return SyncItem(
            row.token.hex(), content, row.content_type, row.key, PRIORITIES[row.priority]
        )

    def mend(self, now_s: float) -> bool:
        """Set aside items that make no sense, as dead letters; whether there were any."""

        def work(cursor: apsw.Cursor) -> dict[int, str]:
            queues.mend(cursor, self.id)
            return sync_damage.set_aside(cursor, self.id, now_s)

        found = self.database.write(work)
        for item, why in found.items():
            _log.error("item %d: the file is damaged (%s); it is a dead letter", item, why)
        return bool(found)

    def remove_files(self, gone: Iterable[Gone]) -> None:
        """Delete the files of items that are gone for good."""
        if self._payloads is not None:
            self._payloads.remove(item.token for item in gone if item.token is not None)

    def data(self, item_id: int) -> Any:
        """What was queued.

        Raises:
            ConfigError: there is no such item.
        """
        (number,) = numbers([item_id])
        found = self.database.read(lambda cursor: rows.content(cursor, self.id, number))
        if found is None:
            raise ConfigError(f"item {item_id}: there is no such item; it may have been delivered")
        token, content_type, content = found
        if not isinstance(token, bytes) or not isinstance(content, str | bytes | None):
            raise damaged(f"item {item_id}", "its content cannot be told")
        kept: str | bytes | Path | None = content
        if kept is None:
            assert self._payloads is not None
            kept = self._payloads.path(token)
        try:
            return SyncItem("", kept, content_type).data
        except OSError as error:
            raise refused(str(kept), error) from error
        except (ValueError, RecursionError) as error:
            raise damaged(f"item {item_id}", f"its content is no JSON: {error}") from error

    def find(self, *, dead: bool, priority: Priority | None, limit: int) -> list[SyncRecord]:
        """Dead items, or all others; the oldest first."""
        number = None if priority is None else _number(priority)
        most = checked_limit(limit)
        found = self.database.read(
            lambda cursor: rows.find(cursor, self.id, dead=dead, priority=number, limit=most)
        )
        return [SyncRecord.of(row) for row in found]

    def stats(self, now_s: float) -> SyncStats:
        """How it stands."""

        def work(cursor: apsw.Cursor) -> SyncStats:
            row = queues.get(cursor, self.id)
            waiting = rows.waiting(cursor, self.id)
            dead_bytes = rows.dead_bytes(cursor, self.id)
            return SyncStats(
                row.name,
                row.target,
                {name: waiting.get(number, 0) for number, name in enumerate(PRIORITIES)},
                rows.count(cursor, self.id, ItemState.SENDING),
                rows.count(cursor, self.id, ItemState.DEAD),
                row.bytes - dead_bytes,
                dead_bytes,
                row.failures,
                row.paused_until_s if row.paused_until_s > now_s else None,
                row.error,
                row.delivered_s,
            )

        return self.database.read(work)

    def replay(self, items: Sequence[int] | None, now_s: float) -> int:
        """Have dead items wait again; how many."""

        def work(cursor: apsw.Cursor) -> int:
            found = rows.dead_ids(cursor, self.id, items)
            rows.revive(cursor, found, now_s)
            return len(found)

        return self.database.write(work)

    def discard(self, items: Sequence[int] | None) -> int:
        """Delete dead items; how many."""

        def work(cursor: apsw.Cursor) -> list[Gone]:
            gone = rows.remove(cursor, rows.dead_ids(cursor, self.id, items))
            queues.give_room(cursor, self.id, len(gone), sum(item.size_bytes for item in gone))
            return gone

        gone = self.database.write(work)
        self.remove_files(gone)
        return len(gone)

    def hasten(self, now_s: float) -> None:
        """End all waiting that failures have caused."""

        def work(cursor: apsw.Cursor) -> None:
            queues.hasten(cursor, self.id, now_s)
            rows.hasten(cursor, self.id, now_s)

        self.database.write(work)


def queue_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of all queues of a file.

    Raises:
        StoreError: the file cannot be used.
    """
    with Database(path, MIGRATIONS) as database:
        return database.read(queues.names)


def numbers(items: Iterable[object]) -> list[int]:
    """The numbers of items, checked: SQLite would take texts for numbers, too.

    Raises:
        ConfigError: one is none.
    """
    found = list(items)
    for item in found:
        if not is_row_number(item):
            raise ConfigError(f"item: {item!r:.80} is not the number of an item")
    return cast("list[int]", found)


def _number(priority: Priority) -> int:
    try:
        return PRIORITIES.index(priority)
    except ValueError:
        raise ConfigError(
            f"priority: {priority!r} is unknown; it is one of {', '.join(PRIORITIES)}"
        ) from None


def _checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or "\0" in key:
        raise ConfigError(f"key: {key!r} is no text of 1 to {_LONGEST_KEY} characters")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"key: {key!a} cannot be written as UTF-8") from None
    return key
