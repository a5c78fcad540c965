"""Native and pure decide the same, exactly, whatever is asked and read, in any order."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deferpower._contract import CONSTRAINTS, Rules
from deferpower._native import Rules as NativeRules
from deferpower._pure.rules import Rules as PureRules
from deferpower.errors import ConfigError
from deferpower.thresholds import Thresholds

# Values about the lines that are drawn, and any others.
percents = st.sampled_from(
    [0.0, 15.0, 19.9, 20.0, 20.1, 23.0, 30.0, 33.0, 40.0, 50.0, 52.9, 53.0, 70.0, 73.0, 100.0]
) | st.floats(0, 100)
loads = st.none() | st.sampled_from([69.9, 70.0, 80.0, 90.0]) | st.floats(0, 100)
seconds = st.integers(-20, 1200).map(float) | st.floats(-1e9, 1e9)
lives = st.none() | st.sampled_from([0.0, 60.0, 100.0, 1000.0]) | st.floats(0, 1e9)
minutes = st.integers(0, 1439)
masks = st.sampled_from([0, 1, 2, 3, 1 << 63])
unsure = st.none() | st.booleans()


@st.composite
def constraint_rows(draw: st.DrawFn) -> tuple[int, float, int, int, int]:
    few = st.sets(st.integers(0, len(CONSTRAINTS) - 1), max_size=3)
    flags = sum(1 << bit for bit in draw(few))
    above = draw(st.sampled_from([0.0, 20.0, 40.0, 50.0, 98.0]) | st.floats(0, 99.9))
    start, end = draw(minutes), draw(st.integers(0, 1440))
    return (flags, above, start, end, draw(masks))


requirements = st.tuples(
    st.integers(0, 3),
    st.none() | st.none() | st.integers(0, 3),
    st.booleans(),
    constraint_rows(),
    constraint_rows(),
)
facts = st.tuples(
    st.tuples(seconds, seconds, minutes),
    st.tuples(st.booleans(), st.none() | percents, unsure),
    st.tuples(loads, loads, loads),
    st.booleans(),
    st.tuples(unsure, unsure),
    masks,
)
set_ids = st.integers(0, 5)
calls = st.one_of(
    st.tuples(st.just("compile"), requirements),
    st.tuples(st.just("observe"), facts),
    st.tuples(st.just("decide"), set_ids, seconds, lives, st.booleans()),
    st.tuples(st.just("evaluate"), st.booleans()),
    st.tuples(st.just("next_step_s"), set_ids, seconds, lives),
    st.tuples(st.just("relaxed"), requirements, seconds, lives, seconds),
)


def answer(rules: Rules, name: str, *arguments: Any) -> Any:
    try:
        return getattr(rules, name)(*arguments)
    except ConfigError as error:
        return str(error)


def new_pair() -> tuple[Rules, Rules]:
    thresholds = Thresholds()
    return (
        NativeRules(thresholds.lines(), thresholds.relaxation()),
        PureRules(thresholds.lines(), thresholds.relaxation()),
    )


@given(st.lists(requirements, max_size=4), facts, st.lists(calls, max_size=30))
def test_any_calls_in_any_order(first: list[Any], reading: Any, story: list[Any]) -> None:
    native, pure = new_pair()
    opening = [*(("compile", requirement) for requirement in first), ("observe", reading)]
    for call in (*opening, *story, ("evaluate", False)):
        assert answer(native, *call) == answer(pure, *call), call


@given(requirements, seconds, lives, facts, st.booleans())
def test_a_relaxed_requirement_is_decided_as_the_task_is(
    asked: Any, created_s: float, life_s: float | None, reading: Any, running: bool
) -> None:
    (_, now_s, _), *_ = reading
    for rules in new_pair():
        # Both are known before, or a line that only one of them has would have no history.
        if isinstance(answer(rules, "compile", asked), str):
            return
        left, next_s = rules.relaxed(asked, created_s, life_s, now_s)
        set_id, left_id = rules.compile(asked), rules.compile(left)
        rules.observe(reading)
        verdict, row, *unmet = rules.decide(set_id, created_s, life_s, running)
        left_verdict, left_row, *left_unmet = rules.evaluate(running)[left_id]
        assert (left_verdict, left_unmet) == (verdict, unmet)
        assert left_row == (0 if row == 2 else row)
        if next_s is not None:
            assert next_s > now_s
            assert rules.relaxed(asked, created_s, life_s, next_s)[0] != left
            before_s = math.nextafter(next_s, -math.inf)
            assert rules.relaxed(asked, created_s, life_s, max(now_s, before_s))[0] == left
            assert rules.relaxed(left, created_s, life_s, now_s) == (left, next_s)


@given(
    st.integers(-100, 1100).map(float) | st.floats(-1e6, 1e6),
    lives,
    st.integers(-100, 1100).map(float) | st.floats(-1e6, 1e6),
)
def test_relaxation(created_s: float, life_s: float | None, now_s: float) -> None:
    soft = (sum(1 << bit for bit in range(10)), 50.0, 0, 1, 1)
    nothing = (0, 0.0, 0, 0, 0)
    answers = []
    for rules in new_pair():
        set_id = rules.compile((3, None, False, nothing, soft))
        power, networks = (True, 5.0, False), (False, True)
        rules.observe(((0.0, now_s, 720), power, (99.0, 99.0, 99.0), False, networks, 0))
        next_s = rules.next_step_s(set_id, created_s, life_s)
        answers.append((rules.decide(set_id, created_s, life_s, True), next_s))
    assert answers[0] == answers[1]
