"""Signals to ``deferpower run``, SIGKILL included: what they do, and that nothing is left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cli.conftest import Start
from cli.support import Laptop, children_of, command_line, group_states, guard_of, is_alive
from waiting import until

FROM_40_TO_60 = ("--battery-above", "50", "--poll", "0.05", "--json")

FAMILY = """
echo $$ >> {pids}
sh -c 'echo $$ >> {pids}; sleep 1000; :' &
setsid sh -c 'echo $$ >> {pids}; trap "" TERM HUP INT; sleep 1000; :' &
env -i sh -c 'echo $$ >> {pids}; sleep 1000; :' &
wait
"""
"""A command with a child, one in a session of its own, and one without its environment."""


class Family:
    """The processes of such a command."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "pids"
        self.script = FAMILY.format(pids=self.path)

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in self.path.read_text().split()] if self.path.exists() else []

    def wait_for_birth(self, count: int = 4) -> None:
        until(lambda: len(self.pids) == count, "the family")

    def wait_for_death(self) -> None:
        # Their groups too: the sleeps have not told their numbers.
        until(
            lambda: not any(is_alive(pid) or group_states(pid) for pid in self.pids),
            f"the end of {self.pids}",
        )


@pytest.fixture
def backend_name() -> str:
    """One is enough: signals do not depend on who reads the sensors."""
    return os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")[0]


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


def test_killed_while_it_waits(start: Start) -> None:
    run = start("run", *FROM_40_TO_60, "--", "sleep", "1000")
    run.event("waiting")
    children = children_of(run.process.pid)
    run.process.kill()
    run.process.wait()
    assert not any(map(is_alive, children))


def test_killed_while_the_command_runs(laptop: Laptop, start: Start, family: Family) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", family.script)
    run.event("started")
    family.wait_for_birth()
    guard = guard_of(run.process.pid)
    run.process.kill()
    family.wait_for_death()
    until(lambda: not is_alive(guard), "the end of the guard")


def test_killed_while_the_command_is_frozen(laptop: Laptop, start: Start, family: Family) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", family.script)
    family.wait_for_birth()
    laptop.charge(40)
    run.event("paused")
    run.process.kill()
    family.wait_for_death()


@pytest.mark.parametrize("delay", range(12))
def test_killed_around_the_start(laptop: Laptop, start: Start, family: Family, delay: int) -> None:
    """Killed within the milliseconds in which guard and command come into being."""
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", family.script)
    run.wait_until(lambda: children_of(run.process.pid), "the guard")
    guard = children_of(run.process.pid)[0]
    time.sleep(delay * 0.0005)
    run.process.kill()
    run.process.wait()
    # Only then is the guard at work; nothing that it left may show up later.
    until(lambda: not is_alive(guard), "the end of the guard")
    family.wait_for_death()


def test_the_guard_goes_when_the_command_has_ended(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sleep", "1000")
    pid = run.event("started")["pid"]
    guard = guard_of(run.process.pid)
    os.kill(pid, signal.SIGTERM)
    assert run.end() == 143
    assert not is_alive(guard)


def test_what_a_command_leaves_in_the_background_stays(
    laptop: Laptop, start: Start, tmp_path: Path
) -> None:
    """As a shell would have it: only the death of deferpower sweeps."""
    laptop.charge(60)
    child = tmp_path / "child"
    run = start("run", "--", "sh", "-c", f"sleep 1000 & echo $! > {child}")
    assert run.end() == 0
    pid = int(child.read_text())
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_it_runs_on_without_its_guard(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", "sleep 0.5; exit 7")
    run.event("started")
    os.kill(guard_of(run.process.pid), signal.SIGKILL)
    assert run.end() == 7


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_waits(start: Start, tmp_path: Path, signum: signal.Signals) -> None:
    ran = tmp_path / "ran"
    run = start("run", *FROM_40_TO_60, "--", "touch", str(ran))
    run.event("waiting")
    run.process.send_signal(signum)
    assert run.end() == 128 + signum
    assert run.event("cancelled")["signal"] == signum.name
    assert not ran.exists()


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_reaches_the_command(
    laptop: Laptop, start: Start, signum: signal.Signals, frozen: bool
) -> None:
    laptop.charge(60)
    name = signum.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", script)
    run.wait_until(lambda: run.out == "ready\n", "the command")
    if frozen:
        laptop.charge(40)
        run.event("paused")
    run.process.send_signal(signum)
    assert run.end() == 9
    assert run.out == f"ready\ngot {name}\n"


def test_a_command_that_was_asked_to_end_is_not_frozen_again(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    script = "trap 'sleep 1; echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", script)
    run.wait_until(lambda: run.out == "ready\n", "the command")
    laptop.charge(40)
    run.event("paused")
    run.process.terminate()
    assert run.end() == 0
    assert run.out == "ready\ncleaned\n"
    assert len(run.events("paused")) == 1


def test_other_signals_are_passed_on(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    script = "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", script)
    run.wait_until(lambda: run.out == "ready\n", "the command")
    run.process.send_signal(signal.SIGUSR1)
    run.wait_until(lambda: run.out == "ready\nusr1\n", "its answer")


def test_a_run_within_a_run(laptop: Laptop, start: Start, family: Family) -> None:
    """The outer one dies: so does the inner one, its command, and what that one let go."""
    laptop.charge(60)
    orphan = f"(setsid sh -c 'echo $$ >> {family.path}; sleep 1000; :' &)"
    inner = command_line(["run", "--", "sh", "-c", orphan + family.script])
    run = start("run", *FROM_40_TO_60, "--", *inner)
    run.event("started")
    family.wait_for_birth(5)
    run.process.kill()
    family.wait_for_death()


def test_killed_with_a_descendant_that_hides(laptop: Laptop, start: Start, tmp_path: Path) -> None:
    """In a session of its own and with an empty environment, but with a parent that is not."""
    laptop.charge(60)
    pid_file = tmp_path / "pid"
    script = f"setsid env -i sh -c 'echo $$ > {pid_file}; sleep 1000; :' & wait"
    run = start("run", "--", "sh", "-c", script)
    until(lambda: pid_file.exists() and pid_file.read_text(), "the descendant")
    run.process.kill()
    until(lambda: not is_alive(int(pid_file.read_text())), "its end")
