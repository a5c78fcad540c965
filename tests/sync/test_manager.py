"""The sync manager on a device and a target by hand: what goes when, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deferpower import BackgroundSyncManager, ConfigError, QueueFull, StoreError
from deferpower.policy import Policy
from deferpower.quiet import Trouble
from deferpower.store.payloads import Payloads
from deferpower.sync import BatchRefused, Limits, Outcome, SyncItem, TargetUnavailable
from deferpower.testing import FakeDevice
from waiting import PATIENCE_S, until

LONG_S = 100_000.0
LARGE = os.urandom(100_000)


class Receiver:
    """A target that does with each request what it is told, and remembers what it was sent."""

    name = "receiver"

    def __init__(self, max_items: int = 100, max_bytes: int = 1 << 20) -> None:
        self.limits = Limits(max_items, max_bytes)
        self.requests: list[list[SyncItem]] = []
        self.contents: list[Any] = []
        self.behave: Callable[[Sequence[SyncItem]], Sequence[Outcome]] = delivered

    def send(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        self.requests.append(list(items))
        outcomes = self.behave(items)
        pairs = zip(items, outcomes, strict=True)
        self.contents += [item.data for item, outcome in pairs if outcome.status == "delivered"]
        return outcomes

    async def send_async(self, items: Sequence[SyncItem], /) -> Sequence[Outcome]:
        return self.send(items)

    def close(self) -> None:
        pass

    async def close_async(self) -> None:
        pass

    @property
    def sizes(self) -> list[int]:
        return [len(items) for items in self.requests]


def delivered(items: Sequence[SyncItem]) -> list[Outcome]:
    return [Outcome("delivered")] * len(items)


def broken(items: Sequence[SyncItem]) -> list[Outcome]:
    return [Outcome("later", "broken")] * len(items)


def down(items: Sequence[SyncItem]) -> list[Outcome]:
    raise TargetUnavailable("down")


def broken_by(*data: object) -> Callable[[Sequence[SyncItem]], list[Outcome]]:
    """A server that answers 500 to any request that holds one of these."""
    return lambda items: (
        broken(items) if any(item.data in data for item in items) else delivered(items)
    )


@pytest.fixture
def device(backend_name: str) -> FakeDevice:
    return FakeDevice(plugged=False, percent=90, backend=backend_name)


@pytest.fixture
def target() -> Receiver:
    return Receiver()


Make = Callable[..., BackgroundSyncManager]


@pytest.fixture
def make(device: FakeDevice, target: Receiver, tmp_path: Path) -> Iterator[Make]:
    made: list[BackgroundSyncManager] = []

    def make_one(**options: Any) -> BackgroundSyncManager:
        options = {"target": target, "path": tmp_path / "sync.db", "device": device, **options}
        made.append(BackgroundSyncManager(**options))
        return made[-1]

    yield make_one
    for manager in made:
        manager.close()


@pytest.fixture
def sync(make: Make) -> BackgroundSyncManager:
    return make()


def statuses(results: Sequence[Any]) -> list[str]:
    return [result.status for result in results]


def later(device: FakeDevice, seconds: float = LONG_S) -> None:
    device.clock.advance(seconds)


# Which priorities go.


@pytest.mark.parametrize(
    ("percent", "plugged", "expected"),
    [
        (29, False, ["high"]),
        (30, False, ["high", "normal"]),
        (49, False, ["high", "normal"]),
        (50, False, ["high", "normal", "low"]),
        (29, True, ["high", "normal", "low"]),
        (49, None, ["high", "normal"]),
    ],
)
@pytest.mark.parametrize("told", [False, True], ids=["by the device", "by the caller"])
def test_priorities_that_go_at_a_level(
    make: Make,
    target: Receiver,
    device: FakeDevice,
    percent: float,
    plugged: bool | None,
    expected: list[str],
    told: bool,
) -> None:
    sync = make()
    for priority in ("low", "normal", "high"):
        sync.queue_for_sync(priority, priority)
    if told:
        device.set(percent=1 if plugged else 100)
        sync.process_sync_queue(percent, bool(plugged))
    else:
        device.set(percent=percent, plugged=plugged)
        sync.process_sync_queue()
    assert target.contents == expected
    waiting = sync.stats().waiting
    assert [name for name, number in waiting.items() if number] == [
        name for name in ("high", "normal", "low") if name not in expected
    ]


@pytest.mark.parametrize(
    ("connected", "metered", "expected"),
    [
        (None, None, ["high", "normal", "low"]),
        (True, False, ["high", "normal", "low"]),
        (True, True, ["high", "normal"]),
        (False, None, []),
    ],
)
def test_what_the_network_allows(
    sync: BackgroundSyncManager,
    target: Receiver,
    device: FakeDevice,
    connected: bool | None,
    metered: bool | None,
    expected: list[str],
) -> None:
    device.set(plugged=True, connected=connected, metered=metered)
    for priority in ("low", "normal", "high"):
        sync.queue_for_sync(priority, priority)
    sync.process_sync_queue(100, True)
    assert target.contents == expected


def test_without_a_battery_everything_goes(make: Make, target: Receiver) -> None:
    sync = make(device=FakeDevice())
    sync.queue_for_sync(1, "low")
    assert statuses(sync.process_sync_queue()) == ["synced"]


def test_offline_a_target_on_this_machine_is_sent_to(
    make: Make, device: FakeDevice, tmp_path: Path
) -> None:
    device.set(connected=False)
    sync = make(target=(tmp_path / "there").as_uri())
    sync.queue_for_sync({"n": 1})
    (result,) = sync.process_sync_queue()
    assert (tmp_path / "there" / result.result).read_bytes() == b'{"n":1}'


def test_the_policy_draws_the_lines(make: Make, target: Receiver, device: FakeDevice) -> None:
    sync = make(policy=Policy("[sync]\nnormal_from = 60\nlow_from = 70"))
    for priority in ("low", "normal"):
        sync.queue_for_sync(priority, priority)
    for percent, expected in ((59, []), (60, ["normal"]), (70, ["normal", "low"])):
        device.set(percent=percent)
        sync.process_sync_queue()
        assert target.contents == expected


def test_what_is_kept_back_is_said(sync: BackgroundSyncManager, device: FakeDevice) -> None:
    device.set(percent=41, metered=True, connected=True)
    assert sync.gate().why == (
        "low priority waits for the charger or 50 % (on battery, 41 %); "
        "low priority waits for a network that is not metered"
    )


# Batches, order and keys.


def test_items_go_in_batches_by_count_and_bytes(make: Make) -> None:
    target = Receiver(max_items=3, max_bytes=100)
    sync = make(target=target)
    sync.queue_many_for_sync([*range(5), "x" * 200, "y" * 60, "z" * 60, b"raw"])
    results = sync.process_sync_queue()
    assert target.sizes == [3, 2, 1, 1, 2]
    assert target.contents == [*range(5), "x" * 200, "y" * 60, "z" * 60, b"raw"]
    assert statuses(results) == ["synced"] * 9
    assert sync.stats().pending_bytes == 0


def test_a_key_replaces_the_older_item(sync: BackgroundSyncManager, target: Receiver) -> None:
    first = sync.queue_for_sync("old", key="settings")
    sync.queue_for_sync("other")
    token = sync.pending()[0].idempotency_key
    assert sync.queue_for_sync("new", "high", key="settings") == first
    assert sync.pending()[0].idempotency_key != token  # a receiver would take it for a duplicate
    sync.process_sync_queue()
    assert target.contents == ["new", "other"]
    assert (sync.stats().pending, sync.stats().pending_bytes) == (0, 0)


@pytest.mark.parametrize("status", ["delivered", "later", "refused"])
def test_a_newer_item_waits_behind_one_that_is_being_sent(
    sync: BackgroundSyncManager, target: Receiver, status: Any
) -> None:
    """The older one is through, or gives way."""

    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        if items[0].data == 1:
            sync.queue_for_sync(2, "high", key="k")
            sync.queue_for_sync(3, "high", key="k")
            target.behave = delivered
            # Another thread of the program would find nothing that may go.
            assert sync.process_sync_queue() == []
            return [Outcome(status, "no")]
        return delivered(items)

    target.behave = behave
    sync.queue_for_sync(1, key="k")
    results = sync.process_sync_queue()
    first = "synced" if status == "delivered" else "replaced"
    assert statuses(results) == [first, "synced"]
    assert [[item.data for item in request] for request in target.requests] == [[1], [3]]
    assert (sync.stats().pending, sync.stats().dead, sync.stats().pending_bytes) == (0, 0, 0)


def test_a_newer_item_takes_the_place_of_a_dead_letter(
    sync: BackgroundSyncManager, target: Receiver
) -> None:
    target.behave = lambda items: [Outcome("refused", "no")]
    sync.queue_for_sync("old", key="k")
    sync.process_sync_queue()
    assert len(sync.dead_letters()) == 1
    sync.queue_for_sync("new", key="k")
    assert (sync.dead_letters(), sync.replay()) == ([], 0)


def test_the_queues_of_the_sketch(sync: BackgroundSyncManager) -> None:
    sync.queue_for_sync(1, "low")
    assert {name: len(items) for name, items in sync.sync_queues.items()} == {
        "high_priority": 0,
        "normal_priority": 0,
        "low_priority": 1,
    }


def test_two_queues_share_a_file(make: Make, target: Receiver) -> None:
    other = Receiver()
    sync, second = make(), make(target=other, name="second")
    sync.queue_for_sync(1, key="k")
    second.queue_for_sync(2, key="k")
    second.process_sync_queue()
    assert (target.contents, other.contents) == ([], [2])
    assert sync.stats().pending == 1


def test_a_queue_meant_for_another_target_is_told_of(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make().queue_for_sync(1)
    make(target=print)
    assert "was queued for receiver and will be sent to print" in caplog.text


# Failures.


def test_an_item_that_fails_is_tried_with_growing_waits_and_dies(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    target.behave = broken
    item = sync.queue_for_sync({"n": 1}, key="k")
    seen = []
    for _ in range(3):
        seen += statuses(sync.process_sync_queue())
        assert sync.process_sync_queue() == []  # never in a tight loop
        later(device)
    assert seen == ["retrying", "retrying", "dead"]
    assert sync.process_sync_queue() == []
    keys = {item.idempotency_key for request in target.requests for item in request}
    assert len(target.requests) == 3
    assert len(keys) == 1
    (dead,) = sync.dead_letters()
    assert (dead.item_id, dead.failures, dead.error) == (item, 3, "broken")
    assert sync.data(item) == {"n": 1}

    target.behave = delivered
    assert sync.replay() == 1
    later(device)
    assert statuses(sync.process_sync_queue()) == ["synced"]
    assert target.requests[-1][0].idempotency_key in keys


def test_the_wait_outlives_the_program(make: Make, target: Receiver, device: FakeDevice) -> None:
    target.behave = broken
    sync = make()
    sync.queue_for_sync(1)
    sync.process_sync_queue()
    sync.close()
    again = make()
    target.behave = delivered
    assert again.process_sync_queue() == []
    later(device)
    assert statuses(again.process_sync_queue()) == ["synced"]


@pytest.mark.parametrize("wrong", ["1", 1.0, None, True, 1 << 63, [1]])
def test_what_is_not_a_number_of_an_item_names_none(
    sync: BackgroundSyncManager, target: Receiver, wrong: Any
) -> None:
    target.behave = lambda items: [Outcome("refused", error="no") for _ in items]
    item = sync.queue_for_sync({"n": 1})
    sync.process_sync_queue(10, True)
    for ask in (sync.replay, sync.discard):
        with pytest.raises(ConfigError, match="is not the number of an item"):
            ask([item, wrong])
    with pytest.raises(ConfigError, match="is not the number of an item"):
        sync.data(wrong)
    with pytest.raises(ConfigError, match=r"^items: .* is no list of numbers of items"):
        sync.discard("1")  # type: ignore[arg-type]
    for listed in (sync.pending, sync.dead_letters):
        with pytest.raises(ConfigError, match=r"^limit: -1 is not a whole number of 0 or more$"):
            listed(-1)
    assert [letter.item_id for letter in sync.dead_letters()] == [item]


def test_a_refused_item_is_dead_at_once(sync: BackgroundSyncManager, target: Receiver) -> None:
    target.behave = lambda items: [
        Outcome("refused", "three is bad") if item.data == 3 else Outcome("delivered")
        for item in items
    ]
    sync.queue_many_for_sync(range(5))
    assert statuses(sync.process_sync_queue()).count("dead") == 1
    assert target.contents == [0, 1, 2, 4]
    assert [letter.error for letter in sync.dead_letters()] == ["three is bad"]
    assert sync.discard() == 1
    assert sync.stats().pending_bytes == 0


def test_a_batch_refused_as_one_is_halved(sync: BackgroundSyncManager, target: Receiver) -> None:
    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        if len(items) > 1 and any(item.data == 37 for item in items):
            raise BatchRefused("something in it is bad")
        return [Outcome("refused" if item.data == 37 else "delivered") for item in items]

    target.behave = behave
    sync.queue_many_for_sync(range(100))
    results = sync.process_sync_queue()
    assert [r.item_id for r in results if r.status == "dead"] == [38]
    assert sorted(target.contents) == [n for n in range(100) if n != 37]
    assert len(target.requests) <= 15


def test_what_arrived_is_noted_before_more_is_sent(
    sync: BackgroundSyncManager, target: Receiver
) -> None:
    waited: list[int] = []

    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        waited.append(sync.stats().pending)
        if len(items) > 2:
            raise BatchRefused("too many")
        return delivered(items)

    target.behave = behave
    sync.queue_many_for_sync(range(6))
    rounds = sync.iter_sync()
    next(rounds)
    rounds.close()  # type: ignore[attr-defined]
    assert waited == [6, 6, 6], "a request whose answer nobody takes was sent"
    assert statuses(sync.process_sync_queue()) == ["synced"] * 5
    assert waited[3:] == [5, 5, 3, 3, 2]
    assert sorted(target.contents) == [*range(6)]


def test_an_item_that_breaks_the_server_does_not_hold_up_the_rest(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    target.behave = broken_by(7, 150)
    sync.queue_many_for_sync(range(300))
    for _ in range(10):
        sync.process_sync_queue()
        later(device)
    assert sorted(target.contents) == [n for n in range(300) if n not in (7, 150)]
    assert [sync.data(letter.item_id) for letter in sync.dead_letters()] == [7, 150]


def test_an_item_that_takes_the_server_down_does_not_hold_up_the_rest(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    """It cannot be told from a server that is down by itself: it waits ever longer, and lives."""

    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        return down(items) if any(item.data == 7 for item in items) else delivered(items)

    target.behave = behave
    sync.queue_many_for_sync(range(300))
    for _ in range(10):
        sync.process_sync_queue()
        later(device)
    assert sorted(target.contents) == [n for n in range(300) if n != 7]
    assert (sync.stats().pending, sync.stats().dead) == (1, 0)


@pytest.mark.parametrize("failure", [down, broken])
def test_a_target_that_is_down_is_probed_once_for_each_wait(
    make: Make, target: Receiver, device: FakeDevice, failure: Any
) -> None:
    sync = make(backoff_s=10, backoff_cap_s=80)
    target.behave = failure
    sync.queue_many_for_sync(range(10_000))
    sync.process_sync_queue()
    asked = len(target.requests)
    assert asked <= 2
    for wait in range(1, 20):
        for _ in range(3):
            sync.process_sync_queue()
        later(device, 80)
        sync.process_sync_queue()
        assert len(target.requests) == asked + wait
    assert set(target.sizes[asked:]) == {1}
    paused_until_s = sync.stats().paused_until_s
    assert paused_until_s is not None
    assert paused_until_s <= device.wall_clock() + 80

    target.behave = delivered
    later(device, 80)
    sync.process_sync_queue()
    later(device, 80)
    sync.process_sync_queue()
    assert sorted(target.contents) == list(range(10_000))
    assert (sync.stats().failures, sync.stats().dead) == (0, 0)


def test_while_one_probes_nobody_else_does(
    sync: BackgroundSyncManager, make: Make, target: Receiver, device: FakeDevice
) -> None:
    target.behave = down
    sync.queue_many_for_sync(range(300))
    sync.process_sync_queue()
    other = make()

    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        target.behave = delivered
        assert other.process_sync_queue() == []
        return delivered(items)

    target.behave = behave
    later(device)
    assert statuses(sync.process_sync_queue()) == ["synced"] * 300
    assert target.sizes[:2] == [100, 1]


def test_a_target_that_is_down_uses_up_no_retries(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    target.behave = down
    sync.queue_for_sync(1)
    for _ in range(10):
        assert sync.process_sync_queue() == []
        later(device)
    (record,) = sync.pending()
    assert (record.attempts, record.failures, record.error) == (10, 0, "down")
    assert sync.stats().error == "down"


def test_an_unexpected_error_of_a_target_is_one_of_the_target(
    sync: BackgroundSyncManager, target: Receiver
) -> None:
    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        raise RuntimeError("oh")

    target.behave = behave
    sync.queue_many_for_sync(range(3))
    assert sync.process_sync_queue() == []
    assert (sync.stats().error, sync.stats().pending) == ("RuntimeError: oh", 3)


def test_the_target_says_how_long_to_wait(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        raise TargetUnavailable("not now", retry_after_s=100)

    target.behave = behave
    sync.queue_for_sync(1)
    sync.process_sync_queue()
    target.behave = delivered
    later(device, 99)
    assert sync.process_sync_queue() == []
    later(device, 1)
    assert statuses(sync.process_sync_queue()) == ["synced"]


def test_whoever_knows_better_need_not_wait(sync: BackgroundSyncManager, target: Receiver) -> None:
    target.behave = down
    sync.queue_for_sync(1)
    sync.process_sync_queue()
    target.behave = delivered
    sync.retry_now()
    assert statuses(sync.process_sync_queue()) == ["synced"]


def test_a_clock_set_back_holds_nothing_up_for_ever(
    sync: BackgroundSyncManager, target: Receiver, device: FakeDevice
) -> None:
    target.behave = down
    device.clock.jump(1e9)
    sync.queue_for_sync(1)
    sync.process_sync_queue()
    device.clock.jump(-1e9)
    target.behave = delivered
    sync.process_sync_queue()
    later(device)
    assert statuses(sync.process_sync_queue()) == ["synced"]


def test_ending_a_round_early_gives_back_what_was_not_sent(make: Make, device: FakeDevice) -> None:
    target = Receiver(max_items=2)
    sync = make(target=target)
    sync.queue_many_for_sync(range(6))
    rounds = sync.iter_sync()
    assert next(rounds).status == "synced"
    rounds.close()  # type: ignore[attr-defined]
    assert (sync.stats().sending, sync.stats().pending) == (0, 4)
    assert sorted(target.contents + [sync.data(r.item_id) for r in sync.pending()]) == [*range(6)]


def test_an_interrupt_amid_a_request_loses_nothing(
    sync: BackgroundSyncManager, target: Receiver
) -> None:
    def behave(items: Sequence[SyncItem]) -> list[Outcome]:
        target.behave = delivered
        raise KeyboardInterrupt

    target.behave = behave
    sync.queue_many_for_sync(range(3))
    with pytest.raises(KeyboardInterrupt):
        sync.process_sync_queue()
    assert statuses(sync.process_sync_queue()) == ["synced"] * 3


# Large contents.


def payloads(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "sync.db-payloads").iterdir())


def test_large_contents_lie_in_files_of_their_own(
    sync: BackgroundSyncManager, target: Receiver, tmp_path: Path
) -> None:
    item = sync.queue_for_sync(LARGE)
    sync.queue_for_sync("small")
    (path,) = payloads(tmp_path)
    assert path.read_bytes() == LARGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (tmp_path / "sync.db").stat().st_size < len(LARGE)
    assert sync.data(item) == LARGE
    sync.process_sync_queue()
    assert target.sizes == [1, 1]  # a file goes alone
    assert target.contents == [LARGE, "small"]
    assert payloads(tmp_path) == []


def test_files_go_with_their_items(
    sync: BackgroundSyncManager, target: Receiver, tmp_path: Path
) -> None:
    sync.queue_for_sync(LARGE, key="k")
    sync.queue_for_sync(LARGE + b"newer", key="k")
    (path,) = payloads(tmp_path)
    assert path.read_bytes() == LARGE + b"newer"
    target.behave = lambda items: [Outcome("refused")] * len(items)
    sync.process_sync_queue()
    assert payloads(tmp_path) == [path]
    sync.discard()
    assert payloads(tmp_path) == []


def test_what_a_crash_left_is_swept_away(make: Make, tmp_path: Path) -> None:
    sync = make()
    item = sync.queue_for_sync(LARGE)
    orphan = tmp_path / "sync.db-payloads" / ("0" * 32)
    orphan.write_bytes(b"never committed")
    stranger = tmp_path / "sync.db-payloads" / "README"
    stranger.write_bytes(b"somebody's")
    again = make()
    assert not orphan.exists()
    assert stranger.exists()
    assert again.data(item) == LARGE


def test_an_interrupt_after_the_commit_leaves_the_file_to_the_next_sweep(tmp_path: Path) -> None:
    files = Payloads(str(tmp_path / "sync.db"))
    token = os.urandom(16)
    with pytest.raises(KeyboardInterrupt), files.writing([(token, LARGE)]):
        raise KeyboardInterrupt  # nobody knows whether what names it was committed
    files.sweep(lambda: [token])
    assert files.path(token).read_bytes() == LARGE
    files.sweep(list)
    assert payloads(tmp_path) == []


def test_a_link_in_the_place_of_the_directory_is_refused(
    sync: BackgroundSyncManager, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sync.db-payloads").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="db-payloads"):
        sync.queue_for_sync(LARGE)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sync.stats().pending == 0


def test_a_file_that_is_lost_is_a_dead_letter(make: Make, tmp_path: Path) -> None:
    target = (tmp_path / "there").as_uri()
    sync = make(target=target)
    sync.queue_for_sync(LARGE)
    sync.queue_for_sync("small")
    payloads(tmp_path)[0].unlink()
    assert statuses(sync.process_sync_queue()) == ["dead", "synced"]


def test_in_memory_nothing_is_spilled(make: Make, target: Receiver, tmp_path: Path) -> None:
    sync = make(path=None)
    sync.queue_for_sync(LARGE)
    sync.process_sync_queue()
    assert target.contents == [LARGE]
    assert list(tmp_path.iterdir()) == []


# Bad input.


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            1,
            {"priority": "urgent"},
            "priority: 'urgent' is unknown; it is one of high, normal, low",
        ),
        ({1, 2}, {}, "must be a JSON value or bytes, not set"),
        (float("nan"), {}, "must be a JSON value or bytes, not float"),
        (b"x" * 1001, {}, "1001 bytes, and 1000 is the most for one item"),
        (1, {"key": ""}, "key: '' is no text of 1 to 1000 characters"),
        (1, {"key": "\ud800"}, "cannot be written as UTF-8"),
    ],
)
def test_what_cannot_be_queued(
    make: Make, data: object, options: dict[str, Any], message: str
) -> None:
    sync = make(max_item_bytes=1000)
    with pytest.raises(ConfigError, match=message):
        sync.queue_for_sync(data, **options)
    if not options:
        with pytest.raises(ConfigError, match=message):
            sync.queue_many_for_sync([1, data])
    assert sync.stats().pending == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "example.org/inbox"}, "must begin with https://"),
        ({"target": None}, "a sync target is a callable, a URL or a Target"),
        ({"max_retries": 0}, "max_retries: 0 is no whole number of at least 1"),
        ({"backoff_s": 0}, "backoff_s: 0 is no number of seconds above 0"),
        ({"durability": "some"}, "durability: 'some' is neither"),
        ({"name": ""}, "name: '' cannot be a queue's name"),
    ],
)
def test_managers_that_cannot_be(make: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.parametrize("arguments", [(101, True), (-1, False), ("full", None), (50, "yes")])
def test_levels_that_cannot_be(sync: BackgroundSyncManager, arguments: Any) -> None:
    with pytest.raises(ConfigError):
        sync.process_sync_queue(*arguments)


def test_a_full_queue_says_so(make: Make, target: Receiver) -> None:
    sync = make(max_items=2, max_bytes=100)
    sync.queue_for_sync(1, key="k")
    sync.queue_for_sync(2)
    with pytest.raises(QueueFull, match=r"it holds 2 items \(0 of them dead letters\) of 2 bytes"):
        sync.queue_for_sync(3)
    assert sync.queue_for_sync("replaced", key="k") == 1  # needs no room but for its bytes
    with pytest.raises(QueueFull):
        sync.queue_for_sync("x" * 100, key="k")
    assert sync.data(1) == "replaced"
    sync.process_sync_queue()
    sync.queue_for_sync("x" * 98)
    with pytest.raises(QueueFull, match="1 more of 1 bytes"):
        sync.queue_for_sync(4)


# By itself.


def settled(device: FakeDevice) -> None:
    """Return once the thread sleeps, and nothing that it wrote itself wakes it again."""
    quiet: list[Any] = []

    def is_quiet() -> bool:
        listeners = device.clock._listeners
        if not listeners or (quiet and quiet[0] is not listeners[0]):
            quiet.clear()
        if listeners:
            quiet.append(listeners[0])
        return len(quiet) > 100

    until(is_quiet, "quiet")


def test_it_sends_by_itself_as_soon_as_power_allows(
    make: Make, target: Receiver, device: FakeDevice
) -> None:
    device.set(percent=40)
    with make() as sync:
        sync.queue_for_sync("normal")
        until(lambda: target.contents == ["normal"], "what may go")
        sync.queue_for_sync("low", "low")
        sync.queue_for_sync("high", "high")
        until(lambda: target.contents == ["normal", "high"], "what may go")
        settled(device)
        device.plug_in()
        device.clock.advance(10)
        until(lambda: "low" in target.contents, "the charger")
    sync.queue_for_sync("unsent")
    assert "unsent" not in target.contents


def test_it_tries_again_by_itself(make: Make, target: Receiver, device: FakeDevice) -> None:
    with make() as sync:
        target.behave = down
        sync.queue_for_sync(1)
        until(lambda: sync.stats().failures == 1, "the failure")
        settled(device)
        target.behave = delivered
        later(device)
        until(lambda: target.contents == [1], "the end of the pause")
        target.behave = lambda items: [
            Outcome("delivered" if item.data == 2 else "later") for item in items
        ]
        sync.queue_many_for_sync([2, 3])
        until(lambda: target.contents == [1, 2], "the first one")
        settled(device)
        assert sync.stats().paused_until_s is None
        target.behave = delivered
        later(device)
        until(lambda: target.contents == [1, 2, 3], "the end of the wait")


def test_threads_that_start_it_at_once_start_one(
    make: Make, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    both = threading.Event()
    open_watch = device.open_watch

    def slowly(rules: Any) -> Any:
        opened.append(rules)
        if len(opened) > 1:
            both.set()
        both.wait(0.3)
        return open_watch(rules)

    sync = make()
    monkeypatch.setattr(device, "open_watch", slowly)
    threads = [threading.Thread(target=sync.start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_what_keeps_it_from_sending_is_said_once(
    make: Make, target: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = make()
    sync.queue_for_sync(1)
    waits_s: list[float] = []
    tell = Trouble.tell

    def at_once(trouble: Trouble, error: Exception) -> float:
        waits_s.append(tell(trouble, error))
        return 0.001

    def results(*args: Any) -> Iterator[Any]:
        if len(waits_s) < 4:
            raise StoreError("the disk is full")
        return whole(*args)

    whole = sync._results
    monkeypatch.setattr(Trouble, "tell", at_once)
    monkeypatch.setattr(sync, "_results", results)
    with sync:
        until(lambda: "sync: goes on" in caplog.messages, "the end of the trouble")
    assert target.contents == [1]
    assert waits_s == [0.5, 1, 2, 4]
    assert caplog.messages == [
        "sync: the disk is full; nothing is sent until that is over",
        "sync: goes on",
    ]


def test_it_sends_what_another_manager_of_the_file_queues(make: Make, target: Receiver) -> None:
    with make():
        make().queue_for_sync(1)
        until(lambda: target.contents == [1], "what was queued elsewhere")


def test_in_memory_it_sends_by_itself_too(make: Make, target: Receiver) -> None:
    with make(path=None) as sync:
        sync.queue_for_sync(1)
        until(lambda: target.contents == [1], "what was queued")


@pytest.mark.parametrize("path", [None, "sync.db"], ids=["in memory", "in a file"])
def test_waiting_until_all_is_sent(
    make: Make, target: Receiver, device: FakeDevice, tmp_path: Path, path: str | None
) -> None:
    device.set(percent=40)
    sync = make(path=path and tmp_path / path)
    assert sync.wait(), "nothing is queued"
    sync.queue_for_sync("low", "low")
    with pytest.raises(ConfigError, match=r"nothing sends by itself .* call start\(\) first"):
        sync.wait()
    with pytest.raises(ConfigError, match=r"call start\(\) first"):
        asyncio.run(sync.wait_async())
    with sync:
        sync.queue_for_sync("normal")
        assert not sync.wait(0.01)
        assert not asyncio.run(sync.wait_async(0.01))
        found: list[bool] = []
        waits = [
            threading.Thread(target=lambda: found.append(sync.wait(PATIENCE_S))),
            threading.Thread(target=lambda: found.append(asyncio.run(sync.wait_async(PATIENCE_S)))),
        ]
        for wait in waits:
            wait.start()
        until(lambda: target.contents == ["normal"], "what may go")
        settled(device)
        device.plug_in()
        device.clock.advance(10)
        for wait in waits:
            wait.join(PATIENCE_S)
        assert (found, target.contents) == ([True, True], ["normal", "low"])


def test_a_wait_ends_when_sending_does_and_dead_items_are_not_waited_for(
    make: Make, target: Receiver, device: FakeDevice
) -> None:
    target.behave = lambda items: [Outcome("refused", "never")] * len(items)
    with make() as sync:
        sync.queue_for_sync("dead")
        assert sync.wait(PATIENCE_S)
        assert sync.stats().dead == 1
        target.behave = down
        sync.queue_for_sync("unsent")
        found: list[bool] = []
        wait = threading.Thread(target=lambda: found.append(sync.wait(PATIENCE_S)))
        wait.start()
        until(lambda: sync._waiting._calls, "the wait")
    wait.join(PATIENCE_S)
    assert found == [False]


def test_what_another_manager_of_the_file_sends_ends_a_wait(
    make: Make, target: Receiver, device: FakeDevice
) -> None:
    device.set(percent=20)
    with make() as sync:
        sync.queue_for_sync(1)
        found: list[bool] = []
        wait = threading.Thread(target=lambda: found.append(sync.wait(PATIENCE_S)))
        wait.start()
        until(lambda: sync._waiting._calls, "the wait")
        make().process_sync_queue(90, True)
        wait.join(PATIENCE_S)
    assert (found, target.contents) == ([True], [1])


def test_an_event_loop_is_not_held_up(make: Make, device: FakeDevice) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Any] = asyncio.Queue()

        async def receive(data: Any) -> None:
            assert asyncio.get_running_loop() is loop
            await arrived.put((data, threading.get_ident()))

        sync = make(target=receive)
        await sync.queue_for_sync_async({"n": 1})
        (result,) = await sync.process_sync_queue_async()
        assert result.status == "synced"
        async with sync:
            await sync.queue_for_sync_async({"n": 2})
            got = [await asyncio.wait_for(arrived.get(), PATIENCE_S) for _ in range(2)]
        assert got == [({"n": 1}, threading.get_ident()), ({"n": 2}, threading.get_ident())]

    asyncio.run(main())


def test_cancelling_what_is_around_it_stops_it_in_order(make: Make, target: Receiver) -> None:
    closed = threading.Event()
    sync = make()

    async def close() -> None:
        closed.set()

    async def body(entered: asyncio.Event) -> None:
        async with sync:
            entered.set()
            await asyncio.sleep(3600)

    async def program() -> None:
        entered = asyncio.Event()
        around = asyncio.create_task(body(entered))
        await entered.wait()
        around.cancel()
        await asyncio.sleep(0)
        around.cancel()  # impatiently, while it stops
        with pytest.raises(asyncio.CancelledError):
            await around
        assert closed.is_set()

    target.close_async = close  # type: ignore[method-assign]
    asyncio.run(program())


def test_cancelling_it_while_it_starts_leaves_nothing_running(make: Make) -> None:
    sync = make()

    async def body() -> None:
        async with sync:
            raise AssertionError("it was cancelled before")

    async def program() -> None:
        around = asyncio.create_task(body())
        await asyncio.sleep(0)  # its thread is about to start
        around.cancel()
        with pytest.raises(asyncio.CancelledError):
            await around

    asyncio.run(program())
    assert sync._service is None
    assert "deferpower-sync" not in {thread.name for thread in threading.enumerate()}


def test_threads_send_together_and_nothing_goes_twice(make: Make) -> None:
    target = Receiver(max_items=10)
    sync = make(target=target)
    sync.queue_many_for_sync(range(500))
    threads = [threading.Thread(target=sync.process_sync_queue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(target.contents) == list(range(500))


HOLDER = """
import sys, time
from deferpower import BackgroundSyncManager
from deferpower.testing import FakeDevice
def hold(data):
    print("holds it", flush=True)
    time.sleep(600)
