"""Coroutine functions, on the program's event loop or one of the manager's own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from typing import Any

import pytest

from deferpower import BackgroundTaskManager, Context, TaskFailed, TaskState
from deferpower.errors import TaskError
from deferpower.testing import FakeDevice
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


async def until_async(condition: Any, what: str = "") -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.002)


def test_coroutines_run_on_the_loop_of_the_program_in_each_loop_anew(make: MakeManager) -> None:
    tasks = make()

    @tasks.task
    async def where() -> list[int]:
        await asyncio.sleep(0)
        return [threading.get_ident(), id(asyncio.get_running_loop())]

    async def program() -> None:
        async with tasks:
            handle = await where.defer_async()
            here = [threading.get_ident(), id(asyncio.get_running_loop())]
            assert await handle.result_async(PATIENCE_S) == here
            assert await (await tasks.submit_async(where)).result_async(PATIENCE_S) == here
            many = await tasks.submit_many_async(where, [[]] * 3)
            assert (
                await asyncio.gather(*(one.result_async(PATIENCE_S) for one in many)) == [here] * 3
            )

    asyncio.run(program())
    asyncio.run(program())
    with tasks:  # and without a loop of the program's, on one of the manager's own
        thread, _ = where.defer().result(PATIENCE_S)
        assert thread != threading.get_ident()
        assert where.defer().result(PATIENCE_S)[0] == thread
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("deferpower")])
    assert [task.name for task in tasks.list()] == ["where"] * 12


@pytest.mark.parametrize("own_loop", [False, True])
def test_as_many_are_under_way_as_max_workers_says(make: MakeManager, own_loop: bool) -> None:
    """Plain functions count, too."""
    tasks = make(max_workers=3)
    inside: list[int] = []
    most: list[int] = []
    go = threading.Event()

    @tasks.task
    async def coroutine(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        while not go.is_set():
            await asyncio.sleep(0.002)
        inside.remove(number)
        return number

    @tasks.task
    def plain(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        assert go.wait(PATIENCE_S)
        inside.remove(number)
        return number

    async def program() -> None:
        handles = tasks.submit_many(coroutine, [[n] for n in range(8)])
        handles += tasks.submit_many(plain, [[n] for n in range(8, 16)])
        async with contextlib.nullcontext() if own_loop else tasks:
            await until_async(lambda: len(inside) == 3)
            await asyncio.sleep(0.05)  # time in which a fourth one could begin
            assert (await asyncio.to_thread(tasks.stats))[TaskState.RUNNING] == 3
            go.set()
            found = await asyncio.gather(*(handle.result_async(PATIENCE_S) for handle in handles))
            assert found == list(range(16))

    if own_loop:
        with tasks:
            asyncio.run(program())
    else:
        asyncio.run(program())
    assert max(most) == 3


def test_nothing_blocks_the_loop(make: MakeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is waited for and no database asked in the loop's thread."""
    tasks = make()
    loop_thread = threading.get_ident()
    audited: list[str] = []
    listening = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        blocks = event in ("open", "os.listdir", "time.sleep", "socket.connect")
        if blocks and listening and threading.get_ident() == loop_thread:
            audited.append(f"{event} {arguments[:1]}")

    sys.addaudithook(hook)  # stays for the life of the process, asleep
    database = tasks._queue.database
    for name in ("read", "write"):
        real = getattr(database, name)

        def watched(work: Any, real: Any = real, name: str = name) -> Any:
            if threading.get_ident() == loop_thread and asyncio._get_running_loop():
                audited.append(f"database.{name}")
            return real(work)

        monkeypatch.setattr(database, name, watched)

    @tasks.task
    async def one(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def program() -> None:
        nonlocal listening
        listening = True
        async with tasks:
            handles = [await one.defer_async(n) for n in range(10)]
            handles += await tasks.submit_many_async(one, [[n] for n in range(10, 20)])
            found = await asyncio.gather(*(handle.result_async(PATIENCE_S) for handle in handles))
            assert found == list(range(20))
            waiting = asyncio.create_task((await tasks.submit_async("nobody")).result_async())
            await asyncio.sleep(0.01)
            waiting.cancel()
        listening = False

    asyncio.run(program())
    assert audited == []


def test_many_may_wait_without_taking_up_threads(make: MakeManager) -> None:
    """More than the loop's default pool has threads, and then everything goes on."""
    tasks = make()

    async def program() -> None:
        async with tasks:
            handles = await tasks.submit_many_async("later", [[n] for n in range(100)])
            waiting = [asyncio.create_task(handle.result_async(PATIENCE_S)) for handle in handles]
            await asyncio.sleep(0.01)
            before = threading.active_count()
            assert before < 50
            tasks.task(lambda number: number, name="later")
            assert await asyncio.gather(*waiting) == list(range(100))

    asyncio.run(program())


def test_failures_and_time_limits_of_waiting(make: MakeManager) -> None:
    tasks = make()
    unfit = tasks.submit("fail", max_attempts=1)  # by a program that does not know what it takes

    @tasks.task(max_attempts=1)
    async def fail(text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    @tasks.task(max_attempts=1)
    async def leave() -> None:
        sys.exit(3)

    async def program() -> None:
        async with tasks:
            with pytest.raises(TaskFailed, match="ValueError: no good"):
                await (await fail.defer_async("no good")).result_async(PATIENCE_S)
            with pytest.raises(TaskFailed, match="missing 1 required positional argument"):
                await unfit.result_async(PATIENCE_S)
            with pytest.raises(TaskFailed, match=r"sys\.exit\(3\)"):
                await (await leave.defer_async()).result_async(PATIENCE_S)
            with pytest.raises(TimeoutError, match=r"still enqueued after 0\.01 s"):
                await (await tasks.submit_async("nobody")).result_async(0.01)
            with pytest.raises(TaskError, match="no such task"):
                await tasks.result_async(1000)

    asyncio.run(program())


def test_context_variables_of_the_program_are_seen_and_not_changed(make: MakeManager) -> None:
    tasks = make(max_workers=1)

    @tasks.task
    async def swap(name: str) -> str:
        before = REQUEST.get()
        REQUEST.set(name)
        await asyncio.sleep(0)
        return before

    async def program() -> None:
        REQUEST.set("the agent's")
        async with tasks:
            for name in ("first", "second"):
                assert (
                    await (await swap.defer_async(name)).result_async(PATIENCE_S) == "the agent's"
                )
            assert REQUEST.get() == "the agent's"

    asyncio.run(program())


# Cancelling


class Sleeper:
    """A coroutine function that sleeps for an hour, and notes what wakes it."""

    def __init__(self, tasks: BackgroundTaskManager, **options: Any) -> None:
        self.began = threading.Event()
        self.woken: list[str] = []
        self.ended = 0

        @tasks.task(name="sleep", **options)
        async def sleep() -> str:
            self.began.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.woken.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0.01)  # an orderly end takes a while, too
                self.ended += 1
            return "slept"

        self.function = sleep


def test_cancelling_a_task_cancels_its_coroutine(make: MakeManager) -> None:
    tasks = make()
    sleeper = Sleeper(tasks)

    async def program() -> None:
        async with tasks:
            handle = await sleeper.function.defer_async()
            await until_async(sleeper.began.is_set)
            await asyncio.to_thread(handle.cancel)
            with pytest.raises(TaskFailed, match="cancelled"):
                await handle.result_async(PATIENCE_S)
            assert (sleeper.woken, sleeper.ended) == (["cancelled"], 1)

    asyncio.run(program())


def test_a_time_limit_cancels_the_coroutine(make: MakeManager, device: FakeDevice) -> None:
    tasks = make()
    sleeper = Sleeper(tasks, timeout_s=60, max_attempts=1)
    with tasks:
        handle = sleeper.function.defer()
        until(sleeper.began.is_set)
        device.clock.advance(61)
        with pytest.raises(TaskFailed, match="stopped after its 60 s"):
            handle.result(PATIENCE_S)
    assert (sleeper.woken, sleeper.ended) == (["cancelled"], 1)


@pytest.mark.parametrize("own_loop", [False, True])
def test_stopping_cancels_coroutines_and_they_run_again(make: MakeManager, own_loop: bool) -> None:
    tasks = make()
    sleeper = Sleeper(tasks)

    async def program() -> None:
        async with tasks:
            await sleeper.function.defer_async()
            await until_async(sleeper.began.is_set)

    if own_loop:
        with tasks:
            sleeper.function.defer()
            until(sleeper.began.is_set)
    else:
        asyncio.run(program())
    assert (sleeper.woken, sleeper.ended) == (["cancelled"], 1)
    (record,) = tasks.list()
    assert (record.state, record.attempts) == (TaskState.ENQUEUED, 0)


def test_an_exception_in_the_body_stops_all_and_goes_on(make: MakeManager) -> None:
    tasks = make()
    sleeper = Sleeper(tasks)

    async def program() -> None:
        async with tasks:
            await sleeper.function.defer_async()
            await until_async(sleeper.began.is_set)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(program())
    assert sleeper.ended == 1


def test_cancelling_what_is_around_the_manager_stops_it_in_order(make: MakeManager) -> None:
    tasks = make()
    sleeper = Sleeper(tasks)

    async def body() -> None:
        async with tasks:
            await sleeper.function.defer_async()
            await asyncio.sleep(3600)

    async def program() -> None:
        around = asyncio.create_task(body())
        await until_async(sleeper.began.is_set)
        around.cancel()
        await asyncio.sleep(0)
        around.cancel()  # impatiently, while it stops
        with pytest.raises(asyncio.CancelledError):
            await around
        await until_async(lambda: tasks.stats()[TaskState.ENQUEUED] == 1)

    asyncio.run(program())
    assert (sleeper.woken, sleeper.ended) == (["cancelled"], 1)


def test_a_coroutine_that_was_cancelled_by_others_has_failed(make: MakeManager) -> None:
    tasks = make()

    @tasks.task(max_attempts=1)
    async def cancels_itself() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    with tasks, pytest.raises(TaskFailed, match="cancelled by something other than its manager"):
        cancels_itself.defer().result(PATIENCE_S)


def test_a_coroutine_that_ends_in_spite_of_being_cancelled_has_succeeded(
    make: MakeManager,
) -> None:
    tasks = make()
    began = threading.Event()

    @tasks.task
    async def stubborn() -> str:
        began.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "done nevertheless"
        return "slept"

    with tasks:
        handle = stubborn.defer()
        until(began.is_set)
    assert handle.result(0) == "done nevertheless"


def test_a_coroutine_may_stop_its_manager(make: MakeManager) -> None:
    tasks = make()

    @tasks.task
    async def at_once() -> str:
        tasks.stop(None)
        return "stopped"

    async def program() -> None:
        await tasks.__aenter__()
        handle = await at_once.defer_async()
        assert await handle.result_async(PATIENCE_S) == "stopped"

    asyncio.run(program())
    handle = at_once.defer()
    tasks.start()
    assert handle.result(PATIENCE_S) == "stopped"
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("deferpower")])


