"""Start now or wait: an optimal-stopping rule over what later hours promise."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from deferpower._contract import OutlookRow

PLUGGED_WORTH = 0.15
"""What a run on the charger is worth beside one that is idle too."""
WORTH_OF_NOW = 1.02
"""How much more than it promises a start now is worth: later hours are foreseen less surely."""
PATIENCE_S = 5400.0
"""So long idleness must have lasted: what is younger is more often a pause than an end of use."""
_IDLE, _PLUGGED, _GOOD = range(3)
_LONGEST_WAIT_H = 24
_LEAST_REST = 0.05
_LEAST_PLUGGED_REST = 0.02


class StartAdvice(NamedTuple):
    """Whether to start, and what both ways are worth.

    Attributes:
        start: whether to start now: not before idleness has lasted for `PATIENCE_S` or half of
            what the deadline leaves, even where now is worth more.
        worth_now: what starting now is worth, 0-1: the probability that all goes well, and
            `PLUGGED_WORTH` times the probability that at least the charger stays.
        worth_waiting: what waiting is worth, if each later moment is judged in the same way.
    """

    start: bool
    worth_now: float
    worth_waiting: float


class _Step(NamedTuple):
    """One hour, by what the hour before was like.

    Attributes:
        goes_well: probability that it is as wanted, after an hour as wanted, one on the charger,
            neither.
        is_charged: probability that the charger stays or comes, likewise.
        lasts: probability that a start at its begin has what it wants throughout, likewise.
        charge_lasts: probability that such a start has the charger at least, likewise.
    """

    goes_well: tuple[float, float, float]
    is_charged: tuple[float, float, float]
    lasts: tuple[float, float, float]
    charge_lasts: tuple[float, float, float]


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
        self._steps = [_step(before, row, need) for before, row in pairwise(rows)]
        self._worths: dict[int, tuple[float, float, float]] = {}

    def advise(
        self,
        now_s: float,
        until_s: float,
        live: tuple[float, float, float],
        ages_s: tuple[float, float, float],
    ) -> StartAdvice:
        """Whether to start now.

        Args:
            now_s: seconds since the epoch.
            until_s: latest moment to start.
            live: probability that idle, plugged and good last from now on.
            ages_s: for how long each has held.
        """
        wanted = live[self._need]
        charged = max(live[_PLUGGED], wanted) if self._need == _GOOD else wanted
        now = wanted + PLUGGED_WORTH * (charged - wanted)
        if now_s >= until_s:
            return StartAdvice(True, now, 0.0)
        # The last hour that begins by then.
        last = min(bisect.bisect_right(self._starts_s, until_s, 1) - 1, _LONGEST_WAIT_H)
        if last == 0:
            # Less than an hour is left: any good state now is better than a guess.
            return StartAdvice(now > 0.0, now, 0.0)
        good, plugged, none = self._worth(last)
        waiting = wanted * good + (charged - wanted) * plugged + (1.0 - charged) * none
        patience_s = min(PATIENCE_S, (until_s - now_s) / 2.0)
        is_young = self._need != _PLUGGED and wanted > 0.0 and ages_s[self._need] < patience_s
        start = not is_young and 0.0 < now * WORTH_OF_NOW >= waiting
        return StartAdvice(start, now, waiting)

    def chance_by(self, until_s: float, live: tuple[float, float, float]) -> float:
        """Probability that what is wanted holds now or begins with an hour by then.

        Args:
            until_s: seconds since the epoch.
            live: as for `advise`.
        """
        wanted = live[self._need]
        charged = max(live[_PLUGGED], wanted) if self._need == _GOOD else wanted
        # Not as wanted so far: on the charger, or not even that.
        plugged, neither = charged - wanted, 1.0 - charged
        for start_s, step in zip(self._starts_s[1:], self._steps, strict=True):
            if start_s > until_s:
                break
            _, after_plugged, after_neither = step.goes_well
            _, charged_after_plugged, charged_after_neither = step.is_charged
            plugged, neither = (
                plugged * max(charged_after_plugged - after_plugged, 0.0)
                + neither * max(charged_after_neither - after_neither, 0.0),
                plugged * (1.0 - charged_after_plugged) + neither * (1.0 - charged_after_neither),
            )
        return min(max(1.0 - plugged - neither, 0.0), 1.0)

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
        step = self._steps[place - 1]
        outcomes = []
        for goes_well, is_charged, lasts, charge_lasts in zip(*step, strict=True):
            start = lasts + PLUGGED_WORTH * (charge_lasts - lasts)
            wait = (
                goes_well * after[0]
                + (is_charged - goes_well) * after[1]
                + (1.0 - is_charged) * after[2]
            )
            outcomes.append(start if is_last else max(start, wait))
        return outcomes[0], outcomes[1], outcomes[2]


def _step(before: OutlookRow, row: OutlookRow, need: int) -> _Step:
    """What an hour is like: its shares are the clock's, its runs last as they do here."""
    share_before, share = before[3 * need], row[3 * need]
    stay, lasts = _staying(before, row, need)
    if need != _GOOD:
        enter = min(max((share - share_before * stay) / _rest(share_before), 0.0), 1.0)
        chances, lasting = (stay, enter, enter), (lasts, enter, enter)
        return _Step(chances, chances, lasting, lasting)
    charge_stay, charge_lasts = _staying(before, row, _PLUGGED)
    charge_stay, charge_lasts = max(charge_stay, stay), max(charge_lasts, lasts)
    charged_before = max(before[3 * _PLUGGED], share_before)
    charged = max(row[3 * _PLUGGED], share)
    charge_enter = (charged - charged_before * charge_stay) / _rest(charged_before)
    charge_enter = min(max(charge_enter, 0.0), 1.0)
    # Who is on the charger needs idleness alone: one share of all that will be on it becomes idle.
    to_be_charged = (charged_before - share_before) * charge_stay
    to_be_charged += (1.0 - charged_before) * charge_enter
    idle = (share - share_before * stay) / max(to_be_charged, _LEAST_PLUGGED_REST)
    idle = min(max(idle, 0.0), 1.0)
    good_of_charged, good_of_none = charge_stay * idle, charge_enter * idle
    return _Step(
        (stay, good_of_charged, good_of_none),
        (charge_stay, charge_stay, charge_enter),
        (lasts, good_of_charged, good_of_none),
        (charge_lasts, max(charge_lasts, good_of_charged), charge_enter),
    )


def _staying(before: OutlookRow, row: OutlookRow, event: int) -> tuple[float, float]:
    """Probability that a run goes on for the hour, and for the duration."""
    hour_lasts, lasts = row[3 * event + 1], row[3 * event + 2]
    # Where the clock's share falls, even an old run cannot be surer than the fall allows.
    most = min(row[3 * event] / before[3 * event], 1.0)
    return min(hour_lasts, most), min(lasts, most)


def _rest(share: float) -> float:
    return max(1.0 - share, _LEAST_REST)
