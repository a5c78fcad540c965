"""Builds the source distribution and, from what it holds, the pure and the native wheel.

    python -m tools.release.build [--out dist]

The native wheel is linked by zig for glibc 2.17, whatever glibc this machine has. The same sources
give the same bytes, in every folder and under every user.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
PATH = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
COMPATIBILITY = "manylinux2014"


def build(out: Path) -> None:
    """Leave the source distribution and both wheels in the empty directory ``out``."""
    call_backend("build_sdist", ROOT, out)
    (sdist,) = out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        source = unpack(sdist, Path(folder))
        call_backend("build_wheel", source, out, DEFERPOWER_BUILD="pure")
        build_native(source, out)


def call_backend(hook: str, source: Path, out: Path, **environment: str) -> None:
    """Call a hook of ``build_backend``, in the source directory, as an installer would."""
    code = f"import deferpower_build; deferpower_build.{hook}({str(out)!r})"
    run([sys.executable, "-c", code], source, {"PYTHONPATH": "build_backend", **environment})


def build_native(source: Path, out: Path) -> None:
    """Leave the native wheel in ``out``; maturin fails where it would not fit its tag."""
    options = ["--release", "--locked", "--zig", "--compatibility", COMPATIBILITY]
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    # Messages of panics name source files: not by the folders of this machine.
    flags = [f"--remap-path-prefix={crates}=crates" for crates in home.glob("registry/src/*")]
    # The unwinder must be the system's, which glibc itself calls when Python before 3.14 ends a
    # thread at its exit; zig would link one of its own in, and the program would crash there.
    flags.append(f"-Clink-arg={library('libgcc_s.so.1')}")
    run(["cargo", "fetch", "--quiet", "--locked"], source, {})
    run(
        [str(TOOLS / "maturin"), "build", *options, "--out", str(out)],
        source,
        {"CARGO_TARGET_DIR": target, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags)},
    )


def library(name: str) -> Path:
    """Where the C compiler finds a shared library."""
    command = ["cc", f"-print-file-name={name}"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(found.strip()).resolve(strict=True)


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution into ``folder``; return the directory it holds."""
    with tarfile.open(sdist) as archive:
        # The argument ``filter`` came only with 3.11.4; from 3.12 on leaving it out is a warning.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / sdist.name.removesuffix(".tar.gz")


def run(command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
    """Run a command that must succeed, with the tools of this environment before all others."""
    subprocess.run(command, cwd=cwd, env={**os.environ, "PATH": PATH, **environment}, check=True)


def main() -> None:
    """Build into a directory that is emptied first."""
    parser = argparse.ArgumentParser(description="Builds the artefacts of a release.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="is emptied first")
    out: Path = parser.parse_args().out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    build(out)


if __name__ == "__main__":
    main()
