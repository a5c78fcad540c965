"""One round of sending: takes what may go, batch by batch, and writes what became of it.

What a request told is written in the same commit that takes the items of the next. A *target's*
failure pauses the queue, whatever its length: then one item is tried for each wait. An *item's* own
failure has it go alone, later, and in the end makes it a dead letter.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from deferpower.store import owner, senders
from deferpower.store import sync_items as rows
from deferpower.store import sync_queues as queues
from deferpower.store.records import DamagedError
from deferpower.store.sync_items import Claimed, Fate, Gone, ItemState
from deferpower.sync import orphans
from deferpower.sync.conditions import NOTHING
from deferpower.sync.delivery import Answered, deliver
from deferpower.sync.records import PRIORITIES, ResultStatus, SyncResult
from deferpower.sync.target import Outcome, Target, TargetUnavailable

if TYPE_CHECKING:
    import apsw

    from deferpower.sync.backoff import Backoff
    from deferpower.sync.queue import SyncQueue

_log = logging.getLogger("deferpower.sync")

T = TypeVar("T")


class _Pause(NamedTuple):
    """The target failed: how it said so, and how long it asks to be left alone."""

    error: str
    retry_after_s: float | None


class _Turn(NamedTuple):
    """What a turn has written and taken; no sender any more when there was nothing to take."""

    sender: int | None
    failures: int
    told: list[SyncResult]
    gone: list[Gone]
    claimed: list[Claimed]


class Round:
    """One pass over what may be sent now. Used once, in one thread."""

    def __init__(
        self,
        queue: SyncQueue,
        target: Target,
        backoff: Backoff,
        *,
        max_failures: int,
        wall_clock: Callable[[], float],
        lowest: Callable[[], int],
        should_stop: Callable[[], bool],
    ) -> None:
        """Prepare a round.

        Args:
            queue: whose items.
            target: where they go.
            backoff: how long to wait after failures.
            max_failures: after so many of its own an item is dead.
            wall_clock: seconds since the epoch.
            lowest: the number of the lowest priority that may go; asked before each request.
            should_stop: whether to end early; asked before each request.
        """
        self._queue = queue
        self._database = queue.database
        self._target = target
        self._backoff = backoff
        self._max_failures = max_failures
        self._wall_clock = wall_clock
        self._lowest = lowest
        self._should_stop = should_stop
        self._sender: int | None = None
        self._marks: list[orphans.Mark] = []
        self._held: dict[str, Claimed] = {}
        self._answered: Answered = []
        self._blamed: list[Claimed] = []
        self._pause: _Pause | None = None
        self._failures = 0
        self._in_doubt = ""
        self._suspects_first = False

    def results(self) -> Iterator[SyncResult]:
        """Send what may go; what became of each item, once that is durable.

        Raises:
            StoreError: the file cannot be written; nothing is lost.
        """
        self._mending(lambda: orphans.adopt(self._queue, self._max_failures, self._wall_clock()))
        try:
            while True:
                yield from self._mending(self._turn)
                if not self._held:
                    return
                yield from self._send()
        finally:
            try:
                if self._sender is not None:
                    self._leave()
            finally:
                orphans.unmark(self._marks)

    def _mending(self, step: Callable[[], T]) -> T:
        """A step's result; where an item makes no sense, that is set aside first."""
        try:
            return step()
        except DamagedError:
            self._queue.mend(self._wall_clock())
            return step()

    def _send(self) -> Iterator[SyncResult]:
        """One request, or several where a batch was refused as a whole."""
        parts = deliver(self._target, [self._queue.sync_item(row) for row in self._held.values()])
        while self._pause is None and not self._should_stop():
            if 0 < len(self._answered) < len(self._held):
                yield from self._note_early()
            try:
                answered = next(parts, None)
            except TargetUnavailable as error:
                return self._blame(str(error), error.retry_after_s)
            except concurrent.futures.CancelledError:
                self._should_stop = _yes  # the event loop that was to send is at its end
                return None
            except Exception as error:
                # What it was is told with the pause that follows, in one line.
                _log.debug("%s: unexpected error", self._target.name, exc_info=error)
                return self._blame(f"{type(error).__name__}: {error}", None)
            if answered is None:
                return None
            self._take(answered)
        return None

    def _take(self, answered: Answered) -> None:
        """Remember what a request told, and what that says of the target."""
        self._answered += answered
        if any(outcome.status != "later" for _, outcome in answered):
            self._in_doubt = ""
            self._failures = 0
            return
        error = answered[0][1].error
        asked = [o.retry_after_s for _, o in answered if o.retry_after_s is not None]
        # One item may be what breaks the target: another one shows whether it is.
        if self._in_doubt or asked or self._failures:
            self._pause = _Pause(error, max(asked, default=None))
        self._in_doubt = error

    def _blame(self, error: str, retry_after_s: float | None) -> None:
        """The target failed. What it was sent goes in smaller batches: it may be the cause."""
        self._pause = _Pause(error, retry_after_s)
        known = {item.idempotency_key for item, _ in self._answered}
        self._blamed = [row for key, row in self._held.items() if key not in known]

    def _turn(self) -> list[SyncResult]:
        """Write what became of the last request, and take what goes in the next."""
        now_s = self._wall_clock()
        lowest = NOTHING if self._should_stop() else self._lowest()
        if self._sender is None and not self._database.read(
            lambda cursor: self._may_claim(cursor, lowest, now_s)
        ):
            return []

        def work(cursor: apsw.Cursor) -> _Turn:
            sender = self._sender or self._begin(cursor, now_s)
            told, gone = self._write(cursor, sender, now_s)
            row = queues.get(cursor, self._queue.id)
            claimed: list[Claimed] = []
            if row.paused_until_s <= now_s and lowest > NOTHING:
                claimed = self._claim(cursor, sender, row, lowest, now_s)
            if not claimed:
                if self._in_doubt:
                    # Nothing else is there to show whether the target works.
                    self._write_pause(cursor, _Pause(self._in_doubt, None), now_s)
                senders.forget(cursor, sender)
            return _Turn(sender if claimed else None, row.failures, told, gone, claimed)

        turn = self._database.write(work)
        self._forget(turn.told, turn.gone)
        self._sender, self._failures = turn.sender, turn.failures
        self._held = {row.token.hex(): row for row in turn.claimed}
        self._suspects_first = not self._suspects_first
        return turn.told

    def _begin(self, cursor: apsw.Cursor, now_s: float) -> int:
        """Take a place among those that send."""
        sender = senders.register(cursor, owner.this_process())
        # Marked before anybody can see it.
        self._marks.append(orphans.mark(self._database, sender))
        # Else a clock that was set back would keep everything waiting.
        queues.hasten(cursor, self._queue.id, now_s + self._backoff.longest_s)
        rows.hasten(cursor, self._queue.id, now_s + self._backoff.longest_s)
        return sender

    def _may_claim(self, cursor: apsw.Cursor, lowest: int, now_s: float) -> bool:
        """Whether it is worth a commit to look."""
        paused_s = queues.get(cursor, self._queue.id).paused_until_s - now_s
        if 0 < paused_s <= self._backoff.longest_s:
            return False
        return rows.may_claim(
            cursor, self._queue.id, lowest, now_s, now_s + self._backoff.longest_s
        )

    def _claim(
        self, cursor: apsw.Cursor, sender: int, row: queues.QueueRow, lowest: int, now_s: float
    ) -> list[Claimed]:
        limits = self._target.limits
        probes = row.failures > 0
        single = probes or bool(self._in_doubt)
        claimed = rows.claim(
            cursor,
            self._queue.id,
            sender,
            lowest_priority=lowest,
            now_s=now_s,
            max_items=1 if single else limits.max_items,
            max_bytes=limits.max_bytes,
            suspects_first=self._suspects_first and not single,
        )
        if probes and claimed:
            # Written before it is sent: neither another process nor the next one after a crash
            # tries too.
            failures = row.failures + 1
            until_s = now_s + self._backoff.wait_s(failures)
            queues.pause(cursor, self._queue.id, row.failures, until_s, None)
        return claimed

    def _write(
        self, cursor: apsw.Cursor, sender: int, now_s: float
    ) -> tuple[list[SyncResult], list[Gone]]:
        """Write what became of the items that were sent, and give back those that were not."""
        queue = self._queue.id
        arrived: list[int] = []
        fates: list[Fate] = []
        for item, outcome in self._answered:
            row = self._held[item.idempotency_key]
            if outcome.status == "delivered":
                arrived.append(row.id)
            else:
                fates.append(self._fate(row, outcome, now_s))
        if any(outcome.status != "later" for _, outcome in self._answered):
            queues.note_answer(cursor, queue, now_s if arrived else None)
        if self._pause is not None:
            until_s = self._write_pause(cursor, self._pause, now_s)
            fates += self._blamed_fates(self._pause, now_s, until_s)
        gone = rows.delivered(cursor, sender, arrived)
        told = {*arrived, *(fate.id for fate in fates)}
        unsent = [row.id for row in self._held.values() if row.id not in told]
        replaced = rows.put_back(cursor, sender, fates) + rows.release(cursor, sender, unsent)
        gone += replaced
        if gone:
            queues.give_room(cursor, queue, len(gone), sum(item.size_bytes for item in gone))
        dead = {fate.id for fate in fates if fate.state is ItemState.DEAD}
        return self._results(dead, {item.id for item in replaced}, now_s), gone

    def _write_pause(self, cursor: apsw.Cursor, pause: _Pause, now_s: float) -> float:
        """Have nothing sent for a while; until when."""
        failures = queues.get(cursor, self._queue.id).failures + 1
        wait_s = pause.retry_after_s
        until_s = now_s + (self._backoff.wait_s(failures) if wait_s is None else wait_s)
        queues.pause(cursor, self._queue.id, failures, until_s, pause.error)
        return until_s

    def _results(self, dead: set[int], replaced: set[int], now_s: float) -> list[SyncResult]:
        results = []
        for item, outcome in self._answered:
            row = self._held[item.idempotency_key]
            status: ResultStatus = "retrying"
            if outcome.status == "delivered":
                status = "synced"
            elif row.id in replaced:
                status = "replaced"
            elif row.id in dead:
                status = "dead"
            results.append(
                SyncResult(
                    row.id,
                    status,
                    now_s,
                    row.key,
                    PRIORITIES[row.priority],
                    row.size_bytes,
                    outcome.error,
                    outcome.result,
                )
            )
        return results

    def _fate(self, row: Claimed, outcome: Outcome, now_s: float) -> Fate:
        """What becomes of an item that the target took a look at and did not take."""
        if outcome.status == "refused":
            return Fate(row.id, ItemState.DEAD, now_s, 1, row.failures + 1, outcome.error)
        failures = row.failures + 1
        dead = failures >= self._max_failures
        wait_s = self._backoff.wait_s(failures)
        if outcome.retry_after_s is not None:
            wait_s = max(wait_s, outcome.retry_after_s)
        state = ItemState.DEAD if dead else ItemState.WAITING
        return Fate(row.id, state, now_s + wait_s, 1, failures, outcome.error)

    def _blamed_fates(self, pause: _Pause, now_s: float, until_s: float) -> list[Fate]:
        """They wait the longer, the more often they were there when the target failed."""
        blamed = self._blamed
        if blamed and pause.retry_after_s is None:
            # One moment for all, so that they go together.
            attempts = max(row.attempts for row in blamed)
            until_s = max(until_s, now_s + self._backoff.wait_s(attempts))
        width = max(len(blamed) // orphans.SHRINK, 1)
        return [
            Fate(row.id, ItemState.WAITING, until_s, width, row.failures, pause.error)
            for row in blamed
        ]

    def _forget(self, told: Sequence[SyncResult], gone: Sequence[Gone]) -> None:
        """What was written is over."""
        self._queue.remove_files(gone)
        if self._pause is not None:
            _log.warning("%s; nothing is sent for a while", self._pause.error)
        for result in told:
            if result.status == "dead":
                _log.error("item %d is a dead letter: %s", result.item_id, result.error)
        self._held, self._answered, self._blamed, self._pause = {}, [], [], None

    def _note_early(self) -> Iterator[SyncResult]:
        """Write what is known before more is asked of the target."""
        sender = self._sender
        assert sender is not None
        answered = self._answered
        held = self._held
        self._held = {i.idempotency_key: held.pop(i.idempotency_key) for i, _ in answered}
        told, gone = self._database.write(
            lambda cursor: self._write(cursor, sender, self._wall_clock())
        )
        self._forget(told, gone)
        self._held = held
        yield from told

    def _leave(self) -> None:
        """Ended early: write what is known, give back the rest, and strike this round off."""
        sender = self._sender
        assert sender is not None

        def work(cursor: apsw.Cursor) -> tuple[list[SyncResult], list[Gone]]:
            written = self._write(cursor, sender, self._wall_clock())
            senders.forget(cursor, sender)
            return written

        self._forget(*self._database.write(work))


def _yes() -> bool:
    return True
