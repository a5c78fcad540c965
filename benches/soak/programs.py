"""The processes of a soak: embedder, submitter, sender. Workers are the CLI's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from benches.soak.place import PROCESS, URL, Place

from deferpower import BackgroundSyncManager, Constraints, Policy, QueueFull, StoreError, TaskError
from deferpower.sync import HttpTarget
from deferpower.tasks.handle import Handle

try:
    from benches.soak.app import ANYTIME, append_to, manager
except StoreError as error:  # the disk is full
    sys.exit(str(error))

ANSWER_S = 4.0
"""How long a server may take."""
_PAUSE_S = 0.06
_REST_S = 0.3
_COMMAND = 'echo "$N begins $SOAK_PROCESS" >&3; sleep "$S"; echo "$N returned $SOAK_PROCESS" >&3'
_NOTED = f'exec 3>>"$RUNS"; {_COMMAND}; echo said; exit "$E"'


class Promises:
    """Writes down what submitting and queueing have returned; durable is what is in there."""

    def __init__(self, place: Place) -> None:
        self._descriptor = append_to(place.promises)

    def note(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


class Submitter:
    """Submits tasks of all kinds."""

    def __init__(self, place: Place, dice: random.Random) -> None:
        self._place = place
        self._dice = dice
        self._promises = Promises(place)
        self._process = os.environ[PROCESS]
        self._commands = 0
        self._last: Handle | None = None

    def step(self) -> bool:
        """Submit one thing or a few; false if there was no room for it."""
        try:
            for handle, number in self._some():
                self._promises.note("task", handle.id, number)
                self._last = handle
        except TaskError as error:
            # What it was to come after is forgotten, or is replaced by it.
            if "after: " not in str(error):
                raise
            self._last = None
        except (QueueFull, StoreError):
            return False
        return True

    def _some(self) -> list[tuple[Handle, str]]:
        dice = self._dice
        kind = dice.choices(
            ("quick", "many", "steps", "gentle", "shaky", "once", "late", "command", "cancelled"),
            (30, 3, 8, 8, 6, 3, 1, 4, 2),
        )[0]
        options = self._options()
        match kind:
            case "many":
                calls = [()] * dice.randint(2, 20)
                return [(handle, "-") for handle in manager.submit_many("quick", calls, **ANYTIME)]
            case "steps":
                return [(manager.submit("steps", [dice.randint(1, 20)], **options), "-")]
            case "gentle":
                return [(manager.submit("gentle", [dice.uniform(0, 0.3)], **options), "-")]
            case "shaky":
                return [(manager.submit("shaky", [dice.choice((1, 1, 2, 9))], **options), "-")]
            case "command":
                return [self._command(options)]
            case "cancelled":
                handle = manager.submit("quick", delay_s=dice.uniform(0, 2))
                handle.cancel()
                return [(handle, "-")]
        return [(manager.submit(kind, **options), "-")]

    def _options(self) -> dict[str, Any]:
        dice = self._dice
        options: dict[str, Any] = dice.choice(
            (
                ANYTIME,
                ANYTIME,
                {},
                {"constraints": Constraints(charging=True)},
                {"constraints": Constraints(idle=True), "deadline_s": 8.0},
                {"prefer": Constraints(charging=True, idle=True), "deadline_s": 5.0},
                {"task_class": "background"},
                {"constraints": Constraints(charging=True), "deadline_s": 2.0}
                | {"on_deadline": "expire"},
            )
        )
        options = {**options, "priority": dice.choice(("high", "normal", "low"))}
        if dice.random() < 0.1:
            options["delay_s"] = dice.uniform(0, 1)
        if dice.random() < 0.1:
            options["key"] = f"key {dice.randint(1, 5)}"
            options["on_conflict"] = dice.choice(("keep", "replace", "append"))
        elif dice.random() < 0.1 and self._last is not None:
            options["after"] = self._last
        return options

    def _command(self, options: dict[str, Any]) -> tuple[Handle, str]:
        dice = self._dice
        self._commands += 1
        number = f"{self._process}-{self._commands}"
        env = {
            "N": number,
            "S": f"{dice.uniform(0, 1.5):.2f}",
            "E": dice.choice("0001"),
            "RUNS": str(self._place.commands),
        }
        handle = manager.submit_command(["/bin/sh", "-c", _NOTED], env=env, **options)
        # Where another holds the key, that is what the handle stands for.
        is_kept = handle.record.kwargs.get("env") == env
        return handle, number if is_kept else "-"


class Sender:
    """Queues what is to be sent."""

    def __init__(self, place: Place, dice: random.Random) -> None:
        self._dice = dice
        self._promises = Promises(place)
        self._process = os.environ[PROCESS]
        self._number = 0
        self.sync = BackgroundSyncManager(
            HttpTarget(os.environ[URL], timeout_s=ANSWER_S, max_items=20),
            place.queue,
            policy=Policy.load(place.policy),
            max_retries=8,
            backoff_s=0.2,
            backoff_cap_s=2.0,
        )

    def step(self) -> bool:
        """Queue one thing; false if there was no room for it."""
        dice = self._dice
        self._number += 1
        number = f"{self._process}-{self._number}"
        key = f"key {self._process} {dice.randint(1, 3)}" if dice.random() < 0.2 else None
        data: Any = {"number": number, "more": "x" * dice.randint(0, 2000)}
        try:
            self.sync.queue_for_sync(data, dice.choice(("high", "normal", "low")), key)
        except (QueueFull, StoreError):
            return False
        self._promises.note("item", number, key or "-")
        return True


async def _embed(place: Place, dice: random.Random) -> None:
    """A program that does all of it beside its own work, on one event loop."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    sender, submitter = Sender(place, dice), Submitter(place, dice)
    place.ready(os.getpid()).touch()
    async with manager, sender.sync:
        while not ended.is_set():
            for step in (sender.step, submitter.step):
                if not await asyncio.to_thread(step):
                    await asyncio.sleep(_REST_S)
            if dice.random() < 0.1:
                await _await_one(submitter)
            await asyncio.sleep(dice.uniform(0, 4 * _PAUSE_S))
    sender.sync.close()
    manager.close()


async def _await_one(submitter: Submitter) -> None:
    """Wait for a result, as programs do."""
    # It may be cancelled, time out, or find no room: others see to that.
    with contextlib.suppress(TaskError, TimeoutError, StoreError, QueueFull):
        handle = await manager.submit_async("quick", **ANYTIME)
        await handle.result_async(timeout_s=2)


def _go_on(step: Callable[[], bool], dice: random.Random) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    Place.here().ready(os.getpid()).touch()
    while not ended:
        time.sleep(dice.uniform(0, 2 * _PAUSE_S) if step() else _REST_S)


def main() -> None:
    """Be what the first word says, by the seed of the second."""
    role, seed = sys.argv[1:]
    place, dice = Place.here(), random.Random(seed)
    with contextlib.suppress(StoreError):  # at the end the disk may be full
        _be(role, place, dice)


def _be(role: str, place: Place, dice: random.Random) -> None:
    match role:
        case "embedder":
            asyncio.run(_embed(place, dice))
        case "submitter":
            _go_on(Submitter(place, dice).step, dice)
            manager.close()
        case "sender":
            sender = Sender(place, dice)
            with sender.sync:
                _go_on(sender.step, dice)
            sender.sync.close()


if __name__ == "__main__":
    main()
