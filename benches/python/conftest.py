"""Fixtures of the benches: a device on each backend, on this machine and on a recorded laptop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest
from work import laptop_tree

from deferpower import Device

BACKENDS = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture(params=["this_machine", "laptop_tree"])
def root(request: pytest.FixtureRequest) -> Path:
    return Path("/") if request.param == "this_machine" else laptop_tree()


@pytest.fixture
def device(backend: str, root: Path) -> Device:
    """A device that has been read once, so that its files are open and its devices known."""
    device = Device(root=root, backend=backend)
    device.read(max_age_s=0)
    return device
