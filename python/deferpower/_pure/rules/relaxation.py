"""When a task stops waiting for what it only prefers."""

from __future__ import annotations

import math

from deferpower._contract import RelaxationRow
from deferpower.errors import ConfigError

IDLE_DROPPED, BATTERY_DROPPED, NETWORK_DROPPED, CHARGING_DROPPED, ALL_DROPPED, DEADLINE = range(
    1, 7
)
"""Steps of relaxation; step 0 drops nothing, at the last the deadline has come."""


def check(created_s: float, life_s: float | None) -> None:
    """Refuse what is no moment and duration.

    Raises:
        ConfigError: so it is.
    """
    if not math.isfinite(created_s) or (life_s is not None and not 0.0 <= life_s < math.inf):
        raise ConfigError("created_s, life_s: no moment and duration")


def step(
    relaxation: RelaxationRow, preferred: int, created_s: float, life_s: float | None, now_s: float
) -> int:
    """How far a task has been relaxed by now; 0 for one that prefers nothing.

    Arguments as for `next_s`.
    """
    if life_s is not None and now_s >= created_s + life_s:
        return DEADLINE
    if not preferred:
        return 0
    *early, all_s, before_s, _ = _moments(relaxation, created_s, life_s)
    if now_s >= min(all_s, before_s):
        return ALL_DROPPED
    return sum(now_s >= moment_s for moment_s in early)


def next_s(
    relaxation: RelaxationRow, preferred: int, created_s: float, life_s: float | None, now_s: float
) -> float | None:
    """The next moment at which something is dropped that counts so far, or the deadline comes.

    Args:
        relaxation: when soft constraints are dropped.
        preferred: a bit for each step at which something is dropped that the task prefers.
        created_s: when it was asked for.
        life_s: seconds from then to its deadline.
        now_s: the moment after which to look.

    Returns:
        The moment; ``None`` when none is left.
    """
    *early, all_s, before_s, end_s = _moments(relaxation, created_s, life_s)
    all_s = min(all_s, before_s)
    moments = [
        min(moment_s, all_s)
        for step, moment_s in enumerate([*early, all_s], start=1)
        if preferred >> step & 1
    ]
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
