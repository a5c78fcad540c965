"""What starting costs: whole processes, bare Python beside them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

COMMANDS = {
    "bare_python": ["-c", "pass"],
    "import_deferpower": ["-c", "import deferpower"],
    "import_device": ["-c", "from deferpower import Device; Device()"],
    "help": ["-m", "deferpower", "--help"],
}


@pytest.mark.benchmark(group="start of a process")
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
def test_start(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    command = [sys.executable, *arguments]
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        subprocess.run,
        args=(command,),
        kwargs={"check": True, "stdout": subprocess.DEVNULL},
        rounds=15,
        warmup_rounds=1,
    )
