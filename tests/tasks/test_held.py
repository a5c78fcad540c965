"""What is held in memory and in the file: after many tasks no more than after a few."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from pathlib import Path

import apsw
import pytest

from deferpower import BackgroundTaskManager, Constraints, TaskState
from deferpower.store import texts
from deferpower.tasks import lanes, queue
from deferpower.tasks.context import Context
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager
from waiting import until

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
    # Threads that other tests have left behind may hold something for a moment.
    until(lambda: held() - before == Counter(), "no more than before")


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


def contexts() -> list[Context]:
    return [thing for thing in gc.get_objects() if type(thing) is Context]


def test_a_run_that_has_ended_does_not_wait_for_a_garbage_collection(
    tasks: BackgroundTaskManager,
) -> None:
    async def nap() -> None:
        await asyncio.sleep(0)

    tasks.task(nap)
    tasks.task(lambda: None, name="plain")
    gc.collect()
    # Those of tests before, whose functions a manager could only ask to stop.
    earlier = {id(thing): thing for thing in contexts()}

    def left() -> list[Context]:
        return [thing for thing in contexts() if id(thing) not in earlier]

    gc.disable()
    try:
        with tasks:
            for _ in range(20):
                for name in ("nap", "plain"):
                    tasks.submit(name).result(20)
        until(lambda: not left(), "no context of a run")
    finally:
        gc.enable()


def rows_of(path: Path, table: str) -> int:
    with contextlib.closing(apsw.Connection(str(path))) as file:
        return int(file.execute(f"SELECT count(*) FROM {table}").get)


def ok() -> int:
    return 1


def descriptions(tasks: BackgroundTaskManager) -> set[str]:
    return {record.spec.description for record in tasks.list()}


def test_descriptions_of_tasks_that_were_pruned_leave_the_file(
    make: MakeManager, device: FakeDevice, tmp_path: Path
) -> None:
    tasks = make()
    tasks.task(ok)
    tasks.submit("ok", description="not yet", delay_s=9)
    for number in range(300):
        tasks.submit("ok", description=f"number {number}")
    run_until_idle(tasks)
    assert rows_of(tmp_path / "queue.db", "specs") == 301
    device.clock.advance(1)
    assert tasks.prune(0) == 299
    assert rows_of(tmp_path / "queue.db", "specs") == 2
    assert rows_of(tmp_path / "queue.db", "lanes") == 1
    # Of the newest task, which stays, and of the one that waits.
    assert descriptions(tasks) == {"number 299", "not yet"}


@pytest.mark.parametrize("way", ["plain", "keyed", "many"])
def test_a_manager_goes_on_with_a_spec_that_another_has_pruned(
    make: MakeManager, device: FakeDevice, way: str
) -> None:
    tasks, other = make(), make()
    alike = tasks.task(ok, description="alike")

    def submit() -> list[int]:
        if way == "many":
            return [handle.id for handle in alike.defer_many([[], []])]
        named = alike.options(key="one") if way == "keyed" else alike
        return [named.defer().id]

    for _ in range(2):
        submit()
        run_until_idle(tasks)
        device.clock.advance(1)
        # Two, since the newest task stays, and with it the newest spec.
        other.submit("somebody's").cancel()
        other.submit("somebody else's").cancel()
        device.clock.advance(1)
        other.prune(0)
        assert "alike" not in descriptions(other)
        again = submit()
        assert {other.get(task).spec.description for task in again} == {"alike"}
        run_until_idle(tasks)
        assert [tasks.get(task).result for task in again] == [1] * len(again)


def test_no_more_specs_and_lanes_are_held_than_fit(
    tasks: BackgroundTaskManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (texts, queue, lanes):
        monkeypatch.setattr(module, "MOST_NOTED", 10)
    tasks.task(ok)
    before = held()
    for number in range(40):
        tasks.submit(
            "ok", description=f"number {number}", constraints=Constraints(battery_above=number)
        )
    run_until_idle(tasks)
    assert tasks.stats()[TaskState.SUCCEEDED] == 40
    assert descriptions(tasks) == {f"number {number}" for number in range(40)}
    tasks.prune(0)
    tasks.submit("ok")
    run_until_idle(tasks)
    more = held() - before
    assert more["deferpower.tasks.spec.Spec"] <= 10 + 1
    assert more["deferpower.tasks.lanes.Lane"] <= 1