def test_coroutines_that_wait_for_others_give_their_places_away(make: MakeManager) -> None:
    tasks = make(max_workers=1)

    @tasks.task(pass_context=True)
    async def root(context: Context, depth: int) -> int:
        if not depth:
            return context.id
        deeper: int = await (await root.defer_async(depth - 1)).result_async(PATIENCE_S)
        return deeper

    async def program() -> None:
        async with tasks:
            assert await (await root.defer_async(5)).result_async(PATIENCE_S) == 6

    asyncio.run(program())


def test_coroutines_cannot_be_waited_for_on_their_own_loop(make: MakeManager) -> None:
    tasks = make()

    @tasks.task
    async def one() -> int:
        return 1

    async def program() -> None:
        async with tasks:
            await asyncio.to_thread(tasks.stop)
            tasks._crew().runner.use_loop(asyncio.get_running_loop(), contextvars.copy_context())
            one.defer()
            with pytest.raises(TaskError, match=r"await asyncio\.to_thread"):
                tasks.process_background_tasks()
            found = await asyncio.to_thread(tasks.process_background_tasks)
            assert [task.result for task in found] == [1]

    asyncio.run(program())


def test_by_hand_they_run_on_a_loop_of_the_managers_own(make: MakeManager) -> None:
    tasks = make()

    @tasks.task
    async def one() -> int:
        await asyncio.sleep(0)
        return 1

    one.defer()
    assert [task.result for task in tasks.process_background_tasks()] == [1]
    tasks.close()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("deferpower")])


def test_results_of_another_process_are_awaited_too(make: MakeManager) -> None:
    """Nothing runs here: the file tells."""
    tasks = make()

    async def program() -> None:
        handle = await tasks.submit_async("elsewhere", [20])
        waiting = asyncio.create_task(handle.result_async(PATIENCE_S))
        await asyncio.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                tasks.task(lambda number: number + 1, name="elsewhere")
                status = 0 if tasks.process_background_tasks() else 2
            finally:
                os._exit(status)
        assert await waiting == 21
        assert os.waitpid(pid, 0)[1] == 0

    asyncio.run(program())


def test_cancelling_it_while_it_starts_leaves_nothing_running(make: MakeManager) -> None:
    tasks = make()

    async def body() -> None:
        async with tasks:
            raise AssertionError("it was cancelled before")

    async def program() -> None:
        around = asyncio.create_task(body())
        await asyncio.sleep(0)  # its thread is about to start
        around.cancel()
        with pytest.raises(asyncio.CancelledError):
            await around

    asyncio.run(program())
    assert tasks.worker_pids() == ()
    assert "deferpower-worker" not in {thread.name for thread in threading.enumerate()}
