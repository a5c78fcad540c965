"""When a task stops waiting for what it only prefers."""

from __future__ import annotations

from deferpower._contract import RelaxationRow

IDLE_DROPPED, BATTERY_DROPPED, NETWORK_DROPPED, CHARGING_DROPPED, ALL_DROPPED, DEADLINE = range(
    1, 7
)
"""Steps of relaxation; step 0 drops nothing, at the last the deadline has come."""


def step(relaxation: RelaxationRow, created_s: float, life_s: float | None, now_s: float) -> int:
    """How far a task has been relaxed by now."""
    *early, all_s, before_s, end_s = _moments(relaxation, created_s, life_s)
    if life_s is not None and now_s >= end_s:
        return DEADLINE
    if now_s >= min(all_s, before_s):
        return ALL_DROPPED
    return sum(now_s >= moment_s for moment_s in early)


def next_s(
    relaxation: RelaxationRow, prefers: bool, created_s: float, life_s: float | None, now_s: float
) -> float | None:
    """The first moment after now at which the step of a task changes.

    Of a task that prefers nothing, its deadline. ``None`` when no such moment is left.
    """
    *relaxing, end_s = _moments(relaxation, created_s, life_s)
    moments = relaxing if prefers else []
    if life_s is not None:
        moments.append(end_s)
    return min((moment_s for moment_s in moments if moment_s > now_s), default=None)


def _moments(relaxation: RelaxationRow, created_s: float, life_s: float | None) -> list[float]:
    """When idle, battery, network, charging and all are dropped, all for its nearness, the end."""
    *fractions, before_s, default_life_s = relaxation
    life_s = default_life_s if life_s is None else life_s
    moments = [created_s + fraction * life_s for fraction in fractions]
    end_s = created_s + life_s
    return [*moments, end_s - before_s, end_s]
