"""Files that a `Database` makes, refuses, or loses the room for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from deferpower.errors import StoreError
from deferpower.store import files
from deferpower.store.database import Database
from store.support import SCHEMA, add, notes, on_a_small_disk, run, sql
from waiting import PATIENCE_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def refuse(path: Path | str, saying: str) -> None:
    with pytest.raises(StoreError, match=saying):
        Database(path, SCHEMA)


@pytest.mark.parametrize("umask", [0o000, 0o277])
@pytest.mark.parametrize("empty_file", [False, True])
def test_the_files_are_their_owners_alone(umask: int, empty_file: bool, path: Path) -> None:
    if empty_file:
        path.touch(0o644)
    before = os.umask(umask)
    try:
        database = Database(path, SCHEMA)
    finally:
        os.umask(before)
    with database:
        database.write(add("secret"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"agent.db": 0o600, "agent.db-wal": 0o600, "agent.db-shm": 0o600}
    assert contents(path.parent).keys() == {"agent.db"}  # closing tidies up


def test_permissions_that_the_user_gave_are_kept(path: Path) -> None:
    Database(path, SCHEMA).close()
    path.chmod(0o640)
    Database(path, SCHEMA).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    refuse(tmp_path, "a directory; give the path of a file")
    refuse(tmp_path / "missing" / "agent.db", "the directory does not exist; create it first")
    (tmp_path / "text").write_text("not a directory")
    refuse(tmp_path / "text" / "agent.db", "not a directory")
    os.mkfifo(tmp_path / "fifo")
    refuse(tmp_path / "fifo", "not a regular file")
    refuse(tmp_path / ("x" * 300), "file name too long")
    refuse("~/agent.db", r"use os.path.expanduser\('~/agent.db'\)")
    refuse("", "not a file name")
    refuse("a\0b", "not a file name")
    refuse("a\udcff", "not UTF-8")
    refuse(":memory:", "leave the path out")
    assert sorted(os.listdir(tmp_path)) == ["fifo", "text"]  # noqa: PTH208


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    for name in ("what?mode=memory", "100%41.db", "a#b.db", "file:x", "ä ö.db"):
        with Database(tmp_path / name, SCHEMA) as database:
            database.write(add(name))
        with Database(tmp_path / name, SCHEMA) as database:
            assert notes(database) == [name]
    assert len(contents(tmp_path)) == 5


def test_links_of_this_user_are_followed(tmp_path: Path, path: Path) -> None:
    link, further = tmp_path / "link", tmp_path / "further"
    link.symlink_to("further")
    further.symlink_to(path)
    with Database(link, SCHEMA) as database, Database(path, SCHEMA) as other:
        assert database.path == other.path == str(path)
        database.write(add("through the link"))
        assert notes(other) == ["through the link"]
    link.unlink()
    link.symlink_to(link)
    refuse(link, "lead back to themselves")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user's")
@pytest.mark.parametrize("dangling", [False, True])
def test_a_strangers_link_is_not_followed(dangling: bool, tmp_path: Path, path: Path) -> None:
    if not dangling:
        Database(path, SCHEMA).close()
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to(path)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    refuse(tmp_path / "link", "another user's link")
    (tmp_path / "link").unlink()
    assert contents(tmp_path) == before


def test_foreign_files_stay_as_they_are(tmp_path: Path, path: Path) -> None:
    foreign = {
        "text": "CREATE TABLE theirs (a)",
        "marked": "PRAGMA application_id = 42; CREATE TABLE theirs (a)",
        "versioned": "PRAGMA user_version = 1",
        "log": "PRAGMA journal_mode = wal; CREATE TABLE theirs (a)",
    }
    for name, script in foreign.items():
        connection = apsw.Connection(str(tmp_path / name))
        connection.execute(script).fetchall()
        connection.close()
    (tmp_path / "letter").write_text("Dear Sir or Madam, " * 100)
    before = contents(tmp_path)
    for name in foreign:
        refuse(tmp_path / name, "a database of another program; give another path")
    refuse(tmp_path / "letter", "not a SQLite database; give another path")
    assert contents(tmp_path) == before


def test_a_foreign_file_in_use_stays_as_it_is(tmp_path: Path) -> None:
    """All that it has may stand in its log yet, which opening it would carry over."""
    connection = apsw.Connection(str(tmp_path / "theirs"))
    connection.execute("PRAGMA journal_mode = wal; CREATE TABLE theirs (a)").fetchall()
    before = contents(tmp_path)
    refuse(tmp_path / "theirs", "a database of another program")
    assert contents(tmp_path) == before
    assert connection.table_exists("main", "theirs")


def test_a_checkpoint_that_was_cut_short_is_made_good(path: Path) -> None:
    """Its first page speaks of pages that stand in the log alone."""
    with Database(path, SCHEMA) as database:
        small = path.read_bytes()
        for number in range(100):
            database.write(add(f"{number} " * 100))
        log = Path(f"{path}-wal").read_bytes()
    whole = path.read_bytes()
    assert len(small) < len(whole)
    path.write_bytes(whole[:4096] + small[4096:])
    Path(f"{path}-wal").write_bytes(log)
    with Database(path, SCHEMA) as database:
        assert len(notes(database)) == 100
        assert database.read(sql("PRAGMA integrity_check")) == "ok"


def test_looking_at_a_file_drops_no_locks_on_it(path: Path) -> None:
    """The system takes all of a process's locks on a file when it closes any descriptor of it."""
    shared_bytes = "510, 0x40000002"  # SQLite's file format: what whoever reads has locked
    program = (
        "import sys, fcntl\n"
        "with open(sys.argv[1], 'r+b') as file:\n"
        f"    try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, {shared_bytes})\n"
        "    except BlockingIOError: print('in use')"
    )
    with Database(path, SCHEMA) as database:
        database.write(add("mine"))
        files.prepare(str(path), len(SCHEMA))
        assert run(program, path).stdout == "in use\n"


