"""`os.fork`: no connection to a file is open in two processes, and no child waits for a thread.

SQLite's locks belong to a process, and what it remembers of them would be wrong in a child: a
connection that the child opens to the same file would count on locks that only the parent has.
So the files are closed just before a fork, and each side opens its own again when it needs one.

A lock that another thread holds at the fork is never let go in the child. Whoever has one makes
another there, and forgets what that thread may have left half done.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What wants to know of a fork of its process; who inherits it says only what matters to it."""

    def before_fork(self) -> None:
        """Let nothing be under way, until the fork is over."""
        return

    def after_fork_in_parent(self) -> None:
        """Go on."""
        return

    def after_fork_in_child(self) -> None:
        """Start anew: only the thread that forked is there."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_known_lock = threading.Lock()
_one_fork = threading.Lock()
_stopped: list[Forkable] = []


def remember(one: Forkable) -> None:
    """Tell it of every fork from now on, for as long as it lives."""
    with _known_lock:
        _known.add(one)


def _before() -> None:
    _one_fork.acquire()
    while True:
        # Held through the fork, so that the child finds it free and the set whole.
        _known_lock.acquire()
        missing = [one for one in _known if not any(one is stopped for stopped in _stopped)]
        if not missing:
            return
        _known_lock.release()
        for one in missing:
            one.before_fork()
            _stopped.append(one)


def _after_in_parent() -> None:
    for one in _stopped:
        one.after_fork_in_parent()
    _go_on()


def _after_in_child() -> None:
    for one in _stopped:
        one.after_fork_in_child()
    _go_on()


def _go_on() -> None:
    _stopped.clear()
    _known_lock.release()
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
