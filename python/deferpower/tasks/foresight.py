"""What is known of the device's habits: learned from its history, and used by worker and `why`."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import ConfigError, StoreError
from deferpower.localtime import HOUR_S, offset_of
from deferpower.planning import SETTLES_S, Planner
from deferpower.predictor import PredictiveDeferredProcessor
from deferpower.starting import PATIENCE_S
from deferpower.store import forking, history
from deferpower.store.forking import Forkable
from deferpower.store.history import Seen
from deferpower.tasks.usage import Look, Recorder
from deferpower.traces import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from deferpower.device import Device
    from deferpower.planning import Plan
    from deferpower.predictor import HourForecast, Observation
    from deferpower.starting import StartAdvice
    from deferpower.store.database import Database
    from deferpower.tasks.usage import Span
    from deferpower.types import Reading

_log = logging.getLogger("deferpower.tasks")


_ADVICE_S = 1.0
"""Advice so old is as good as new, unless something was seen since."""


class Outlook(NamedTuple):
    """When a task will probably start.

    Attributes:
        start_s: the likeliest full hour, seconds since the epoch; its deadline if none is likely.
        probability: that what it asks for comes by its deadline, within a day at most, 0-1.
    """

    start_s: float
    probability: float


class Foresight(Forkable):
    """A predictor on the history that a store keeps. May be shared by threads.

    Attributes:
        complaint: what was wrong with the history when it was loaded; ``None`` for nothing.
    """

    def __init__(self, database: Database, device: Device) -> None:
        """Nothing is read before it is asked for."""
        self._database = database
        self._device = device
        self.complaint: str | None = None
        self.after_fork_in_child()
        forking.remember(self)

    def after_fork_in_child(self) -> None:
        """Start anew: what was seen and is not written yet, the parent writes."""
        self._lock = threading.Lock()
        self._recorder = Recorder(offset_of(None))
        self._known: PredictiveDeferredProcessor | None = None
        self._planner: Planner | None = None
        self._advised_s = -_ADVICE_S
        self._changed_s = 0.0
        self._latest: Reading | None = None

    def look(self, reading: Reading) -> None:
        """Take in a reading; now and then what was seen is written.

        Raises:
            StoreError: it cannot be written now; then it is with the next.

        Cost: nothing for a reading that was seen before; else some us, and a commit at most every
        5 minutes.
        """
        if reading is self._latest:
            return
        self._latest = reading
        look = Look.of(reading)
        with self._lock:
            if not self._recorder.is_news(look):
                return
            predictor = self._predictor()
            self._advised_s = -_ADVICE_S
            if look.state != self._recorder.state:
                self._changed_s = look.wall_s
            seen = self._recorder.take(look)
            if look.wall_s <= self._device.wall_clock():  # it may have been set back just now
                predictor.learn_many([*_steps(seen), (look.wall_s, look.activity, look.plugged)])
            rows = self._recorder.rows(look.wall_s)
        if rows:
            self._write(rows, look.wall_s)

    def close(self) -> None:
        """Write what was seen of the slot that is not over yet."""
        with self._lock:
            rows = self._recorder.rows(float("inf"))
        if rows:
            try:
                self._write(rows, self._device.wall_clock())
            except StoreError as error:
                _log.warning("the last minutes of the device's history are lost: %s", error)

    def forecast(self, hours: int = 24) -> list[HourForecast]:
        """What the next hours will be like, as `PredictiveDeferredProcessor.forecast`."""
        with self._lock:
            return self._predictor().forecast(hours)

    @property
    def now_s(self) -> float:
        """The time on the wall clock, seconds since the epoch."""
        return self._device.wall_clock()

    def advise(self, plan: Plan) -> StartAdvice | None:
        """Whether a task should start now; ``None`` if too little was observed to say."""
        now_s = self._device.wall_clock()
        with self._lock:
            planner = self._plans()
            if not 0.0 <= now_s - self._advised_s < _ADVICE_S:
                self._advised_s = now_s
            return planner.advise(plan, self._advised_s)

    def replanned_s(self, now_s: float) -> float:
        """When to ask for advice again: with the next hour, or once what is new has lasted."""
        hour_s = (now_s // HOUR_S + 1) * HOUR_S
        lasting = (self._changed_s + SETTLES_S, self._changed_s + PATIENCE_S)
        return min(moment_s for moment_s in (hour_s, *lasting) if moment_s > now_s)

    def outlook(self, plan: Plan) -> Outlook | None:
        """When a task will probably start; ``None`` if too little was observed to say."""
        with self._lock:
            planner = self._plans()
            chance = planner.chance(plan)
            if chance is None:
                return None
            return Outlook(planner.probable_start_s(plan, self._device.wall_clock()), chance)

    def _plans(self) -> Planner:
        """Who asks the predictor. Holds the lock."""
        self._predictor()
        assert self._planner is not None
        return self._planner

    def slots(self) -> list[Slot]:
        """The history as a trace, without a name for the device."""
        with self._lock:
            self._predictor()  # sets a damaged one aside
        loaded = history.load(self._database)
        return [
            Slot("", row.start_s, row.utc_offset_s, row.percent, row.plugged, row.activity)
            for row in loaded.rows
        ]

    def take_over(self, slots: Iterable[Slot]) -> int:
        """Add a trace to the history; how many slots of it were young enough.

        Raises:
            ConfigError: a slot lies in the future; then nothing was added.
        """
        now_s = self._device.wall_clock()
        rows = []
        for slot in slots:
            if slot.start_s > now_s:
                raise ConfigError(
                    f"timestamp_utc: {slot.start_s} lies in the future (now is {now_s:.0f}); "
                    "set the clock, or leave the line out"
                )
            if slot.start_s >= now_s - history.KEPT_S:
                rows.append(Seen(slot.start_s, float(history.SLOT_S), *slot[2:]))
        with self._lock:
            self._predictor()  # sets a damaged one aside
            self._database.write(lambda cursor: history.add(cursor, rows))
            self._known = None
        return len(rows)

    def _write(self, rows: list[Seen], now_s: float) -> None:
        def work(cursor: apsw.Cursor) -> None:
            history.add(cursor, rows)
            history.prune(cursor, now_s - history.KEPT_S)

        self._database.write(work)
        with self._lock:
            self._recorder.forget(rows)

    def _predictor(self) -> PredictiveDeferredProcessor:
        """What has learned from the history, which is read the first time. Holds the lock."""
        if self._known is None:
            now_s = self._device.wall_clock()
            loaded = history.load(self._database, now_s - history.KEPT_S)
            self.complaint = loaded.complaint
            if loaded.complaint is not None:
                _log.warning("%s; learning starts anew", loaded.complaint)
            self._known = learned(loaded.rows, self._device)
            self._planner = Planner(self._known)
        return self._known


def learned(rows: Iterable[Seen], device: Device) -> PredictiveDeferredProcessor:
    """A predictor that knows a history; what a clock that was set back has put into the future
    is left out.
    """  # noqa: D205 (one sentence)
    predictor = PredictiveDeferredProcessor(backend=device.backend_name, clock=device.wall_clock)
    now_s = device.wall_clock()
    observations: list[Observation] = []
    for row in rows:
        end_s = row.start_s + row.seconds
        if end_s <= now_s:
            observations.append((row.start_s, row.activity, row.plugged))
            observations.append((end_s, None, None))
    predictor.learn_many(observations)
    return predictor


def _steps(seen: Iterable[Span]) -> Iterable[Observation]:
    """Observations that stand until the next, and so follow each other closely enough."""
    for span in seen:
        start_s = span.start_s
        while start_s < span.end_s:
            yield start_s, span.activity, span.plugged
            start_s += history.SLOT_S
        yield span.end_s, None, None
