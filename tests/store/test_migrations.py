"""Schemas that move forward: older files, newer files, scripts that fail."""

from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest

from deferpower.errors import StoreError
from deferpower.store.database import Database
from store.support import add, notes, sql
from store.test_files import contents

FIRST = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"
SECOND = "ALTER TABLE note ADD COLUMN done INTEGER; SELECT * FROM note; UPDATE note SET done = 0"
THIRD = """
CREATE TABLE mark (note INTEGER REFERENCES note ON DELETE CASCADE);
INSERT INTO mark SELECT id FROM note;
CREATE TABLE new_note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
INSERT INTO new_note SELECT id, text FROM note;
DROP TABLE note;
ALTER TABLE new_note RENAME TO note;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of version 1 with one note."""
    path = tmp_path / "agent.db"
    with Database(path, [FIRST]) as database:
        database.write(add("old"))
    return path


def version(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return int(connection.pragma("user_version"))
    finally:
        connection.close()


@pytest.mark.parametrize("scripts", [[FIRST], [FIRST, SECOND], [FIRST, SECOND, THIRD]])
def test_new_databases_get_all_scripts_and_no_backup(scripts: list[str], tmp_path: Path) -> None:
    for path in (tmp_path / "new.db", None):
        with Database(path, scripts) as database:
            database.write(add("new"))
            assert notes(database) == ["new"]
            assert database.read(sql("PRAGMA user_version")) == len(scripts)
            assert database.read(sql("PRAGMA foreign_keys")) == 1
    assert contents(tmp_path).keys() == {"new.db"}


def test_an_older_file_is_copied_and_migrated(path: Path) -> None:
    old = path.read_bytes()
    with Database(path, [FIRST, SECOND, THIRD]) as database:
        assert notes(database) == ["old"]
        # A table that is rebuilt does not take along what refers to it.
        assert database.read(sql("SELECT count(*) FROM mark")) == 1
    assert version(path) == 3
    backup = path.with_name("agent.db.v1.bak")
    assert contents(path.parent).keys() == {"agent.db", "agent.db.v1.bak"}
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert version(backup) == 1
    with Database(backup, [FIRST]) as database:
        assert notes(database) == ["old"]
    assert len(old) == backup.stat().st_size


def test_an_older_backup_is_never_overwritten(path: Path) -> None:
    old = path.read_bytes()
    for number in range(3):
        path.write_bytes(old)
        with Database(path, [FIRST]) as database:
            database.write(add(f"try {number}"))
        Database(path, [FIRST, SECOND]).close()
    for number, name in enumerate(["agent.db.v1.bak", "agent.db.v1.1.bak", "agent.db.v1.2.bak"]):
        with Database(path.with_name(name), [FIRST]) as database:
            assert notes(database) == ["old", f"try {number}"]


def test_a_newer_file_stays_as_it_is(path: Path) -> None:
    Database(path, [FIRST, SECOND, THIRD]).close()
    before = contents(path.parent)
    message = r"agent\.db: has schema version 3, this program knows up to 1; update deferpower"
    with pytest.raises(StoreError, match=message):
        Database(path, [FIRST])
    assert contents(path.parent) == before


def test_a_newer_file_whose_program_was_killed_stays_as_it_is(path: Path) -> None:
    with Database(path, [FIRST, SECOND]) as newer:
        newer.write(add("in the log"))
        before = contents(path.parent)
        copies = path.parent / "copies"
        copies.mkdir()
        for name in ("agent.db", "agent.db-wal"):
            (copies / name).write_bytes(before[name])
    with pytest.raises(StoreError, match="has schema version 2, this program knows up to 1"):
        Database(copies / "agent.db", [FIRST])
    after = contents(copies)
    assert after["agent.db"] == before["agent.db"]
    assert after["agent.db-wal"] == before["agent.db-wal"]
    with Database(copies / "agent.db", [FIRST, SECOND]) as database:
        assert notes(database) == ["old", "in the log"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("CREATE TABLE half (a); CREATE TABLE note (a)", "migrating from 1 to 2 failed: .*exists"),
        ("INSERT INTO note (text) VALUES ('a'), (NULL)", "migrating from 1 to 2 failed: NOT NULL"),
        (
            "CREATE TABLE mark (note INTEGER REFERENCES note); INSERT INTO mark VALUES (99)",
            "would leave a row of mark without its note",
        ),
    ],
)
def test_a_script_that_fails_leaves_the_file_as_it_was(bad: str, why: str, path: Path) -> None:
    with pytest.raises(StoreError, match=rf"agent\.db: .*{why}.*; the file is as it was"):
        Database(path, [FIRST, bad])
    assert version(path) == 1
    with Database(path, [FIRST]) as database:
        assert notes(database) == ["old"]
        assert database.read(sql("SELECT count(*) FROM sqlite_schema WHERE type='table'")) == 1
    assert contents(path.parent).keys() == {"agent.db"}
