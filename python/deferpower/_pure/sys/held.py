"""A file that is read again and again."""

# ruff: noqa: PTH116 (names are bytes; pathlib is a slow import)

from __future__ import annotations

import errno
import os

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
# No waiting for a writer, should someone put a FIFO in a file's place.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK_BYTES = 65_536
ATTRIBUTE_BYTES = 4096  # sysfs gives a page at most


class HeldFile:
    """Kept open between readings: a read by position costs a third of opening anew.

    Attributes:
        path: the file.
        failure: what went wrong in the last reading, as an error number; ``None`` if nothing did.
        is_absent: whether that was because there is no such file. Until `look_again`, none is
            looked for, so that an absent sensor costs nothing.
    """

    def __init__(self, path: bytes, *, may_be_replaced: bool) -> None:
        """Name the file; it is opened when first read.

        Args:
            path: the file.
            may_be_replaced: whether another file can come to bear this name, as anywhere but in
                the kernel's own file systems; then each reading checks which file it names.
        """
        self.path = path
        self.failure: int | None = None
        self.is_absent = False
        self._may_be_replaced = may_be_replaced
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go; the next reading opens it anew."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def look_again(self) -> None:
        """Let the next reading look for the file, should it be absent."""
        self.is_absent = False

    def read(self, at_most: int | None = None) -> bytes | None:
        """What is in the file now; ``None`` if it is absent or fails.

        Args:
            at_most: bytes to read; ``None`` reads to the end.
        """
        if self.is_absent:
            return None
        self.failure = None
        if self._fd is not None:
            try:
                if not self._may_be_replaced or self._identity == _identity(os.stat(self.path)):
                    return _content(self._fd, at_most)
            except OSError:
                # A device that was pulled and plugged in again is a new one under the old name,
                # so the failure of the old one says nothing yet.
                pass
            self.close()
        try:
            self._fd = os.open(self.path, _FLAGS)
        except OSError as error:
            self.failure, self.is_absent = error.errno, error.errno in _ABSENT
            return None
        try:
            if self._may_be_replaced:
                self._identity = _identity(os.fstat(self._fd))
            return _content(self._fd, at_most)
        except OSError as error:
            self.failure = error.errno
            self.close()
            return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _content(fd: int, at_most: int | None) -> bytes:
    if at_most is not None:
        return os.pread(fd, at_most, 0)
    content = chunk = os.pread(fd, _CHUNK_BYTES, 0)
    # The kernel ends a read where its own buffer does, so only an empty one is the end.
    while chunk:
        chunk = os.pread(fd, _CHUNK_BYTES, len(content))
        content += chunk
    return content
