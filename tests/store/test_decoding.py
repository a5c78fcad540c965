"""Whatever stands in the rows of a queue file, or in its bytes: an answer, or an error of ours.

And what is not damaged goes on: other tasks run, and no task is gone.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deferpower import BackgroundSyncManager, BackgroundTaskManager, StoreError
from deferpower.testing import FakeDevice, run_until_idle
from store.damaging import LARGE, ODD_VALUES, TABLES, NotText, Target, Work, fill, spoil, use

# A file takes half a second to be asked everything: an eighth of what is usual.
FEW = settings(
    max_examples=max(settings().max_examples // 8, 1),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PAGE_BYTES = 4096
CELLS = [(table, column) for table, columns in TABLES.items() for column in columns]
Copy = Callable[[], Path]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A directory that holds such a file, and the time on the clock that it was made by."""
    device = FakeDevice()
    directory = tmp_path_factory.mktemp("filled")
    fill(directory / "queue.db", device)
    return directory, device.wall_clock()


@pytest.fixture
def copy(filled: tuple[Path, float], tmp_path: Path) -> Copy:
    def lay_out() -> Path:
        place = tmp_path / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(filled[0], place)
        return place / "queue.db"

    return lay_out


@pytest.fixture
def later(filled: tuple[Path, float]) -> Callable[[], FakeDevice]:
    """Devices half a minute after the file was made."""

    def make() -> FakeDevice:
        device = FakeDevice()
        device.clock.advance(filled[1] - device.wall_clock() + 30)
        return device

    return make