sync = BackgroundSyncManager(hold, sys.argv[1], device=FakeDevice())
sync.queue_for_sync(1)
sync.process_sync_queue()
"""

SLOW_DISK = """
import sys, time
import apsw
usual = apsw.vfs_names()[0]
class File(apsw.VFSFile):
    def xSync(self, flags):
        time.sleep(0.15)
        return super().xSync(flags)
class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("slow", usual, makedefault=True)
    def xOpen(self, name, flags):
        return File(usual, name, flags)
disk = Disk()
from deferpower import BackgroundSyncManager
from deferpower.testing import FakeDevice
sync = BackgroundSyncManager(print, sys.argv[1], device=FakeDevice())
print("open", flush=True)
sys.stdin.readline()
sync.queue_for_sync(1)
sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts another program on the file, and returns once it has said something."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", program, str(tmp_path / "sync.db")]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_dead_process_was_sending_is_sent_though_nothing_else_waits(
    make: Make,
    target: Receiver,
    device: FakeDevice,
    other: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    holder = other(HOLDER)
    with make() as sync:
        assert (sync.stats().sending, sync.stats().pending) == (1, 1)
        settled(device)
        holder.kill()
        holder.wait()
        later(device)
        until(lambda: target.contents == [1], "what the dead one held")


def test_what_is_queued_on_a_slow_disk_is_seen_when_it_is_durable(
    make: Make,
    target: Receiver,
    device: FakeDevice,
    other: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    slow = other(SLOW_DISK)
    with make():
        settled(device)
        assert slow.stdin is not None
        slow.stdin.write(b"\n")
        slow.stdin.flush()
        until(lambda: target.contents == [1], "what was queued there")
