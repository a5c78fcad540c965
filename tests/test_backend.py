"""Which backend runs, and what is said when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deferpower import ConfigError, Device

HIDE_NATIVE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "deferpower._native":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
BREAK_NATIVE = """
import sys
class Break:
    def find_spec(self, name, path=None, target=None):
        if name == "deferpower._native":
            raise ImportError("undefined symbol: PyDoesNotExist", name=name)
sys.meta_path.insert(0, Break())
"""
ASK = """
from deferpower import Device
device = Device()
print(device.backend_name, device.backend_reason, sep="|")
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_environment_chooses(backend_name: str) -> None:
    done = run(ASK, DEFERPOWER_BACKEND=backend_name)
    assert done.stdout.strip() == f"{backend_name}|DEFERPOWER_BACKEND={backend_name}"


def test_the_program_chooses(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERPOWER_BACKEND", "nonsense that the argument overrides")
    device = Device(backend=backend_name)
    assert device.backend_name == backend_name
    assert device.read(max_age_s=0).backend == backend_name
    assert device.backend_reason == f"asked for by the program: {backend_name}"


def test_an_absent_native_module_means_pure() -> None:
    assert run(HIDE_NATIVE + ASK).stdout.strip() == "pure|the native module is not installed"


def test_asking_for_an_absent_native_module_is_an_error_that_helps() -> None:
    done = run(HIDE_NATIVE + ASK, DEFERPOWER_BACKEND="native")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "deferpower.errors.ConfigError: the native module is not installed "
        "(DEFERPOWER_BACKEND=native); install deferpower where cargo is on the PATH, "
        "or use DEFERPOWER_BACKEND=pure"
    )


@pytest.mark.parametrize("wanted", ["auto", "native"])
def test_a_broken_native_module_stays_loud(wanted: str) -> None:
    done = run(BREAK_NATIVE + ASK, DEFERPOWER_BACKEND=wanted)
    assert done.returncode == 1
    assert "undefined symbol: PyDoesNotExist" in done.stderr


def test_an_unknown_backend_names_the_three() -> None:
    with pytest.raises(ConfigError, match=r"unknown backend 'rust'.*use auto, native or pure"):
        Device(backend="rust")


def test_a_root_that_is_no_directory(
    backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"root: '.*missing' is no directory"):
        Device(root=missing, backend=backend_name)
    monkeypatch.setenv("DEFERPOWER_ROOT", missing)
    with pytest.raises(ConfigError, match=r"DEFERPOWER_ROOT: '.*missing' is no directory"):
        Device(backend=backend_name)
