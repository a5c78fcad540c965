"""Who waits for the ends of tasks, whichever process runs them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import DeferpowerError
from deferpower.store import forking
from deferpower.store import tasks as rows
from deferpower.store.forking import Forkable
from deferpower.tasks.exits import stop_at_exit

if TYPE_CHECKING:
    from deferpower._contract import ToldRow, Watch
    from deferpower.store.database import Database

_log = logging.getLogger("deferpower.tasks")

_CALM_S = 0.002
"""Commits one after the other are looked into no more often than this."""
_RETRY_S = 1.0
_NOTHING_TOLD: ToldRow = (0, (None, None), False, 0)
"""For a wait in which nothing is judged."""


class _Call(NamedTuple):
    """Whom to call, and whether the program may end before that thread does."""

    call: Callable[[], object]
    is_daemon: bool


class Waiters(Forkable):
    """Calls back when tasks have ended.

    Ends in this process are told to it. For those in other processes a thread follows the file,
    asleep until somebody writes to it, and only while somebody waits.
    """

    def __init__(self, database: Database, open_watch: Callable[[], Watch]) -> None:
        """Nobody waits yet.

        Args:
            database: where tasks are kept.
            open_watch: opens what a thread can wait in.
        """
        self._database = database
        self._open_watch = open_watch
        self._is_known = False
        self.after_fork_in_child()
        forking.remember(self)

    def after_fork_in_child(self) -> None:
        """Start anew: who waited did so in the parent."""
        self._lock = threading.Lock()
        self._calls: dict[int, list[_Call]] = {}
        self._watch: Watch | None = None
        self._nobody = threading.Event()

    @contextlib.contextmanager
    def waiting_for(self, task_id: int, call: Callable[[], object]) -> Iterator[None]:
        """Have ``call`` called whenever the task may have ended, in any thread; look afterwards.

        An end before this is not told: look once more, inside.
        """
        entry = _Call(call, threading.current_thread().daemon)
        try:
            with self._lock:
                self._calls.setdefault(task_id, []).append(entry)
                self._nobody.clear()
                if self._watch is None and self._database.wal_path is not None:
                    self._watch = self._follow(self._database.wal_path)
            yield
        finally:
            with self._lock:
                self._forget(lambda known: known is entry)

    def release(self, task_id: int) -> None:
        """Tell those who wait for a task. Cost: next to nothing while nobody waits."""
        if self._calls:
            with self._lock:
                calls = [*self._calls.get(task_id, ())]
            for known in calls:
                known.call()

    def release_all(self) -> None:
        """Have everybody look again."""
        for task_id in [*self._calls]:
            self.release(task_id)

    def stop(self) -> None:
        """Follow the file only for threads that the end of the program waits for."""
        with self._lock:
            self._forget(lambda known: known.is_daemon)

    def _forget(self, gone: Callable[[_Call], bool]) -> None:
        for task_id, calls in [*self._calls.items()]:
            calls[:] = [known for known in calls if not gone(known)]
            if not calls:
                del self._calls[task_id]
        if not self._calls:
            self._nobody.set()
            if self._watch is not None:
                self._watch.wake()

    def _follow(self, path: str) -> Watch:
        watch = self._open_watch()
        try:
            watch.follow(path)
            if not self._is_known:
                stop_at_exit(self)
                self._is_known = True
            # No daemon: the program's end would find it in the midst of native code.
            threading.Thread(target=self._run, args=(watch,), name="deferpower-ends").start()
        except BaseException:
            watch.close()
            raise
        return watch

    def _run(self, watch: Watch) -> None:
        while self._goes_on():
            try:
                self._database.wait_for_commit()
                self._look()
                self._nobody.wait(_CALM_S)
                watch.wait((), (), (), _NOTHING_TOLD, None)
            except DeferpowerError as error:
                # Whoever waits asks the file, too, and learns what is wrong with it.
                _log.debug("waiting: %s", error)
                self.release_all()
                self._nobody.wait(_RETRY_S)
        watch.close()  # without the lock, which an event loop may ask for: it takes 20 ms

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._calls:
                self._watch = None
            return bool(self._calls)

    def _look(self) -> None:
        with self._lock:
            ids = list(self._calls)
        if ids:
            for task_id in self._database.read(lambda cursor: rows.ended_of(cursor, ids)):
                self.release(task_id)
