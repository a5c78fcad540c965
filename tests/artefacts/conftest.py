"""The three artefacts.

``DEFERPOWER_TEST_ARTEFACTS`` names a directory that holds them, as ``make wheels`` leaves it;
without it each is built here, as an installer would.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from artefacts.support import ROOT, VERSION, WITH_TOOLS, build_sdist, built, pip_wheel


def made(pattern: str) -> Path | None:
    folder = os.environ.get("DEFERPOWER_TEST_ARTEFACTS")
    if folder is None:
        return None
    (artefact,) = Path(folder).glob(pattern)
    return artefact


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing in it: as PATH, a machine without cargo."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("*.tar.gz") or build_sdist(ROOT, tmp_path_factory.mktemp("sdist") / "out")


@pytest.fixture(scope="session")
def source(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        # The argument ``filter`` came only with 3.11.4; from 3.12 on leaving it out is a warning.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / f"deferpower-{VERSION}"


@pytest.fixture(scope="session")
def pure_wheel(source: Path, empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a machine without cargo builds, from a tree in which an extension was left behind."""
    wheel = made("*-none-any.whl")
    if wheel is None:
        folder = tmp_path_factory.mktemp("pure")
        tree = folder / "tree"
        shutil.copytree(source, tree, symlinks=True)
        (tree / "python/deferpower/_native.abi3.so").write_bytes(b"\x7fELF of another machine")
        wheel = built(pip_wheel(tree, folder / "out", PATH=str(empty)))
    return wheel


@pytest.fixture(scope="session")
def native_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = made("*-abi3-*.whl")
    if wheel is None:
        wheel = built(pip_wheel(ROOT, tmp_path_factory.mktemp("native") / "out", PATH=WITH_TOOLS))
    return wheel
