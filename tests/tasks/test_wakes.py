"""A worker that rests sees what is submitted, however soon it looks."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from deferpower import BackgroundTaskManager, Device, TaskState, Verdict
from waiting import until


@pytest.mark.parametrize("has_worker_here", [True, False])
def test_a_commit_that_takes_its_time_is_not_missed(
    tmp_path: Path, backend_name: str, has_worker_here: bool
) -> None:
    """The log is written to, which wakes the worker, before the commit can be seen."""
    path = tmp_path / "queue.db"
    ran = threading.Semaphore(0)
    worker = BackgroundTaskManager(path, device=Device(backend=backend_name))
    ring = worker.task(ran.release, name="ring", override=Verdict.EXECUTE_NOW)
    poster = worker if has_worker_here else BackgroundTaskManager(path)
    with worker:
        for round_number in range(10):
            poster.submit(ring)
            assert ran.acquire(timeout=10), f"round {round_number}"
            wait_until_it_rests(worker)
    for manager in {worker, poster}:
        manager.close()


def wait_until_it_rests(manager: BackgroundTaskManager) -> None:
    until(lambda: not manager.stats()[TaskState.RUNNING], "nothing runs")
