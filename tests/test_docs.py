"""The documents say what is so: their code runs, commands and options exist, links lead on."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools import commands

import deferpower
import docpages
from cli.support import Laptop
from deferpower import Policy, cli
from docpages import Block

ROOT = Path(__file__).parent.parent
GUIDES = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))
OTHERS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SEMANTICS.md", "benches/README.md"]
REFERENCE = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*/**/*.md"))
PAGES = ["README.md", *GUIDES, *OTHERS, *REFERENCE]
BLOCKS = {page: list(docpages.blocks_of(ROOT / page, page)) for page in PAGES}
# The blocks of the reference are signatures; test_reference.py holds them to the code.
RUN = [
    page
    for page in PAGES
    if page not in REFERENCE and {b.language for b in BLOCKS[page]} & {"python", "console"}
]
GENERATED = "docs/commands.md"


def blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in BLOCKS[page] if block.language in languages]


@pytest.mark.parametrize("page", RUN)
def test_pages_run_from_top_to_bottom(page: str, backend_name: str, tmp_path: Path) -> None:
    plugged, level = docpages.machine_of(ROOT / page)
    laptop = Laptop(tmp_path / "laptop", plugged=plugged, level=level)
    programs, home, here = tmp_path / "bin", tmp_path / "home", tmp_path / "page"
    for directory in (programs, home, here):
        directory.mkdir()
    (programs / "deferpower").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deferpower "$@"\n')
    (programs / "deferpower").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-W", "error", docpages.__file__, str(ROOT / page), page],
        cwd=here,
        env={
            **os.environ,
            "DEFERPOWER_BACKEND": backend_name,
            "DEFERPOWER_ROOT": str(laptop.root),
            "HOME": str(home),
            "XDG_CONFIG_HOME": "",
            "XDG_DATA_HOME": "",
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    count = sum(block.language in ("python", "console") for block in BLOCKS[page])
    assert done.stdout == f"{count}\n"


def test_a_page_that_is_wrong_does_not_pass(tmp_path: Path) -> None:
    for text, complaint in (
        ("```python\nprint(1)  # 2\n```\n", "not printed: 2"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```console\n$ echo one\ntwo\n```\n", "should say:\ntwo"),
        ("```console\n$ false\n```\n", "ended with 1"),
    ):
        (tmp_path / "page.md").write_text(text)
        done = subprocess.run(
            [sys.executable, docpages.__file__, "page.md", "page.md"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0
        assert complaint in done.stderr


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.where)
def test_policies_in_the_documents_can_be_used(block: Block) -> None:
    Policy(block.text)


def _options(name: str) -> set[str]:
    parser = importlib.import_module(f"deferpower.cli.{name}").parser()
    return {o for action in parser._actions for o in action.option_strings if o.startswith("--")}


OPTIONS = {name: _options(name) for name in cli.COMMANDS}


SHARED = {"--help", "--json", "--policy", "--queue"}
"""Told of once, above all commands."""
WRONG_ON_PURPOSE = {("run", "--charing")}
"""An example of a mistake."""


def _prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def _command_lines() -> list[tuple[str, str]]:
    """Every ``deferpower ...`` in a block of a shell, and in words of code amid the text."""
    found = []
    for block in blocks("sh", "console"):
        for line in re.sub(r"(^| )#.*", "", block.text, flags=re.MULTILINE).splitlines():
            for match in re.finditer(r"(?:^|[$;|(=/ ])deferpower ([a-z-][^|;)]*)", line):
                found.append((block.where, match[1]))
    for page in ["README.md", *GUIDES]:
        for match in re.finditer(r"`deferpower ([^`]+)`", _prose(page)):
            found.append((page, match[1].replace("\n", " ")))
    return found


def test_commands_and_options_exist() -> None:
    lines = _command_lines()
    assert len(lines) > 100
    for where, line in lines:
        words = line.partition(" -- ")[0].split()
        name, *rest = words
        if name in ("COMMAND", "--help", "--version"):
            continue
        assert name in cli.COMMANDS, f"{where}: deferpower {line}"
        for word in rest:
            if word.startswith("--") and (name, word) not in WRONG_ON_PURPOSE:
                option = word.partition("=")[0].rstrip(".,")
                assert option in {*OPTIONS[name], "--help"}, f"{where}: deferpower {line}"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_guides_tell_of_every_command_and_option(name: str) -> None:
    guides = [(ROOT / page).read_text() for page in GUIDES if page != GENERATED]
    pages = [text for text in guides if re.search(rf"deferpower {name}\b|^#+ `{name}`", text, re.M)]
    assert pages, f"no guide tells of deferpower {name}"
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(pages)))
    missing = OPTIONS[name] - told - SHARED
    assert not missing, f"no guide that tells of deferpower {name} tells of {sorted(missing)}"


def test_the_page_of_all_commands_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "NO_COLOR"):  # they are set by making the page
        monkeypatch.setenv(variable, "")
    assert (ROOT / GENERATED).read_text() == commands.page(), "run make commands"


# Asked for by a name that is not known before, or of a process that is not ours.
_NAMELESS = {"cli/submit.py"}


def _variables(path: Path) -> set[str]:
    """The environment variables that a module reads, by name."""
    tree = ast.parse(path.read_text())
    constants = {
        target.id: str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and _is_environment(node.value):
            key = node.slice
        elif isinstance(node, ast.Call) and re.fullmatch(_READS, ast.unparse(node.func)):
            key = node.args[0]
        if isinstance(key, ast.Constant):
            found.add(str(key.value))
        elif isinstance(key, ast.Name) and key.id in constants:
            found.add(constants[key.id])
        elif key is not None and not path.as_posix().endswith(tuple(_NAMELESS)):
            raise AssertionError(f"{path}:{key.lineno}: which variable is read here?")
    return found


_READS = r"os\.getenv|(os\.environ|environment)\.(get|pop|setdefault)"


def _is_environment(node: ast.expr) -> bool:
    return ast.unparse(node) in ("os.environ", "environment")


def test_every_environment_variable_is_documented() -> None:
    package = Path(deferpower.__file__).parent
    sources = [*package.rglob("*.py"), ROOT / "build_backend/deferpower_build.py"]
    read = set().union(*map(_variables, sources))
    assert {"DEFERPOWER_BACKEND", "DEFERPOWER_ROOT", "DEFERPOWER_QUEUE", "NO_COLOR"} <= read
    told = set(re.findall(r"`([A-Z_]{2,})`", (ROOT / "docs/environment.md").read_text()))
    assert read <= told, f"not in docs/environment.md: {sorted(read - told)}"


def test_the_native_backend_reads_no_environment() -> None:
    for path in (ROOT / "rust").rglob("*.rs"):
        assert "env::var" not in path.read_text(), path


def _anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: str) -> list[tuple[str, str]]:
    """The links of a page to files here: path from the root, and anchor."""
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", _prose(page)) if "://" not in t]
    found = []
    for target in targets:
        path, _, anchor = target.partition("#")
        full = (ROOT / page).parent / path if path else ROOT / page
        found.append((os.path.relpath(full.resolve(), ROOT), anchor))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    for path, anchor in _links(page):
        assert (ROOT / path).exists(), f"{page} names {path}"
        if anchor:
            assert anchor in _anchors(path), f"{page} names {path}#{anchor}"


def test_every_page_is_reached_from_the_front_page() -> None:
    reached, news = set(), ["README.md"]
    while news:
        page = news.pop()
        if page in PAGES and page not in reached:
            reached.add(page)
            news += [path for path, _ in _links(page)]
    assert set(PAGES) <= reached, sorted(set(PAGES) - reached)


def test_every_picture_is_shown() -> None:
    shown = {path for page in PAGES for path, _ in _links(page)}
    pictures = {p.relative_to(ROOT).as_posix() for p in (ROOT / "docs/pictures").glob("*.svg")}
    assert pictures
    assert pictures <= shown
    for picture in pictures:
        assert "http" not in (ROOT / picture).read_text().replace("http://www.w3.org/2000/svg", "")
