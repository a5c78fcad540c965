"""Runs a page of the documents from top to bottom, as a reader would: in one place, in order.

    python docpages.py PAGE.md

- ``python`` blocks share one set of names. What a line ``print(...)  # text`` is said to print, it
  must print; ``...`` in the text stands for anything.
- A block whose first line is a comment with a file's name, ``# agent.py``, is that file. Python
  files are imported, or run where they have a main part.
- ``console`` blocks are typed into a shell. The output that stands below a command must come, and
  its exit status be 0, or what a comment behind it says: ``# exit status 1``.
- ``<!-- python ... -->`` is a block that readers do not see: it puts up what the page needs.
- All other blocks are not run.

The machine is a laptop, plugged in at 80 %, unless the page says another in a comment:
``<!-- machine: on battery at 41 % -->``.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_BLOCK = re.compile(
    r"^(?P<fence>```)(?P<shown>\w*)\n(?P<text>.*?)^```$"
    r"|^<!-- (?P<hidden>python)\n(?P<unseen>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
_MACHINE = re.compile(r"^<!-- machine: (on battery|plugged in) at (\d\d) % -->$", re.MULTILINE)
_FILE = re.compile(r"# ([\w-]+\.(?:py|toml))\n")
_SAID = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
_STATUS = re.compile(r"  # exit status (\d+)$")
_TIMEOUT_S = 60
_SAME = doctest.OutputChecker()
_LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A block of a page.

    Attributes:
        page: name of the file that it stands in.
        line: where its text begins, counted from 1.
        language: what stands behind the fence.
        text: its lines.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


class Wrong(Exception):
    """What a page says is not so."""


def blocks_of(page: Path, name: str) -> Iterator[Block]:
    """All blocks of a page, those that are not shown included."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        is_shown = match["fence"] is not None
        group = "text" if is_shown else "unseen"
        line = text.count("\n", 0, match.start(group)) + 1
        yield Block(name, line, match["shown"] if is_shown else match["hidden"], match[group])


def machine_of(page: Path) -> tuple[bool, int]:
    """Whether the page's machine is plugged in, and its level."""
    match = _MACHINE.search(page.read_text(encoding="utf-8"))
    return (match[1] == "plugged in", int(match[2])) if match else (True, 80)


def file_of(block: Block) -> str | None:
    """The name of the file that a block is."""
    match = _FILE.match(block.text)
    return match[1] if match else None


def run(blocks: Iterator[Block]) -> int:
    """Run what can be run; how many blocks that were.

    Raises:
        Wrong: something does not happen that a block says.
    """
    names: dict[str, Any] = {"__name__": "page"}
    count = 0
    for block in blocks:
        file = file_of(block)
        if file is not None:
            Path(file).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            _run_python(block, file, names)
        elif block.language == "console":
            _run_console(block)
        count += block.language in ("python", "console")
    return count


def _run_python(block: Block, file: str | None, names: dict[str, Any]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if file is None:
            # Empty lines before it: so a traceback names the line of the page.
            code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
            exec(code, names)
        elif "__main__" in block.text:
            runpy.run_path(file, run_name="__main__")
        else:
            importlib.invalidate_caches()
            module = importlib.import_module(file.removesuffix(".py"))
            names.update({k: v for k, v in vars(module).items() if not k.startswith("__")})
    lines = iter(said.getvalue().splitlines(keepends=True))
    for wanted in _SAID.findall(block.text):
        if not any(_SAME.check_output(f"{wanted}\n", line, _LOOSELY) for line in lines):
            raise Wrong(f"{block.where}: not printed: {wanted}\nbut:\n{said.getvalue()}")


def _run_console(block: Block) -> None:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        status = _STATUS.search(command)
        done = subprocess.run(
            command,
            shell=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != (int(status[1]) if status else 0):
            raise Wrong(f"{block.where}: $ {command}: ended with {done.returncode}: {done.stdout}")
        if wanted.strip() and not _SAME.check_output(wanted, done.stdout, _LOOSELY):
            raise Wrong(f"{block.where}: $ {command}\nshould say:\n{wanted}\nsaid:\n{done.stdout}")


def main() -> None:
    """Run a page in the working directory."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 (as Python itself puts it there)
    page = Path(sys.argv[1])
    try:
        sys.stdout.write(f"{run(blocks_of(page, sys.argv[2]))}\n")
    except Wrong as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