def task_ids(path: Path) -> set[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM tasks")}


@FEW
@given(st.sampled_from(CELLS), st.integers(0, 14), st.sampled_from(ODD_VALUES))
@example(("tasks", "wake_s"), 4, "2031-01-01")
@example(("tasks", "wake_s"), 10, float("inf"))
@example(("tasks", "lane"), 8, 2**63 - 1)
@example(("tasks", "spec"), 8, 99)
@example(("tasks", "state"), 9, None)
@example(("tasks", "payload"), 8, NotText(b"[[], {}] \xff"))
@example(("tasks", "worker"), 11, 99)
@example(("specs", "text"), 0, "{")
@example(("lanes", "text"), 0, "[" * 5000)
@example(("sync_items", "size_bytes"), 2, "text")
@example(("sync_items", "token"), 5, 7)
@example(("sync_queues", "last_item"), 0, "text")
@example(("sync_queues", "failures"), 0, b"")
@example(("logs", "place"), 0, "")
@example(("history", "seconds"), 0, NotText(b"[[], {}] \xff"))
@example(("meta", "value"), 0, NotText(b"[[], {}] \xff"))
def test_any_cell(
    copy: Copy,
    later: Callable[[], FakeDevice],
    cell: tuple[str, str],
    place: int,
    value: Any,
) -> None:
    path = copy()
    before = task_ids(path)
    if not spoil(path, *cell, place, value):
        return
    used = use(path, later())
    assert used.ran_new, used.said
    assert before <= used.ids


@FEW
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 40]), st.sampled_from([1, 8, 200]))
def test_any_bytes_of_the_file(
    copy: Copy, later: Callable[[], FakeDevice], seed: int, places: int, size: int
) -> None:
    path = copy()
    dice = random.Random(seed)
    damaged = bytearray(path.read_bytes())
    # Behind the schema: with a column under another name it is another program's.
    first = (damaged.rindex(b"CREATE ") // PAGE_BYTES + 1) * PAGE_BYTES
    for _ in range(places):
        at = dice.randrange(first, len(damaged))
        damaged[at : at + size] = dice.randbytes(len(damaged[at : at + size]))
    path.write_bytes(damaged)
    use(path, later())


def make_older(path: Path, table: str) -> None:
    """Make a table of damaged rows that knows one column, and holds a row."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER)")
        connection.execute(f"INSERT INTO {table} VALUES (7)")


def kept(path: Path, table: str, column: str) -> list[tuple[object, object]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT id, {column} FROM {table} ORDER BY rowid").fetchall()


class TestATaskThatMakesNoSense:
    """It has failed and says why, its row is kept, and all others go on."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "queue.db"

    @pytest.fixture
    def made(self, path: Path) -> FakeDevice:
        """Three tasks that are due in a minute: numbers 1 to 3; and 4, which comes after 2."""
        device = FakeDevice()
        with contextlib.closing(BackgroundTaskManager(path, device=device)) as manager:
            Work(manager)
            for text in ("one", "two", "three"):
                manager.submit("note", [text], delay_s=60.0)
            manager.submit("note", ["after two"], after=2)
        device.clock.advance(61)
        return device

    @pytest.mark.parametrize(
        ("column", "value", "why"),
        [
            ("due_s", "tomorrow", "due_s is 'tomorrow'"),
            ("created_s", None, "created_s is None"),
            ("life_s", float("inf"), "life_s is inf"),
            ("payload", b"\xff", r"payload is b'\xff'"),
            ("payload", '{"a": 1, "b": 2}', "its arguments are none"),
            ("payload", "[[", "what should be JSON in it is none"),
            ("crashes", "many", "crashes is 'many'"),
            ("spec", 99, "what it is, spec 99, cannot be understood"),
            ("payload", NotText(b"[[], {}] \xff"), "a text in it is none"),
        ],
    )
    def test_is_set_aside(
        self, path: Path, made: FakeDevice, column: str, value: object, why: str
    ) -> None:
        assert spoil(path, "tasks", column, 1, value)
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            run_until_idle(manager)
            assert work.ran == ["one", "three"]
            states = [(task.id, task.state) for task in manager.list()]
            assert states == [(4, "failed"), (3, "succeeded"), (2, "failed"), (1, "succeeded")]
            error = manager.get(2).error
            assert error == (
                f"the file is damaged ({why}); what stood there is kept in table tasks_damaged"
            )
            assert "failed" in str(manager.why(2))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.text_factory = bytes
            query = f"SELECT CAST({column} AS BLOB), {column} FROM tasks_damaged WHERE id = 2"
            (kept,) = connection.execute(query)
        as_it_was = value.encode() if isinstance(value, str) else value
        assert as_it_was in kept or kept == (b"99", 99) or kept == (b"Inf", float("inf"))

    def test_can_be_retried_with_what_of_it_could_be_read(
        self, path: Path, made: FakeDevice
    ) -> None:
        assert spoil(path, "tasks", "due_s", 1, "tomorrow")
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            run_until_idle(manager)
            manager.retry(2)
            run_until_idle(manager)
            assert work.ran == ["one", "three", "two", "after two"]

    def test_is_kept_beside_those_of_an_older_version(self, path: Path, made: FakeDevice) -> None:
        make_older(path, "tasks_damaged")
        assert spoil(path, "tasks", "due_s", 1, "tomorrow")
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            run_until_idle(manager)
            assert work.ran == ["one", "three"]
        assert kept(path, "tasks_damaged", "due_s") == [(7, None), (2, "tomorrow")]

    def test_a_running_worker_goes_on(
        self, path: Path, made: FakeDevice, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert spoil(path, "tasks", "created_s", 1, "then")
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            manager.start()
            assert manager.result(1, 20.0) == "one"
            assert manager.result(3, 20.0) == "three"
            assert sorted(work.ran) == ["one", "three"]
        assert "task 2: the file is damaged (created_s is 'then'); it has failed" in caplog.text
        assert not [record for record in caplog.records if record.exc_info]

    def test_a_lane_that_is_lost_is_found_anew(self, path: Path, made: FakeDevice) -> None:
        for value in (10**6, "left", b"\0"):
            assert spoil(path, "tasks", "lane", 0, value)
            assert spoil(path, "tasks", "wake_s", 0, None)
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            run_until_idle(manager)
            assert sorted(work.ran) == ["after two", "one", "three", "two"]

    def test_one_whose_worker_nobody_knows_runs_again(self, path: Path, made: FakeDevice) -> None:
        assert spoil(path, "tasks", "worker", 0, 12345)
        assert spoil(path, "tasks", "state", 0, 2)
        assert spoil(path, "tasks", "wake_s", 0, None)
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            work = Work(manager)
            run_until_idle(manager)
            assert "one" in work.ran

    def test_where_it_has_ended_whoever_lists_it_is_told(
        self, path: Path, made: FakeDevice
    ) -> None:
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            Work(manager)
            run_until_idle(manager)
        assert spoil(path, "tasks", "result", 1, "[")
        with contextlib.closing(BackgroundTaskManager(path, device=made)) as manager:
            with pytest.raises(StoreError, match="task 2: the file is damaged"):
                manager.list()
            assert manager.get(1).result == "one"


class TestAnItemThatMakesNoSense:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("size_bytes", "big"),
            ("token", "none"),
            ("failures", b""),
            ("content", NotText(b"1\xff")),
        ],
    )
    def test_is_a_dead_letter_and_the_others_are_sent(
        self, tmp_path: Path, column: str, value: object
    ) -> None:
        path = tmp_path / "queue.db"
        device, target = FakeDevice(), Target()
        with contextlib.closing(BackgroundSyncManager(target, path, device=device)) as sync:
            for number in range(3):
                sync.queue_for_sync(number)
        assert spoil(path, "sync_items", column, 1, value)
        with contextlib.closing(BackgroundSyncManager(target, path, device=device)) as sync:
            sync.process_sync_queue()
            assert target.sent == [0, 2]
            (dead,) = sync.dead_letters()
            assert (dead.item_id, str(dead.error)[:19]) == (2, "the file is damaged")
            if column != "content":
                assert sync.data(2) == 1

    def test_is_kept_beside_those_of_an_older_version(self, tmp_path: Path) -> None:
        path = tmp_path / "queue.db"
        device, target = FakeDevice(), Target()
        with contextlib.closing(BackgroundSyncManager(target, path, device=device)) as sync:
            sync.queue_many_for_sync([0, 1])
        make_older(path, "sync_items_damaged")
        assert spoil(path, "sync_items", "size_bytes", 1, "big")
        with contextlib.closing(BackgroundSyncManager(target, path, device=device)) as sync:
            sync.process_sync_queue()
            assert (target.sent, len(sync.dead_letters())) == ([0], 1)
        assert kept(path, "sync_items_damaged", "size_bytes") == [(7, None), (2, "big")]

    def test_a_file_that_lost_its_row_to_damage_is_not_swept_away(self, tmp_path: Path) -> None:
        path = tmp_path / "queue.db"
        with contextlib.closing(BackgroundSyncManager(Target(), path, device=FakeDevice())) as sync:
            sync.queue_for_sync(LARGE)
        (file,) = (tmp_path / "queue.db-payloads").iterdir()
        for token in (b"x" * 16, "none", None):
            assert spoil(path, "sync_items", "token", 0, token)
            sync = BackgroundSyncManager(Target(), path, device=FakeDevice())
            with sync, pytest.raises(StoreError):
                sync.data(1)
            assert file.read_bytes() == LARGE
