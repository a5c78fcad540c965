"""When this device will probably be idle, charging, or both."""

from __future__ import annotations

import math
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from deferpower import _backend
from deferpower.errors import ConfigError
from deferpower.localtime import (
    HOUR_S,
    LATEST_S,
    Offset,
    hours_between,
    offset_of,
    renew_system_zone,
)
from deferpower.starting import Later, StartAdvice
from deferpower.thresholds import is_number

if TYPE_CHECKING:
    from deferpower._contract import LocalHour

Need: TypeAlias = Literal["idle", "plugged", "good"]
Observation: TypeAlias = (
    tuple[float, float | None] | tuple[float, float | None, bool | float | None]
)
"""Time in seconds since the epoch, activity 0-1, and whether plugged; ``None``: not observed."""

Triple: TypeAlias = tuple[float, float, float]
"""A figure for each of `NEEDS`."""

NEEDS: tuple[Need, ...] = ("idle", "plugged", "good")
OBSERVATION_S = 300.0
"""How long an observation stands at most: until the next, or this long."""
MIN_EVIDENCE_H = 24.0
"""With fewer observed hours than this a forecast abstains."""
MAX_HOURS = 168
_ABSENCE_S = 604_800.0
_EARLY_S = 60.0


class HourForecast(NamedTuple):
    """What one hour will probably be like.

    Attributes:
        start_s: when it begins, seconds since the epoch.
        p_idle: probability that its mean activity is at most 10 %; ``None`` where fewer than
            `MIN_EVIDENCE_H` observed hours tell.
        p_plugged: probability that the device is on external power for 11/12 of it or more.
        p_good: probability of both.
        evidence: observed hours at this hour of the day that this rests on, old ones faded.
    """

    start_s: float
    p_idle: float | None
    p_plugged: float | None
    p_good: float | None
    evidence: float


class Learned(NamedTuple):
    """What became of observations.

    Attributes:
        counted_s: seconds that were counted.
        repeated_s: seconds that were not, since they had been observed before.
    """

    counted_s: float
    repeated_s: float


