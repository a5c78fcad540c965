"""A connection to a database that is ours, of this schema, in write-ahead mode."""

from __future__ import annotations

import time
from collections.abc import Sequence

import apsw

from deferpower.errors import StoreError
from deferpower.store.failures import explained
from deferpower.store.files import APPLICATION_ID
from deferpower.store.migrations import migrate, refuse_newer, schema_version

_CACHE_KIB = 2048
_LOG_KEPT_BYTES = 16 * 1024 * 1024
_RETRY_S = 0.01
_SAFE_SQLITE = (3, 51, 3)
_SAFE_BACKPORTS = ((3, 50, 7), (3, 44, 6))


def refuse_unsafe_sqlite() -> None:
    """Raise `StoreError` for a SQLite that damages files when two connections checkpoint at once.

    Source: SQLite's release notes, 3.51.3, and the backports of its fix, 3.50.7 and 3.44.6.
    """
    text = apsw.sqlite_lib_version()
    version = tuple(int(part) for part in text.split(".")[:3])
    backported = any(version[:2] == safe[:2] and version >= safe for safe in _SAFE_BACKPORTS)
    if version < _SAFE_SQLITE and not backported:
        raise StoreError(f"SQLite {text} can damage a shared file; update it: pip install -U apsw")


def connect(
    path: str | None,
    *,
    version: int,
    migrations: Sequence[str] | None,
    synchronous: str,
    busy_timeout_s: float,
) -> apsw.Connection:
    """Open a database that exists, or one in memory.

    Args:
        path: a file that `files.prepare` let pass; ``None`` in memory.
        version: the newest schema version that this program knows.
        migrations: what leads there; ``None`` for a database that has been migrated before.
        synchronous: SQLite's setting of that name.
        busy_timeout_s: how long to wait for other connections.

    Raises:
        StoreError: the database cannot be used; a foreign or newer one is as it was.
    """
    connection: apsw.Connection | None = None
    try:
        connection = apsw.Connection(
            path or ":memory:",
            flags=apsw.SQLITE_OPEN_READWRITE | (0 if path else apsw.SQLITE_OPEN_CREATE),
        )
        connection.set_busy_timeout(round(busy_timeout_s * 1000))
        # Until all is well, closing must not tidy up: a file that is refused stays as it is.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if path is not None:
            _make_ours(connection, path, version, busy_timeout_s)
        _configure(connection, synchronous)
        if migrations is not None:
            migrate(connection, migrations, path)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        return connection
    except BaseException as error:
        failure = explained(error, path, connection.system_errno if connection else 0)
        if connection is not None:
            connection.close()
        if failure is error:
            raise
        raise failure from error


def _make_ours(connection: apsw.Connection, path: str, version: int, busy_timeout_s: float) -> None:
    if connection.readonly("main"):
        raise apsw.ReadOnlyError
    refuse_newer(schema_version(connection), version, path)
    # Marked before the log is begun: the mark of every file of ours stands in the file itself.
    if connection.pragma("application_id") != APPLICATION_ID:
        connection.execute("BEGIN IMMEDIATE")
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute("COMMIT")
    if _begin_log(connection, busy_timeout_s) != "wal":
        raise StoreError(
            f"{path}: this file system cannot share memory between processes; "
            "give a path on a local disk"
        )
    # The log is made by the first transaction; others may want to watch it from the start.
    connection.execute("SELECT 1 FROM sqlite_schema").fetchall()


def _begin_log(connection: apsw.Connection, busy_timeout_s: float) -> str:
    """Switch to the write-ahead log; the mode that the database is in then.

    SQLite does not wait where two connections switch at once, so the waiting is done here.
    """
    given_up_s = time.monotonic() + busy_timeout_s
    while True:
        try:
            return str(connection.pragma("journal_mode", "wal"))
        except apsw.BusyError:
            if time.monotonic() > given_up_s:
                raise
            time.sleep(_RETRY_S)


def _configure(connection: apsw.Connection, synchronous: str) -> None:
    # A misspelt column in double quotes is an error, not a text.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.pragma("synchronous", synchronous)
    connection.pragma("fullfsync", True)  # macOS: through the drive's own cache, too
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -_CACHE_KIB)
    connection.pragma("journal_size_limit", _LOG_KEPT_BYTES)
    connection.pragma("foreign_keys", True)
