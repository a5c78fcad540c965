"""Fixtures of the tests of sync: a server that misbehaves, and items to send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deferpower.sync.target import SyncItem, encoded
from sync.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's proxy must not see, or answer, what is meant for loopback."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def item(number: int, data: Any = None, **fields: Any) -> SyncItem:
    """``k0``, ``k1``, ... with data of their own."""
    content, content_type = encoded({"n": number} if data is None else data)
    return SyncItem(f"k{number}", content, **{"content_type": content_type, **fields})


def some(count: int) -> list[SyncItem]:
    return [item(number) for number in range(count)]
