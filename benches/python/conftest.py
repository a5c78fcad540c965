"""Fixtures of the benches: each backend."""

from __future__ import annotations

import os
from typing import cast

import pytest

BACKENDS = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)
