"""How much of everything is done: enough for a figure, or for a look."""

from __future__ import annotations

from typing import NamedTuple


class Effort(NamedTuple):
    """Rounds and sizes.

    Attributes:
        rounds: turns in which durable writes, whole processes and the like are measured.
        starts: tasks submitted after a second of silence.
        parked: tasks that wait, few to many.
        idle_s: how long idle workers are watched.
        kills: workers killed, for each contender.
        lag_rounds, lag_s: turns of the asyncio loop, and how long each is.
        hot_rounds, cold_rounds: turns of readings, in a loop and with pauses.
    """

    rounds: int = 11
    starts: int = 15
    parked: tuple[int, int, int] = (1_000, 100_000, 1_000_000)
    idle_s: float = 60.0
    kills: int = 20
    lag_rounds: int = 4
    lag_s: float = 4.0
    hot_rounds: int = 60
    cold_rounds: int = 15


FULL = Effort()
QUICK = Effort(3, 3, (1_000, 10_000, 100_000), 5.0, 4, 2, 1.0, 10, 2)
