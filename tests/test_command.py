"""`Command`: a process group that can be frozen and thawed, and that leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.support import Gate, group_states, is_alive
from deferpower import TaskError
from deferpower.command import Command, CommandError
from waiting import until


def ended(command: Command) -> bool:
    command.poll()
    return command.exit_status is not None


def test_exit_statuses_are_a_shells() -> None:
    for script, status, killed_by in (
        ("exit 0", 0, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", 143, signal.SIGTERM),
    ):
        with Command(["sh", "-c", script]) as command:
            command.start()
            until(lambda: ended(command), "the end")
            assert (command.exit_status, command.killed_by) == (status, killed_by)


def test_freeze_and_thaw_take_the_whole_group(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"({gate.wait}) & wait"
    with Command(["sh", "-c", script]) as command:
        command.start()
        until(lambda: len(group_states(command.pid)) >= 2, "the child")
        command.freeze()
        assert command.frozen
        until(lambda: set(group_states(command.pid).values()) == {"T"}, "all stopped")
        command.poll()
        assert command.stopped_by == signal.SIGSTOP
        command.thaw()
        assert not command.frozen
        gate.open()
        until(lambda: ended(command), "the end")
        assert command.exit_status == 0


def test_leaving_the_block_ends_a_command_that_has_not_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        f"setsid sh -c 'trap \"\" TERM; echo $$ >> {pids}; sleep 1000; :' & echo $$ >> {pids}; wait"
    )
    with Command(["sh", "-c", script]) as command:
        command.start()
        until(lambda: pids.exists() and pids.read_text().count("\n") == 2, "both")
    assert command.exit_status == 128 + signal.SIGKILL
    assert not any(map(is_alive, map(int, pids.read_text().split())))


def test_a_frozen_command_can_be_swept_away() -> None:
    with Command(["sleep", "1000"]) as command:
        command.start()
        command.freeze()
        command.sweep()
        assert command.exit_status == 128 + signal.SIGKILL
        assert not command.frozen


def test_nothing_happens_to_a_command_that_has_ended() -> None:
    with Command(["true"]) as command:
        command.start()
        until(lambda: ended(command), "the end")
        command.freeze()
        command.thaw()
        command.send(signal.SIGKILL)
        command.poll()
        assert command.exit_status == 0
        assert not command.frozen


def test_stops_by_others_are_seen() -> None:
    with Command(["sleep", "1000"]) as command:
        command.start()
        os.kill(command.pid, signal.SIGTSTP)

        def stopped() -> int | None:
            command.poll()
            return command.stopped_by

        until(stopped, "the stop")
        assert stopped() == signal.SIGTSTP
        assert not command.frozen
        command.send(signal.SIGCONT)
        command.poll()
        assert command.stopped_by is None


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda path: None, 127, "no such file"),
        (lambda path: path.mkdir(), 126, "is a directory"),
        (lambda path: path.touch(0o644), 126, "is not executable"),
    ],
)
def test_a_program_is_looked_for_at_once(
    tmp_path: Path, make: Callable[[Path], object], status: int, said: str
) -> None:
    program = tmp_path / "program"
    make(program)
    with pytest.raises(CommandError, match=said) as caught:
        Command([str(program)])
    assert caught.value.exit_status == status
    assert isinstance(caught.value, TaskError)


def test_a_program_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that may be executed, behind one that may not."""
    for directory, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / directory).mkdir()
        program = tmp_path / directory / "deferred-work"
        program.write_text("#!/bin/sh\nexit 42\n")
        program.chmod(mode)
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b:{os.environ['PATH']}")
    with Command(["deferred-work"]) as command:
        command.start()
        until(lambda: ended(command), "the end")
        assert command.exit_status == 42
    monkeypatch.setenv("PATH", f"{tmp_path}/a")
    with pytest.raises(CommandError, match="is not executable") as caught:
        Command(["deferred-work"])
    assert caught.value.exit_status == 126
    monkeypatch.chdir(tmp_path / "b")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CommandError, match="not found"):
        Command(["no-such-work"])


def test_a_program_that_goes_while_it_is_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with Command([str(program)]) as command:
        program.unlink()
        with pytest.raises(CommandError, match="no such file") as caught:
            command.start()
    assert caught.value.exit_status == 127


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # what other tests left behind must not be let go of meanwhile
    before = descriptors()
    for _ in range(5):
        with Command(["true"]) as command:
            command.start()
            until(lambda: ended(command), "the end")
    until(lambda: descriptors() <= before, "no more descriptors than before")
