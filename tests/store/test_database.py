"""`Database`: transactions, shared commits, threads, processes, forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from deferpower.errors import StoreError
from deferpower.store.database import Database, Durability
from deferpower.store.files import APPLICATION_ID
from store.support import SCHEMA, add, call_it, notes, run, sql
from waiting import PATIENCE_S, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, path: Path) -> Iterator[Database]:
    with Database(path if request.param == "file" else None, SCHEMA) as database:
        yield database


def test_what_was_written_together_is_let_go_of(database: Database) -> None:
    class Large:
        """What a work holds on to."""

    def write(large: Large) -> None:
        database.write(lambda cursor: (add(f"{id(large)}")(cursor), large))

    is_in, may_end = threading.Event(), threading.Event()

    def block(_: apsw.Cursor) -> None:
        is_in.set()
        may_end.wait(PATIENCE_S)

    blocking = threading.Thread(target=database.write, args=[block])
    blocking.start()
    assert is_in.wait(PATIENCE_S)
    held = [Large(), Large()]
    seen = [weakref.ref(large) for large in held]
    waiting = [threading.Thread(target=write, args=[large]) for large in held]
    for thread in waiting:
        thread.start()
    del held
    may_end.set()
    for thread in [blocking, *waiting]:
        thread.join(PATIENCE_S)
    del waiting, thread
    assert len(notes(database)) == 2
    assert [one() for one in seen] == [None, None]


class TestTransactions:
    def test_what_write_returns_and_keeps(self, database: Database) -> None:
        assert [database.write(add("one")), database.write(add("two"))] == [1, 2]
        assert notes(database) == ["one", "two"]

    def test_an_exception_undoes_its_work_and_comes_out_as_it_is(self, database: Database) -> None:
        def fail(cursor: apsw.Cursor) -> None:
            add("lost")(cursor)
            raise LookupError("on purpose")

        with pytest.raises(LookupError, match="on purpose"):
            database.write(fail)
        with pytest.raises(apsw.ConstraintError):
            database.write(sql("INSERT INTO note (text) VALUES (NULL)"))
        database.write(add("kept"))
        assert notes(database) == ["kept"]

    def test_a_read_that_writes_is_undone(self, database: Database) -> None:
        with pytest.raises(StoreError, match=r"read\(\) changes nothing; use write\(\)"):
            database.read(add("sneaked in"))
        assert notes(database) == []

    def test_calls_from_within_a_call_are_refused(self, database: Database) -> None:
        calls: list[Callable[[], object]] = [
            lambda: database.write(add("inner")),
            lambda: notes(database),
            database.close,
        ]
        for inner in calls:
            for outer in (database.write, database.read):
                with pytest.raises(StoreError, match="called from within"):
                    outer(partial(call_it, inner))
        database.write(add("goes on"))
        assert notes(database) == ["goes on"]

    def test_work_that_ends_the_transaction_is_told(self, database: Database) -> None:
        with pytest.raises(StoreError, match="the transaction was ended within"):
            database.write(sql("ROLLBACK"))
        database.write(add("goes on"))
        assert notes(database) == ["goes on"]

    def test_the_cursor_is_of_no_use_afterwards(self, database: Database) -> None:
        cursor = database.read(lambda cursor: cursor.execute("SELECT text FROM note"))
        with pytest.raises(apsw.CursorClosedError):
            cursor.fetchall()

    def test_foreign_keys_hold_and_quotes_mean_columns(self) -> None:
        scripts = [
            "CREATE TABLE a (id INTEGER PRIMARY KEY);"
            "CREATE TABLE b (a INTEGER REFERENCES a);"
            "CREATE TABLE c (a INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)"
        ]
        with Database(None, scripts) as database:
            for table in "bc":  # c's is found by the commit
                with pytest.raises(apsw.ConstraintError):
                    database.write(sql(f"INSERT INTO {table} VALUES (7)"))
                assert database.read(sql(f"SELECT * FROM {table}")) is None
            with pytest.raises(apsw.SQLError):
                database.read(sql('SELECT "misspelt" FROM a'))

    def test_closed_is_closed(self, database: Database) -> None:
        database.close()
        database.close()
        for call in (database.read, database.write):
            with pytest.raises(StoreError, match="closed; open it again"):
                call(lambda cursor: None)

    def test_a_read_sees_one_state(self, path: Path) -> None:
        with Database(path, SCHEMA) as database, Database(path, SCHEMA) as other:

            def count_twice(cursor: apsw.Cursor) -> tuple[int, int]:
                first = cursor.execute("SELECT count(*) FROM note").get
                other.write(add("meanwhile"))
                return first, cursor.execute("SELECT count(*) FROM note").get

            assert database.read(count_twice) == (0, 0)
            assert notes(database) == ["meanwhile"]


class TestThreads:
    @pytest.mark.parametrize("durability", ["full", "process"])
    @pytest.mark.parametrize("kind", ["file", "memory"])
    def test_each_gets_its_own_result_or_error(
        self, kind: str, durability: Durability, path: Path
    ) -> None:
        failures = []
        with Database(path if kind == "file" else None, SCHEMA, durability=durability) as database:

            def many(name: int) -> None:
                try:
                    for number in range(100):
                        text = f"{name}-{number}"
                        row = database.write(add(text))
                        found = database.read(sql("SELECT text FROM note WHERE id = ?", row))
                        assert found == text
                        with pytest.raises(apsw.ConstraintError):
                            database.write(add(text))
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=many, args=(name,)) for name in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
            assert not failures
            assert len(notes(database)) == 600

    def test_those_who_wait_share_a_commit(self, path: Path) -> None:
        commits: list[int] = []
        with Database(path, SCHEMA) as database, Queue(database) as queue:

            def counted() -> bool:
                commits.append(1)
                return False

            def count(cursor: apsw.Cursor) -> int:
                cursor.connection.set_commit_hook(counted)
                return add("a")(cursor)

            def fail(cursor: apsw.Cursor) -> None:
                add("undone")(cursor)
                add("a")(cursor)

            for work in (count, add("b"), fail, add("c")):
                queue.join(work)
            queue.go_on()
            a, b, taken, c = queue.results
            assert (a, b, c) == (2, 3, 4)
            assert isinstance(taken, apsw.ConstraintError)
            assert notes(database) == ["held", "a", "b", "c"]
            assert len(commits) == 1

    def test_an_interrupt_of_one_undoes_no_other(self, path: Path) -> None:
        """The one that carries out the group is struck in mid-transaction."""
        with Database(path, SCHEMA) as database, Queue(database) as queue:

            def struck(cursor: apsw.Cursor) -> None:
                add("undone")(cursor)
                raise Struck

            for work in (struck, add("a"), add("b")):
                queue.join(work)
            queue.go_on()
            assert isinstance(queue.results[0], Struck)
            assert sorted(queue.results[1:]) == [2, 3]
            assert sorted(notes(database)) == ["a", "b", "held"]

    def test_an_interrupt_after_the_commit_undoes_nothing(self, path: Path) -> None:
        with Database(path, SCHEMA) as database, Queue(database) as queue:

            def strike(connection: apsw.Connection, *_: object) -> int:
                connection.set_wal_hook(None)
                raise Struck

            def arm(cursor: apsw.Cursor) -> None:
                cursor.connection.set_wal_hook(strike)

            for work in (arm, add("a"), add("b")):
                queue.join(work)
            queue.go_on()
            assert isinstance(queue.results[0], Struck)
            assert queue.results[1:] == [2, 3]
            assert notes(database) == ["held", "a", "b"]

    @pytest.mark.parametrize("first", [True, False], ids=["first in line", "behind another"])
    def test_who_is_interrupted_while_waiting_writes_nothing(self, first: bool, path: Path) -> None:
        with Database(path, SCHEMA) as database, Queue(database) as queue:
            if not first:
                queue.join(add("a"))

            def strike(*_: object) -> None:
                queue.join(add("b"))
                raise Struck

            before = signal.signal(signal.SIGUSR1, strike)
            try:
                striker = threading.Thread(target=strike_once_waiting, args=(database, first))
                striker.start()
                with pytest.raises(Struck):
                    database.write(add("withdrawn"))
            finally:
                signal.signal(signal.SIGUSR1, before)
            striker.join(PATIENCE_S)
            queue.go_on()
            assert sorted(notes(database)) == (["b", "held"] if first else ["a", "b", "held"])


class Struck(BaseException):
    """What a signal handler may raise anywhere, as `KeyboardInterrupt`."""


def strike_once_waiting(database: Database, first: bool) -> None:
    until(lambda: waiting(database) == (1 if first else 2))
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def waiting(database: Database) -> int:
    """How many writes wait for the one that is under way."""
    return 0 if database._group.closed else len(database._group.writes)


class Queue:
    """Writes of as many threads that wait for one which holds the turn."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.results: list[Any] = []
        self.threads: list[threading.Thread] = []
        self.leave = threading.Event()

    def __enter__(self) -> Queue:
        entered = threading.Event()

        def hold(cursor: apsw.Cursor) -> None:
            add("held")(cursor)
            entered.set()
            self.leave.wait(PATIENCE_S)

        self.start(lambda: self.database.write(hold))
        assert entered.wait(PATIENCE_S)
        return self

    def join(self, work: Callable[[apsw.Cursor], object]) -> None:
        """Have one more thread wait, behind the others."""
        before, place = waiting(self.database), len(self.results)
        self.results.append(None)

        def call() -> None:
            try:
                self.results[place] = self.database.write(work)
            except BaseException as error:
                self.results[place] = error

        self.start(call)
        until(lambda: waiting(self.database) == before + 1)

    def start(self, call: Callable[[], object]) -> None:
        self.threads.append(threading.Thread(target=call))
        self.threads[-1].start()

    def go_on(self) -> None:
        """Let the one that holds the turn end, and wait for all."""
        self.leave.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def __exit__(self, *_: object) -> None:
        self.go_on()


