"""Which process is which, so that a dead worker is known for certain."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from deferpower.store.workers import Owner


def this_process() -> Owner:
    """The process that asks."""
    return Owner(_boot_id(), os.getpid(), _pid_namespace(), _started(os.getpid()) or "")


def is_dead(owner: Owner) -> bool:
    """Whether a process is gone for certain.

    One in another namespace of process ids (another container) cannot be seen from here; it
    counts as living until the machine starts anew.
    """
    here = this_process()
    if owner.boot_id != here.boot_id:
        return True
    if owner.pid_namespace != here.pid_namespace:
        return False
    return _started(owner.pid) != owner.started


def is_of_this_boot(owner: Owner) -> bool:
    """Whether the machine has run ever since."""
    return owner.boot_id == _boot_id()


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (no such path can be resolved)
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's own count; ``None`` if there is no such process.

    Source: proc_pid_stat(5), field 22; a zombie has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        return _portable_started(pid)
    return None if fields[0] in b"ZX" else fields[19].decode()


def _portable_started(pid: int) -> str | None:
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
