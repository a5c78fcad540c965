"""Functions as targets, the values that cross the seam, and halving."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deferpower.errors import ConfigError, TargetError
from deferpower.sync import (
    BatchRefused,
    CallableTarget,
    HttpTarget,
    ItemRefused,
    Limits,
    ObjectTarget,
    Outcome,
    SyncItem,
    Target,
    TargetUnavailable,
    as_target,
    deliver,
    deliver_async,
)
from deferpower.sync.delivery import batches
from deferpower.sync.target import encoded
from sync.conftest import item, some


class Program:
    """A function of one item, plain or async, that does as its data says."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.thread: threading.Thread | None = None

    def plain(self, data: Any) -> Any:
        self.thread = threading.current_thread()
        self.seen.append(data)
        if isinstance(data, dict):
            match data.get("do"):
                case "fail":
                    raise RuntimeError("broken")
                case "refuse":
                    raise ItemRefused("never")
                case "away":
                    raise ConnectionResetError("gone")
                case "pause":
                    raise TargetUnavailable("not now", retry_after_s=5)
                case "outcome":
                    return Outcome("later", "busy", 3)
        return ("done", data)

    async def asynchronous(self, data: Any) -> Any:
        await asyncio.sleep(0)
        return self.plain(data)

    def all_at_once(self, batch: list[Any]) -> Any:
        for data in batch:
            self.plain(data)
        return "all done"

    async def all_at_once_async(self, batch: list[Any]) -> Any:
        await asyncio.sleep(0)
        return self.all_at_once(batch)


@pytest.fixture
def program() -> Program:
    return Program()


class Way:
    """One of the four ways from a form of function to a form of sending."""

    def __init__(self, program: Program, is_async: bool, awaits: bool) -> None:
        self._one = program.asynchronous if is_async else program.plain
        self._many = program.all_at_once_async if is_async else program.all_at_once
        self._awaits = awaits

    def send(self, items: Sequence[SyncItem], max_items: int | None = None) -> Sequence[Outcome]:
        function = self._one if max_items is None else self._many
        target = CallableTarget(function, max_items=max_items)
        if not self._awaits:
            try:
                return target.send(items)
            finally:
                target.close()

        async def use() -> Sequence[Outcome]:
            try:
                return await target.send_async(items)
            finally:
                await target.close_async()

        return asyncio.run(use())


@pytest.fixture(params=["send", "send_async"])
def ways(request: pytest.FixtureRequest, program: Program) -> list[Way]:
    awaits = request.param == "send_async"
    return [Way(program, False, awaits), Way(program, True, awaits)]


def test_what_a_function_returns_is_the_result(program: Program, ways: list[Way]) -> None:
    for way in ways:
        outcomes = way.send([item(0, {"a": 1}), item(1, b"\xff"), item(2, {"do": "outcome"})])
        assert outcomes == [
            Outcome("delivered", result=("done", {"a": 1})),
            Outcome("delivered", result=("done", b"\xff")),
            Outcome("later", "busy", 3),
        ]


def test_an_exception_is_a_failure_of_its_item(ways: list[Way]) -> None:
    for way in ways:
        outcomes = way.send([item(0, {"do": "fail"}), item(1, {"do": "refuse"}), item(2)])
        assert outcomes[0] == Outcome("later", "RuntimeError: broken")
        assert outcomes[1] == Outcome("refused", "never")
        assert outcomes[2].status == "delivered"


def test_a_target_out_of_reach_ends_the_batch(program: Program, ways: list[Way]) -> None:
    for way in ways:
        with pytest.raises(TargetUnavailable, match="not now") as raised:
            way.send([item(0, {"do": "pause"}), item(1)])
        assert raised.value.retry_after_s == 5
        with pytest.raises(TargetUnavailable, match="gone") as raised:
            way.send([item(0, {"do": "away"}), item(1)])
        assert raised.value.maybe_delivered


def test_what_was_delivered_before_is_not_lost(program: Program, ways: list[Way]) -> None:
    for way in ways:
        program.seen.clear()
        outcomes = way.send([item(0), item(1, {"do": "pause"}), item(2)])
        assert [outcome.status for outcome in outcomes] == ["delivered", "later", "later"]
        assert outcomes[2].retry_after_s == 5
        assert len(program.seen) == 2


def test_lists(program: Program, ways: list[Way]) -> None:
    for way in ways:
        assert way.send(some(2), max_items=10) == [Outcome("delivered", result="all done")] * 2
        with pytest.raises(BatchRefused, match="broken"):
            way.send([item(0), item(1, {"do": "fail"})], max_items=10)
        assert way.send([item(1, {"do": "fail"})], 10) == [Outcome("later", "RuntimeError: broken")]
        assert way.send([item(1, {"do": "refuse"})], max_items=10) == [Outcome("refused", "never")]
        with pytest.raises(TargetUnavailable):
            way.send([item(0), item(1, {"do": "away"})], max_items=10)


