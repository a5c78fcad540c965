"""The database's file before SQLite opens it: found, private to its owner, and ours."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import apsw

from deferpower.errors import StoreError
from deferpower.store.failures import explained, refused
from deferpower.store.migrations import refuse_newer

APPLICATION_ID = 0x64667077
"""Marks a SQLite file as one of deferpower's: "dfpw"."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

_MAX_LINKS = 40


def locate(path: str | os.PathLike[str]) -> str:
    """The absolute path of the file itself, links at the path followed.

    A link is followed only when this user or root made it: whoever can plant a link in a shared
    directory must not choose where tasks are kept.

    Raises:
        StoreError: the path is empty, cannot be a file name, or leads through a stranger's link.
    """
    name = os.fspath(path)
    if name == ":memory:":
        raise StoreError(":memory: is no file; leave the path out (None) to keep tasks in memory")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{name!a}: not UTF-8, as SQLite wants names; give another path") from None
    if not name or "\0" in name:
        raise StoreError(f"{name!r}: not a file name; give the path of the database")
    if name.startswith("~") and "/" in name and not Path(name).parent.exists():
        raise StoreError(
            f"{name}: ~ stands for no directory here; use os.path.expanduser({name!r})"
        )
    # The file may not be there yet, or be a link that must be looked at first: only its directory
    # is resolved.
    found = _absolute(Path(name))
    for _ in range(_MAX_LINKS):
        try:
            status = found.lstat()
            if not stat.S_ISLNK(status.st_mode):
                return str(found)
            if status.st_uid not in (os.geteuid(), 0):
                raise StoreError(f"{found}: another user's link; give the path that it leads to")
            found = _absolute(found.parent / found.readlink())
        except FileNotFoundError:
            return str(found)
        except OSError as error:
            raise refused(str(found), error) from error
    raise StoreError(f"{name}: links that lead back to themselves; give the path of a file")


def _absolute(path: Path) -> Path:
    return Path(os.path.realpath(path.parent), path.name)


def prepare(path: str, known: int) -> None:
    """Create the file where none is, for its owner alone, or make sure that we can use it.

    Nothing is written to a file that has content. It is looked at through SQLite: a second
    descriptor of our own would, on closing, drop the locks of every connection of this process.

    Args:
        path: as `locate` gave it.
        known: the newest schema version that this program knows.

    Raises:
        StoreError: not a regular file, not a SQLite database, another program's, or newer; or
            others than this user may have written to it.
    """
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            status = Path(path).stat()
        else:
            try:
                os.fchmod(descriptor, 0o600)  # the umask may have taken even the owner's bits
            finally:
                os.close(descriptor)
            return
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise StoreError(f"{path}: {kind}; give the path of a file")
        if status.st_size == 0 and status.st_uid == os.geteuid():
            Path(path).chmod(0o600)
    except OSError as error:
        raise refused(path, error) from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"{path}: cannot be read and written by this user; give another path")
    _refuse_strangers(path, status)
    if status.st_size:
        _refuse_foreign(path, known)


def _refuse_strangers(path: str, status: os.stat_result) -> None:
    """Raise `StoreError` where somebody else may have written what is run as this user.

    Whoever writes to the file has commands run by whoever works on it, and what lies beside it
    under the names of SQLite's logs is taken into it.
    """
    if status.st_uid not in (os.geteuid(), 0):
        raise StoreError(f"{path}: another user's file; work on it as that user, or give another")
    if status.st_mode & stat.S_IWOTH:
        raise StoreError(
            f"{path}: everybody may write to it, and so have commands run by this user; "
            "take that away (chmod o-w), or give another path"
        )
    if status.st_nlink > 1:
        raise StoreError(
            f"{path}: it has {status.st_nlink} names (hard links), and used by two of them it "
            "would be damaged; remove the others, or give another path"
        )
    for suffix in ("-wal", "-shm", "-journal"):
        beside = Path(path + suffix)
        try:
            found = beside.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise StoreError(f"{beside}: not a file of this user's; move it away")


def _refuse_foreign(path: str, known: int) -> None:
    header = _header(path)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise explained(apsw.NotADBError(), path)
    if int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise StoreError(f"{path}: a database of another program; give another path")
    # What stands in the log alone is seen once the file is opened for good.
    refuse_newer(int.from_bytes(header[60:64]), known, path)


def _header(path: str) -> bytes:
    """The first bytes of the file.

    No more is looked at: without its log the rest need not make sense, as when a checkpoint is
    under way, or ended half-way by a crash.

    Source: "Database File Format", the database header.
    """
    try:
        file = apsw.VFSFile("", path, [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        try:
            return file.xRead(_HEADER_BYTES, 0)
        finally:
            file.xClose()
    except apsw.Error as error:
        raise explained(error, path) from error
