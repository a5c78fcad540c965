"""Tasks that do their worst: what they raise, return and do to the process harms nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from deferpower import BackgroundTaskManager, DeferpowerError, TaskError, TaskState
from deferpower.testing import run_until_idle
from tasks.conftest import MakeManager
from waiting import until

ENDED = (TaskState.FAILED, TaskState.SUCCEEDED)


def refuse(*_: object) -> NoReturn:
    raise RuntimeError("I say nothing")


class Silent(Exception):
    __str__ = __repr__ = refuse


class SilentOfOurs(DeferpowerError):
    __str__ = __repr__ = refuse


class Unreadable(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class NoException(BaseException):
    pass


class Thing:
    __str__ = __repr__ = refuse
    __eq__ = __hash__ = refuse


class Mapping(dict[str, int]):
    def items(self) -> NoReturn:
        raise RuntimeError("no items")


def in_a_circle() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


RAISED: list[tuple[Callable[[], BaseException], str]] = [
    (Silent, "Silent"),
    (SilentOfOurs, "SilentOfOurs"),
    (Unreadable, "Unreadable"),
    (lambda: ValueError(Thing()), "ValueError"),
    (lambda: SystemExit(Thing()), "SystemExit"),
    (lambda: SystemExit("bye"), "it called sys.exit('bye')"),
    (lambda: GeneratorExit("over"), "GeneratorExit: over"),
    (lambda: KeyboardInterrupt("stop"), "KeyboardInterrupt: stop"),
    (lambda: NoException("mine"), "NoException: mine"),
    (lambda: BaseExceptionGroup("both", [KeyboardInterrupt()]), "both"),
    (in_a_circle, "ValueError: first"),
]
NAMES = [said.split(":")[0] for _, said in RAISED]


@pytest.fixture
def started(make: MakeManager) -> Iterator[BackgroundTaskManager]:
    manager = make(path=None)
    manager.start()
    yield manager
    manager.stop()


@pytest.mark.parametrize(("make_error", "said"), RAISED, ids=NAMES)
@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_whatever_is_raised_is_a_failure_and_said(
    started: BackgroundTaskManager, make_error: Callable[[], BaseException], said: str, kind: str
) -> None:
    runs = []

    def work() -> None:
        runs.append(1)
        raise make_error()

    async def on_loop() -> None:
        work()

    options: dict[str, Any] = {"max_attempts": 1, "override": "execute_now"}
    task = started.task(work if kind == "thread" else on_loop, name="work", **options)
    handle = task.defer()
    until(lambda: handle.state in ENDED, f"{kind}: {said}")
    assert (handle.state, runs) == (TaskState.FAILED, [1])
    assert said in str(handle.record.error)
    well = started.task(lambda: 7, name="well", override="execute_now").defer()
    assert well.result(20) == 7


@pytest.mark.parametrize(("make_error", "said"), RAISED[:8], ids=NAMES[:8])
def test_in_the_main_thread_only_the_users_interrupt_goes_through(
    tasks: BackgroundTaskManager, make_error: Callable[[], BaseException], said: str
) -> None:
    def work() -> None:
        raise make_error()

    handle = tasks.task(work, name="work", max_attempts=1, override="execute_now").defer()
    if type(make_error()) is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            run_until_idle(tasks)
        assert handle.state is TaskState.ENQUEUED
        assert handle.record.attempts == 0
    else:
        run_until_idle(tasks)
        assert handle.state is TaskState.FAILED
        assert said in str(handle.record.error)


@pytest.mark.parametrize(
    "value",
    [Thing(), {"a": Thing()}, Mapping(a=1), {1: {2, 3}}, {Thing: 1}, float("nan"), "\ud800"],
    ids=["thing", "inside", "mapping", "set", "key", "nan", "surrogate"],
)
@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_a_result_that_cannot_be_kept_is_told_and_not_run_again(
    started: BackgroundTaskManager, value: Any, kind: str
) -> None:
    async def on_loop() -> Any:
        return value

    work = on_loop if kind == "loop" else lambda: value
    handle = started.task(work, name="work", override="execute_now").defer()
    until(lambda: handle.state in ENDED)
    assert (handle.state, handle.record.result) == (TaskState.SUCCEEDED, None)
    assert "so it was not kept" in str(handle.record.error)


@pytest.mark.parametrize("value", [Thing(), [Thing()], Mapping(a=1)], ids=["thing", "in", "map"])
def test_an_argument_that_refuses_to_be_looked_at_is_named(
    tasks: BackgroundTaskManager, value: Any
) -> None:
    echo = tasks.task(lambda *a: a, name="echo")
    with pytest.raises(TaskError, match=r"argument 1 is nothing that JSON can hold"):
        echo.defer(0, value)
    with pytest.raises(TaskError, match="is nothing that JSON can hold"):
        tasks.submit(echo, metadata={"it": value})
    assert tasks.list() == []


def test_numbers_and_keys_arrive_as_json_has_them(tasks: BackgroundTaskManager) -> None:
    echo = tasks.task(lambda v: v, name="echo")
    huge = 10**4000
    handle = echo.defer({2: huge, None: -huge, True: "\x00 and \x1b[31m"})
    run_until_idle(tasks)
    assert handle.result(0) == {"2": huge, "null": -huge, "true": "\x00 and \x1b[31m"}


def test_a_number_too_long_to_be_read_again_is_refused(tasks: BackgroundTaskManager) -> None:
    """Python writes it, and refuses to read it: a task that held it could never be looked at."""
    echo = tasks.task(lambda v: v, name="echo")
    with pytest.raises(TaskError, match="argument 0 is nothing that JSON can hold"):
        echo.defer(1 << 100_000)
    handle = tasks.task(lambda: 1 << 100_000, name="huge").defer()
    run_until_idle(tasks)
    assert handle.state is TaskState.SUCCEEDED
    assert "so it was not kept" in str(handle.record.error)
    assert [record.id for record in tasks.list()] == [handle.id]


def test_a_hundred_megabytes_pass(make: MakeManager) -> None:
    tasks = make(durability="process")
    size = 100_000_000
    handle = tasks.task(lambda text: text, name="echo").defer("x" * size)
    run_until_idle(tasks)
    assert len(handle.result(0)) == size


def test_a_name_of_control_characters_is_only_a_name(tasks: BackgroundTaskManager) -> None:
    name = "../../etc/passwd\n\x1b]0;mine\x07\x00"
    handle = tasks.task(lambda: 7, name=name).defer()
    run_until_idle(tasks)
    assert (handle.result(0), handle.record.name) == (7, name)


def test_a_callback_that_raises_what_cannot_be_said_harms_nothing(
    started: BackgroundTaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    @started.on_event
    def fail(event: object) -> None:
        raise Silent

    assert started.task(lambda: 7, name="work", override="execute_now").defer().result(20) == 7
    assert any("a callback failed" in message for message in caplog.messages)


@contextlib.contextmanager
def left_as_it_was() -> Iterator[None]:
    where, handler = os.getcwd(), signal.getsignal(signal.SIGTERM)  # noqa: PTH109
    try:
        yield
    finally:
        os.chdir(where)
        signal.signal(signal.SIGTERM, handler)


def test_a_task_that_changes_the_process_leaves_the_queue_in_order(
    make: MakeManager, tmp_path: os.PathLike[str]
) -> None:
    tasks = make()

    def elsewhere() -> None:
        os.chdir("/")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    with left_as_it_was():
        for function in (elsewhere, fork):
            handle = tasks.task(function, name=function.__name__, override="execute_now").defer()
            run_until_idle(tasks)
            assert handle.state is TaskState.SUCCEEDED
        again = tasks.task(lambda: 7, name="again").defer()
        run_until_idle(tasks)
    assert again.result(0) == 7
    assert make().get(again.id).result == 7


def test_a_coroutine_that_swallows_its_cancellation_ends_when_it_returns(
    started: BackgroundTaskManager,
) -> None:
    begun = threading.Event()

    async def stubborn() -> int:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return 7

    handle = started.task(stubborn, name="stubborn", override="execute_now").defer()
    assert begun.wait(20)
    handle.cancel()
    assert handle.result(20) == 7
