"""What every target of `deferpower.sync` does alike, whatever it sends to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from deferpower import sync
from deferpower.sync import CallableTarget, HttpTarget, ObjectTarget, Target
from sync.conftest import some
from sync.server import Server

Maker = Callable[[Server, Path], Target]

# A new target is entered here; what it is asked to do for all the others it is asked, too.
MAKERS: dict[type, Maker] = {
    CallableTarget: lambda server, directory: CallableTarget(lambda data: data),
    HttpTarget: lambda server, directory: HttpTarget(server.url.replace("://", "://u:s3cret@")),
    ObjectTarget: lambda server, directory: ObjectTarget(directory.as_uri()),
}


@pytest.fixture(params=MAKERS.values(), ids=[kind.__name__ for kind in MAKERS])
def target(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Target:
    make: Maker = request.param
    return make(server, tmp_path)


def test_every_target_is_tried_here() -> None:
    public = [getattr(sync, name) for name in sync.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and hasattr(kind, "send_async")}
    assert kinds - {Target} == set(MAKERS)


def test_it_has_the_face_of_a_target(target: Target) -> None:
    assert isinstance(target, Target)
    assert target.name
    assert "s3cret" not in target.name
    assert target.limits.max_items >= 1
    assert target.limits.max_bytes >= 1
    target.close()


def test_each_item_has_its_outcome_in_both_ways(target: Target) -> None:
    items = some(min(3, target.limits.max_items))
    assert [outcome.status for outcome in target.send(items)] == ["delivered"] * len(items)
    target.close()

    async def use() -> list[str]:
        outcomes = await target.send_async(items)
        await target.close_async()
        return [outcome.status for outcome in outcomes]

    assert asyncio.run(use()) == ["delivered"] * len(items)


def test_a_closed_target_opens_again(target: Target) -> None:
    target.close()
    assert [outcome.status for outcome in target.send(some(1))] == ["delivered"]
    target.close()
    target.close()
