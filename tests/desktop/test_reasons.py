"""What the desktop says, in the words of a decision."""

from __future__ import annotations

import pytest

from deferpower import Constraints
from deferpower.scheduler import decide
from deferpower.task import Task
from deferpower.types import Reading, User
from readings import a_reading


def sentence(asked: Constraints, reading: Reading) -> str:
    (reason,) = decide(Task(constraints=asked), reading, local_minute=0).reasons
    return reason.sentence


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, "not idle yet: quiet for 40 s of 60 s"),
        (User(12.2, True, "a"), "not idle: keyboard or mouse used 12 s ago, needs 60 s"),
        (User(None, True, "a.b"), "not idle: somebody is present by a.b"),
        (User(None, False, "a"), "not idle yet: quiet for 40 s of 60 s"),
        (User(500.0, False, "a"), "not idle yet: quiet for 40 s of 60 s"),
        (User(30.0, False, "a"), "not idle yet: quiet for 30 s of 60 s"),
    ],
)
def test_idle(user: User | None, expected: str) -> None:
    reading = a_reading(quiet_for_s=40.0, user=user)
    assert sentence(Constraints(idle=True), reading) == expected


UNKNOWN = "cannot tell whether the network is metered, which counts as metered"


@pytest.mark.parametrize(
    ("connected", "metered", "expected"),
    [
        (None, None, UNKNOWN),
        (True, None, UNKNOWN),
        (None, True, "the network is metered"),
        (True, True, "the network is metered"),
        (False, True, "no network connection"),
        (False, False, "no network connection"),
    ],
)
def test_unmetered(connected: bool | None, metered: bool | None, expected: str) -> None:
    reading = a_reading(connected=connected, metered=metered)
    assert sentence(Constraints(network="unmetered"), reading) == expected


def test_connected() -> None:
    asked = Constraints(network="connected")
    assert sentence(asked, a_reading(connected=False)) == "no network connection"
    for connected in (True, None):
        assert decide(
            Task(constraints=asked), a_reading(connected=connected), local_minute=0
        ).execute_now


def test_a_free_network_lets_work_run() -> None:
    task = Task(constraints=Constraints(network="unmetered"))
    assert decide(task, a_reading(connected=True, metered=False), local_minute=0).execute_now
