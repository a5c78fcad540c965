"""What the forecast is measured against, each learning from the past alone."""

from __future__ import annotations

HORIZONS = 24


class HourOfWeekTable:
    """The share of each hour of the week, shrunk to that of the hour of the day."""

    def __init__(self) -> None:
        self._held = [0.0] * 168
        self._seen = [0.0] * 168

    def learn(self, hour_of_week: int, held: bool) -> None:
        self._held[hour_of_week] += held
        self._seen[hour_of_week] += 1

    def forecast(self, hour_of_week: int) -> list[float]:
        base = (sum(self._held) + 3.0) / (sum(self._seen) + 6.0)
        shares = []
        for ahead in range(HORIZONS):
            hour = (hour_of_week + ahead) % 168
            of_day = (sum(self._held[hour % 24 :: 24]) + base) / (
                sum(self._seen[hour % 24 :: 24]) + 1.0
            )
            shares.append((self._held[hour] + 3.0 * of_day) / (self._seen[hour] + 3.0))
        return shares


class PlainTable(HourOfWeekTable):
    """The share of each hour of the week alone, with one hour of the device's average."""

    def forecast(self, hour_of_week: int) -> list[float]:
        base = (sum(self._held) + 1.0) / (sum(self._seen) + 2.0)
        hours = [(hour_of_week + ahead) % 168 for ahead in range(HORIZONS)]
        return [(self._held[hour] + base) / (self._seen[hour] + 1.0) for hour in hours]


class Markov:
    """Two states, hour to hour, as often as each was seen to follow the other."""

    def __init__(self) -> None:
        self._counts = [[2.0, 1.0], [1.0, 2.0]]
        self._last: bool | None = None

    def learn(self, held: bool | None) -> None:
        if held is not None and self._last is not None:
            self._counts[self._last][held] += 1
        self._last = held

    def forecast(self, state: bool) -> list[float]:
        up = self._counts[0][1] / sum(self._counts[0])
        stay = self._counts[1][1] / sum(self._counts[1])
        state = state if self._last is None else self._last
        share, shares = float(state), []
        for _ in range(HORIZONS):
            share = share * stay + (1.0 - share) * up
            shares.append(share)
        return shares


class Climatology:
    """The share of all hours so far."""

    def __init__(self) -> None:
        self._held = 1.0
        self._seen = 2.0

    def learn(self, held: bool) -> None:
        self._held += held
        self._seen += 1

    def forecast(self) -> list[float]:
        return [self._held / self._seen] * HORIZONS
