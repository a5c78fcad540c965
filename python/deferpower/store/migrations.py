"""From an empty or older database to the schema of this program, in one transaction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw

from deferpower.errors import StoreError
from deferpower.store.failures import explained, refused


def schema_version(connection: apsw.Connection) -> int:
    """How many migrations the database has seen."""
    return int(connection.pragma("user_version"))


def refuse_newer(version: int, known: int, path: str | None) -> None:
    """Raise `StoreError` for a database that a newer program has migrated further."""
    if version > known:
        raise StoreError(
            f"{path}: has schema version {version}, this program knows up to {known}; "
            "update deferpower, or give another path"
        )


def migrate(connection: apsw.Connection, scripts: Sequence[str], path: str | None) -> None:
    """Run the scripts that the database has not seen, all or none of them.

    A file of an older version is copied beside itself first (``agent.db.v3.bak``). Foreign keys
    are not enforced meanwhile, since a script may have to rebuild a table, but checked at the end.

    Args:
        connection: outside a transaction.
        scripts: SQL; number i leads from version i to i + 1.
        path: the file; ``None`` in memory, where nothing is copied.

    Raises:
        StoreError: the database is newer, or a script failed; the file is as it was.
    """
    wanted = len(scripts)
    if schema_version(connection) == wanted:
        return
    backup = None
    connection.pragma("foreign_keys", False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have migrated while this one waited for the lock.
        version = schema_version(connection)
        refuse_newer(version, wanted, path)
        if path is not None and 0 < version < wanted:
            backup = _back_up(path, version)
        for number in range(version, wanted):
            _run(connection, scripts[number], f"{path}: migrating from {number} to {number + 1}")
        for row in connection.execute("PRAGMA foreign_key_check"):
            raise StoreError(
                f"{path}: migrating from {version} to {wanted} would leave a row of {row[0]} "
                f"without its {row[2]}; the file is as it was"
            )
        connection.pragma("user_version", wanted)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if backup is not None:
            Path(backup).unlink()
        raise
    finally:
        connection.pragma("foreign_keys", True)


def _run(connection: apsw.Connection, script: str, doing: str) -> None:
    try:
        connection.execute(
            script
        ).fetchall()  # each statement runs when the last one's rows are out
    except (apsw.SQLError, apsw.ConstraintError) as error:
        raise StoreError(f"{doing} failed: {error}; the file is as it was") from error


def _back_up(path: str, version: int) -> str:
    """Copy the database to a new file beside it and return that file's path.

    The copy gets its name only once it is whole, and never the name of an older copy.
    """
    partial = f"{path}.v{version}.bak.{os.getpid()}.part"
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        try:
            Path(partial).chmod(0o600)  # the umask may have taken even the owner's bits
            _copy(path, partial)
            name = _reserve(f"{path}.v{version}")
            Path(partial).replace(name)
        except BaseException:
            Path(partial).unlink()
            raise
    except OSError as error:
        raise refused(partial, error) from error
    return name


def _copy(path: str, copy: str) -> None:
    # A connection of its own: SQLite copies from none that is in a transaction which may write.
    source = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    target = apsw.Connection(copy, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with target.backup("main", source, "main") as backup:
            backup.step()
        # The copy came with the source's mode; a log of its own would be left beside it.
        target.pragma("journal_mode", "delete")
    except apsw.Error as error:
        raise explained(error, copy, target.system_errno) from error
    finally:
        target.close()
        source.close()


def _reserve(stem: str) -> str:
    """The first of ``stem.bak``, ``stem.1.bak``, ``stem.2.bak``... that was free, made empty."""
    number = 0
    while True:
        name = f"{stem}.{number}.bak" if number else f"{stem}.bak"
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            number += 1
        else:
            return name
