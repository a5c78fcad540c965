"""What a program holds in memory: after many tasks of all kinds no more than after a few."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower.tasks.context import Context
from deferpower.testing import FakeDevice, run_until_idle
from tasks.support import until

FEW, MANY = 2, 10


def held() -> Counter[str]:
    """Objects of ours, by type; those that nothing holds are let go of first."""
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).startswith("deferpower.")
    )


def fails_once(run: Context) -> int:
    """Fail at first, keep something, and succeed."""
    if run.attempt == 1:
        raise ValueError("no luck")
    run.checkpoint(run.attempt)
    return run.id


def test_tasks_of_all_kinds_leave_nothing_behind(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.task(fails_once, pass_context=True, max_attempts=2, backoff_s=1)

    def go_round(number: int) -> None:
        first = tasks.submit("fails_once", priority="high", timeout_s=9)
        tasks.submit("fails_once", after=first, constraints=Constraints(battery_above=20))
        tasks.submit("fails_once", key="one", on_conflict="replace", task_class="background")
        tasks.submit_many("fails_once", [[], []], deadline_s=50, prefer=Constraints(idle=True))
        tasks.submit("fails_once", delay_s=5).cancel()
        tasks.submit("nobody has it", metadata={"number": number}).cancel()
        for _ in range(4):
            run_until_idle(tasks)
            device.clock.advance(20)
        assert tasks.stats()[TaskState.SUCCEEDED] == 5
        tasks.prune(0)

    for number in range(FEW):
        go_round(number)
    before = held()
    for number in range(MANY):
        go_round(number)
    assert held() - before == Counter()


def test_a_worker_and_those_who_wait_for_it_leave_nothing_behind(
    tasks: BackgroundTaskManager,
) -> None:
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    tasks.task(nap)

    async def go_round() -> None:
        naps = [await tasks.submit_async("nap", [0.0], priority="low") for _ in range(3)]
        assert [await handle.result_async(timeout_s=20) for handle in naps] == [0.0] * 3
        assert await asyncio.to_thread(tasks.submit("nap", [0.0]).result, 20) == 0.0

    async def live(rounds: int) -> None:
        async with tasks:
            for _ in range(rounds):
                await go_round()

    asyncio.run(live(FEW))
    before = held()
    asyncio.run(live(MANY))
    # What a moment leaves differs by a few: what it found of lanes, a thread that is about to end.
    until(lambda: all(more < MANY for more in (held() - before).values()))


def test_a_run_that_has_ended_does_not_wait_for_a_garbage_collection(
    tasks: BackgroundTaskManager,
) -> None:
    async def nap() -> None:
        await asyncio.sleep(0)

    def contexts() -> int:
        return sum(type(thing) is Context for thing in gc.get_objects())

    tasks.task(nap)
    tasks.task(lambda: None, name="plain")
    gc.collect()
    gc.disable()
    try:
        with tasks:
            for _ in range(20):
                for name in ("nap", "plain"):
                    tasks.submit(name).result(20)
        until(lambda: contexts() == 0, "no context of a run")
    finally:
        gc.enable()
