"""The calls of the rules engine: requirements, their relaxation by age, what is refused."""

from __future__ import annotations

import pytest

from deferpower._contract import Backend, ConstraintRow, FactsRow, RequirementRow, Rules
from deferpower.errors import ConfigError
from deferpower.thresholds import Thresholds

NOTHING: ConstraintRow = (0, 0.0, 0, 0, 0)
CHARGING: ConstraintRow = (1, 0.0, 0, 0, 0)
IDLE: ConstraintRow = (8, 0.0, 0, 0, 0)
CRITICAL, NORMAL = 0, 3
EXECUTE_NOW, EXPIRE = 0, 3


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


def test_a_clock_set_back_restores_preferences(rules: Rules) -> None:
    prefers_idle = rules.compile((NORMAL, None, False, NOTHING, IDLE))
    for wall_s, row in ((499.0, 3), (500.0, 7), (499.0, 3)):
        rules.observe(facts(wall_s))
        assert rules.decide(prefers_idle, 0.0, 1000.0, False)[1] == row


def test_what_is_preferred_is_taken_out_when_its_time_has_come(rules: Rules) -> None:
    def left_at(now_s: float) -> tuple[ConstraintRow, int | None, float | None]:
        asked: RequirementRow = (NORMAL, None, False, CHARGING, CHARGING_IDLE_AND_WINDOW)
        left, next_s = rules.relaxed(asked, 0.0, 1000.0, now_s)
        assert (left[0], left[2], left[3]) == (NORMAL, False, CHARGING)
        return left[4], left[1], next_s

    assert left_at(-5.0) == (CHARGING_IDLE_AND_WINDOW, None, 500.0)
    assert left_at(500.0) == ((1 | 256, 0.0, 60, 120, 0), None, 800.0)
    assert left_at(800.0) == ((256, 0.0, 60, 120, 0), None, 940.0)
    assert left_at(940.0) == (NOTHING, None, 1000.0)
    assert left_at(1000.0) == (NOTHING, EXECUTE_NOW, None)
    assert left_at(499.9) == (CHARGING_IDLE_AND_WINDOW, None, 500.0), "the clock was set back"


def test_what_a_dropped_constraint_asked_for_goes_with_it(rules: Rules) -> None:
    soft = (2 | 8 | 512, 40.0, 0, 0, 5)
    asked: RequirementRow = (NORMAL, None, False, NOTHING, soft)
    assert rules.relaxed(asked, 0.0, 1000.0, 600.0)[0][4] == (512, 0.0, 0, 0, 5)
    assert rules.relaxed(asked, 0.0, 1000.0, 950.0)[0][4] == NOTHING


@pytest.mark.parametrize(
    ("asked", "life_s", "left", "next_s"),
    [
        ((NORMAL, None, False, IDLE, NOTHING), None, (NORMAL, None, False, IDLE, NOTHING), None),
        ((NORMAL, None, True, IDLE, IDLE), 10.0, (NORMAL, EXPIRE, True, IDLE, NOTHING), None),
        # What no age changes: set by hand, or critical.
        ((NORMAL, 1, True, IDLE, IDLE), 10.0, (NORMAL, 1, True, IDLE, IDLE), None),
        ((CRITICAL, None, True, IDLE, IDLE), 10.0, (CRITICAL, None, True, IDLE, IDLE), None),
    ],
)
def test_what_is_left_long_after(
    rules: Rules,
    asked: RequirementRow,
    life_s: float | None,
    left: RequirementRow,
    next_s: float | None,
) -> None:
    assert rules.relaxed(asked, 0.0, life_s, 1e9) == (left, next_s)


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
    with pytest.raises(ConfigError, match="nothing observed"):
        rules.evaluate(False)
    rules.observe(facts())
    with pytest.raises(ConfigError, match="no such set"):
        rules.decide(plain + 1, 0.0, None, False)
    for created_s, life_s in [(nan, None), (infinite, 1.0), (0.0, nan), (0.0, -1.0)]:
        with pytest.raises(ConfigError, match="created_s"):
            rules.decide(plain, created_s, life_s, False)
        with pytest.raises(ConfigError, match="created_s"):
            rules.relaxed((NORMAL, None, False, NOTHING, NOTHING), created_s, life_s, 0.0)
    with pytest.raises(ConfigError, match="now_s"):
        rules.relaxed((NORMAL, None, False, NOTHING, NOTHING), 0.0, None, nan)
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
            with pytest.raises(ConfigError, match="constraints"):
                rules.relaxed((NORMAL, None, False, hard, soft), 0.0, None, 0.0)
    for task_class, verdict in ((4, None), (NORMAL, 4)):
        with pytest.raises(ConfigError, match="no such class or verdict"):
            rules.compile((task_class, verdict, False, NOTHING, NOTHING))
        with pytest.raises(ConfigError, match="no such class or verdict"):
            rules.relaxed((task_class, verdict, False, NOTHING, NOTHING), 0.0, None, 0.0)
    with pytest.raises(ConfigError, match="monotonic_s"):
        rules.observe(facts(nan))
    with pytest.raises(ConfigError, match="minute"):
        rules.observe(((0.0, 0.0, 1440), *facts()[1:]))
