"""What the benches lean on: the floor under the store, and who is said to win."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benches.comparison")


@pytest.mark.parametrize("durability", ["fsync", "no fsync"])
@pytest.mark.parametrize("name", ["deferpower", "bare apsw", "bare sqlite3"])
def test_the_floor_does_what_the_store_does(name: str, durability: str, tmp_path: Path) -> None:
    """The bare contenders write the store's rows by statements of their own."""
    commands = [["submit", 3], ["submit_together", 5], ["drain", 8]]
    served = subprocess.run(
        [sys.executable, "-m", "benches.peers.serve", name, str(tmp_path), durability],
        cwd=ROOT,
        input="".join(json.dumps(command) + "\n" for command in commands),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in served.stdout.splitlines()]
    assert answers[0] == {"ready": True}
    assert [answer["returned"] for answer in answers[1:]] == [None, None, None]
    (file,) = tmp_path.glob("*.db")
    assert states(file) == [(3, 8)]


def states(file: Path) -> list[Any]:
    import apsw

    connection = apsw.Connection(str(file))
    try:
        return connection.execute("SELECT state, count(*) FROM tasks GROUP BY state").fetchall()
    finally:
        connection.close()


def test_a_peer_that_does_better_is_named(comparison: Any) -> None:
    costs = {"deferpower": [2.0, 4.0, 3.0], "floor": [1.0, 2.0, 1.0], "peer": [1.5, 3.0, 9.0]}
    one = comparison.Comparison(
        "a thing",
        costs,
        "{:g} s".format,
        [
            comparison.at_most(costs, "deferpower", "floor", 1.3),
            comparison.times_cheaper(costs, ["peer"], 0.5),
        ],
        frozenset({"floor"}),
    )
    assert one.winners == ["peer"]  # by rounds 0.75, 0.75 and 3
    text = comparison.verdict([one])
    assert "1 of 2 targets are met." in text
    assert "- a thing, deferpower: at most 1.3x floor: 2.00x" in text
    assert "- a thing: peer, 0.75x" in text
    assert "| a thing | deferpower | 3 s    | 2.5 s to 3.5 s |" in comparison.in_full([one])
    brief = comparison.in_brief([one])
    assert "| a thing | 3 s        | floor 0.50x, peer **0.75x** |" in brief


def test_nothing_is_a_multiple_of_nothing(comparison: Any) -> None:
    one = comparison.Comparison("wake-ups", {"deferpower": [0], "peer": [720]}, comparison.count)
    assert one.winners == []
    assert "peer 720" in comparison.in_brief([one])
