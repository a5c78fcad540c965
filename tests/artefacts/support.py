"""Builds the artefacts as an installer would, or takes those that ``make wheels`` left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
TOOLS = Path(sys.executable).parent
WITH_TOOLS = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"

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


def build_sdist(tree: Path, out: Path) -> Path:
    """The source distribution of a source tree, left in ``out``."""
    out.mkdir()
    code = f"import deferpower_build; deferpower_build.build_sdist({str(out)!r})"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": "build_backend"},
        check=True,
        capture_output=True,
    )
    return out / f"deferpower-{VERSION}.tar.gz"
