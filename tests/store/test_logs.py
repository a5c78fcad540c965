"""Logs of commands in the store: what is kept of them, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferpower.store import logs
from deferpower.store.database import Database
from deferpower.store.logs import HEAD_BYTES, TAIL_BYTES, Tape
from deferpower.store.schema import MIGRATIONS

TASK, WORKER = 1, 5


@pytest.fixture
def database() -> Iterator[Database]:
    """One task, which worker 5 runs."""
    with new_database() as database:
        yield database


def new_database() -> Database:
    database = Database(None, MIGRATIONS)
    database.write(
        lambda cursor: cursor.execute(
            "INSERT INTO specs VALUES (1, '{}');"
            " INSERT INTO tasks (id, spec, state, priority, created_s, due_s, payload, worker)"
            " VALUES (1, 1, 2, 0, 0, 0, '', 5), (2, 1, 1, 0, 0, 0, '', NULL)"
        ).fetchall()
    )
    return database


def write(database: Database, tape: Tape) -> None:
    pieces = tape.pieces()
    database.write(lambda cursor: logs.write(cursor, WORKER, TASK, pieces))
    tape.written(pieces)


def keep(database: Database, *chunks: bytes) -> None:
    """Write each chunk by itself, with a tape of its own, as one run after the other does."""
    for chunk in chunks:
        tape = Tape(database.read(lambda cursor: logs.last_piece(cursor, TASK)))
        tape.add(chunk)
        write(database, tape)


def read(database: Database, start: int = 0) -> tuple[bytes, int]:
    return database.read(lambda cursor: logs.read(cursor, TASK, start))


def stored(database: Database) -> tuple[int, int]:
    """How many pieces there are, and how many bytes in them."""
    select = "SELECT count(*), coalesce(sum(length(data)), 0) FROM logs WHERE task = 1"
    found: Any = database.read(lambda cursor: cursor.execute(select).fetchone())
    return found[0], found[1]


def test_bytes_come_back_as_they_were(database: Database) -> None:
    assert read(database) == (b"", 0)
    keep(database, b"a\0b\xff\xfe", bytes(range(256)), b"\r\n")
    assert read(database) == (b"a\0b\xff\xfe" + bytes(range(256)) + b"\r\n", 263)


def test_a_reader_goes_on_where_it_was(database: Database) -> None:
    keep(database, b"one\n")
    data, place = read(database)
    keep(database, b"two\n", b"three\n")
    assert (data, read(database, place)) == (b"one\n", (b"two\nthree\n", 14))
    assert read(database, 14) == (b"", 14)


def test_many_small_writes_make_few_pieces(database: Database) -> None:
    tape = Tape(None)
    for number in range(2000):
        tape.add(b"%05d\n" % number)
        if number % 10 == 0:
            write(database, tape)
    write(database, tape)
    assert stored(database) == (1, 12_000)
    assert read(database)[0] == b"".join(b"%05d\n" % number for number in range(2000))


@pytest.mark.parametrize("chunk", [1_000_003, 40_000, 777])
def test_of_a_long_output_the_beginning_and_the_end_are_kept(
    database: Database, chunk: int
) -> None:
    whole = b"".join(b"%07d\n" % number for number in range(400_000))  # 3.2 MB
    tape = Tape(None)
    for start in range(0, len(whole), chunk):
        tape.add(whole[start : start + chunk])
        if start // chunk % 50 == 0:
            write(database, tape)
    if not tape.is_empty:
        write(database, tape)
    data, end = read(database)
    left_out = len(whole) - HEAD_BYTES - TAIL_BYTES
    line = b"[deferpower: %d bytes left out]\n" % left_out
    assert data == whole[:HEAD_BYTES] + line + whole[-TAIL_BYTES:]
    assert end == len(whole)
    assert stored(database)[1] < HEAD_BYTES + TAIL_BYTES + 64 * 1024
    assert stored(database)[0] < 60


def test_the_line_of_what_was_left_out_begins_a_line(database: Database) -> None:
    keep(database, b"x" * (HEAD_BYTES + TAIL_BYTES + 1))
    data, _ = read(database)
    assert data[HEAD_BYTES - 1 :].startswith(b"x\n[deferpower: 1 bytes left out]\nx")


def test_a_reader_that_was_too_slow_is_told(database: Database) -> None:
    keep(database, b"a" * HEAD_BYTES + b"b" * 1000)
    _, place = read(database)
    keep(database, b"c" * TAIL_BYTES + b"d" * TAIL_BYTES)
    data, end = read(database, place)
    assert data == b"[deferpower: %d bytes left out]\n" % TAIL_BYTES + b"d" * TAIL_BYTES
    assert end == HEAD_BYTES + 1000 + 2 * TAIL_BYTES


def test_who_lost_the_task_writes_no_more(database: Database) -> None:
    keep(database, b"mine\n")
    tape = Tape(None)
    tape.add(b"stale\n")
    database.write(lambda cursor: logs.write(cursor, WORKER + 1, TASK, tape.pieces()))
    assert read(database)[0] == b"mine\n"


def test_a_log_is_forgotten_with_its_task(database: Database) -> None:
    keep(database, b"gone\n")
    database.write(lambda cursor: cursor.execute("DELETE FROM tasks WHERE id = 1"))
    assert stored(database) == (0, 0)


@given(chunks=st.lists(st.integers(0, 400_000), max_size=12), fill=st.binary(min_size=1))
def test_however_it_comes_the_same_is_kept(chunks: list[int], fill: bytes) -> None:
    """Many writes, each with a tape of its own, keep what one would keep."""
    sizes = [
        b"%d:" % number + (fill * (size // len(fill) + 1)) for number, size in enumerate(chunks)
    ]
    with new_database() as here, new_database() as there:
        keep(here, *(chunk for chunk in sizes))
        if sizes:
            keep(there, b"".join(sizes))
        assert read(here) == read(there)
