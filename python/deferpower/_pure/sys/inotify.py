"""Files that the kernel watches: inotify(7), which the standard library does not have."""

from __future__ import annotations

import ctypes
import os
import struct

_MODIFY, _DELETE_SELF, _MOVE_SELF = 0x2, 0x400, 0x800
_HEAD = struct.Struct("iIII")  # watch, what happened, cookie, length of the name that follows


class Inotify:
    """Watches files. Its descriptor can be read when one was written to."""

    def __init__(self, libc: ctypes.CDLL, fd: int) -> None:
        self.fd = fd
        self._libc = libc
        self._paths: dict[int, str] = {}

    @classmethod
    def open(cls) -> Inotify | None:
        """A new one; ``None`` where the system has none, or none left."""
        libc = ctypes.CDLL(None)
        if not hasattr(libc, "inotify_init1"):
            return None
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return None if fd < 0 else cls(libc, fd)

    def add(self, path: str) -> bool:
        """Watch a file; whether that can be done."""
        mask = _MODIFY | _MOVE_SELF | _DELETE_SELF
        watch = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if watch >= 0:
            self._paths[watch] = path
        return bool(watch >= 0)

    def replaced(self) -> list[str]:
        """Take in what happened; the paths whose files were moved or deleted, no longer watched."""
        lost = []
        try:
            while events := os.read(self.fd, 4096):
                offset = 0
                while offset < len(events):
                    watch, happened, _, name_bytes = _HEAD.unpack_from(events, offset)
                    offset += _HEAD.size + name_bytes
                    if happened & (_MOVE_SELF | _DELETE_SELF) and watch in self._paths:
                        self._libc.inotify_rm_watch(self.fd, watch)
                        lost.append(self._paths.pop(watch))
        except BlockingIOError:
            pass
        return lost

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
