"""The first inputs of the fuzz targets: what the recorded device trees hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

TREES = Path(__file__).parent.parent / "tests" / "data" / "linux"
BETWEEN_TEXTS = b"\x1e"
BETWEEN_ATTRIBUTES = b"\x1f"

FILES = {
    "stat": ["proc/stat"],
    "meminfo": ["proc/meminfo"],
    "pressure": ["proc/pressure/cpu"],
    "process_stat": ["proc/self/stat", "proc/[0-9]*/stat"],
    "diskstats": ["proc/diskstats"],
    "netdev": ["proc/net/dev"],
}
"""The files that the target of a parser begins with."""

SAMPLED = ["stat", "meminfo", "diskstats", "netdev", "pressure", "process_stat"]
"""The files of one machine, in the order in which the target `sampler` takes them."""


def plant(corpus: Path) -> int:
    """Write the first inputs of each target below a directory; how many there are now."""
    planted = set()
    for target, data in inputs():
        directory = corpus / target
        directory.mkdir(parents=True, exist_ok=True)
        seed = directory / f"tree-{hashlib.sha1(data).hexdigest()}"
        seed.write_bytes(data)
        planted.add(seed)
    return len(planted)


def inputs() -> Iterator[tuple[str, bytes]]:
    """Each target that begins with something of a tree, and what."""
    for tree in sorted(path for path in TREES.iterdir() if path.is_dir()):
        moments = [root for root in (tree, tree / "later") if root.is_dir()]
        for target, patterns in FILES.items():
            texts = [text for root in moments for text in _read(root, patterns)]
            for text in texts:
                yield target, text
                if target in ("meminfo", "stat", "process_stat"):
                    yield from (("number", word) for word in text.split()[:40])
            if len(texts) > 1 and target in ("diskstats", "netdev"):
                yield target, BETWEEN_TEXTS.join(texts)
        supplies = list(_supplies(tree))
        yield "power", BETWEEN_TEXTS.join(supplies)
        first = [b"".join(_read(tree, FILES[target])[:1]) for target in SAMPLED]
        later = [b"".join(_read(moments[-1], FILES[target])[:1]) for target in SAMPLED]
        pair = [*supplies, b"", b""][:2]
        yield "sampler", BETWEEN_TEXTS.join([*first, *pair, *later])


def _read(root: Path, patterns: list[str]) -> list[bytes]:
    found = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return [path.read_bytes() for path in found if path.is_file()]


def _supplies(tree: Path) -> Iterator[bytes]:
    for directory in sorted(tree.glob("sys/class/power_supply/*")):
        attributes = sorted(path for path in directory.glob("*") if path.is_file())
        lines = [path.name.encode() + b"=" + path.read_bytes() for path in attributes]
        yield BETWEEN_ATTRIBUTES.join(lines)
