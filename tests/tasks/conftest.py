"""A queue on a device by hand, for tests of what becomes of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from deferpower import BackgroundTaskManager
from deferpower.testing import FakeDevice

MakeManager = Callable[..., BackgroundTaskManager]


@pytest.fixture
def device(backend_name: str) -> FakeDevice:
    """On battery at 90 %, nothing else going on."""
    return FakeDevice(plugged=False, percent=90, backend=backend_name)


@pytest.fixture
def make(device: FakeDevice, tmp_path: Path) -> Iterator[MakeManager]:
    """Managers on that device and one file; they are closed in the end."""
    made: list[BackgroundTaskManager] = []

    def make_one(**options: Any) -> BackgroundTaskManager:
        options = {"path": tmp_path / "queue.db", "device": device, **options}
        made.append(BackgroundTaskManager(options.pop("path"), **options))
        return made[-1]

    yield make_one
    for manager in made:
        manager.close()


@pytest.fixture
def tasks(make: MakeManager) -> BackgroundTaskManager:
    return make()


def crash(manager: BackgroundTaskManager, most: int = 1) -> int:
    """Have the worker of a manager claim tasks and die; how many it held.

    What is left in the file is what a process leaves that was killed: its claims, and a worker of
    a process that is gone.
    """
    worker = manager._crew().worker
    worker.adopt_orphans()
    claimed = worker.turn(most)

    def die(cursor: apsw.Cursor) -> None:
        cursor.execute("UPDATE workers SET started = 'long ago' WHERE id = ?", (worker.id,))

    manager._queue.database.write(die)
    manager._crews.clear()
    return claimed
