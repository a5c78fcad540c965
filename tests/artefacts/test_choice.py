"""The choice between the two builds, and a build that fails, as an installer sees them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from artefacts.support import (
    PROJECT,
    ROOT,
    TOOLS,
    VERSION,
    WITH_TOOLS,
    built,
    needs_cargo,
    pip_wheel,
)

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

HINT = [
    "deferpower: the native build failed; the reason stands above.",
    "To install without Rust (same answers, slower): DEFERPOWER_BUILD=pure pip install ...",
]


def assert_loud(outcome: tuple[subprocess.CompletedProcess[str], list[Path]], reason: str) -> None:
    """The build failed, left no wheel, showed the reason, and ended with what to do about it."""
    done, wheels = outcome
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert done.returncode != 0
    assert wheels == []
    assert reason in done.stdout
    end = lines.index("[end of output]")
    assert lines[end - 2 : end] == HINT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "deferpower_build", ROOT / "build_backend" / "deferpower_build.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def failing_cargo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which cargo is found first, and fails."""
    folder = tmp_path_factory.mktemp("bin")
    cargo = folder / "cargo"
    cargo.write_text("#!/bin/sh\necho 'error: linker `cc` not found' >&2\nexit 101\n")
    cargo.chmod(0o755)
    return f"{folder}{os.pathsep}{TOOLS}"


@pytest.fixture(scope="module")
def pure_install(pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pure wheel, unpacked; put first on PYTHONPATH it stands before any other install."""
    folder = tmp_path_factory.mktemp("install")
    with zipfile.ZipFile(pure_wheel) as archive:
        archive.extractall(folder)
    return folder


def python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("choice", "cargo", "tool"),
    [
        ("", True, "maturin"),
        ("", False, "hatchling"),
        ("auto", True, "maturin"),
        ("auto", False, "hatchling"),
        ("native", True, "maturin"),
        ("pure", True, "hatchling"),
        ("pure", False, "hatchling"),
    ],
)
def test_the_tool_asked_for(
    hooks: ModuleType,
    failing_cargo: str,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: str,
    cargo: bool,
    tool: str,
) -> None:
    monkeypatch.setenv("DEFERPOWER_BUILD", choice)
    monkeypatch.setenv("PATH", failing_cargo if cargo else str(empty))
    (named,) = (group for group in PROJECT["dependency-groups"]["build"] if tool in group)
    assert hooks.get_requires_for_build_wheel() == [named]
    assert hooks.get_requires_for_build_editable() == [named]
    assert hooks.get_requires_for_build_sdist() == ["hatchling>=1.27"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("native", "DEFERPOWER_BUILD is native, but there is no cargo on PATH"),
        ("Pure", "DEFERPOWER_BUILD is 'Pure'; use auto, native or pure"),
    ],
)
def test_a_choice_that_cannot_be_met(
    hooks: ModuleType, empty: Path, monkeypatch: pytest.MonkeyPatch, choice: str, message: str
) -> None:
    monkeypatch.setenv("DEFERPOWER_BUILD", choice)
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(SystemExit, match=message):
        hooks.get_requires_for_build_wheel()


def test_metadata_comes_from_the_wheel_itself(hooks: ModuleType) -> None:
    assert not [name for name in vars(hooks) if name.startswith("prepare_metadata")]


def test_a_cargo_that_fails_is_not_passed_over(
    source: Path, failing_cargo: str, tmp_path: Path
) -> None:
    outcome = pip_wheel(source, tmp_path / "out", PATH=failing_cargo)
    assert_loud(outcome, "error: linker `cc` not found")


@needs_cargo
def test_rust_that_does_not_compile_is_not_passed_over(source: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(source, tree, symlinks=True)
    (tree / "rust" / "lib.rs").write_text("fn main() { no_such_function() }\n")
    assert_loud(pip_wheel(tree, tmp_path / "out", PATH=WITH_TOOLS), "cannot find function")


def test_the_way_out_that_the_failure_names(
    source: Path, failing_cargo: str, tmp_path: Path
) -> None:
    outcome = pip_wheel(source, tmp_path / "out", PATH=failing_cargo, DEFERPOWER_BUILD="pure")
    assert built(outcome).name == f"deferpower-{VERSION}-py3-none-any.whl"


def test_the_pure_install_reads_the_machine(pure_install: Path) -> None:
    code = "import deferpower; print(deferpower.__version__, deferpower.Device().backend_name)"
    done = python(pure_install, "-c", code)
    assert done.stdout.split() == [VERSION, "pure"], done.stderr
    doctor = python(pure_install, "-m", "deferpower", "doctor")
    assert re.search(r"^backend: pure\b", doctor.stdout, re.MULTILINE), doctor.stderr


def test_asking_it_for_native_is_one_clear_line(pure_install: Path) -> None:
    done = python(pure_install, "-m", "deferpower", "status", DEFERPOWER_BACKEND="native")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "native module is not installed" in line
    assert "DEFERPOWER_BACKEND=pure" in line
