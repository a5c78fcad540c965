"""What each artefact holds, and what it tells of itself."""

from __future__ import annotations

import configparser
import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import deferpower
from artefacts.support import PROJECT, ROOT, VERSION, build_sdist, needs_cargo

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]

INFO = f"deferpower-{VERSION}.dist-info"
LICENCES = {f"{INFO}/licenses/{name}" for name in PROJECT["project"]["license-files"]}
OF_EVERY_WHEEL = {f"{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
TOP_LEVEL = {"deferpower", INFO}


@pytest.fixture(params=["pure_wheel", pytest.param("native_wheel", marks=needs_cargo)])
def wheel(request: pytest.FixtureRequest) -> zipfile.ZipFile:
    return zipfile.ZipFile(request.getfixturevalue(request.param))


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"{INFO}/METADATA"))


def package_files() -> set[str]:
    """The package in the source tree, without what building and running left there."""
    package = ROOT / "python" / "deferpower"
    return {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".so", ".pyd"}
    }


def extension(wheel: zipfile.ZipFile) -> bytes:
    return wheel.read("deferpower/_native.abi3.so")


def test_the_version_stands_in_one_place(pure_wheel: Path) -> None:
    assert deferpower.__version__ == VERSION
    assert metadata(zipfile.ZipFile(pure_wheel))["Version"] == VERSION
    assert tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"] == "0.0.0"


def test_the_pure_wheel_holds_the_package_and_no_binary(pure_wheel: Path) -> None:
    assert pure_wheel.name == f"deferpower-{VERSION}-py3-none-any.whl"
    wheel = zipfile.ZipFile(pure_wheel)
    assert set(wheel.namelist()) == package_files() | OF_EVERY_WHEEL | LICENCES
    for name in wheel.namelist():
        assert b"\0" not in wheel.read(name), name


@needs_cargo
def test_the_native_wheel_holds_the_native_module_besides(native_wheel: Path) -> None:
    tag, _, platform = native_wheel.stem.removeprefix(f"deferpower-{VERSION}-").rpartition("-")
    assert tag == "cp311-abi3"
    if "DEFERPOWER_TEST_ARTEFACTS" in os.environ:
        assert "manylinux_2_17_" in platform
    wheel = zipfile.ZipFile(native_wheel)
    module = {"deferpower/_native.abi3.so"}
    assert set(wheel.namelist()) == package_files() | module | OF_EVERY_WHEEL | LICENCES


@needs_cargo
def test_the_native_module_needs_no_newer_system_than_its_tag_says(native_wheel: Path) -> None:
    allowed = re.search(r"manylinux_2_(\d+)_", native_wheel.name)
    needed = re.findall(rb"\0GLIBC_2\.(\d+)", extension(zipfile.ZipFile(native_wheel)))
    assert needed
    if allowed is not None:
        assert max(map(int, needed)) <= int(allowed[1])


@needs_cargo
def test_the_native_module_unwinds_as_glibc_does(native_wheel: Path) -> None:
    """With an unwinder of its own it crashes when Python ends a waiting thread at its exit."""
    module = extension(zipfile.ZipFile(native_wheel))
    if sys.platform == "linux":
        assert b"\0libgcc_s.so.1\0" in module


def test_typed_with_a_stub_and_no_tests_or_caches(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names} == TOP_LEVEL
    assert {"deferpower/py.typed", "deferpower/_native.pyi", "deferpower/__main__.py"} <= names
    assert not [name for name in names if "__pycache__" in name or "test_" in name]


def test_a_wheel_tells_what_pyproject_says(wheel: zipfile.ZipFile) -> None:
    told, project = metadata(wheel), PROJECT["project"]
    assert told["Name"] == "deferpower"
    assert told["Summary"] == project["description"]
    assert told["Requires-Python"] == project["requires-python"]
    assert told["License-Expression"] == project["license"]
    assert told.get_all("License-File") == project["license-files"]
    assert sorted(told.get_all("Classifier", [])) == sorted(project["classifiers"])
    assert set(told.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    assert told["Description-Content-Type"].startswith("text/markdown")
    needs = {re.sub(r"[ \"']", "", need) for need in told.get_all("Requires-Dist", [])}
    extras = project["optional-dependencies"].items()
    assert needs == {
        *(need.replace(" ", "") for need in project["dependencies"]),
        *(f"{need};extra=={extra}" for extra, group in extras for need in group),
    }
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{INFO}/entry_points.txt").decode())
    assert entry_points == {"DEFAULT": {}, "console_scripts": project["scripts"]}


@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="only a clone knows which files belong to the project"
)
def test_the_sdist_is_the_project(source: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    project = {name for name in listed.split("\0") if os.path.lexists(ROOT / name) and name}
    packed = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    assert packed == project | {"PKG-INFO"}
    for name in project:
        packed_file, file = source / name, ROOT / name
        assert packed_file.is_symlink() == file.is_symlink(), name
        if file.is_symlink():
            assert packed_file.readlink() == file.readlink(), name
        else:
            assert packed_file.read_bytes() == file.read_bytes(), name


def test_the_sdist_holds_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert len({member.name for member in members}) == len(members)
    assert not [
        member.name
        for member in members
        if Path(member.name).suffix in {".so", ".pyd", ".pyc", ".whl"}
    ]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, "", "")
    }


def test_the_sdist_of_the_sdist_is_itself(sdist: Path, source: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(source, again, symlinks=True)
    assert build_sdist(again, tmp_path / "out").read_bytes() == sdist.read_bytes()


@needs_cargo
def test_the_licences_are_those_of_the_crates_that_cargo_locks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.release.licences", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_cargo
def test_every_crate_that_the_native_module_names_has_its_licence_there(
    native_wheel: Path,
) -> None:
    wheel = zipfile.ZipFile(native_wheel)
    text = wheel.read(f"{INFO}/licenses/LICENSE-THIRD-PARTY").decode()
    named = set(re.findall(rb"/([a-z][\w-]*?)-(\d+\.\d+\.\d+)/src/", extension(wheel)))
    crates = {name.decode() for name, _ in named}
    assert {"pyo3", "gimli"} <= crates  # one of ours, one of the standard library's
    headings = " ".join(re.findall(r"\n\n((?:.+\n)+)-{98}\n", text))
    assert crates <= set(re.findall(r"[\w-]+", headings))
