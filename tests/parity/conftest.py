"""Comparing needs both backends: where one alone is tested, this folder is left out, aloud."""

from __future__ import annotations

import os

import pytest

_TESTED = os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")

collect_ignore_glob = [] if {"native", "pure"} <= set(_TESTED) else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if collect_ignore_glob:
        terminalreporter.write_line(
            f"parity: left out, since DEFERPOWER_TEST_BACKENDS={','.join(_TESTED)} "
            "leaves nothing to compare"
        )
