"""PEP 517 and 660 hooks: the native wheel where cargo is on PATH, the pure wheel where it is not.

``DEFERPOWER_BUILD`` overrules what PATH says: ``native`` refuses to build without cargo, ``pure``
leaves cargo alone, ``auto`` (or nothing) looks. A Rust build that fails is never papered over by
the pure wheel. The source distribution is the same either way: everything that belongs to the
project, its tests too.

The hooks ``prepare_metadata_*`` are left out on purpose: an installer then takes the metadata from
the wheel that it builds anyway, and cannot be told of another wheel than it gets.
"""

from __future__ import annotations

import gzip
import importlib
import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any] | None

MATURIN = "maturin>=1.10,<2"
HATCHLING = "hatchling>=1.27"
TREES = "tests/data/linux"
HINT = """
deferpower: the native build failed; the reason stands above.
To install without Rust (same answers, slower): DEFERPOWER_BUILD=pure pip install ..."""


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel that fits this machine; return its file name."""
    return _delegate("build_wheel", wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that points back at this source tree; return its file name."""
    return _delegate("build_editable", wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build the source distribution, from which either wheel can be built; return its name."""
    hatchling = importlib.import_module("hatchling.build")
    name: str = hatchling.build_sdist(sdist_directory, config_settings)
    _add_device_trees(Path(sdist_directory, name))
    return name


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Name the one build tool that the wheel needs."""
    del config_settings
    return [MATURIN if _wants_native() else HATCHLING]


get_requires_for_build_editable = get_requires_for_build_wheel


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Name the one build tool that the source distribution needs."""
    del config_settings
    return [HATCHLING]


def _add_device_trees(sdist: Path) -> None:
    """Pack the device trees with their links; hatchling would walk into those instead."""
    packed = io.BytesIO(gzip.decompress(sdist.read_bytes()))
    with tarfile.open(fileobj=packed, mode="a") as archive:
        folder = sdist.name.removesuffix(".tar.gz")
        when_s = int(archive.getmember(f"{folder}/PKG-INFO").mtime)

        def same_everywhere(member: tarfile.TarInfo) -> tarfile.TarInfo:
            mode = 0o755 if member.isdir() else 0o644
            return member.replace(
                mtime=when_s, mode=mode, uid=0, gid=0, uname="", gname="", deep=False
            )

        archive.add(TREES, f"{folder}/{TREES}", filter=same_everywhere)
    sdist.write_bytes(gzip.compress(packed.getvalue(), mtime=when_s))


def _wants_native() -> bool:
    choice = os.environ.get("DEFERPOWER_BUILD") or "auto"
    has_cargo = shutil.which("cargo") is not None
    if choice not in ("auto", "native", "pure"):
        raise SystemExit(f"deferpower: DEFERPOWER_BUILD is {choice!r}; use auto, native or pure")
    if choice == "native" and not has_cargo:
        raise SystemExit("deferpower: DEFERPOWER_BUILD is native, but there is no cargo on PATH")
    return choice != "pure" and has_cargo


def _delegate(hook: str, *arguments: Any) -> str:
    native = _wants_native()
    backend = importlib.import_module("maturin" if native else "hatchling.build")
    try:
        name: str = getattr(backend, hook)(*arguments)
    except SystemExit as failure:
        if native:
            # maturin has shown cargo's own words; what to do about them goes last.
            raise SystemExit(HINT) from failure
        raise
    return name
