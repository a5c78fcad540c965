"""The parking lot of the rules engine: which of many waiting tasks may start."""

from __future__ import annotations

import pytest

from deferpower._contract import Backend, ConstraintRow, FactsRow, Rules
from deferpower.errors import ConfigError
from deferpower.thresholds import Thresholds

NOTHING: ConstraintRow = (0, 0.0, 0, 0, 0)
CHARGING: ConstraintRow = (1, 0.0, 0, 0, 0)
IDLE: ConstraintRow = (8, 0.0, 0, 0, 0)
CHARGING_ONLY, BACKGROUND, NORMAL = 1, 2, 3


@pytest.fixture
def rules(backend: Backend) -> Rules:
    return backend.Rules(Thresholds().lines(), Thresholds().relaxation())


def facts(wall_s: float = 0.0, *, plugged: bool = True, idle: bool = False) -> FactsRow:
    power = (True, 60.0, plugged)
    return ((wall_s, wall_s, 720), power, (None, None, None), idle, (None, None), 0)


def test_equal_requirements_have_one_id(rules: Rules) -> None:
    first = rules.compile((NORMAL, None, False, NOTHING, NOTHING))
    other = rules.compile((NORMAL, None, True, NOTHING, NOTHING))
    assert (first, other) == (0, 1)
    assert rules.compile((NORMAL, None, False, NOTHING, (0, -0.0, 0, 0, 0))) == first
    rules.observe(facts())
    assert rules.evaluate(False) == [(0, 7, 0, 0), (0, 7, 0, 0)]


def test_by_priority_then_age_then_id(rules: Rules) -> None:
    any_time = rules.compile((NORMAL, None, False, NOTHING, NOTHING))
    charging = rules.compile((NORMAL, None, False, CHARGING, NOTHING))
    rules.park(
        [
            (1, any_time, 0, 20.0, None),
            (2, charging, 0, 10.0, None),
            (3, any_time, 5, 30.0, None),
            (5, charging, 0, 20.0, None),
            (4, any_time, 0, 20.0, 9e9),
            (-6, charging, -1, 0.0, None),
            (7, any_time, 0, -3.5, None),
        ]
    )
    rules.observe(facts())
    assert rules.take(3, 0) == ([3, 7, 2], [])
    assert rules.take(9, 0) == ([1, 4, 5, -6], [])
    assert rules.take(9, 9) == ([], [])


def test_only_what_may_start_is_taken(rules: Rules) -> None:
    charging = rules.compile((NORMAL, None, False, CHARGING, NOTHING))
    idle = rules.compile((NORMAL, None, False, IDLE, NOTHING))
    rules.observe(facts(plugged=False))
    rules.park([(1, charging, 0, 0.0, None), (2, idle, 0, 0.0, None)])
    assert rules.take(9, 9) == ([], [])
    rules.observe(facts(plugged=False, idle=True))
    assert rules.take(9, 9) == ([2], [])
    rules.observe(facts(1.0))
    assert rules.take(9, 9) == ([1], [])


def test_charging_only_work_has_a_limit_of_its_own(rules: Rules) -> None:
    heavy = rules.compile((CHARGING_ONLY, None, False, NOTHING, NOTHING))
    light = rules.compile((NORMAL, None, False, NOTHING, NOTHING))
    rules.park([(n, heavy, 0, float(n), None) for n in range(5)])
    rules.park([(n, light, 0, float(n), None) for n in range(5, 8)])
    rules.park([(9, heavy, 0, 9.0, 1.0)])
    rules.observe(facts(11.0))
    # The one past its deadline is not held back by the others.
    assert rules.take(4, 2) == ([0, 1, 5, 6], [])
    assert rules.take(9, 0) == ([7, 9], [])
    assert rules.take(0, 9) == ([], [])
    assert rules.take(9, 9) == ([2, 3, 4], [])


def test_parking_again_replaces_and_unparking_removes(rules: Rules) -> None:
    any_time = rules.compile((NORMAL, None, False, NOTHING, NOTHING))
    rules.observe(facts())
    rules.park([(1, any_time, 0, 0.0, None), (2, any_time, 0, 1.0, None)])
    rules.park([(1, any_time, 0, 2.0, 500.0)])
    assert not rules.unpark(3)
    rules.park([(3, any_time, 9, 0.0, None)])
    assert rules.unpark(3)
    assert not rules.unpark(3)
    assert rules.take(9, 0) == ([2, 1], [])


