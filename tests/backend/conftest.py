"""Fixtures for tests that hold for each backend by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")
