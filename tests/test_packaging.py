"""Wheels, source distribution and the choice between them, as an installer sees them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import deferpower

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
TOOLS = Path(sys.executable).parent
HINT = [
    "deferpower: the native build failed; the reason stands above.",
    "To install without Rust (same answers, slower): DEFERPOWER_BUILD=pure pip install ...",
]

needs_cargo = pytest.mark.skipif(
    shutil.which("cargo") is None, reason="without cargo there is no native wheel to look at"
)


def pip_wheel(
    source: Path, out: Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """What ``pip wheel SOURCE`` says, and the wheels it leaves.

    Without isolation, so that no build tool is fetched: the ones of this environment are used.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DEFERPOWER_BUILD", "MATURIN_PEP517_ARGS")
    }
    out.mkdir()
    options = ["--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), str(source)],
        env={
            **inherited,
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")),
            "MATURIN_PEP517_ARGS": "--profile dev-release --locked",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done, sorted(out.glob("*.whl"))


def built(outcome: tuple[subprocess.CompletedProcess[str], list[Path]]) -> Path:
    done, wheels = outcome
    assert done.returncode == 0, done.stdout
    (wheel,) = wheels
    return wheel


def assert_loud(outcome: tuple[subprocess.CompletedProcess[str], list[Path]], reason: str) -> None:
    """The build failed, left no wheel, showed the reason, and ended with what to do about it."""
    done, wheels = outcome
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert done.returncode != 0
    assert wheels == []
    assert reason in done.stdout
    end = lines.index("[end of output]")
    assert lines[end - 2 : end] == HINT


def package_files(folder: Path) -> set[str]:
    """The files of the package in a source tree, but for what building and running left there."""
    return {
        str(path.relative_to(folder))
        for path in (folder / "deferpower").rglob("*")
        if path.suffix in (".py", ".pyi", ".typed")
    }


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
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing in it: as PATH, a machine without cargo."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def failing_cargo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which cargo is found first, and fails."""
    folder = tmp_path_factory.mktemp("bin")
    cargo = folder / "cargo"
    cargo.write_text("#!/bin/sh\necho 'error: linker `cc` not found' >&2\nexit 101\n")
    cargo.chmod(0o755)
    return f"{folder}{os.pathsep}{TOOLS}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    out = tmp_path_factory.mktemp("sdist")
    code = f"import deferpower_build; deferpower_build.build_sdist({str(out)!r})"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "build_backend")},
        check=True,
        capture_output=True,
    )
    with tarfile.open(out / f"deferpower-{VERSION}.tar.gz") as archive:
        # The argument ``filter`` came only with 3.11.4; from 3.12 on leaving it out is a warning.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(out)
    return out / f"deferpower-{VERSION}"


@pytest.fixture(scope="module")
def pure_wheel(source: Path, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a machine without cargo builds, from a tree in which an extension was left behind."""
    folder = tmp_path_factory.mktemp("pure")
    tree = folder / "tree"
    shutil.copytree(source, tree, symlinks=True)
    (tree / "python" / "deferpower" / "_native.abi3.so").write_bytes(b"\x7fELF of another machine")
    return built(pip_wheel(tree, folder / "out", PATH=str(empty)))


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


def test_the_version_stands_in_one_place() -> None:
    assert deferpower.__version__ == VERSION
    assert tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"] == "0.0.0"


def test_the_sdist_has_all_that_a_build_reads(source: Path) -> None:
    kept = {
        str(path.relative_to(ROOT))
        for folder in ("build_backend", "python", "rust", "benches")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyd", ".pyc")
    }
    kept |= {path.name for path in ROOT.glob("*.md")}
    kept |= {"Cargo.toml", "Cargo.lock", "pyproject.toml", "LICENSE"}
    packed = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert packed - {".gitignore", "PKG-INFO"} == kept


def test_the_pure_wheel(pure_wheel: Path) -> None:
    assert pure_wheel.name == f"deferpower-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pure_wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"deferpower-{VERSION}.dist-info/entry_points.txt").decode()
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == package_files(ROOT / "python")
    assert {"deferpower/py.typed", "deferpower/_native.pyi"} <= packed
    assert f"deferpower-{VERSION}.dist-info/licenses/LICENSE" in names
    assert "deferpower = deferpower.cli:main" in entry_points


@needs_cargo
def test_the_native_wheel(tmp_path: Path) -> None:
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    wheel = built(pip_wheel(ROOT, tmp_path / "out", PATH=path))
    assert wheel.name.startswith(f"deferpower-{VERSION}-cp311-abi3-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    (extension,) = packed - package_files(ROOT / "python")
    assert extension.startswith("deferpower/_native.")
    assert package_files(ROOT / "python") <= packed
    assert f"deferpower-{VERSION}.dist-info/licenses/LICENSE" in names


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
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    assert_loud(pip_wheel(tree, tmp_path / "out", PATH=path), "cannot find function")


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
