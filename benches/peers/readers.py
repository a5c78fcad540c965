"""The machine read in full, by deferpower, by psutil, and as bare system calls."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from deferpower import Device

COLD_PAUSE_S = 0.2
"""A sampler sleeps between samples; a loop that does not keeps every cache warm and flatters."""
JUST_NOW_S = 1e-9
"""An age that no reading meets: load is read anew, power comes from the reading before."""


def read_with_psutil() -> None:
    """The figures of a reading, asked of psutil in the ways that its documentation shows.

    Wrap-around bookkeeping is switched off: a reading does without, and psutil is faster so.
    """
    psutil.cpu_times()
    psutil.cpu_count()
    psutil.virtual_memory()
    psutil.disk_io_counters(perdisk=True, nowrap=False)
    psutil.net_io_counters(pernic=True, nowrap=False)
    psutil.sensors_battery()
    psutil.disk_usage("/")


def open_files() -> list[Path]:
    """The files that this process holds open, as often as it holds them."""
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            path = str(descriptor.readlink())
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        # Entries of /proc/net are made anew at each look, so that open ones are shown as deleted.
        file = Path(path.removesuffix(" (deleted)"))
        if file.is_file():
            files.append(file)
    return files


def native_device() -> tuple[Device, list[Path]]:
    """A device on the native backend, and the files it holds open as seen from outside of it."""
    gc.collect()  # a device that nothing refers to any more would close its files in between
    before = Counter(open_files())
    device = Device(backend="native")
    device.read(max_age_s=0)
    held = Counter(open_files()) - before
    return device, sorted(held.elements())


@contextmanager
def bare_pread(paths: Sequence[Path], size: int = 8192) -> Iterator[Callable[[], None]]:
    """A function that does one pread on each of the files, held open, and looks at nothing."""
    descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
    pread = os.pread

    def read_all() -> None:
        for descriptor in descriptors:
            pread(descriptor, size, 0)

    try:
        yield read_all
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
