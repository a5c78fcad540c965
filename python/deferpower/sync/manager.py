"""`BackgroundSyncManager`: queue what is to be sent, send it when the device can spare it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from deferpower.errors import ConfigError
from deferpower.policy import Policy
from deferpower.store import forking
from deferpower.store.forking import Forkable
from deferpower.sync.adapters import AnyTarget, as_target
from deferpower.sync.backoff import Backoff
from deferpower.sync.bridge import OnLoop
from deferpower.sync.conditions import Gate, gate
from deferpower.sync.queue import SyncQueue, numbers
from deferpower.sync.records import PRIORITIES, SyncRecord, SyncResult, SyncStats
from deferpower.sync.round import Round
from deferpower.sync.target import Priority, Target
from deferpower.sync.waiting import Waiting
from deferpower.uncut import uncut

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.store.database import Durability
    from deferpower.sync.service import Service
    from deferpower.types import Reading

_log = logging.getLogger("deferpower.sync")


class BackgroundSyncManager(Forkable):
    """A queue of items that go to a target when battery and network allow.

    ``with sync:`` sends while the block lasts, and lets go of connections in the end; it may be
    entered again, and what else a manager can do it can outside, until it is closed.

    With a path, items outlive the program, and several programs may share them; tasks may be in
    the same file. Each item arrives at least once, always under the same idempotency key. May be
    shared by threads; after a fork the child goes on with the same file, without sending itself
    until it calls `start`.

    Attributes:
        device: the machine that is watched.
        policy: where all lines are drawn.
        target: where items go.
    """

    def __init__(
        self,
        target: AnyTarget,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str = "default",
        device: Device | None = None,
        policy: Policy | None = None,
        durability: Durability = "full",
        max_retries: int = 3,
        backoff_s: float = 30.0,
        backoff_cap_s: float = 18_000.0,
        max_items: int = 1_000_000,
        max_bytes: int = 1 << 30,
        max_item_bytes: int = 1 << 26,
    ) -> None:
        """Open a queue; nothing is sent before `start` or `process_sync_queue`.

        Args:
            target: a function of one item's data, a URL, or a `deferpower.sync.Target`.
            path: SQLite file, made if it is not there; ``None`` keeps items in memory.
            name: of the queue in that file. Managers with different targets need different names.
            device: where readings and clocks come from; ``None`` makes one by the policy.
            policy: ``None`` takes the defaults.
            durability: ``"full"`` survives a loss of power, ``"process"`` the death of any process.
            max_retries: how often an item may fail before it is a dead letter. That the target
                cannot be reached, or takes nothing now, is no failure of an item.
            backoff_s: the longest wait after a first failure; doubled for each further one,
            backoff_cap_s: up to this.
            max_items: items that the queue may hold, dead letters too,
            max_bytes: and bytes of their contents.
            max_item_bytes: of one item.

        Raises:
            ConfigError: a value cannot be used.
            StoreError: the file cannot be used.
        """
        for what, value in (
            ("max_retries", max_retries),
            ("max_items", max_items),
            ("max_bytes", max_bytes),
            ("max_item_bytes", max_item_bytes),
        ):
            if type(value) is not int or value < 1:
                raise ConfigError(f"{what}: {value!r} is no whole number of at least 1")
        if durability not in ("full", "process"):
            raise ConfigError(f"durability: {durability!r} is neither 'full' nor 'process'")
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise ConfigError(f"name: {name!r} cannot be a queue's name")
        self._backoff = Backoff(backoff_s, backoff_cap_s)
        self._backoff.check()
        self.target = as_target(target)
        self.policy = policy or Policy()
        self.device = device or self.policy.device()
        self._max_retries = max_retries
        self._lines = self.policy.sync_lines
        self._needs_network = getattr(self.target, "needs_network", True)
        self._queue = SyncQueue(
            path,
            name,
            self.target.name,
            durability=durability,
            max_items=max_items,
            max_bytes=max_bytes,
            max_item_bytes=max_item_bytes,
        )
        found = self._queue.found
        if found.items and found.target != self.target.name:
            _log.warning(
                "sync queue %r: what waits was queued for %s and will be sent to %s; managers with "
                "different targets need different names",
                *(name, found.target, self.target.name),
            )
        self._waiting = Waiting(self._is_all_sent)
        self.after_fork_in_child()
        forking.remember(self)

    def after_fork_in_child(self) -> None:
        """Leave sending to the parent."""
        self._starting = threading.Lock()
        self._service: Service | None = None

    def queue_for_sync(
        self, data: object, priority: Priority = "normal", key: str | None = None
    ) -> int:
        """Have data sent when its moment comes; durable when this returns.

        Args:
            data: a JSON value, or bytes.
            priority: ``"high"``, ``"normal"`` or ``"low"``.
            key: what it is about: it takes the place of an older item of this key that was not
                sent yet. One that is being sent just now is waited for.

        Returns:
            The item's number.

        Raises:
            ConfigError: an argument cannot be used; the item is too large.
            QueueFull: there is no room.
            StoreError: the file cannot be written.
        """
        item_id = self._queue.add(data, priority, key, self.device.wall_clock())
        self._ring()
        return item_id

    def queue_many_for_sync(
        self, many: Iterable[object], priority: Priority = "normal"
    ) -> list[int]:
        """Have several data sent, each as an item without a key; all are written in one commit.

        Args:
            many: JSON values, or bytes.
            priority: of all of them.

        Returns:
            The items' numbers, in their order.

        Raises:
            ConfigError, QueueFull, StoreError: as for `queue_for_sync`; then none was queued.
        """
        items = self._queue.add_many(many, priority, self.device.wall_clock())
        self._ring()
        return items

    def process_sync_queue(
        self, battery_percent: float | None = None, is_charging: bool | None = None
    ) -> list[SyncResult]:
        """Send what may go now, in this thread.

        Args:
            battery_percent: the level, 0-100; ``None`` asks the device.
            is_charging: whether the charger is connected; ``None`` asks the device.

        Returns:
            What became of each item that the target took a look at. Items that met a target that
            is down are not among them; `stats` tells of it.

        Raises:
            ConfigError: an argument cannot be used.
            StoreError: the file cannot be written; nothing is lost.
        """
        return list(self.iter_sync(battery_percent, is_charging))

    def iter_sync(
        self, battery_percent: float | None = None, is_charging: bool | None = None
    ) -> Iterator[SyncResult]:
        """As `process_sync_queue`, each result as soon as it is durable, with few in memory."""
        return self._results(self.target, _never, battery_percent, is_charging)

    def _results(
        self,
        target: Target,
        should_stop: Callable[[], bool],
        battery_percent: float | None = None,
        is_charging: bool | None = None,
    ) -> Iterator[SyncResult]:
        def lowest() -> int:
            return self.gate(battery_percent, is_charging).lowest

        lowest()  # a bad argument is told at once
        round_ = Round(
            self._queue,
            target,
            self._backoff,
            max_failures=self._max_retries,
            wall_clock=self.device.wall_clock,
            lowest=lowest,
            should_stop=should_stop,
        )

        def results() -> Iterator[SyncResult]:
            try:
                yield from round_.results()
            finally:
                self._waiting.tell()

        return results()

    def gate(self, battery_percent: float | None = None, is_charging: bool | None = None) -> Gate:
        """Which priorities may go now, and what keeps back the others.

        Args:
            battery_percent: the level, 0-100; ``None`` asks the device.
            is_charging: whether the charger is connected; ``None`` asks the device.

        Raises:
            ConfigError: an argument cannot be used.
        """
        return self._gate_by(self.device.read(), battery_percent, is_charging)

    def _gate_by(
        self,
        reading: Reading,
        battery_percent: float | None = None,
        is_charging: bool | None = None,
    ) -> Gate:
        return gate(
            reading,
            battery_percent,
            is_charging,
            lines=self._lines,
            needs_network=self._needs_network,
        )

    def start(self) -> None:
        """Send on a quiet thread, as moments come, until `stop`."""
        self._start(self.target)

    def _start(self, target: Target) -> None:
        from deferpower.sync.service import Service

        def send(should_stop: Callable[[], bool]) -> None:
            for _ in self._results(target, should_stop):
                pass

        with self._starting:
            if self._service is not None:
                return
            scheduler = self.policy.scheduler(self.device)
            self._service = Service(send, self._queue, scheduler, self._gate_by, self._lines)
            try:
                self._service.start()
            except BaseException:
                self._service = None
                raise

    def stop(self) -> None:
        """End sending after the request under way, and wait for that."""
        with self._starting:
            service, self._service = self._service, None
        if service is not None:
            service.stop()
        self._waiting.tell()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether all that was queued is delivered or dead, once it is so. Blocks.

        The quiet thread tells, so it must have been started. What other processes send counts.

        Args:
            timeout_s: how long; ``None`` for as long as it takes.

        Returns:
            ``False`` if something is left when the time is over, or when sending was stopped.

        Raises:
            ConfigError: something is queued, and nothing sends it by itself.
            StoreError: the file cannot be read.
        """
        self._refuse_waiting_alone()
        return self._waiting.wait(timeout_s)

    async def wait_async(self, timeout_s: float | None = None) -> bool:
        """As `wait`, without holding up the event loop."""
        await asyncio.to_thread(self._refuse_waiting_alone)
        return await self._waiting.wait_async(timeout_s)

    def _refuse_waiting_alone(self) -> None:
        if self._is_all_sent() is False:
            raise ConfigError(
                "wait: nothing sends by itself what is queued; call start() first, "
                "or process_sync_queue() instead"
            )

    def _is_all_sent(self) -> bool | None:
        """``None`` while it may yet be."""
        if not self.stats().pending:
            return True
        return False if self._service is None else None

    def close(self) -> None:
        """Stop, and close target and file. What waits stays there; what was in memory is gone."""
        self.stop()
        self.target.close()
        self._queue.database.close()

    def __enter__(self) -> BackgroundSyncManager:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and let go of connections; what is asked or sent later opens them again."""
        self.stop()
        self.target.close()

    async def __aenter__(self) -> BackgroundSyncManager:
        """Start; the target sends on this event loop."""
        target = OnLoop(self.target, asyncio.get_running_loop())
        try:
            await uncut(asyncio.to_thread(self._start, target))
        except asyncio.CancelledError:
            await self.__aexit__(None, None, None)  # nobody else will
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, without holding up the loop, and let go of connections.

        One cancellation does not cut it short.
        """

        async def leave() -> None:
            await asyncio.to_thread(self.stop)
            await self.target.close_async()

        await uncut(leave())

    async def queue_for_sync_async(
        self, data: object, priority: Priority = "normal", key: str | None = None
    ) -> int:
        """As `queue_for_sync`, without holding up the event loop while it is written."""
        return await asyncio.to_thread(self.queue_for_sync, data, priority, key)

    async def process_sync_queue_async(
        self, battery_percent: float | None = None, is_charging: bool | None = None
    ) -> list[SyncResult]:
        """As `process_sync_queue`; the target sends on this event loop."""
        target = OnLoop(self.target, asyncio.get_running_loop())
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(
                lambda: list(self._results(target, cancelled.is_set, battery_percent, is_charging))
            )
        finally:
            cancelled.set()

    def pending(self, limit: int = 1000) -> list[SyncRecord]:
        """Items that are neither delivered nor dead, the oldest first.

        Args:
            limit: at most so many.

        Raises:
            ConfigError: the limit is no whole number of 0 or more.
        """
        return self._queue.find(dead=False, priority=None, limit=limit)

    def dead_letters(self, limit: int = 1000) -> list[SyncRecord]:
        """Items that were refused, or have failed too often, the oldest first.

        Args:
            limit: at most so many.

        Raises:
            ConfigError: the limit is no whole number of 0 or more.
        """
        return self._queue.find(dead=True, priority=None, limit=limit)

    def data(self, item_id: int) -> Any:
        """What was queued as this item: a JSON value, or bytes.

        Args:
            item_id: its number.

        Raises:
            ConfigError: there is no such item any more, or this is no number.
        """
        return self._queue.data(item_id)

    def replay(self, items: Iterable[int] | None = None) -> int:
        """Have dead letters sent again, under the keys that they had.

        Args:
            items: which; ``None`` for all. Those that are no dead letters are passed over.

        Returns:
            How many.

        Raises:
            ConfigError: one is not a number.
        """
        number = self._queue.replay(_ids(items), self.device.wall_clock())
        self._ring()
        return number

    def discard(self, items: Iterable[int] | None = None) -> int:
        """Delete dead letters for good.

        Args:
            items: which; ``None`` for all. Those that are no dead letters are passed over.

        Returns:
            How many.

        Raises:
            ConfigError: one is not a number.
        """
        return self._queue.discard(_ids(items))

    def retry_now(self) -> None:
        """Forget how long failures have everything wait: what may go goes with the next round."""
        self._queue.hasten(self.device.wall_clock())
        self._ring()

    def stats(self) -> SyncStats:
        """How the queue stands."""
        return self._queue.stats(self.device.wall_clock())

    @property
    def sync_queues(self) -> Mapping[str, list[SyncRecord]]:
        """What waits or is being sent, by ``high_priority``, ``normal_priority``, ``low_priority``.

        The oldest thousand of each.
        """
        return {
            f"{priority}_priority": self._queue.find(dead=False, priority=priority, limit=1000)
            for priority in PRIORITIES
        }

    def _ring(self) -> None:
        # A file rings by itself when it is written to.
        if self._queue.database.wal_path is None and self._service is not None:
            self._service.wake()


def _never() -> bool:
    return False


def _ids(items: Iterable[int] | None) -> list[int] | None:
    if items is None:
        return None
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise ConfigError(f"items: {items!r:.80} is no list of numbers of items")
    return numbers(items)
