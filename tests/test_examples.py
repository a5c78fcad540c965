"""Every example, run as its reader would run it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import deferpower
from cli.support import Laptop
from sync.server import Server
from waiting import until

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PACKAGE = Path(deferpower.__file__).parent


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "device", plugged=False, level=60)


@pytest.fixture
def environment(laptop: Laptop, backend_name: str, tmp_path: Path) -> dict[str, str]:
    """As a reader's, with deferpower on the PATH and the laptop as the machine."""
    on_path = tmp_path / "bin"
    on_path.mkdir()
    command = on_path / "deferpower"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m deferpower "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{on_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(PACKAGE.parent),
        "DEFERPOWER_ROOT": str(laptop.root),
        "DEFERPOWER_BACKEND": backend_name,
        "DEFERPOWER_QUEUE": str(tmp_path / "queue.db"),
        "PYTHONFAULTHANDLER": "1",
    }


class Agent:
    """The agent as a process, and what it has said."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(EXAMPLES / "agent.py"), *words],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_until_it_says(self, pattern: str) -> re.Match[str]:
        try:
            until(lambda: re.search(pattern, self.said), repr(pattern))
        except AssertionError:
            self.process.send_signal(signal.SIGABRT)  # it tells where it hangs
            self.process.wait()
            pytest.fail(f"never said {pattern!r}:\n{self.said}")
        match = re.search(pattern, self.said)
        assert match is not None
        return match

    @property
    def indexed(self) -> int:
        """How far it says that it has come."""
        found = re.findall(r"indexed (\d+) of", self.said)
        return int(found[-1]) if found else 0


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.process.kill()
        agent.process.wait()


def test_the_agent_indexes_this_repository_while_it_charges_and_goes_on_after_a_kill(
    laptop: Laptop, environment: dict[str, str], agents: list[Agent], tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    for part in (PACKAGE, ROOT / "rust", ROOT / "tests" / "backend"):
        shutil.copytree(
            part, folder / part.name, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    texts = {str(path) for path in folder.rglob("*") if path.suffix in {".py", ".rs"}}
    state = tmp_path / "state"
    words = [str(folder), str(state), "--rest", "1"]

    def start() -> Agent:
        agents.append(Agent(words, environment, tmp_path / f"agent{len(agents)}.log"))
        return agents[-1]

    agent = start()
    agent.wait_until_it_says("waiting: not charging")
    laptop.plug(True)
    agent.wait_until_it_says(r"indexed \d+ of")
    laptop.plug(False)
    agent.wait_until_it_says("stopping: not charging")
    agent.wait_until_it_says("stopped")
    reached = agent.indexed
    assert 0 < reached < len(texts)

    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait()
    agent = start()
    agent.wait_until_it_says("waiting: not charging")
    laptop.plug(True)
    agent.wait_until_it_says(r"indexed \d+ of")
    assert int(agent.wait_until_it_says(r"indexed (\d+) of")[1]) == reached + 20
    agent.process.send_signal(signal.SIGKILL)  # now in the middle of its work
    agent.process.wait()

    agent = start()
    assert agent.process.wait(90) == 0, agent.said
    assert f"done: {len(texts)} texts are indexed" in agent.said
    with sqlite3.connect(state / "index.db") as index:
        paths = [path for (path,) in index.execute("SELECT path FROM texts")]
    assert sorted(paths) == sorted(texts)

    found = subprocess.run(
        [sys.executable, str(EXAMPLES / "agent.py"), *words[:2], "--search", "quiet wait"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.count("\n") == 3
    assert "[quiet]" in found.stdout


def test_the_script_says_why_and_goes_on_when_it_is_run_again(
    laptop: Laptop, environment: dict[str, str], tmp_path: Path
) -> None:
    laptop.plug(True)
    words = [sys.executable, str(EXAMPLES / "script.py"), str(tmp_path / "script.db")]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines[:4]] == ["1", "2", "3", "4"]
    assert "it comes after task 1" in lines[3]
    assert lines[4] == "told of the pictures"


def test_the_control_loop_has_everything_done_beside_it(
    laptop: Laptop, environment: dict[str, str], tmp_path: Path
) -> None:
    laptop.charge(90)
    words = [sys.executable, str(EXAMPLES / "control_loop.py"), str(tmp_path / "state")]
    with Server() as server:
        words += ["--ticks", "1500", "--send-to", server.url]
        direct = {**environment, "NO_PROXY": "127.0.0.1"}
        ran = subprocess.run(words, env=direct, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("waiting: not charging")
    happened = dict(re.findall(r"^(\w+ \w+): (\d+)$", ran.stdout, re.M))
    assert happened["submitted tidy_up"] == "15"
    assert happened["submitted announce"] == "16"  # one of them before the loop began
    assert int(happened["succeeded announce"]) > 1
    assert int(happened["succeeded tidy_up"]) > 0
    assert "started learn" not in happened
    assert "\n1500 ticks\n" in ran.stdout
    assert len(server.received) > 1


def test_the_queue_of_the_command_line(
    laptop: Laptop, environment: dict[str, str], tmp_path: Path
) -> None:
    laptop.plug(True)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text("text")
    ran = subprocess.run(
        ["sh", str(EXAMPLES / "queue.sh"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert "it comes after task 1, which is still waiting" in ran.stdout
    assert re.search(r"^state +succeeded$", ran.stdout, re.M)
    assert ran.stdout.endswith("files in the archive: 7\n")  # and the folder itself


def test_no_example_is_forgotten() -> None:
    text = Path(__file__).read_text()
    for path in EXAMPLES.iterdir():
        assert f'"{path.name}"' in text, f"{path.name} is run by no test"
