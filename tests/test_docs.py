"""The documents say what is so: their code runs, their commands and options exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SEMANTICS.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page}:{text[: match.start()].count(chr(10)) + 1}", match.group(1))
        for page in PAGES
        for text in [(ROOT / page).read_text()]
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


@pytest.mark.parametrize(("where", "code"), blocks("python"))
def test_python_blocks_run(where: str, code: str, backend_name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "DEFERPOWER_BACKEND": backend_name},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{where}: {done.stderr}"
    assert done.stdout


def commands() -> list[tuple[str, str]]:
    return [
        (where, line)
        for where, block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("deferpower ")
    ]


@pytest.mark.parametrize(("where", "line"), commands())
def test_commands_and_options_exist(where: str, line: str) -> None:
    words = line.partition("#")[0].partition(" -- ")[0].split()
    shown = subprocess.run(
        [sys.executable, "-m", "deferpower", words[1], "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert shown.returncode == 0, f"{where}: {line}: {shown.stderr}"
    for word in words[2:]:
        if word.startswith("--"):
            assert word in shown.stdout, f"{where}: {line}"


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page} names {target}"
