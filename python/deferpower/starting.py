"""Start now or wait: an optimal-stopping rule over what later hours promise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from deferpower._contract import OutlookRow

PLUGGED_WORTH = 0.3
"""What a run on the charger is worth beside one that is idle too."""
_IDLE, _PLUGGED, _GOOD = range(3)
_LONGEST_WAIT_H = 24


class StartAdvice(NamedTuple):
    """Whether to start, and what both ways are worth.

    Attributes:
        start: whether to start now.
        worth_now: what starting now is worth, 0-1: the probability that all goes well, and 0.3
            times the probability that at least the charger stays.
        worth_waiting: what waiting is worth, if each later moment is judged in the same way.
    """

    start: bool
    worth_now: float
    worth_waiting: float


class _Step(NamedTuple):
    """From the begin of an hour to its end, by what the hour before was like."""

    stay: float
    enter: float
    lasts: float


class Later:
    """What starting at each of the next hours is worth, SEMANTICS.md, "Predicting"."""

    def __init__(self, starts_s: Sequence[float], rows: Sequence[OutlookRow], need: int) -> None:
        """Look ahead.

        Args:
            starts_s: begins of local hours, the first at or before now.
            rows: the outlook of each.
            need: 0 idle, 1 plugged, 2 both.
        """
        self._starts_s = starts_s
        self._need = need
        self._wanted = _steps(rows, need)
        self._charged = _steps(rows, _PLUGGED) if need == _GOOD else self._wanted
        self._worths: dict[int, tuple[float, float, float]] = {}

    def advise(
        self, now_s: float, deadline_s: float, live: tuple[float, float, float]
    ) -> StartAdvice:
        """Whether to start now.

        Args:
            now_s: seconds since the epoch.
            deadline_s: latest moment to start.
            live: probability that idle, plugged and good last from now on.
        """
        wanted = live[self._need]
        charged = max(live[_PLUGGED], wanted) if self._need == _GOOD else wanted
        now = wanted + PLUGGED_WORTH * (charged - wanted)
        if now_s >= deadline_s:
            return StartAdvice(True, now, 0.0)
        last = 0
        while last < _LONGEST_WAIT_H and last + 1 < len(self._starts_s):
            if self._starts_s[last + 1] > deadline_s:
                break
            last += 1
        if last == 0:
            # Less than an hour is left: any good state now is better than a guess.
            return StartAdvice(now > 0.0, now, 0.0)
        good, plugged, none = self._worth(last)
        waiting = wanted * good + (charged - wanted) * plugged + (1.0 - charged) * none
        return StartAdvice(0.0 < now >= waiting, now, waiting)

    def _worth(self, last: int) -> tuple[float, float, float]:
        """What waiting for the next hour is worth, by what the present one will have been:
        as wanted, plugged at least, neither.
        """  # noqa: D205 (one sentence)
        if last not in self._worths:
            worth = (0.0, 0.0, 0.0)
            for place in range(last, 0, -1):
                worth = self._worth_before(place, worth, place == last)
            self._worths[last] = worth
        return self._worths[last]

    def _worth_before(
        self, place: int, after: tuple[float, float, float], is_last: bool
    ) -> tuple[float, float, float]:
        wanted, charged = self._wanted[place], self._charged[place]
        outcomes = []
        for is_wanted, is_charged in ((True, True), (False, True), (False, False)):
            goes_well = wanted.stay if is_wanted else wanted.enter
            at_least = max(charged.stay if is_charged else charged.enter, goes_well)
            lasts = wanted.lasts if is_wanted else wanted.enter
            charge_lasts = max(charged.lasts if is_charged else charged.enter, lasts)
            start = lasts + PLUGGED_WORTH * (charge_lasts - lasts)
            wait = (
                goes_well * after[0]
                + (at_least - goes_well) * after[1]
                + (1.0 - at_least) * after[2]
            )
            outcomes.append(start if is_last else max(start, wait))
        return outcomes[0], outcomes[1], outcomes[2]


def _steps(rows: Sequence[OutlookRow], event: int) -> list[_Step]:
    """A chain of hours whose shares are the clock's and whose runs last as they do here."""
    steps = [_Step(0.0, 0.0, 0.0)]
    for before, row in pairwise(rows):
        share_before, share = before[3 * event], row[3 * event]
        hour_lasts, lasts = row[3 * event + 1], row[3 * event + 2]
        # Where the clock's share falls, even an old run cannot be surer than the fall allows.
        most = min(share / share_before, 1.0)
        stay = min(hour_lasts, most)
        enter = (share - share_before * stay) / max(1.0 - share_before, 0.05)
        steps.append(_Step(stay, min(max(enter, 0.0), 1.0), min(lasts, most)))
    return steps
