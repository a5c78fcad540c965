"""What can end a sleep: a door bell, followed files, power events of the kernel."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import SensorError

if TYPE_CHECKING:
    from deferpower._pure.sys.inotify import Inotify

_LOOK_AT_FILES_S = 1.0
_LOOK_AT_CLOCK_S = 60.0  # it may have been set, and goes on while the machine sleeps
_LONGEST_S = 86_400.0  # poll(2) counts milliseconds in 32 bits
_KERNEL_GROUP = 1  # of messages that the kernel itself sends; udev sends to another
_NETLINK_KOBJECT_UEVENT = 15
_POWER_SUPPLY = b"\0SUBSYSTEM=power_supply\0"
_EVENT_BYTES = 4096  # the kernel's own room for the text of an event is 2048


class Rung(NamedTuple):
    """What ended a sleep; nothing when only its time was up."""

    woken: bool
    file: bool
    power: bool
    timer: bool


class Bells:
    """Ends the sleep of one thread. It may be rung from any thread, and in a signal handler.

    Its files are closed when nobody refers to it any more.
    """

    def __init__(self) -> None:
        try:
            self._bell, self._button = socket.socketpair()
        except OSError as error:
            raise SensorError(f"watch: cannot be opened: {error.strerror}") from None
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._power = _power_events()
        self._files: Inotify | None = None
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self._lock = threading.RLock()  # a signal handler may follow while its thread does

    def __del__(self) -> None:
        if not hasattr(self, "_lock"):
            return  # it was never opened
        self._bell.close()
        self._button.close()
        if self._power is not None:
            self._power.close()
        if self._files is not None:
            self._files.close()

    @property
    def hears_power(self) -> bool:
        """Whether it is told of changes of power."""
        return self._power is not None

    def ring(self) -> None:
        """End the sleep, or the next one."""
        # Full, it rings already.
        with contextlib.suppress(BlockingIOError):
            self._button.send(b"!")

    def follow(self, path: str) -> None:
        """Let writes to a file end a sleep, from the next one on."""
        with self._lock:
            if self._files is None and sys.platform == "linux":
                from deferpower._pure.sys.inotify import Inotify  # loads ctypes

                self._files = Inotify.open()
            if self._files is None or not self._files.add(path):
                self._stamps[path] = _stamp(path)

    def sleep(self, until_wall_s: float | None, timeout_s: float | None, power: bool) -> Rung:
        """Sleep until something rings, the timeout is over or the wall clock has come so far.

        Args:
            until_wall_s: the moment; ``None`` for none.
            timeout_s: the timeout; ``None`` for none.
            power: whether changes of power ring, too; otherwise they wait until they are asked for.

        Returns:
            What rang. It may be nothing before the time is over.
        """
        bounds_s = [] if timeout_s is None else [min(timeout_s, _LONGEST_S)]
        if until_wall_s is not None:
            bounds_s.append(min(max(0.0, until_wall_s - time.time()), _LOOK_AT_CLOCK_S))
        if self._stamps:
            bounds_s.append(_LOOK_AT_FILES_S)
        bell = self._bell.fileno()
        files = -1 if self._files is None else self._files.fd
        events = -1 if self._power is None or not power else self._power.fileno()
        ready = _readable([bell, files, events], min(bounds_s, default=None))
        if bell in ready:
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(4096)
        return Rung(
            woken=bell in ready,
            file=self._was_written(files in ready),
            power=events in ready and self._has_power_changed(),
            timer=until_wall_s is not None and time.time() >= until_wall_s,
        )

    def _was_written(self, announced: bool) -> bool:
        written = False
        with self._lock:
            if announced and self._files is not None:
                written = True
                for path in self._files.replaced():
                    self.follow(path)
            for path, before in self._stamps.items():
                self._stamps[path] = now = _stamp(path)
                written = written or now != before
        return written

    def _has_power_changed(self) -> bool:
        """Take in all events; one that was lost may have been of power."""
        assert self._power is not None
        changed = False
        while True:
            try:
                changed = _POWER_SUPPLY in self._power.recv(_EVENT_BYTES) or changed
            except BlockingIOError:
                return changed
            except OSError:  # no buffer space: some were lost
                changed = True


def _power_events() -> socket.socket | None:
    """A socket on which the kernel tells of its devices; takes no privilege.

    Source: netlink(7), lib/kobject_uevent.c.
    """
    if sys.platform != "linux":
        return None
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT)
    except OSError:  # a sandbox forbids it
        return None
    try:
        events.setblocking(False)
        events.bind((0, _KERNEL_GROUP))
    except OSError:
        events.close()
        return None
    return events


def _readable(descriptors: Sequence[int], timeout_s: float | None) -> set[int]:
    """Which of the open descriptors can be read, those below 0 left out."""
    descriptors = [descriptor for descriptor in descriptors if descriptor >= 0]
    if not hasattr(select, "poll"):
        return {*select.select(descriptors, [], [], timeout_s)[0]}
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    # Rounded up, or it would spin through the last millisecond.
    timeout_ms = None if timeout_s is None else -int(-timeout_s * 1000 // 1)
    return {descriptor for descriptor, _ in poll.poll(timeout_ms)}


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (pathlib is a slow import)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
