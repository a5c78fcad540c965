"""Work for databases, and programs that open them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from deferpower.store.database import Database
from waiting import PATIENCE_S

SCHEMA = ["CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"]


def on_a_small_disk(directory: Path, size: str) -> list[str]:
    """What to put before a command, so that it alone sees a disk of that size at the directory."""
    mount = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    for flags in (["-m"], ["-r", "-m"]):
        prefix = ["unshare", *flags, "sh", "-c", mount, str(directory)]
        if (
            shutil.which("unshare")
            and not subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
        ):
            return prefix
    pytest.skip("a small disk of its own takes root, or users who may mount for themselves")


def add(text: str) -> Callable[[apsw.Cursor], int]:
    """Work that adds a note and gives its id."""

    def work(cursor: apsw.Cursor) -> int:
        cursor.execute("INSERT INTO note (text) VALUES (?)", (text,))
        return cursor.connection.last_insert_rowid()

    return work


def sql(statement: str, *bindings: object) -> Callable[[apsw.Cursor], Any]:
    """Work that executes one statement and gives the first value of its first row."""
    return lambda cursor: cursor.execute(statement, bindings).get


def call_it(call: Callable[[], object], _cursor: apsw.Cursor) -> None:
    call()


def notes(database: Database) -> list[str]:
    return database.read(
        lambda cursor: [row[0] for row in cursor.execute("SELECT text FROM note ORDER BY id")]
    )


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