def test_a_damaged_file_is_named(path: Path) -> None:
    with Database(path, SCHEMA) as database:
        for number in range(500):
            database.write(add(f"{number} " * 50))
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    with Database(path, SCHEMA) as database:
        with pytest.raises(StoreError, match=r"agent\.db: the file is damaged .*; move it away"):
            notes(database)
        with pytest.raises(StoreError, match="the file is damaged"):
            database.write(add("new"))
    path.write_bytes(whole[:5000])
    refuse(path, "the file is damaged")


def test_an_sqlite_that_damages_files_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("3.44.5", "3.45.0", "3.50.6", "3.51.0", "3.51.2"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda version=version: version)
        refuse(path, f"SQLite {version} can damage")
    assert not path.exists()
    for version in ("3.44.6", "3.50.7", "3.51.3", "3.52.0", "4.0.0"):
        monkeypatch.setattr(apsw, "sqlite_lib_version", lambda version=version: version)
        Database(path, SCHEMA).close()


UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
OPEN = """
import sys
from deferpower.errors import StoreError
from deferpower.store.database import Database
try:
    Database(sys.argv[1], sys.argv[2:])
except StoreError as error:
    print(error)
"""


def opened_without_privileges(path: Path) -> str:
    """What opening says to a user for whom permissions count."""
    prefix = UNPRIVILEGED if os.geteuid() == 0 else []
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root may read and write everything, and setpriv is missing to change that")
    command = [*prefix, sys.executable, "-c", OPEN, str(path), *SCHEMA]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    ).stdout


def test_permissions_that_are_missing(path: Path) -> None:
    Database(path, SCHEMA).close()
    before = contents(path.parent)
    path.chmod(0o400)
    assert opened_without_privileges(path) == (
        f"{path}: cannot be read and written by this user; give another path\n"
    )
    path.chmod(0o600)
    path.parent.chmod(0o500)
    try:
        new = path.with_name("new.db")
        assert opened_without_privileges(new) == (
            f"{new}: permission denied; give a path that this user may write to\n"
        )
        assert opened_without_privileges(path) == (
            f"{path}: cannot be written to; make the file and its directory writable\n"
        )
    finally:
        path.parent.chmod(0o700)
    assert contents(path.parent) == before


FILL = """
import os, sys
from pathlib import Path
from deferpower.errors import StoreError
from deferpower.store.database import Database
directory, schema = Path(sys.argv[1]), sys.argv[2:]
durability = "full"

def add(text):
    return lambda c: c.execute("INSERT INTO note (text) VALUES (?)", (text,))

def notes():
    sql = "SELECT text FROM note ORDER BY id"
    return database.read(lambda c: [row[0] for row in c.execute(sql)])

def fill():
    with open(directory / "ballast", "wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            pass

def failure(call):
    try:
        call()
    except StoreError as error:
        return str(error)
    raise SystemExit("there was room after all")

full = f"{directory}/agent.db: the disk is full; make room and try again"
database = Database(directory / "agent.db", schema)
database.write(add("before"))
fill()
written = 1
try:
    while True:
        database.write(add(f"{written}" + "x" * 3000))
        written += 1
except StoreError as error:
    assert str(error).startswith(full), error
assert len(notes()) == written, "what was committed is there"
assert failure(lambda: database.write(add("y" * 100_000))).startswith(full)
assert len(notes()) == written
other = failure(lambda: Database(directory / "other.db", schema))
assert other.startswith(f"{directory}/other.db: the disk is full"), other
(directory / "ballast").unlink()
database.write(add("after"))
assert notes()[-1] == "after" and len(notes()) == written + 1
assert database.read(lambda c: c.execute("PRAGMA integrity_check").get) == "ok"
database.close()
Database(directory / "other.db", schema).close()
database = Database(directory / "agent.db", schema)
assert len(notes()) == written + 1
database.close()
print("fine")
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    prefix = on_a_small_disk(tmp_path, "512k")
    command = [*prefix, sys.executable, "-c", FILL, str(tmp_path), *SCHEMA]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_file_taken_away_is_not_made_anew_after_a_fork(path: Path) -> None:
    with Database(path, SCHEMA) as database:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        path.unlink()
        with pytest.raises(StoreError, match="cannot be opened"):
            database.write(add("nowhere"))
        assert not path.exists()


def test_memory_stays_small(path: Path) -> None:
    with Database(path, SCHEMA) as database:
        assert database.read(sql("PRAGMA cache_size")) == -2048
        assert database.read(sql("PRAGMA temp_store")) == 2
