"""What a reading costs, hot and cold, beside psutil and bare system calls."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from work import COLD_PAUSE_S, JUST_NOW_S, bare_pread, native_device, read_with_psutil

from deferpower import Device

Timer = Callable[[Callable[[], object]], None]


@pytest.fixture(params=["hot", "cold"])
def timed(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Timer:
    """Times a function in a loop, or once every 200 ms."""
    if request.param == "hot":
        return lambda function: benchmark(function)
    return lambda function: benchmark.pedantic(  # type: ignore[no-untyped-call]
        function, setup=lambda: time.sleep(COLD_PAUSE_S), rounds=10
    )


@pytest.mark.benchmark(group="full reading")
def test_full_reading(timed: Timer, device: Device) -> None:
    timed(lambda: device.read(max_age_s=0))


@pytest.mark.benchmark(group="full reading")
def test_psutil(timed: Timer) -> None:
    timed(read_with_psutil)


@pytest.mark.benchmark(group="full reading")
def test_bare_pread(timed: Timer) -> None:
    _, files = native_device()
    with bare_pread(files) as read_all:
        timed(read_all)


@pytest.mark.benchmark(group="load only, power from the reading before")
def test_steady_state(timed: Timer, device: Device) -> None:
    timed(lambda: device.read(max_age_s=JUST_NOW_S))


@pytest.mark.benchmark(group="latest reading, cached")
def test_latest(benchmark: BenchmarkFixture, backend: str) -> None:
    device = Device(backend=backend)
    device.read(max_age_s=0)
    benchmark(lambda: device.latest)


@pytest.mark.benchmark(group="latest reading, cached")
def test_young_enough(benchmark: BenchmarkFixture, backend: str) -> None:
    device = Device(backend=backend)
    device.read(max_age_s=0)
    benchmark(device.read, 600.0)
