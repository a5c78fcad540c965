"""Executors of the program's own: pools of threads and processes, and dask.distributed."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deferpower import BackgroundTaskManager, Context, Handle, TaskState
from deferpower.testing import FakeDevice
from tasks import elsewhere
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until


@pytest.fixture
def backend_name() -> str:
    """Executors know nothing of backends: one is enough here."""
    return "pure"


def _pool(method: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method))


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    """One worker process with two threads, and the scheduler in this process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.fixture(params=["threads", "fork", "spawn", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "dask":
        yield request.getfixturevalue("dask")
        return
    pool = ThreadPoolExecutor(2) if request.param == "threads" else _pool(request.param)
    with pool:
        yield pool


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with _pool("fork") as pool:
        yield pool


def _failed(tasks: BackgroundTaskManager, function: Callable[..., Any], *args: Any) -> str:
    """Run a function that fails; what is kept of that."""
    function = tasks.task(function, name=f"f{id(function)}", max_attempts=1)
    return _error_of(tasks.submit(function, args))


def _error_of(handle: Handle) -> str:
    """What is kept of a failure, once it has failed for good."""
    until(lambda: handle.state is TaskState.FAILED)
    return str(handle.record.error)


def test_results_come_back(make: MakeManager, executor: Executor) -> None:
    with make(executor=executor, max_workers=2) as tasks:
        double = tasks.task(elsewhere.double)
        handles = tasks.submit_many(double, [[n] for n in range(20)])
        assert [handle.result(PATIENCE_S) for handle in handles] == [n * 2 for n in range(20)]
        lost = tasks.submit(tasks.task(elsewhere.strange))
        assert lost.result(PATIENCE_S) is None
        assert "object" in str(lost.record.error)
        assert "so it was not kept" in str(lost.record.error)
        is_here = isinstance(executor, ThreadPoolExecutor)
        process = tasks.submit(tasks.task(elsewhere.process)).result(PATIENCE_S)
        assert (process == os.getpid()) is is_here


def test_equal_calls_are_each_made(make: MakeManager, executor: Executor, tmp_path: Path) -> None:
    """A cluster takes equal calls for one, unless they are told apart."""
    (go := tmp_path / "go").touch()
    (begun := tmp_path / "begun").mkdir()
    with make(executor=executor, max_workers=2) as tasks:
        run = tasks.task(elsewhere.wait_for)
        for handle in tasks.submit_many(run, [[str(begun), str(go)]] * 4):
            handle.result(PATIENCE_S)
    assert len(list(begun.iterdir())) == 4


def test_exceptions_keep_their_traceback_and_break_nothing(
    make: MakeManager, executor: Executor
) -> None:
    with make(executor=executor) as tasks:
        error = _failed(tasks, elsewhere.fail, "no good")
        assert "elsewhere.py" in error
        assert "in fail" in error
        assert error.endswith("tasks.elsewhere.Unpicklable: code 7: no good")
        assert _failed(tasks, elsewhere.leave) == "it called sys.exit(3)"
        assert tasks.submit(tasks.task(elsewhere.double), [4]).result(PATIENCE_S) == 8


def test_a_function_that_another_process_cannot_find_fails_for_good(
    make: MakeManager, remote: Executor
) -> None:
    with make(executor=remote) as tasks:
        functions: dict[str, Callable[..., Any]] = {
            "lambda": lambda: 1,
            "partial": functools.partial(elsewhere.double, 4),
            "bound": "text".upper,
            "replaced": elsewhere.first_replaced,
        }
        handles = {
            name: tasks.submit(tasks.task(function, name=name))
            for name, function in functions.items()
        }
        for name, handle in handles.items():
            error = _error_of(handle)
            assert f"task {name}: " in error
            assert "is no function at the top of a module" in error
            assert handle.record.attempts == 1
        assert tasks.submit(tasks.task(elsewhere.Namespace.triple), [4]).result(PATIENCE_S) == 12


def test_a_module_that_is_only_here_fails_for_good(
    make: MakeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def one():\n    return 1\n")
    with _pool("spawn") as pool, make(executor=pool) as tasks:
        assert (
            tasks.submit(tasks.task(elsewhere.double), [1]).result(PATIENCE_S) == 2
        )  # it has begun
        monkeypatch.syspath_prepend(tmp_path)
        import only_here  # type: ignore[import-not-found]

        handle = tasks.submit(tasks.task(only_here.one))
        assert "only_here.one is not found where the executor runs it: No module named" in (
            _error_of(handle)
        )
        assert handle.record.attempts == 1
    sys.modules.pop("only_here")


def test_a_context_goes_to_threads_only(make: MakeManager, remote: Executor) -> None:
    with make(executor=remote) as tasks:
        handle = tasks.submit(tasks.task(elsewhere.double, pass_context=True))
        assert "takes a context, which cannot be sent to another process" in _error_of(handle)
    with ThreadPoolExecutor(1) as threads, make(executor=threads) as tasks:

        @tasks.task(pass_context=True)
        def attempt(context: Context) -> int:
            return context.attempt

        assert attempt.defer().result(PATIENCE_S) == 1


def test_no_more_is_handed_over_than_it_has_workers(
    make: MakeManager, executor: Executor, tmp_path: Path
) -> None:
    (begun := tmp_path / "begun").mkdir()
    given = {"max_workers": 2} if not hasattr(executor, "_max_workers") else {}
    with make(executor=executor, **given) as tasks:
        tasks.submit_many(tasks.task(elsewhere.double), [[n] for n in range(50)])[-1].result(
            PATIENCE_S
        )
        run = tasks.task(elsewhere.wait_for)
        handles = tasks.submit_many(run, [[str(begun), str(tmp_path / "go")]] * 6)
        until(lambda: len(list(begun.iterdir())) == 2)
        assert tasks.stats()[TaskState.RUNNING] == 2
        (tmp_path / "go").touch()
        for handle in handles:
            handle.result(PATIENCE_S)


def test_a_pool_that_breaks_fails_the_attempt_and_a_new_one_takes_over(
    make: MakeManager, device: FakeDevice
) -> None:
    tasks = make(executor=_pool("fork"))
    die = tasks.task(elsewhere.die, backoff_s=3600, backoff_cap_s=3600)
    with tasks:
        handle = die.defer()
        until(lambda: handle.record.error)
        assert (handle.state, handle.record.attempts) == (TaskState.ENQUEUED, 1)
        assert "the executor broke, and needs to be replaced by a new one" in str(
            handle.record.error
        )
        after = tasks.submit(tasks.task(elsewhere.double, backoff_s=0.0), [2])
        until(lambda: after.record.error)
        assert "it could not be started: the executor broke" in str(after.record.error)
    with _pool("fork") as pool, make(executor=pool) as tasks:
        tasks.task(elsewhere.double)
        device.clock.advance(60)
        tasks.retry(after.id) if after.state is TaskState.FAILED else None
        assert tasks.result(after.id, PATIENCE_S) == 4


def test_an_executor_that_was_shut_down(make: MakeManager) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with make(executor=pool) as tasks:
        error = _failed(tasks, elsewhere.double, 1)
        assert error == (
            "it could not be started: RuntimeError: cannot schedule new futures after shutdown"
        )


def test_stopping_waits_for_what_runs_elsewhere_and_writes_it_when_it_comes(
    make: MakeManager, remote: Executor, tmp_path: Path
) -> None:
    (begun := tmp_path / "begun").mkdir()
    tasks = make(executor=remote)
    run = tasks.task(elsewhere.wait_for)
    handles = tasks.submit_many(run, [[str(begun), str(tmp_path / "go")]] * 3)
    tasks.start()
    until(lambda: len(list(begun.iterdir())) == 2)
    tasks.stop(timeout_s=0.05)
    assert [handle.state for handle in handles] == [TaskState.RUNNING] * 2 + [TaskState.ENQUEUED]
    (tmp_path / "go").touch()
    assert all(handle.result(PATIENCE_S) for handle in handles[:2])
    assert handles[2].state is TaskState.ENQUEUED

    tasks = make(executor=remote)
    tasks.task(elsewhere.wait_for)
    with tasks:
        assert tasks.result(handles[2].id, PATIENCE_S)


def test_cancelling_what_waits_in_a_pool_of_threads(make: MakeManager) -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool, make(executor=pool, max_workers=2) as tasks:
        first = tasks.submit(tasks.task(go.wait, name="first"), [PATIENCE_S])
        second = tasks.submit(tasks.task(lambda: "ran", name="second"))
        until(lambda: tasks.stats()[TaskState.RUNNING] == 2)
        second.cancel()
        until(lambda: second.state is TaskState.CANCELLED)
        go.set()
        assert first.result(PATIENCE_S) is True


def test_processing_by_hand_waits_for_the_executor(make: MakeManager, remote: Executor) -> None:
    tasks = make(executor=remote)
    tasks.submit_many(tasks.task(elsewhere.double), [[n] for n in range(3)])
    assert [task.result for task in tasks.process_background_tasks()] == [0, 2, 4]