def test_a_function_of_lists_may_tell_them_apart() -> None:
    told = [Outcome("delivered"), Outcome("refused", "no")]
    target = CallableTarget(lambda batch: told, max_items=5)
    assert target.send(some(2)) == told
    with pytest.raises(TargetError, match="2 outcomes for 3 items"):
        list(deliver(target, some(3)))


def test_a_plain_function_does_not_hold_up_the_loop(program: Program) -> None:
    Way(program, False, awaits=True).send(some(1))
    assert program.thread is not threading.main_thread()
    Way(program, False, awaits=False).send(some(1))
    assert program.thread is threading.main_thread()


def test_an_instance_may_be_async() -> None:
    class Sender:
        async def __call__(self, data: Any) -> str:
            return "sent"

    target = CallableTarget(Sender())
    assert target.send(some(1)) == [Outcome("delivered", result="sent")]
    assert target.name == "Sender"
    target.close()


# Halving.


def test_the_one_to_blame_is_found(program: Program) -> None:
    items = [item(n, {"do": "refuse"}) if n == 13 else item(n) for n in range(64)]
    target = CallableTarget(program.all_at_once, max_items=64)

    async def use() -> list[Any]:
        return [pair async for part in deliver_async(target, items) for pair in part]

    for told in ([pair for part in deliver(target, items) for pair in part], asyncio.run(use())):
        assert [told_of for told_of, _ in told] == items
        assert [o.status for _, o in told] == ["delivered"] * 13 + ["refused"] + ["delivered"] * 50


def test_what_is_known_is_given_before_the_target_goes_away(program: Program) -> None:
    items = [item(n, {"do": "away"}) if n == 5 else item(n) for n in range(8)]
    parts = deliver(CallableTarget(program.all_at_once, max_items=2), items)
    assert [len(next(parts)), len(next(parts))] == [2, 2]
    with pytest.raises(TargetUnavailable):
        next(parts)


def test_batches_keep_to_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = SyncItem("f", path)
    small, large = item(1, "xx"), item(2, "x" * 50)
    items = [small, small, small, large, small, file, small]
    cut = list(batches(items, Limits(2, 20)))
    assert cut == [[small, small], [small], [large], [small], [file], [small]]
    assert list(batches([], Limits(2, 20))) == []


# The values.


@pytest.mark.parametrize(
    "data", [None, True, 1, 1.5, "ä\ud800", [1, [2]], {"a": {"b": None}}, {}, 10**40]
)
def test_json_comes_back(data: Any) -> None:
    content, content_type = encoded(data)
    sent = SyncItem("k", content, content_type)
    assert sent.data == data
    assert sent.size_bytes == len(sent.body)


@pytest.mark.parametrize("data", [b"\x00\xff", bytearray(b"x"), memoryview(b"y")])
def test_bytes_come_back(data: Any) -> None:
    sent = SyncItem("k", *encoded(data))
    assert sent.data == bytes(data)


def test_a_file_is_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text('{"a": "ä"}')
    assert SyncItem("k", path).data == {"a": "ä"}
    assert SyncItem("k", path, "text/plain").data == path.read_bytes()
    assert SyncItem("k", path).size_bytes == 11


def circular() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize("data", [{1, 2}, object(), float("nan"), {("a",): 1}, circular()])
def test_data_that_is_not_json(data: Any) -> None:
    with pytest.raises(ConfigError, match=f"JSON value or bytes, not {type(data).__name__}"):
        encoded(data)


def test_what_stands_for_a_target(tmp_path: Path) -> None:
    assert isinstance(as_target(print), CallableTarget)
    assert isinstance(as_target("HTTPS://example.org/inbox"), HttpTarget)
    directory = as_target(tmp_path.as_uri() + "/new")
    assert isinstance(directory, ObjectTarget)
    assert as_target(directory) is directory
    for target in (directory, as_target(print), as_target("https://example.org")):
        assert isinstance(target, Target)
    with pytest.raises(ConfigError, match="must begin with https://"):
        as_target("example.org")
    with pytest.raises(ConfigError, match="not 5"):
        as_target(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_items"):
        CallableTarget(print, max_items=0)


def test_nothing_heavy_is_imported_early() -> None:
    code = (
        "import sys, deferpower.sync as sync; from deferpower.sync import *\n"
        "assert sync.deliver and sync.HttpTarget and sync.ObjectTarget\n"
        "print({'httpx2', 'httpcore2', 'anyio', 'obstore'} & {*sys.modules})\n"
        "sync.CallableTarget(print)\n"
        "import deferpower.sync.http, deferpower.sync.objects\n"
        "print({'httpx2', 'httpcore2', 'anyio', 'obstore'} & {*sys.modules})"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == "set()\nset()\n"


@pytest.mark.parametrize(
    ("url", "extra"), [("https://example.org", "http"), ("memory://", "objects")]
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, url: str, extra: str) -> None:
    for name in ("httpx2", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"pip install 'deferpower\[{extra}\]'"):
        as_target(url)