class TestProcesses:
    def test_another_process_sees_what_was_written(self, path: Path) -> None:
        program = (
            "import sys; from deferpower.store.database import Database\n"
            "with Database(sys.argv[1], [sys.argv[2]]) as database:\n"
            "    database.write(lambda c: c.execute(\"INSERT INTO note (text) VALUES ('child')\"))"
        )
        with Database(path, SCHEMA) as database:
            database.write(add("parent"))
            done = run(program, path, *SCHEMA)
            assert (done.returncode, done.stderr) == (0, "")
            assert notes(database) == ["parent", "child"]

    @pytest.mark.parametrize("durability", ["full", "process"])
    def test_a_writer_killed_at_any_moment_loses_nothing_it_was_told_of(
        self, durability: str, path: Path
    ) -> None:
        program = (
            "import sys; from deferpower.store.database import Database\n"
            "database = Database(sys.argv[1], [sys.argv[2]], durability=sys.argv[3])\n"
            "number = int(sys.argv[4])\n"
            "while True:\n"
            "    number += 1\n"
            "    sql = 'INSERT INTO note (text) VALUES (?), (?)'\n"
            "    database.write(lambda c: c.execute(sql, (f'{number}a', f'{number}b')))\n"
            "    print(number, flush=True)"
        )
        told = 0
        for pause_s in (0.0, 0.005, 0.02):
            child = subprocess.Popen(
                [sys.executable, "-c", program, path, *SCHEMA, durability, str(told)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            told = int(child.stdout.readline())
            time.sleep(pause_s)
            child.kill()
            told = int((child.stdout.read().splitlines() or [str(told)])[-1])
            child.stdout.close()
            assert child.wait(PATIENCE_S) == -signal.SIGKILL
            with Database(path, SCHEMA) as database:
                found = notes(database)
                assert found[: 2 * told] == [
                    f"{n}{half}" for n in range(1, told + 1) for half in "ab"
                ]
                # The one in flight may be there or not, but never half.
                assert len(found) - 2 * told in (0, 2)
                told = len(found) // 2

    def test_a_writer_killed_in_mid_transaction_leaves_nothing_and_no_lock(
        self, path: Path
    ) -> None:
        program = (
            "import sys, os, signal; from deferpower.store.database import Database\n"
            "def work(cursor):\n"
            "    cursor.execute(\"INSERT INTO note (text) VALUES ('half')\")\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "Database(sys.argv[1], [sys.argv[2]]).write(work)"
        )
        assert run(program, path, *SCHEMA).returncode == -signal.SIGKILL
        with Database(path, SCHEMA, busy_timeout_s=0) as database:
            assert notes(database) == []
            database.write(add("whole"))
            assert notes(database) == ["whole"]

    def test_many_may_create_the_same_file_at_once(self, path: Path) -> None:
        program = (
            "import sys; from deferpower.store.database import Database\n"
            "sys.stdin.read()\n"
            "sql = 'INSERT INTO note (text) VALUES (?)'\n"
            "with Database(sys.argv[1], [sys.argv[2]]) as database:\n"
            "    database.write(lambda c: c.execute(sql, (sys.argv[3],)))"
        )
        children = [
            subprocess.Popen(
                [sys.executable, "-c", program, path, *SCHEMA, str(number)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(5)
        ]
        for child in children:
            assert child.stdin is not None
            child.stdin.close()
            child.stdin = None
        for child in children:
            assert child.communicate(timeout=PATIENCE_S)[1] == ""
        with Database(path, SCHEMA) as database:
            assert sorted(notes(database)) == list("01234")

    def test_another_that_is_about_to_write_a_new_file_is_waited_for(self, path: Path) -> None:
        other = apsw.Connection(str(path))
        other.pragma("application_id", APPLICATION_ID)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.05, other.execute, ["ROLLBACK"])
        timer.start()
        with Database(path, SCHEMA) as database:
            database.write(add("after all"))
            assert notes(database) == ["after all"]
        timer.join()
        other.close()

    def test_a_lock_that_stays_is_an_error_and_nothing_is_written(self, path: Path) -> None:
        with (
            Database(path, SCHEMA) as holder,
            Database(path, SCHEMA, busy_timeout_s=0.02) as database,
        ):

            def locked(cursor: apsw.Cursor) -> None:
                with pytest.raises(StoreError, match=r"agent\.db: another program keeps it locked"):
                    database.write(add("too late"))
                assert notes(database) == []

            holder.write(locked)
            database.write(add("in time"))
            assert notes(holder) == ["in time"]

    def test_the_log_is_there_from_the_start_and_grows_with_a_commit(self, path: Path) -> None:
        with Database(path, SCHEMA) as database, Database(path, SCHEMA) as other:
            assert (database.path, database.wal_path) == (str(path), f"{path}-wal")
            log = Path(f"{path}-wal")
            before = log.stat()
            other.write(add("seen"))
            after = log.stat()
            assert (after.st_size, after.st_mtime_ns) > (before.st_size, before.st_mtime_ns)
        with Database(None, SCHEMA) as database:
            assert (database.path, database.wal_path) == (None, None)


def in_child(do: Callable[[], object]) -> str:
    """What ``do`` gives in a forked child, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(do())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0) == (child, 0)
    return said


class TestForks:
    def test_both_sides_go_on_with_a_file(self, path: Path) -> None:
        with Database(path, SCHEMA) as database:
            database.write(add("before"))
            assert in_child(lambda: (database.write(add("child")), notes(database))) == (
                "(2, ['before', 'child'])"
            )
            database.write(add("parent"))
            assert notes(database) == ["before", "child", "parent"]

    def test_the_child_outlives_the_parents_database(self, path: Path) -> None:
        """What the child writes after the parent has closed, and with it tidied up, is kept."""
        database = Database(path, SCHEMA)
        database.write(add("before"))
        closed_reading, closed_writing = os.pipe()

        def child() -> object:
            os.close(closed_writing)
            database.write(add("child, early"))
            os.read(closed_reading, 1)
            with Database(path, SCHEMA) as third:
                third.write(add("third"))
            return database.write(add("child, late"))

        result: list[str] = []
        thread = threading.Thread(target=lambda: result.append(in_child(child)))
        thread.start()
        until(lambda: "child, early" in notes(database))
        database.close()
        assert (
            run(
                "import sys, apsw; c = apsw.Connection(sys.argv[1]); c.pragma('user_version')", path
            ).stderr
            == ""
        )
        os.close(closed_writing)
        thread.join(PATIENCE_S)
        os.close(closed_reading)
        assert result == ["4"]
        with Database(path, SCHEMA) as again:
            assert notes(again) == ["before", "child, early", "third", "child, late"]

    def test_the_log_that_others_watch_stays(self, path: Path) -> None:
        with Database(path, SCHEMA) as database:
            database.write(add("before"))
            log = Path(f"{path}-wal")
            before = log.stat()
            in_child(lambda: None)
            assert (log.stat().st_ino, log.stat().st_size) == (before.st_ino, before.st_size)
            in_child(lambda: database.write(add("child")))
            assert log.stat().st_ino == before.st_ino

    def test_a_fork_while_others_write(self, path: Path) -> None:
        with Database(path, SCHEMA) as database:
            stop = threading.Event()
            written: list[int] = []

            def many(name: int) -> None:
                number = 0
                # The lock is not fair: who writes without a pause may keep others out for long.
                while not stop.wait(0.002):
                    written.append(database.write(add(f"{name}-{number}")))
                    number += 1

            threads = [threading.Thread(target=many, args=(name,)) for name in range(3)]
            for thread in threads:
                thread.start()
            for number in range(10):
                text = f"child-{number}"
                assert in_child(partial(database.write, add(text))).isdigit()
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
            assert len(notes(database)) == len(written) + 10
            assert database.read(sql("PRAGMA integrity_check")) == "ok"

    def test_one_in_memory_stays_with_the_parent(self) -> None:
        with Database(None, SCHEMA) as database:
            database.write(add("parent"))
            said = in_child(lambda: database.write(add("child")))
            assert said == (
                "StoreError: in-memory database: stayed with the process that forked this one; "
                "open a database in this process"
            )
            assert notes(database) == ["parent"]

    def test_a_fork_within_a_transaction_leaves_it_to_the_parent(self, path: Path) -> None:
        with Database(path, SCHEMA) as database:

            def work(cursor: apsw.Cursor) -> str:
                add("parent")(cursor)
                return in_child(lambda: database.write(add("child")))

            assert "stayed with the process" in database.write(work)
            assert notes(database) == ["parent"]


class TestInterrupts:
    def test_none_is_lost_none_is_doubled_and_no_lock_stays(self, path: Path) -> None:
        """Ctrl-C at random moments of one thread, while others write."""
        told: list[str] = []
        unsure: set[str] = set()
        stop = threading.Event()

        def strike(*_: object) -> None:
            raise Struck

        with Database(path, SCHEMA, durability="process") as database:

            def many(name: int) -> None:
                number = 0
                while not stop.is_set():
                    text = f"{name}-{number}"
                    database.write(add(text))
                    told.append(text)
                    number += 1

            threads = [threading.Thread(target=many, args=(name,)) for name in range(3)]
            for thread in threads:
                thread.start()
            before = signal.signal(signal.SIGALRM, strike)
            try:
                for number in range(400):
                    text = f"main-{number}"
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.00002 + number * 0.000002)
                        database.write(add(text))
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        told.append(text)
                    except Struck:
                        unsure.add(text)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
                stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
                assert not thread.is_alive()
            found = notes(database)
            assert len(unsure) > 10
            assert set(told) <= set(found) <= set(told) | unsure
            database.write(add("goes on"))
