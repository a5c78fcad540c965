"""What SQLite's errors mean to people: where it went wrong and what to do about it."""

from __future__ import annotations

import errno
import os

import apsw

from deferpower.errors import StoreError
from deferpower.store.records import DamagedError

ENVIRONMENT = (
    apsw.AuthError,
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoLFSError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    UnicodeDecodeError,  # of a text that is damaged
)
"""Errors that come from the file, the disk or other processes, never from the SQL."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(error: BaseException, path: str | None, system_errno: int = 0) -> BaseException:
    """A `StoreError` in place of an error from the file or its disk; any other error as it is.

    Args:
        error: what was raised.
        path: the database's file; ``None`` in memory.
        system_errno: what the system said last to the connection; 0 for nothing.
    """
    if not isinstance(error, ENVIRONMENT):
        return error
    kind = DamagedError if isinstance(error, UnicodeDecodeError) else StoreError
    failure = kind(f"{path or 'in-memory database'}: {_sentence(error, system_errno)}")
    failure.__cause__ = error
    return failure


def refused(path: str, error: OSError) -> StoreError:
    """The `StoreError` for what the system answered when it was asked about a path."""
    match error.errno:
        case errno.ENOENT:
            return StoreError(f"{path}: the directory does not exist; create it first")
        case errno.ENOTDIR:
            return StoreError(f"{path}: part of the path is not a directory; give another path")
        case errno.EACCES | errno.EPERM:
            return StoreError(f"{path}: permission denied; give a path that this user may write to")
        case errno.EROFS:
            return StoreError(f"{path}: the file system is read-only; give another path")
        case errno.ENOSPC | errno.EDQUOT:
            return StoreError(f"{path}: the disk is full; make room and try again")
        case _:
            reason = (error.strerror or str(error)).lower()
            return StoreError(f"{path}: cannot be opened: {reason}; give another path")


def _sentence(error: BaseException, system_errno: int) -> str:
    no_room = isinstance(error, apsw.IOError | apsw.CantOpenError) and system_errno in _NO_ROOM
    if isinstance(error, apsw.FullError) or no_room:
        return "the disk is full; make room and try again (what was committed before is kept)"
    match error:
        case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError():
            return "another program keeps it locked; try again, or end that program"
        case apsw.CorruptError() | UnicodeDecodeError():
            return f"the file is damaged ({error}); move it away, or put a backup in its place"
        case apsw.NoMemError():
            return (
                "not enough memory for what it holds, or the file is damaged; free some, or put a "
                "backup in its place"
            )
        case apsw.NotADBError():
            return "not a SQLite database; give another path"
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return "cannot be written to; make the file and its directory writable"
        case apsw.CantOpenError():
            return (
                "cannot be opened, or its write-ahead log cannot be made beside it"
                f"{_said(system_errno)}; check the permissions of the file and its directory"
            )
    return f"the disk failed ({error}){_said(system_errno)}; check the disk and try again"


def _said(system_errno: int) -> str:
    return f": {os.strerror(system_errno).lower()}" if system_errno else ""
