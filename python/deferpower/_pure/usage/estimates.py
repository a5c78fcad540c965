"""The sums that a table of usage keeps, and what can be read from them."""

from __future__ import annotations

from deferpower._contract import USAGE_EVENTS

EVENTS = len(USAGE_EVENTS)
HORIZONS = 24
BUCKETS = 8
LEVELS = 4

# Where the sums of one event lie: observed hours and hours in which it held, by hour of the week,
# by hour of the day, in all; the regression's products; hours at risk and ends of runs.
HELD = 0
SEEN = HELD + 168
HELD_DAY = SEEN + 168
SEEN_DAY = HELD_DAY + 24
HELD_ALL = SEEN_DAY + 24
SEEN_ALL = HELD_ALL + 1
PRODUCTS = SEEN_ALL + 1
AT_RISK = PRODUCTS + 5 * HORIZONS
ENDS = AT_RISK + BUCKETS * LEVELS
EVENT_CELLS = ENDS + BUCKETS * LEVELS
AWAKE = EVENTS * EVENT_CELLS
"""The same first six groups, for whether the device was there to be observed."""
CELLS = AWAKE + PRODUCTS

_NIGHT, _DAY = 0.9, 0.45
_IDLE = (
    *(_NIGHT,) * 8,
    *(0.8, 0.55),
    *(_DAY,) * 8,
    *(0.5, 0.65, 0.65, 0.7, 0.7, 0.8),
)
_PLUGGED = 0.37
PRIORS = (_IDLE, (_PLUGGED,) * 24, tuple(share * _PLUGGED for share in _IDLE), (1.0,) * 24)
"""Share of the time that each event holds by hour of the day, before anything was observed; the
last is for being there at all. SEMANTICS.md, "Predicting", says where they come from."""

_PRIOR_H = 24.0
_DAY_H = 1.0
_WEEK_H = 3.0

_CLOCK_RIDGE = 20.0
_STATE_RIDGE = 6.0
_STATE_WEIGHTS = (
    *(0.7, 0.525, 0.394, 0.295, 0.221, 0.166, 0.125, 0.093, 0.07, 0.053, 0.039, 0.03),
    *(0.022, 0.017, 0.013, 0.009, 0.007, 0.005, 0.004, 0.003, 0.002, 0.002, 0.001, 0.001),
)
"""How much of a surprise is left after so many hours, before anything was learned."""

BUCKET_ENDS_S = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
_RATES = (1.5, 1.0, 0.7, 0.5, 0.25, 0.12, 0.1, 0.12)
_LEVEL_FACTORS = (2.0, 1.3, 1.0, 0.3)
_RATE_PRIOR_H = 10.0
_STEP_S = 300.0
_LONGEST_HOLD_S = 86400.0

_SUM_MOST = 1e15
"""Far more than all hours of a life at their greatest weight."""


def bucket(age_s: float) -> int:
    """The place of an age among `BUCKET_ENDS_S`."""
    for place, end_s in enumerate(BUCKET_ENDS_S):
        if age_s < end_s:
            return place
    return BUCKETS - 1