class PredictiveDeferredProcessor:
    """Learns when a device is idle and charging, and says when work should start.

    SEMANTICS.md, "Predicting", says how. Not to be shared by threads.
    """

    def __init__(
        self,
        *,
        zone: str | Offset | None = None,
        backend: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A predictor that has seen nothing yet.

        Args:
            zone: IANA name of the local time zone, or a function that gives the seconds that it is
                ahead of UTC at a moment; ``None`` follows the system's.
            backend: ``"auto"``, ``"native"`` or ``"pure"``; ``None`` takes
                ``DEFERPOWER_BACKEND``, else auto.
            clock: seconds since the epoch.

        Raises:
            ConfigError: the zone or the backend is unknown.
        """
        self._offset = offset_of(zone)
        self._table_class = _backend.choose(backend).module.UsageTable
        self._table = self._table_class()
        self._clock = clock
        self._latest: tuple[float, float, float] | None = None  # not counted to its end yet
        self._later: tuple[tuple[object, ...], Later] | None = None
        self._learned = 0
        self._live: tuple[tuple[object, ...], Triple, Triple] | None = None
        self.repeated_s = 0.0
        """Seconds that were observed again and not counted."""

    def learn_usage_pattern(
        self, timestamp: float, activity_level: float | None, plugged: bool | None = None
    ) -> None:
        """Take in what the device is like at a moment.

        An observation stands until the next one, for `OBSERVATION_S` at most.

        Args:
            timestamp: seconds since the epoch, not in the future.
            activity_level: share of the time in use, 0-1; ``None`` for unknown.
            plugged: whether on external power; ``None`` for unknown.

        Raises:
            ConfigError: a value is none of these; then nothing was learned.
        """
        self.learn_many([(timestamp, activity_level, plugged)])

    def learn_many(self, observations: Iterable[Observation]) -> Learned:
        """Take in observations in any order.

        Of two at the same moment the later in the list counts.

        Args:
            observations: each as the arguments of `learn_usage_pattern`. The last of all stands
                until more is known.

        Returns:
            How much of it was new.

        Raises:
            ConfigError: one is wrong; the message says which. Then none was learned.
        """
        now_s = self._clock()
        rows = [_checked(*numbered, now_s) for numbered in enumerate(observations)]
        if not rows:
            return Learned(0.0, 0.0)
        self._notice_set_back(now_s)
        if self._latest is not None:
            rows.insert(0, self._latest)
        rows.sort(key=lambda row: row[0])
        lasting = array("d")
        for (start_s, activity, plugged), after in pairwise(rows):
            seconds = min(after[0] - start_s, OBSERVATION_S)
            if seconds > 0.0:
                lasting.extend((start_s, seconds, activity, plugged))
        learned = self._learn(lasting)
        self._latest = rows[-1]
        return learned

    def _notice_set_back(self, now_s: float) -> None:
        """Take up again from now on, if the clock had been ahead."""
        ahead_s = max(self._table.end_s or 0.0, 0.0 if self._latest is None else self._latest[0])
        if ahead_s > now_s + OBSERVATION_S:
            self._latest = None
            self._table.restart()

    def _learn(self, rows: array[float]) -> Learned:
        self._learned += 1
        if not rows:
            return Learned(0.0, 0.0)
        if sys.byteorder == "big":
            rows.byteswap()
        first_s, end_s = rows[0], rows[-4] + rows[-3]
        known_s = self._table.end_s
        # An hour that ends right where the rows begin is still open.
        begin_s = first_s if known_s is None or first_s - known_s > _ABSENCE_S else known_s - 1.0
        renew_system_zone()
        hours = hours_between(self._offset, max(min(begin_s, first_s), 0.0), end_s)
        learned = Learned._make(self._table.learn(hours, rows.tobytes()))
        # What stood already until it was asked about is sent again with its whole length.
        again_s = 0.0
        if self._latest is not None and known_s is not None and first_s == self._latest[0]:
            again_s = max(min(known_s, first_s + rows[1]) - first_s, 0.0)
        learned = Learned(learned.counted_s, learned.repeated_s - again_s)
        self.repeated_s += learned.repeated_s
        return learned

    def _settle(self, now_s: float) -> None:
        """Count the latest observation up to now."""
        if self._latest is None:
            return
        start_s, activity, plugged = self._latest
        seconds = min(now_s - start_s, OBSERVATION_S)
        known_s = self._table.end_s
        if seconds > 0.0 and (known_s is None or start_s + seconds > known_s):
            self._learn(array("d", (start_s, seconds, activity, plugged)))

    def forecast(self, hours: int = 24, now_s: float | None = None) -> list[HourForecast]:
        """What the next hours will be like.

        Args:
            hours: how many, 1-168.
            now_s: seconds since the epoch; ``None`` for the present.

        Returns:
            An hour each, from the next full local hour on, or from now if one begins now.

        Raises:
            ConfigError: an argument is out of range.
        """
        if not isinstance(hours, int) or isinstance(hours, bool) or not 1 <= hours <= MAX_HOURS:
            raise ConfigError(f"hours: {hours!r} is no whole number from 1 to {MAX_HOURS}")
        now_s = self._checked_now(now_s)
        coming = self._coming(now_s, now_s + (hours + 1) * HOUR_S)
        told = [evidence >= MIN_EVIDENCE_H for evidence in self._table.evidence()]
        forecasts = []
        for (start_s, _), row in zip(coming, self._table.forecast(coming), strict=True):
            idle, plugged, good = (
                p if enough else None for p, enough in zip(row[:3], told, strict=True)
            )
            forecasts.append(HourForecast(start_s, idle, plugged, good, max(row[3:])))
        return forecasts[:hours]

    def predict_optimal_processing_time(
        self, now_s: float | None = None, duration_s: float = 3600, until_s: float | None = None
    ) -> float:
        """The best full hour to start work at, seconds since the epoch.

        Where little was observed the general prior decides. Asks for both idleness and charging,
        or for the one of them that has ever been observed.

        Args:
            now_s: seconds since the epoch; ``None`` for the present.
            duration_s: how long the work takes.
            until_s: latest moment to start, seconds since the epoch; ``None`` for a day from now.

        Returns:
            A moment after now; now itself if ``until_s`` comes before the next full hour.

        Raises:
            ConfigError: an argument is out of range.
        """
        now_s = self._checked_now(now_s)
        _check_duration(duration_s)
        latest_s = now_s + 86_400.0 if until_s is None else _checked_time("until_s", until_s)
        latest_s = min(latest_s, now_s + MAX_HOURS * HOUR_S)
        coming = self._coming(now_s, latest_s + min(duration_s, 86_400.0) + HOUR_S)
        place = NEEDS.index(self.usual_need())
        chances = [row[place] for row in self._table.forecast(coming)]
        best_s, best = now_s, -1.0
        for first, (start_s, _) in enumerate(coming):
            if now_s < start_s <= latest_s:
                chance = _mean_chance(coming, chances, first, start_s + duration_s)
                if chance > best:
                    best_s, best = start_s, chance
        return best_s

    def usual_need(self) -> Need:
        """What to wait for: ``"good"``, for both, unless only one of the two was ever observed."""
        idle, plugged, good = self._table.evidence()
        if good > 0.0 or idle == plugged:
            return "good"
        return "idle" if idle > plugged else "plugged"

    def tells(self, need: Need) -> bool:
        """Whether enough was observed to forecast this, `MIN_EVIDENCE_H` hours.

        Args:
            need: ``"idle"``, ``"plugged"``, or ``"good"`` for both.
        """
        return self._table.evidence()[NEEDS.index(need)] >= MIN_EVIDENCE_H

    def chance_by(self, until_s: float, need: Need | None = None) -> float:
        """The probability, 0-1, that what a task asks for comes by then, or holds now.

        Looks one day ahead at most.

        Args:
            until_s: seconds since the epoch.
            need: what it asks for; ``None`` for `usual_need`.

        Raises:
            ConfigError: an argument is out of range.
        """
        now_s = self._checked_now(None)
        until_s = _checked_time("until_s", until_s)
        later, live, _ = self._outlook(now_s, float(HOUR_S), self._checked_need(need))
        return later.chance_by(until_s, live)

    def advise_start(
        self,
        until_s: float,
        duration_s: float = 3600,
        now_s: float | None = None,
        need: Need | None = None,
    ) -> StartAdvice:
        """Whether a task should start now or wait for a better moment until then.

        Args:
            until_s: latest moment to start, seconds since the epoch.
            duration_s: how long the task takes.
            now_s: seconds since the epoch; ``None`` for the present.
            need: what the task asks for while it runs; ``None`` for `usual_need`.

        Raises:
            ConfigError: an argument is out of range.

        Cost: natively some 20 us, and some 500 us once an hour and duration.
        """
        now_s = self._checked_now(now_s)
        until_s = _checked_time("until_s", until_s)
        _check_duration(duration_s)
        later, live, ages_s = self._outlook(now_s, duration_s, self._checked_need(need))
        return later.advise(now_s, until_s, live, ages_s)

    def _checked_need(self, need: Need | None) -> Need:
        if need is not None and need not in NEEDS:
            raise ConfigError(f"need: {need!r} is none of {', '.join(NEEDS)}")
        return need or self.usual_need()

    def _outlook(self, now_s: float, duration_s: float, need: Need) -> tuple[Later, Triple, Triple]:
        """What later hours promise, the probabilities that what holds now lasts, and since when
        it has held.
        """  # noqa: D205 (one sentence)
        self._settle(now_s)
        # Many tasks are asked about at one moment.
        asked = (now_s, duration_s, need, self._learned)
        if self._live is None or self._later is None or self._live[0] != asked:
            renew_system_zone()
            key = (hours_between(self._offset, now_s, now_s)[0], duration_s, need)
            if self._later is None or self._later[0] != key:
                hours = hours_between(self._offset, now_s, now_s + 26 * HOUR_S)
                rows = self._table.outlook(now_s, duration_s, hours)[2]
                self._later = (key, Later([hour[0] for hour in hours], rows, NEEDS.index(need)))
            near = hours_between(self._offset, now_s, now_s + min(duration_s, 86_400.0))
            live, ages_s, _ = self._table.outlook(now_s, duration_s, near[:2])
            self._live = (asked, live, ages_s)
        return self._later[1], self._live[1], self._live[2]

    def merge(self, data: bytes) -> None:
        """Add what another predictor, given as its bytes, has learned of other times.

        Args:
            data: what `to_bytes` of the other one gave.

        Raises:
            ConfigError: the bytes are damaged; then nothing has changed.
        """
        self._table.merge(data)
        self._learned += 1

    def to_bytes(self) -> bytes:
        """All that was learned, for `from_bytes`; the latest observation as far as it stood."""
        self._settle(self._clock())
        return self._table.to_bytes()

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        zone: str | Offset | None = None,
        backend: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> PredictiveDeferredProcessor:
        """The predictor that these bytes were made from, by either backend.

        Args:
            data: what `to_bytes` gave.
            zone: whose local hours it goes by, as for a new one; likewise
            backend: who counts, and
            clock: seconds since the epoch.

        Raises:
            ConfigError: they are damaged, of another version, or no such bytes.
        """
        predictor = cls(zone=zone, backend=backend, clock=clock)
        predictor._table = predictor._table_class.from_bytes(data)
        return predictor

    def _checked_now(self, now_s: float | None) -> float:
        return _checked_time("now_s", self._clock() if now_s is None else now_s)

    def _coming(self, now_s: float, until_s: float) -> list[LocalHour]:
        """Local hours that begin now or later."""
        self._settle(now_s)
        renew_system_zone()
        hours = hours_between(self._offset, now_s, until_s)
        return [hour for hour in hours if hour[0] >= now_s]


def _mean_chance(
    hours: Sequence[LocalHour], chances: Sequence[float], first: int, end_s: float
) -> float:
    """Mean over the hours that work would run in."""
    last = first
    while last + 1 < len(hours) and hours[last + 1][0] < end_s:
        last += 1
    return sum(chances[first : last + 1]) / (last + 1 - first)


def _checked(number: int, observation: Observation, now_s: float) -> tuple[float, float, float]:
    """Start, activity and plugged as numbers, NaN for unknown."""
    where = f"observation {number}: "
    if not isinstance(observation, Sequence) or not 2 <= len(observation) <= 3:
        raise ConfigError(f"{where}{observation!r} is no (timestamp, activity, plugged)")
    timestamp, activity, plugged = (*observation, None)[:3]
    start_s = _checked_time(f"{where}timestamp", timestamp)
    if start_s > now_s + _EARLY_S:
        raise ConfigError(f"{where}timestamp: {timestamp!r} lies in the future (now is {now_s!r})")
    if activity is not None and not (is_number(activity) and 0 <= activity <= 1):
        raise ConfigError(f"{where}activity: {activity!r} is no number from 0 to 1")
    if not (plugged is None or isinstance(plugged, bool) or plugged in (0, 1)):
        raise ConfigError(f"{where}plugged: {plugged!r} is neither true, false nor None")
    return (
        start_s,
        math.nan if activity is None else float(activity),
        math.nan if plugged is None else float(plugged),
    )


def _checked_time(name: str, value: float) -> float:
    if not is_number(value) or not 0 <= value <= LATEST_S:
        raise ConfigError(f"{name}: {value!r} is no time in seconds since the epoch")
    return float(value)


def _check_duration(duration_s: float) -> None:
    if not is_number(duration_s) or not 0 < duration_s < math.inf:
        raise ConfigError(f"duration_s: {duration_s!r} is no number of seconds above 0")
