"""Writes LICENSE-THIRD-PARTY: the licences of all that is linked into the native wheel.

    python -m tools.release.licences [--check]

The crates are those that cargo links on Linux, each under the MIT licence that all of them offer,
in the words of its own source. What the toolchain links besides stands in toolchain_licences.txt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "LICENSE-THIRD-PARTY"
TOOLCHAIN = Path(__file__).parent / "toolchain_licences.txt"
TARGET = "x86_64-unknown-linux-gnu"
RULE = "-" * 98
HEAD = """\
The native module of deferpower (_native.abi3.so, in the wheels for Linux) holds compiled code of
the works below, each under the terms that stand with it. The pure wheel holds none of them.
"""


def third_party() -> str:
    """The whole text, as it must stand in LICENSE-THIRD-PARTY.

    Raises:
        SystemExit: a linked crate offers no MIT licence, or its source comes without the text.
    """
    crates = [
        f"{name} {version} (MIT)\n{RULE}\n\n{text(source, licence)}\n"
        for name, version, source, licence in linked_crates()
    ]
    return "\n\n".join([HEAD, *crates, TOOLCHAIN.read_text(encoding="utf-8")])


def linked_crates() -> Iterator[tuple[str, str, Path, str]]:
    """Name, version, source directory and licence expression of each crate linked on Linux.

    Those that only build or test, or write code for the compiler, are not linked.
    """
    packages = {
        (package["name"], package["version"]): package
        for package in json.loads(cargo("metadata", "--format-version=1"))["packages"]
    }
    tree = cargo("tree", f"--target={TARGET}", "--edges=normal,no-proc-macro", "--prefix=none")
    for name, version in sorted(set(re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE))):
        if name != "deferpower":
            package = packages[name, version]
            yield name, version, Path(package["manifest_path"]).parent, package["license"]


def cargo(command: str, *options: str) -> str:
    """What a command of cargo prints about this crate, built as in the wheel."""
    done = subprocess.run(
        ["cargo", command, "--locked", "--features=python", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def text(source: Path, licence: str) -> str:
    """The MIT licence that a crate's source comes with."""
    if "MIT" not in re.split(r"[ ()/]+", licence) or " AND " in licence:
        raise SystemExit(f"licences: {source.name} is under {licence!r}: not MIT alone")
    found = [path for path in (source / "LICENSE-MIT", source / "LICENSE") if path.is_file()]
    if not found:
        raise SystemExit(f"licences: {source} has no LICENSE-MIT and no LICENSE")
    lines = found[0].read_text(encoding="utf-8").strip("\n").splitlines()
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    """Write the file, or say whether it is up to date."""
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(third_party(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != third_party():
        raise SystemExit(f"licences: {FILE.name} is out of date; run: make licences")


if __name__ == "__main__":
    main()
