"""One SQLite file shared by threads and processes: `Database`, whose writes share commits."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from threading import get_ident
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, cast

import apsw

from deferpower.errors import StoreError
from deferpower.store import files, forking
from deferpower.store.failures import ENVIRONMENT, explained
from deferpower.store.opening import connect, refuse_unsafe_sqlite

T = TypeVar("T")
Durability = Literal["full", "process"]

# NORMAL rather than OFF: after a power loss the file lacks the last commits, but is whole.
_SYNCHRONOUS = {"full": "FULL", "process": "NORMAL"}
# Kept for the life of a child that was forked within a transaction: closing them there would
# touch the locks of the parent.
_inherited: list[apsw.Connection | None] = []


class _Write(Generic[T]):
    """One call of `Database.write` and what became of it."""

    __slots__ = ("error", "result", "withdrawn", "work")

    def __init__(self, work: Callable[[apsw.Cursor], T]) -> None:
        self.work = work
        self.result: T | None = None
        self.error: BaseException | None = None
        self.withdrawn = False


class _Group:
    """Writes that share one transaction, which the thread of the first one carries out.

    Its fields are set without calls in between, so that an interrupt (`KeyboardInterrupt`) finds
    them either way but never half-way. A group that is over, neither committed nor failed, was
    interrupted and rolled back: its writes start over in another one.
    """

    __slots__ = ("closed", "committed", "failure", "over", "writes")

    def __init__(self, first: _Write[Any]) -> None:
        self.writes = [first]
        self.closed = False
        self.committed = False
        self.failure: BaseException | None = None
        # Held until the group is over. Followers wait for it and hand it on, one to the next.
        self.over = threading.Lock()
        self.over.acquire()


_OVER = _Group(_Write(lambda _: None))
"""Stands where no group gathers."""
_OVER.closed = True


class Database:
    """One SQLite file, or one in memory, shared by threads; several processes may have it open.

    A fork is survived: a file is opened afresh by parent and child, each for itself; one in memory
    stays with the parent.
    """

    path: str | None
    """The file, absolute, links followed; ``None`` in memory."""
    wal_path: str | None
    """The write-ahead log, which every commit of any process writes to; ``None`` in memory."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        migrations: Sequence[str],
        *,
        durability: Durability = "full",
        busy_timeout_s: float = 5.0,
    ) -> None:
        """Open the file, creating it for its owner alone (0600), and bring its schema up to date.

        Args:
            path: the file; ``None`` keeps everything in memory.
            migrations: SQL scripts; number i leads from schema version i to i + 1. A file of an
                older version is copied first, to ``PATH.vN.bak``.
            durability: ``"full"``: what was written survives a power loss; ``"process"``: it
                survives the end of this process, however it comes.
            busy_timeout_s: how long to wait for other processes' transactions.

        Raises:
            StoreError: the file cannot be used; the message says why. A file of another program,
                or of a newer version of this one, is left as it is.
        """
        refuse_unsafe_sqlite()
        self.path = None if path is None else files.locate(path)
        self.wal_path = None if self.path is None else f"{self.path}-wal"
        self._synchronous = _SYNCHRONOUS[durability]
        self._busy_timeout_s = busy_timeout_s
        self._version = len(migrations)
        self._group: _Group
        self._last_size = 1
        self._control: Callable[[str], object]
        self._inode: tuple[int, int] | None = None
        self._closed = False
        self._lost = False
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._writing_thread = self._reading_thread = 0
        self._renew_locks()
        with self._turn:
            forking.remember(self)
            if self.path is not None:
                files.prepare(self.path, self._version)
            self._writer = self._connect(migrations)
            self._inode = self._inode_there()
            self._control = self._writer.cursor().execute

    def write(self, work: Callable[[apsw.Cursor], T], /) -> T:
        """Run ``work`` in a transaction and return its result once that is durable.

        Calls of several threads at the same moment share one commit; ``work`` may then run in
        another of these threads. An exception in ``work`` undoes what this ``work`` did, and
        nothing else. ``work`` may run a second time, after its first run was undone: it must have
        no effect but through its cursor, which is closed when it returns.

        Raises:
            StoreError: locked for too long, disk full, damaged, closed...; nothing was written.
            Exception: whatever ``work`` raised.

        Cost: one commit, shared with whoever writes at the same moment.
        """
        self._refuse_nesting()
        if self._last_size == 1 and not self._turn.locked():
            with self._turn:
                return self._transact(work)
        write = _Write(work)
        while True:
            group = self._take_part(write)
            if write.error is not None:
                raise write.error
            if group.committed:
                return cast(T, write.result)
            if group.failure is not None:
                raise StoreError(str(group.failure)) from group.failure

    def read(self, work: Callable[[apsw.Cursor], T], /) -> T:
        """Run ``work``, which sees one state of the database and changes nothing; its result.

        Writes of other threads and processes are not waited for (in memory they are).

        Raises:
            StoreError: the file cannot be read, or ``work`` wrote (which is undone).
            Exception: whatever ``work`` raised.
        """
        self._refuse_nesting()
        with self._reading:
            connection = self._reading_connection()
            self._reading_thread = get_ident()
            try:
                connection.execute("BEGIN")
                cursor = connection.cursor()
                try:
                    result = work(cursor)
                finally:
                    cursor.close(True)
                if connection.txn_state("main") == apsw.SQLITE_TXN_WRITE:
                    raise StoreError(f"{self._name()}: read() changes nothing; use write()")
                self._refuse_moved()
                return result
            except ENVIRONMENT as error:
                raise self._explained(error, connection) from error
            finally:
                self._reading_thread = 0
                # Not after a fork within work: the connection is the parent's.
                if connection.in_transaction and not self._lost:
                    connection.execute("ROLLBACK")

    def wait_for_commit(self) -> None:
        """Wait until a commit under way, of any process, is done and seen by `read`.

        To be called when the log has changed, and before looking for what is new: it is written,
        and synchronised, before what it says can be seen.

        Raises:
            StoreError: locked for too long.

        Cost: taking and leaving the lock of writers, some 10 us; nothing is written.
        """
        self.write(lambda _: None)

    def close(self) -> None:
        """Wait for the calls under way and close the file; every later call is an error."""
        self._refuse_nesting()
        with self._turn:
            self._closed = True
            writer, self._writer = self._writer, None
            if self._reading is self._turn:
                self._reader = None
            else:
                with self._reading:
                    reader, self._reader = self._reader, None
                    if reader is not None:
                        reader.close()
            if writer is not None:
                writer.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take_part(self, write: _Write[Any]) -> _Group:
        """Join the group that gathers, or begin one and carry it out; that group, when over."""
        group: _Group | None = None
        try:
            with self._gathering:
                group = self._group
                if group.closed:
                    group = self._group = _Group(write)
                else:
                    group.writes.append(write)
            if group.writes[0] is not write:
                with group.over:
                    return group
            with self._turn:
                self._let_others_join(group)
                with self._gathering:
                    group.closed = True
                self._carry_out(group)
            return group
        except BaseException:
            write.withdrawn = True
            raise
        finally:
            if group is not None and group.writes[0] is write:
                group.closed = True
                group.over.release()
                if self._group is group:
                    self._group = _OVER  # else all that was written stays in memory till the next

    def _let_others_join(self, group: _Group) -> None:
        """Give those of the last group the time to be back: they wake up one after the other.

        Worth it where a commit takes longer than waking them.
        """
        if self._synchronous != "FULL":
            return
        for _ in range(self._last_size - 1):
            if len(group.writes) >= self._last_size:
                break
            time.sleep(0)
        self._last_size = len(group.writes)

    def _carry_out(self, group: _Group) -> None:
        """Run the writes of a closed group in one transaction. The caller has the turn."""
        if len(group.writes) == 1:
            write = group.writes[0]
            try:
                write.result = self._transact(write.work, group)
            except Exception as error:
                write.error = error
            return
        try:
            self._transact(functools.partial(self._run_each, group), group)
        except Exception as error:
            group.failure = error

    def _run_each(self, group: _Group, control: apsw.Cursor) -> None:
        """Run the writes of a group, each in a savepoint of its own."""
        connection = control.connection
        for write in group.writes:
            if write.withdrawn:
                continue
            control.execute("SAVEPOINT one")
            cursor = connection.cursor()
            try:
                write.result = write.work(cursor)
            except Exception as error:
                if not connection.in_transaction:
                    raise  # SQLite undid everybody's work, as when the disk is full
                write.error = self._explained(error, connection)
                cursor.close(True)
                control.execute("ROLLBACK TO one")
            finally:
                cursor.close(True)
            self._refuse_ended(connection)
            control.execute("RELEASE one")

    def _transact(self, work: Callable[[apsw.Cursor], T], group: _Group | None = None) -> T:
        """Run ``work`` in a transaction. The caller has the turn.

        An interrupt may come after any call: what counts is whether SQLite has committed.
        """
        connection = self._writer or self._writing_connection()
        execute = self._control
        self._writing_thread = get_ident()
        committing = False
        try:
            execute("BEGIN IMMEDIATE")
            cursor = connection.cursor()
            try:
                result = work(cursor)
            finally:
                cursor.close(True)
            self._refuse_ended(connection)
            self._refuse_moved()
            committing = True
            execute("COMMIT")
            return result
        except (apsw.Error, MemoryError, UnicodeDecodeError) as error:
            committing = False
            failure = self._explained(error, connection)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._writing_thread = 0
            # After a fork within work, the connection is the parent's.
            if connection is self._writer:
                if connection.in_transaction:
                    execute("ROLLBACK")
                elif committing and group is not None:
                    group.committed = True

    def _refuse_ended(self, connection: apsw.Connection) -> None:
        if connection is not self._writer or not connection.in_transaction:
            raise StoreError(f"{self._name()}: the transaction was ended within write()")

    def _refuse_moved(self) -> None:
        """Raise `StoreError` if another file, or none, has the place of the one that is open.

        SQLite would go on with a file that nobody finds any more.
        """
        if self._inode_there() != self._inode:
            raise StoreError(
                f"{self._name()}: deleted, moved or replaced while it was in use; put it back, or "
                "start the program again to go on with what is there now"
            )

    def _inode_there(self) -> tuple[int, int] | None:
        """Which file is at the path."""
        if self.path is None:
            return None
        try:
            status = os.stat(self.path)  # noqa: PTH116 (pathlib costs as much again)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _refuse_nesting(self) -> None:
        if get_ident() in (self._writing_thread, self._reading_thread):
            raise StoreError(
                f"{self._name()}: called from within write() or read(); use the cursor given there"
            )

    def _writing_connection(self) -> apsw.Connection:
        """The connection that writes, opened again after a fork. The caller has the turn."""
        if self._writer is None:
            self._refuse_unusable()
            self._writer = self._connect()
            self._control = self._writer.cursor().execute
        return self._writer

    def _reading_connection(self) -> apsw.Connection:
        """The connection that reads: in memory, the one that writes."""
        if self.path is None:
            return self._writing_connection()
        if self._reader is None:
            self._refuse_unusable()
            self._reader = self._connect()
        return self._reader

    def _refuse_unusable(self) -> None:
        if self._closed:
            raise StoreError(f"{self._name()}: closed; open it again")
        if self._lost:
            raise StoreError(
                f"{self._name()}: stayed with the process that forked this one; "
                "open a database in this process"
            )

    def _connect(self, migrations: Sequence[str] | None = None) -> apsw.Connection:
        return connect(
            self.path,
            version=self._version,
            migrations=migrations,
            synchronous=self._synchronous,
            busy_timeout_s=self._busy_timeout_s,
        )

    def _explained(
        self, error: BaseException, connection: apsw.Connection | None = None
    ) -> BaseException:
        return explained(error, self.path, connection.system_errno if connection else 0)

    def _name(self) -> str:
        return self.path or "in-memory database"

    def _renew_locks(self) -> None:
        self._turn = threading.Lock()
        # In memory there is one connection for both.
        self._reading = self._turn if self.path is None else threading.Lock()
        self._gathering = threading.Lock()
        self._group = _OVER

    def before_fork(self) -> None:
        """Finish what is under way, and close the file."""
        if self._writing_thread != get_ident():
            self._turn.acquire()
        if self._reading is not self._turn and self._reading_thread != get_ident():
            self._reading.acquire()
        if self.path is None or get_ident() in (self._writing_thread, self._reading_thread):
            return
        for connection in (self._writer, self._reader):
            if connection is not None:
                # The log stays: others may be watching it.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()
        self._writer = self._reader = None

    def after_fork_in_parent(self) -> None:
        """Let the waiting calls go on."""
        if self._reading is not self._turn and self._reading_thread != get_ident():
            self._reading.release()
        if self._writing_thread != get_ident():
            self._turn.release()

    def after_fork_in_child(self) -> None:
        """Leave to the parent what is the parent's."""
        if self._writer is not None or self._reader is not None:
            _inherited.extend((self._writer, self._reader))
            self._writer = self._reader = None
            self._lost = True
        self._writing_thread = self._reading_thread = 0
        self._renew_locks()
