"""The statements and commits of deferpower's store, and nothing else."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import apsw
from benches.peers.contenders import FSYNC
from benches.peers.contenders.contender import Contender
from benches.peers.contenders.functions import nothing

from deferpower.store.schema import MIGRATIONS

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class BareApsw(Contender):
    """The statements and commits of deferpower's store, on its tables, and nothing else."""

    SUBMIT = (
        "INSERT INTO tasks (spec, state, lane, priority, created_s, due_s, life_s, wake_s, payload,"
        " unique_key, metadata, blockers) VALUES (1, 1, 1, 0, ?, ?, NULL, NULL, ?, NULL, NULL, 0)"
    )
    CLAIM = (
        "UPDATE tasks SET state = 2, lane = NULL, wake_s = NULL, worker = 1,"
        " attempts = attempts + 1, started_s = ?, note = NULL WHERE id IN"
        " (SELECT id FROM tasks WHERE lane = 1 AND crashes = 0 ORDER BY priority DESC, due_s"
        " LIMIT 100) RETURNING id, spec, payload, attempts, crashes, created_s, due_s, life_s,"
        " checkpoint, priority"
    )
    FINISH = (
        "UPDATE tasks SET state = 3, finished_s = ?, result = NULL, error = NULL, worker = NULL,"
        " note = NULL, checkpoint = NULL, asked = 0 WHERE id = ? AND worker = 1"
    )

    def __init__(self, directory: Path, durability: str) -> None:
        self.connect(str(directory / "bare.db"))
        for pragma in (
            "journal_mode = wal",
            f"synchronous = {'full' if durability == FSYNC else 'normal'}",
            "temp_store = memory",
            "cache_size = -2048",
            "foreign_keys = on",
        ):
            self.execute(f"PRAGMA {pragma}")

        for script in MIGRATIONS:
            self.script(script)
        self.execute("INSERT INTO specs VALUES (1, 'nothing')")

    def row(self, number: int, now_s: float) -> tuple[float, float, str]:
        return now_s, now_s, encode(((number,), {}))

    def connect(self, path: str) -> None:
        connection = apsw.Connection(path)
        cursor: Any = connection.cursor()
        self.execute, self.executemany = cursor.execute, cursor.executemany
        self.script: Any = self.execute

    def submit(self, count: int) -> None:
        for number in range(count):
            row = self.row(number, time.time())
            self.execute("BEGIN IMMEDIATE")
            self.execute(self.SUBMIT, row)
            self.execute("COMMIT")

    def submit_together(self, count: int) -> None:
        now_s = time.time()
        rows = [self.row(number, now_s) for number in range(count)]
        self.execute("BEGIN IMMEDIATE")
        self.executemany(self.SUBMIT, rows)
        self.execute("COMMIT")

    def drain(self, count: int) -> None:
        """As one who claims a hundred, runs them, and writes that with the next claim."""
        done: list[tuple[float, int]] = []
        while True:
            self.execute("BEGIN IMMEDIATE")
            self.executemany(self.FINISH, done)
            claimed = self.execute(self.CLAIM, (time.time(),)).fetchall()
            self.execute("COMMIT")
            if not claimed:
                return
            done.clear()
            for row in claimed:
                nothing(*json.loads(row[2])[0])
                done.append((time.time(), row[0]))


class BareSqlite3(BareApsw):
    """The same through Python's own module and the system's SQLite."""

    def connect(self, path: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        cursor = connection.cursor()
        self.execute, self.executemany = cursor.execute, cursor.executemany
        self.script = connection.executescript
