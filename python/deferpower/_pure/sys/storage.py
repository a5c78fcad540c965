"""Room in the file systems that the program named."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from deferpower._contract import SourceRow, StorageRow
from deferpower._pure.reading import percent_of


class FileSystems:
    """The file systems under some paths."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._answers: tuple[StorageRow | int, ...] = ()

    def read(self) -> tuple[StorageRow | None, ...]:
        """The room under each path; ``None`` where it cannot be asked."""
        self._answers = tuple(_ask(path) for path in self._paths)
        return tuple(None if isinstance(answer, int) else answer for answer in self._answers)

    def sources(self) -> list[SourceRow]:
        """Each path, as last asked."""
        return [_source(*asked) for asked in zip(self._paths, self._answers, strict=True)]


def _ask(path: str) -> StorageRow | int:
    """The room under the path, or the number of the error."""
    try:
        used, free = _used_and_free(path)
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:  # a NUL in the path
        return errno.EINVAL
    return (percent_of(used, used + free) if used + free else 0.0), free


def _used_and_free(path: str) -> tuple[int, int]:
    if hasattr(os, "statvfs"):
        status = os.statvfs(path)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        return max(used, 0), status.f_bavail * status.f_frsize
    import psutil

    usage = psutil.disk_usage(path)
    return usage.used, usage.free


def _source(path: str, answer: StorageRow | int) -> SourceRow:
    if not isinstance(answer, int):
        return "storage", path, "ok", f"{answer[1]} bytes free"
    if answer in (errno.ENOENT, errno.ENOTDIR):
        return "storage", path, "absent", "no such path"
    return "storage", path, "failing", f"cannot be asked: {os.strerror(answer)}"
