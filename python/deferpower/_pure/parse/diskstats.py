"""``/proc/diskstats``: what was read from and written to each whole disk."""

from __future__ import annotations

from collections.abc import Iterable

from deferpower._pure.parse.number import U64_MAX, counter, trim

_SECTOR_BYTES = 512
_FIELDS = 10
# What these carry reaches a disk that is counted itself, or none at all.
_LAYERS = (b"loop", b"ram", b"zram", b"dm-", b"md", b"bcache", b"zd")


def parse_diskstats(data: bytes, /) -> list[tuple[bytes, int, int]]:
    listed: dict[bytes, tuple[int, int]] = {}
    for line in trim(data).split(b"\n"):
        words = line.split(None, _FIELDS)
        if len(words) < _FIELDS or words[2] in listed:
            continue
        read, written = counter(words[5]), counter(words[9])
        if read is None or written is None or max(read, written) * _SECTOR_BYTES > U64_MAX:
            continue
        listed[words[2]] = (read * _SECTOR_BYTES, written * _SECTOR_BYTES)
    return [(name, *listed[name]) for name in whole_disks(listed)]


def whole_disks(listed: Iterable[bytes]) -> list[bytes]:
    """The names that count, in their order: neither layers over other disks nor partitions."""
    names = dict.fromkeys(listed)
    return [name for name in names if not _is_layer(name) and not _is_partition(name, names)]


def _is_layer(name: bytes) -> bool:
    return any(name.startswith(layer) and name[len(layer) :][:1].isdigit() for layer in _LAYERS)


def _is_partition(name: bytes, listed: dict[bytes, None]) -> bool:
    # The disk may itself end in digits, so every split of the trailing digits is tried:
    # sda1 is of sda, nvme0n1p2 of nvme0n1, but nvme0n1 of nothing.
    for cut in range(len(name) - 1, 0, -1):
        if not name[cut : cut + 1].isdigit():
            return False
        disk = name[:cut]
        if disk in listed and not disk[-1:].isdigit():
            return True
        if disk[-1:] == b"p" and disk[:-1] in listed and disk[-2:-1].isdigit():
            return True
    return False