class Estimates:
    """Sums of weighted observations. The weight of an hour doubles with each half-life.

    Attributes:
        cells: the sums, in the order above, of each event and of being there.
        unit: what an observation of the present hour weighs.
    """

    __slots__ = ("cells", "unit")

    def __init__(self) -> None:
        self.cells = [0.0] * CELLS
        self.unit = 1.0

    def are_sums(self) -> bool:
        """Whether the cells are sums of observations, from which probabilities can be told."""
        for event in range(EVENTS):
            cells = self.cells[event * EVENT_CELLS : (event + 1) * EVENT_CELLS]
            products = cells[PRODUCTS:AT_RISK]
            if not (
                all(0.0 <= count <= _SUM_MOST for count in cells[:PRODUCTS] + cells[AT_RISK:])
                and all(abs(product) <= _SUM_MOST for product in products)
                and all(
                    self._ridged(*products[at : at + 3])[2] > 0.0
                    for at in range(0, len(products), 5)
                )
            ):
                return False
        return all(0.0 <= count <= _SUM_MOST for count in self.cells[AWAKE:])

    def seen_h(self, event: int, hour_of_week: int | None = None) -> float:
        """Hours observed, in all or at that hour of the day, faded as their weight has."""
        at = event * EVENT_CELLS
        place = SEEN_ALL if hour_of_week is None else SEEN_DAY + hour_of_week % 24
        return self.cells[at + place] / self.unit

    def base(self, event: int, hour_of_day: int) -> float:
        """The share that holds in all, leaning on the prior of this hour of the day."""
        at = event * EVENT_CELLS
        prior = _PRIOR_H * self.unit
        return (self.cells[at + HELD_ALL] + prior * PRIORS[event][hour_of_day]) / (
            self.cells[at + SEEN_ALL] + prior
        )

    def clock(self, event: int, hour_of_week: int) -> float:
        """The share that holds in an hour of the week, leaning on that hour of all days."""
        cells, at, hour = self.cells, event * EVENT_CELLS, hour_of_week % 24
        day, week = _DAY_H * self.unit, _WEEK_H * self.unit
        of_day = (cells[at + HELD_DAY + hour] + day * self.base(event, hour)) / (
            cells[at + SEEN_DAY + hour] + day
        )
        return (cells[at + HELD + hour_of_week] + week * of_day) / (
            cells[at + SEEN + hour_of_week] + week
        )

    def level(self, event: int, hour_of_week: int) -> int:
        """The quarter that the clock's share lies in, 0-3."""
        return min(int(self.clock(event, hour_of_week) * LEVELS), LEVELS - 1)

    def add_hour(self, event: int, hour_of_week: int, held: float, seen: float) -> None:
        """Count an hour: how much of it held, how much was seen, weighted."""
        at = event * EVENT_CELLS
        for place, amount in ((HELD, held), (SEEN, seen)):
            self.cells[at + place + hour_of_week] += amount
        for place, amount in ((HELD_DAY, held), (SEEN_DAY, seen)):
            self.cells[at + place + hour_of_week % 24] += amount
        self.cells[at + HELD_ALL] += held
        self.cells[at + SEEN_ALL] += seen

    def anomaly(self, event: int, hour_of_week: int) -> float:
        """How far the clock's share of an hour lies above the share of all hours."""
        return self.clock(event, hour_of_week) - self.base(event, hour_of_week % 24)

    def add_outcome(
        self, event: int, horizon: int, clock: float, state: float, rest: float, weight: float
    ) -> None:
        """Count what came of a forecast.

        Args:
            event: of which event.
            horizon: hours between forecast and hour.
            clock: `anomaly` of the hour.
            state: surprise in the state when it was forecast.
            rest: outcome less base and clock: what is left for the state to explain.
            weight: of the hour.
        """
        cells, at = self.cells, event * EVENT_CELLS + PRODUCTS + 5 * horizon
        error = rest - _STATE_WEIGHTS[horizon] * state
        clock_part, state_part = weight * clock, weight * state
        cells[at] += clock_part * clock
        cells[at + 1] += clock_part * state
        cells[at + 2] += state_part * state
        cells[at + 3] += clock_part * error
        cells[at + 4] += state_part * error

    def chance(self, event: int, horizon: int, hour_of_week: int, state: float | None) -> float:
        """The probability that the event holds in an hour.

        Args:
            event: which event.
            horizon: hours from the state to the hour; from `HORIZONS` on the state says nothing.
            hour_of_week: which hour.
            state: the surprise in the present state, or ``None``.
        """
        base, clock = self.base(event, hour_of_week % 24), self.anomaly(event, hour_of_week)
        if horizon >= HORIZONS or state is None:
            return clamp(base + clock)
        at = event * EVENT_CELLS + PRODUCTS + 5 * horizon
        cc, cs, ss, ce, se = self.cells[at : at + 5]
        cc, ss, determinant = self._ridged(cc, cs, ss)
        clock_weight = 1.0 + (ss * ce - cs * se) / determinant
        state_weight = _STATE_WEIGHTS[horizon] + (cc * se - cs * ce) / determinant
        return clamp(base + clock_weight * clock + state_weight * state)

    def _ridged(self, cc: float, cs: float, ss: float) -> tuple[float, float, float]:
        """The squares of clock and state with their ridges, and the regression's determinant."""
        cc += _CLOCK_RIDGE * self.unit
        ss += _STATE_RIDGE * self.unit
        return cc, ss, cc * ss - cs * cs

    def add_at_risk(self, event: int, age_s: float, level: int, hours: float) -> None:
        """Count time at risk of a run at an age, weighted."""
        at = event * EVENT_CELLS + bucket(age_s) * LEVELS + level
        self.cells[at + AT_RISK] += hours

    def add_end(self, event: int, age_s: float, level: int) -> None:
        """Count the end of a run at an age."""
        at = event * EVENT_CELLS + bucket(age_s) * LEVELS + level
        self.cells[at + ENDS] += self.unit

    def rate(self, event: int, place: int, level: int) -> float:
        """Ends of runs per hour at an age, in hours of a level."""
        cells, prior = self.cells, _RATE_PRIOR_H * self.unit
        at = event * EVENT_CELLS + place * LEVELS
        ends, at_risk = prior * _RATES[place], prior
        for other, factor in enumerate(_LEVEL_FACTORS):
            ends += cells[at + ENDS + other]
            at_risk += cells[at + AT_RISK + other] * factor
        expected = ends / at_risk * _LEVEL_FACTORS[level]
        return (cells[at + ENDS + level] + prior * expected) / (cells[at + AT_RISK + level] + prior)

    def hold(
        self,
        event: int,
        age_s: float,
        start_s: float,
        duration_s: float,
        hours: list[tuple[float, int]],
    ) -> float:
        """The probability that a run goes on.

        Args:
            event: which event.
            age_s: how old it is at the start.
            start_s: from when on.
            duration_s: how long it is to go on; beyond a day it is taken for a day.
            hours: start and hour of the week of local hours, the first at or before the start.
        """
        probability, place, level = 1.0, 0, self.level(event, hours[0][1])
        left_s = min(duration_s, _LONGEST_HOLD_S)
        while left_s > 0.0:
            while place + 1 < len(hours) and hours[place + 1][0] <= start_s:
                place += 1
                level = self.level(event, hours[place][1])
            step_s = min(_STEP_S, left_s)
            rate = self.rate(event, bucket(age_s), level)
            probability /= 1.0 + rate * step_s / 3600.0
            age_s += step_s
            start_s += step_s
            left_s -= step_s
        return probability


def clamp(probability: float) -> float:
    """A probability that is never quite certain."""
    return min(max(probability, 0.005), 0.995)
