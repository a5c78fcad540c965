"""Deciding, hot: one task from Python, and a tick of the rules engine for all that wait."""

from __future__ import annotations

import importlib
import itertools
import random
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower._contract import Backend, FactsRow, OutcomeRow, RequirementRow, Rules
from deferpower.constraints import Constraints
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Task, TaskClass
from deferpower.thresholds import Thresholds
from deferpower.types import Cpu, Memory, Power, Reading

NOW_S = 1_700_000_000.0
READING = Reading(
    power=Power(True, 41.0, False, "discharging", -8.0, None, None, None, 1),
    cpu=Cpu(30.0, 4, None, 0.0),
    memory=Memory(100, 60, 40.0),
    disk=None,
    network=None,
    user=None,
    power_saver=None,
    storage={},
    idle_since_s=None,
    quiet_since_s=None,
    monotonic_s=1000.0,
    wall_s=NOW_S,
    backend="pure",
)


@pytest.mark.benchmark(group="one decision, reading in hand")
@pytest.mark.parametrize("asked", [Constraints(battery_above=30), Constraints(idle=True)])
def test_schedule_task(benchmark: BenchmarkFixture, backend: str, asked: Constraints) -> None:
    scheduler = IntelligentScheduler(backend=backend)
    task = Task(task_class=TaskClass.BACKGROUND, constraints=asked, created_s=NOW_S)
    decision = benchmark(scheduler.schedule_task, task, READING)
    assert decision.execute_now is (not asked.idle)


@pytest.mark.benchmark(group="one decision, rules engine alone")
def test_decide(benchmark: BenchmarkFixture, backend: str) -> None:
    rules = waiting_rules(backend, 100)
    assert benchmark(rules.decide, 0, NOW_S, None, False)[0] == 2


@pytest.mark.benchmark(group="one tick over all lanes that tasks wait in")
@pytest.mark.parametrize("waiting", [1_000, 100_000])
def test_tick(benchmark: BenchmarkFixture, backend: str, waiting: int) -> None:
    """Tasks of one requirement that age has relaxed alike share a lane, and its outcome."""
    rules = waiting_rules(backend, waiting)
    seconds = itertools.count(1)

    def tick() -> list[OutcomeRow]:
        rules.observe(facts(next(seconds)))
        return rules.evaluate(False)

    outcomes = benchmark(tick)
    benchmark.extra_info["lanes"] = len(outcomes)
    assert {verdict for verdict, *_ in outcomes} == {2}


@pytest.mark.benchmark(group="the lane of one task by its age")
def test_relaxed(benchmark: BenchmarkFixture, backend: str) -> None:
    rules = waiting_rules(backend, 1)
    asked = requirement(random.Random(0), 40)
    left, next_s = benchmark(rules.relaxed, asked, NOW_S, 1e6, NOW_S + 550_000.0)
    assert left[3] == asked[3]
    assert next_s == NOW_S + 600_000.0


def waiting_rules(backend: str, waiting: int) -> Rules:
    """Rules with the lanes of so many tasks of 60 kinds, and all ages, none of which may start."""
    module = cast(Backend, importlib.import_module(f"deferpower._{backend}"))
    rules = module.Rules(Thresholds().lines(), Thresholds().relaxation())
    chance = random.Random(waiting)
    kinds = [requirement(chance, level) for level in range(60)]
    for _ in range(waiting):
        created_s = NOW_S - chance.random() * 86_400
        life_s = chance.choice([None, 1e5, 1e6])
        left, _ = rules.relaxed(chance.choice(kinds), created_s, life_s, NOW_S)
        rules.compile(left)
    rules.observe(facts(0))
    return rules


def requirement(chance: random.Random, level: int) -> RequirementRow:
    """Work that needs the charger, and prefers a level and perhaps more."""
    charging, above, idle = 1, 2, 8
    soft = chance.choice([above, above | idle])
    hard = (charging, 0.0, 0, 0, 0)
    return (chance.randrange(1, 4), None, False, hard, (soft, float(level), 0, 0, 0))


def facts(after_s: float) -> FactsRow:
    power, load = (True, 10.0, False), (40.0, 30.0, None)
    return ((after_s, NOW_S + after_s, 720), power, load, False, (None, None), 0)
