"""Writes docs/reference, or with ``--check`` says what is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.reference.api import ROOT
from tools.reference.complaints import complaints
from tools.reference.markdown import pages

FOLDER = ROOT / "docs" / "reference"


def stale(folder: Path = FOLDER) -> list[str]:
    """Files of the reference that are not what the docstrings say; sorted."""
    wanted = pages()
    there = {path.name: path.read_text() for path in folder.glob("*.md")}
    return sorted(n for n in {*wanted, *there} if wanted.get(n) != there.get(n))


def main() -> int:
    """The exit status."""
    is_check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not is_check:
        print("usage: python -m tools.reference [--check]", file=sys.stderr)
        return 2
    lacking = list(complaints())
    print(*lacking, sep="\n", end="\n" if lacking else "", file=sys.stderr)
    if is_check:
        for name in stale():
            print(f"docs/reference/{name}: stale; run make reference", file=sys.stderr)
            lacking.append(name)
        return 1 if lacking else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale():
        text = pages().get(name)
        if text is None:
            (FOLDER / name).unlink()
        else:
            (FOLDER / name).write_text(text)
        print(f"docs/reference/{name}")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
