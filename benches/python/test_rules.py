"""Deciding, hot: one task from Python, and a tick of the rules engine over all that wait."""

from __future__ import annotations

import importlib
import itertools
import random
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower._contract import Backend, FactsRow, Rules
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
    idle=None,
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


@pytest.mark.benchmark(group="one tick, nothing may start")
@pytest.mark.parametrize("waiting", [1_000, 100_000, 1_000_000])
def test_tick(benchmark: BenchmarkFixture, backend: str, waiting: int) -> None:
    if backend == "pure" and waiting > 100_000:
        pytest.skip("it looks at each task, so nothing new is learned in some seconds a tick")
    rules = waiting_rules(backend, waiting)
    seconds = itertools.count(1)

    def tick() -> tuple[list[int], list[int]]:
        rules.observe(facts(next(seconds)))
        return rules.take(5, 1)

    assert benchmark(tick) == ([], [])


def waiting_rules(backend: str, waiting: int) -> Rules:
    """Rules with many tasks of 60 kinds, ages and lives, none of which may start."""
    module = cast(Backend, importlib.import_module(f"deferpower._{backend}"))
    rules = module.Rules(Thresholds().lines(), Thresholds().relaxation())
    chance = random.Random(waiting)
    charging, above, idle = 1, 2, 8
    sets = [
        rules.compile(
            (
                chance.randrange(1, 4),
                None,
                False,
                (charging, 0.0, 0, 0, 0),
                (chance.choice([0, above, idle, above | idle]), float(level), 0, 0, 0),
            )
        )
        for level in range(60)
    ]
    rules.park(
        [
            (
                task_id,
                chance.choice(sets),
                chance.randrange(3),
                NOW_S - chance.random() * 86_400,
                chance.choice([None, 1e6, 2e6]),
            )
            for task_id in range(waiting)
        ]
    )
    rules.observe(facts(0))
    rules.take(0, 0)
    return rules


def facts(after_s: float) -> FactsRow:
    power, load = (True, 10.0, False), (40.0, 30.0, None)
    return ((after_s, NOW_S + after_s, 720), power, load, False, (None, None), 0)
