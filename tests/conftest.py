"""Fixtures for every test: the two backends, and copies of the recorded device trees."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings

from deferpower._contract import Backend

TREES = Path(__file__).parent / "data" / "linux"
# An install without cargo has one backend; everywhere else a missing one is a failure, not a skip.
BACKENDS = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")

# The same examples in each run, so that a failure is the fault of what was changed last; "deep"
# looks for new ones.
settings.register_profile("dev", max_examples=100, deadline=None, derandomize=True)
settings.register_profile(
    "ci",
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure() -> None:
    """A shell starts what it puts into the background with signals ignored that tests send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under nohup the tests themselves go on ignoring it; what they start does not.
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer has set, or does at the desktop, must not decide what the tests see."""
    for name in ("DEFERPOWER_BACKEND", "DEFERPOWER_ROOT", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"):
        monkeypatch.setenv(name, "unix:path=/nonexistent/bus")


@pytest.fixture(params=BACKENDS)
def backend_name(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
def backend(backend_name: str) -> Backend:
    return cast(Backend, importlib.import_module(f"deferpower._{backend_name}"))


@pytest.fixture
def tree(tmp_path: Path) -> TreeCopier:
    return TreeCopier(tmp_path)


class TreeCopier:
    """Lays copies of recorded device trees into a directory of this test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, machine: str) -> Path:
        """Copy one machine's tree and return the root to read it from."""
        root = self.directory / machine
        shutil.copytree(TREES / machine, root, symlinks=True)
        return root
