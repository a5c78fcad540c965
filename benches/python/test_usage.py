"""Usage: a million observations at once, and one forecast from what they left."""

from __future__ import annotations

import importlib
import random
from array import array
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower._contract import Backend, LocalHour, UsageTable

OBSERVATIONS = 1_000_000
FIRST_S = 1_700_006_400.0


@pytest.mark.benchmark(group="usage: 1,000,000 observations")
@pytest.mark.parametrize("apart_s", [5.0, 300.0])
def test_learn(benchmark: BenchmarkFixture, backend: str, apart_s: float) -> None:
    """Over eight weeks, and at the worker's pace, over nine years."""
    hours, rows = observations(OBSERVATIONS, apart_s)

    def learn() -> tuple[float, float]:
        return table_of(backend).learn(hours, rows)

    rounds = 10 if backend == "native" else 1
    counted = benchmark.pedantic(learn, rounds=rounds)  # type: ignore[no-untyped-call]
    assert counted == (OBSERVATIONS * apart_s, 0.0)


@pytest.mark.benchmark(group="usage: one forecast of 24 hours")
def test_forecast(benchmark: BenchmarkFixture, backend: str) -> None:
    table = table_of(backend)
    hours, rows = observations(16_128, 300.0)
    table.learn(hours, rows)
    assert len(benchmark(table.forecast, hours[-25:-1])) == 24


@pytest.mark.benchmark(group="usage: one outlook of 24 hours")
def test_outlook(benchmark: BenchmarkFixture, backend: str) -> None:
    table = table_of(backend)
    hours, rows = observations(16_128, 300.0)
    table.learn(hours, rows)
    assert len(benchmark(table.outlook, hours[-2][0], 3600.0, hours[-25:-1])[2]) == 24


def table_of(backend: str) -> UsageTable:
    return cast(Backend, importlib.import_module(f"deferpower._{backend}")).UsageTable()


def observations(count: int, apart_s: float) -> tuple[list[LocalHour], bytes]:
    """A device in use by day and charged by night, with surprises."""
    chance = random.Random(count)
    rows = array("d")
    for number in range(count):
        at_s = FIRST_S + number * apart_s
        is_night = at_s % 86_400 < 28_800
        if chance.random() < 0.02:
            is_night = not is_night
        rows.extend((at_s, apart_s, 0.0 if is_night else 0.6, float(is_night)))
    hours = int(count * apart_s // 3600) + 25
    return [(FIRST_S + hour * 3600.0, hour % 168) for hour in range(hours)], rows.tobytes()
