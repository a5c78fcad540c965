"""Fixtures of the command line's tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import pytest

from cli.support import Deferpower, Laptop


class Start(Protocol):
    def __call__(self, *words: str, stdin: IO[bytes] | None = None) -> Deferpower: ...


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """On battery at 40 %."""
    return Laptop(tmp_path / "laptop")


@pytest.fixture
def env(laptop: Laptop, backend_name: str) -> dict[str, str]:
    """The environment in which deferpower takes that laptop for the machine."""
    return {"DEFERPOWER_ROOT": str(laptop.root), "DEFERPOWER_BACKEND": backend_name}


@pytest.fixture
def start(env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts ``deferpower``; what is still running at the end of the test is killed."""
    started: list[Deferpower] = []
    numbers = itertools.count()

    def start(*words: str, stdin: IO[bytes] | None = None) -> Deferpower:
        directory = tmp_path / f"run{next(numbers)}"
        directory.mkdir()
        started.append(
            Deferpower(words, env=env, directory=directory)
            if stdin is None
            else Deferpower(words, env=env, directory=directory, stdin=stdin)
        )
        return started[-1]

    yield start
    for deferpower in started:
        if not deferpower.ended:
            deferpower.process.kill()
        deferpower.process.wait()
