"""Durable writes of one row each, beside bare apsw doing the same commits on the same settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower.store.database import Database, Durability

SCHEMA = "CREATE TABLE task (id INTEGER PRIMARY KEY, payload TEXT, due REAL)"
INSERT = "INSERT INTO task (payload, due) VALUES (?, ?)"
ROW = ("x" * 100, 1.0)
THREADS, EACH = 8, 25
SYNCHRONOUS: dict[Durability, str] = {"full": "FULL", "process": "NORMAL"}


def insert(cursor: apsw.Cursor) -> None:
    cursor.execute(INSERT, ROW)


def bare_write(path: Path, durability: Durability) -> Callable[[], None]:
    """One commit as somebody would write it by hand."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", SYNCHRONOUS[durability])
    connection.execute(SCHEMA)
    execute = connection.cursor().execute
    turn = threading.Lock()

    def write() -> None:
        with turn:
            execute("BEGIN IMMEDIATE")
            execute(INSERT, ROW)
            execute("COMMIT")

    return write


@pytest.fixture(params=["bare", "ours"])
def write(
    request: pytest.FixtureRequest, durability: Durability, tmp_path: Path
) -> Callable[[], None]:
    if request.param == "bare":
        return bare_write(tmp_path / "bare.db", durability)
    database = Database(tmp_path / "ours.db", [SCHEMA], durability=durability)
    return lambda: database.write(insert)


@pytest.fixture(params=["full", "process"])
def durability(request: pytest.FixtureRequest) -> Durability:
    return "full" if request.param == "full" else "process"


def test_write(benchmark: BenchmarkFixture, write: Callable[[], None]) -> None:
    benchmark(write)


def test_write_from_eight_threads(benchmark: BenchmarkFixture, write: Callable[[], None]) -> None:
    """Two hundred commits in all."""

    def many() -> None:
        for _ in range(EACH):
            write()

    def all_at_once() -> None:
        threads = [threading.Thread(target=many) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    benchmark(all_at_once)


def test_read(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    with Database(tmp_path / "agent.db", [SCHEMA]) as database:
        benchmark(lambda: database.read(lambda cursor: cursor.execute("SELECT 1 FROM task").get))