def test_time_relaxes_what_waits(rules: Rules) -> None:
    prefers = rules.compile((NORMAL, None, False, NOTHING, IDLE))
    expires = rules.compile((NORMAL, None, True, IDLE, NOTHING))
    rules.park([(1, prefers, 0, 0.0, 1000.0), (2, expires, 0, 0.0, 700.0)])
    rules.park([(3, prefers, 0, 0.0, None), (4, expires, 0, 1.0, 699.0)])
    rules.observe(facts(499.999))
    assert rules.take(9, 9) == ([], [])
    rules.observe(facts(500.0))
    assert rules.take(9, 9) == ([1], [])
    rules.observe(facts(699.999))
    assert rules.take(9, 9) == ([], [])
    rules.observe(facts(700.0))
    assert rules.take(0, 0) == ([], [2, 4])
    rules.observe(facts(43_199.999))
    assert rules.take(9, 9) == ([], [])
    rules.observe(facts(43_200.0))
    assert rules.take(9, 9) == ([3], [])


def test_a_clock_set_back_restores_preferences(rules: Rules) -> None:
    prefers = rules.compile((NORMAL, None, False, NOTHING, IDLE))
    rules.park([(1, prefers, 0, 0.0, 1000.0), (2, prefers, 0, 400.0, 1000.0)])
    rules.observe(facts(600.0))
    assert rules.take(0, 0) == ([], [])
    rules.observe(facts(300.0))
    assert rules.take(9, 9) == ([], [])
    rules.observe(facts(500.0))
    assert rules.take(9, 9) == ([1], [])


CHARGING_IDLE_AND_WINDOW: ConstraintRow = (1 | 8 | 256, 0.0, 60, 120, 0)


@pytest.mark.parametrize(
    ("soft", "life_s", "moments"),
    [
        (NOTHING, None, []),
        (NOTHING, 1000.0, [1000.0]),
        (IDLE, 1000.0, [500.0, 1000.0]),
        (CHARGING_IDLE_AND_WINDOW, 1000.0, [500.0, 800.0, 940.0, 1000.0]),
        (CHARGING_IDLE_AND_WINDOW, 10_000.0, [5000.0, 8000.0, 9500.0, 10_000.0]),
        # So short that all is dropped for the nearness of the deadline, before any fraction.
        (CHARGING_IDLE_AND_WINDOW, 100.0, [40.0, 100.0]),
        (IDLE, None, [43_200.0]),
    ],
)
def test_when_time_changes_something(
    rules: Rules, soft: ConstraintRow, life_s: float | None, moments: list[float]
) -> None:
    set_id = rules.compile((NORMAL, None, False, NOTHING, soft))
    now_s = -5.0
    for moment_s in moments:
        rules.observe(facts(now_s))
        assert rules.next_step_s(set_id, 0.0, life_s) == moment_s
        now_s = moment_s
    rules.observe(facts(now_s))
    assert rules.next_step_s(set_id, 0.0, life_s) is None


def test_what_cannot_be_is_refused(rules: Rules) -> None:
    nan, infinite = float("nan"), float("inf")
    plain = rules.compile((NORMAL, None, False, NOTHING, NOTHING))
    with pytest.raises(ConfigError, match="nothing observed"):
        rules.decide(plain, 0.0, None, False)
    for call in (rules.evaluate, lambda _: rules.take(1, 1)):
        with pytest.raises(ConfigError, match="nothing observed"):
            call(False)
    rules.observe(facts())
    with pytest.raises(ConfigError, match="no such set"):
        rules.decide(plain + 1, 0.0, None, False)
    for created_s, life_s in [(nan, None), (infinite, 1.0), (0.0, nan), (0.0, -1.0)]:
        with pytest.raises(ConfigError, match="created_s"):
            rules.park([(1, plain, 0, 0.0, None), (2, plain, 0, created_s, life_s)])
    assert rules.take(9, 9) == ([], [])
    for row in (
        (1 << len(rules.CONSTRAINTS), 0.0, 0, 0, 0),
        (2, 100.0, 0, 0, 0),
        (2, nan, 0, 0, 0),
        (1 << 8, 0.0, 60, 60, 0),
        (1 << 8, 0.0, 1440, 60, 0),
        (1 << 8, 0.0, 60, 1441, 0),
    ):
        for hard, soft in ((row, NOTHING), (NOTHING, row)):
            with pytest.raises(ConfigError, match="constraints"):
                rules.compile((NORMAL, None, False, hard, soft))
    for task_class, verdict in ((4, None), (NORMAL, 4)):
        with pytest.raises(ConfigError, match="no such class or verdict"):
            rules.compile((task_class, verdict, False, NOTHING, NOTHING))
    with pytest.raises(ConfigError, match="monotonic_s"):
        rules.observe(facts(nan))
    with pytest.raises(ConfigError, match="minute"):
        rules.observe(((0.0, 0.0, 1440), *facts()[1:]))
