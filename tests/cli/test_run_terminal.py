"""``deferpower run`` as a job of an interactive shell, on a terminal of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.support import Laptop, children_of, command_line, command_of, group_states, is_alive, state
from waiting import PATIENCE_S, until

# A shell that waits for one long sleep may get to its trap only after that.
LOOP = "while :; do sleep 0.05; done"
PROMPT = "ready> "
CTRL_C, CTRL_Z = "\x03", "\x1a"
LOGIN = "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def backend_name() -> str:
    """One is enough: terminals do not depend on who reads the sensors."""
    return os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")[0]


class Shell:
    """An interactive bash on a pseudo-terminal, with everything that it showed."""

    def __init__(self, env: dict[str, str], directory: Path) -> None:
        self._master, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (25, 80))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, "bash", "--norc", "--noprofile", "-i"],
            env={**os.environ, "TERM": "xterm", "PS1": PROMPT, **env},
            cwd=directory,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.shown = ""
        self.wait_for(PROMPT)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def run(self, *words: str, after: str = "") -> None:
        """Start deferpower in the foreground, and say its exit status when it has ended."""
        line = " ".join(f'"{word}"' for word in command_line(words))
        self.type(f"{line}{after}; echo status=$?\n")

    def wait_for(self, pattern: str) -> str:
        """Read until the pattern is shown, and return what matched."""
        self.wait_until(lambda: re.search(pattern, self.shown), pattern)
        match = re.search(pattern, self.shown)
        assert match is not None
        return match[0]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never came: {what}; shown: {self.shown!r}"
            if select.select([self._master], [], [], 0.01)[0]:
                self.shown += os.read(self._master, 4096).decode()

    def job(self) -> int:
        """The process id of deferpower."""
        self.wait_until(lambda: children_of(self.process.pid), "the job")
        return children_of(self.process.pid)[0]

    def stop_job(self) -> None:
        """Press Ctrl-Z, and wait until the shell takes commands: what is typed before may be lost
        while it changes the terminal's mode.
        """
        self.type(CTRL_Z)
        self.wait_for(f"(?s)Stopped.*{PROMPT}")

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._master)


@pytest.fixture
def shell(env: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(env, tmp_path)
    yield shell
    shell.hang_up()
    shell.process.kill()
    shell.process.wait()


CONDITION = ("run", "--battery-above", "50", "--poll", "0.05", "--")
WAITING = r"\rdeferpower: waiting since \d\d:\d\d - battery at 40 %, needs more than 50 %"


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    return {**env, "NO_COLOR": "1"}


def test_one_quiet_line(laptop: Laptop, shell: Shell) -> None:
    shell.run(*CONDITION, "echo", "working")
    shell.wait_for(WAITING)
    laptop.charge(41)
    shell.wait_for("battery at 41 %")
    laptop.charge(60)
    shell.wait_for("status=0")
    # Redrawn in place, once for each level, and cleared before the command begins.
    _, *drawn = shell.shown.split("\r" + "deferpower: ")
    assert 2 <= len(drawn) <= 3
    assert all("\n" not in line for line in drawn[:-1])
    assert "\r\x1b[Kworking\r\n" in drawn[-1]
    assert "\x1b[2m" not in shell.shown


def test_the_line_is_dimmed_where_colour_is_wanted(laptop: Laptop, shell: Shell) -> None:
    seen = len(shell.shown)
    shell.type("unset NO_COLOR\n")
    shell.wait_until(lambda: PROMPT in shell.shown[seen:], "the prompt")
    shell.run(*CONDITION, "true")
    shell.wait_for(r"\r\x1b\[2mdeferpower: waiting since [^\n]*\x1b\[0m")
    laptop.charge(60)
    shell.wait_for("status=0")


def test_ctrl_c_while_it_waits(shell: Shell, tmp_path: Path) -> None:
    shell.run(*CONDITION, "touch", "ran")
    shell.wait_for(WAITING)
    shell.type(CTRL_C)
    shell.wait_for("status=130")
    assert not (tmp_path / "ran").exists()


def test_ctrl_c_while_the_command_runs(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", f"trap 'echo int''errupted; exit 5' INT; echo go; {LOOP}")
    shell.wait_for("go\r\n")
    shell.type(CTRL_C)
    shell.wait_for("interrupted\r\n")
    shell.wait_for("status=5")


def test_ctrl_c_reaches_a_frozen_command(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; sleep 1000")
    shell.wait_for("go\r\n")
    laptop.charge(40)
    shell.wait_for("paused since")
    shell.type(CTRL_C)
    shell.wait_for("status=130")


def test_a_command_may_talk_with_the_user(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo na''me?; read x; echo he''llo \\$x")
    shell.wait_for("name[?]")
    laptop.charge(40)
    shell.wait_for("paused since")
    laptop.charge(60)
    shell.wait_for("paused since[^\n]*\r\x1b\\[K")
    shell.type("world\n")
    shell.wait_for("hello world\r\n")
    shell.wait_for("status=0")


def test_ctrl_z_and_fg_while_the_command_runs(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; read x; echo he''llo \\$x")
    shell.wait_for("go\r\n")
    job = shell.job()
    shell.stop_job()
    command = command_of(job)
    assert state(job) == "T"
    assert set(group_states(command).values()) == {"T"}
    shell.type("fg\n")
    until(lambda: set(group_states(command).values()) == {"S"}, "the command")
    shell.type("world\n")
    shell.wait_for("hello world\r\n")
    until(lambda: not is_alive(job), "the end")


def test_ctrl_z_and_fg_while_it_waits(laptop: Laptop, shell: Shell) -> None:
    shell.run(*CONDITION, "echo", "working")
    shell.wait_for(WAITING)
    job = shell.job()
    shell.stop_job()
    assert state(job) == "T"
    seen = len(shell.shown)
    shell.type("fg\n")
    shell.wait_until(lambda: re.search(WAITING, shell.shown[seen:]), "the line again")
    laptop.charge(60)
    shell.wait_for("working\r\n")


def test_ctrl_z_and_fg_while_the_command_is_frozen(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; read x; echo do''ne")
    shell.wait_for("go\r\n")
    laptop.charge(40)
    shell.wait_for("paused since")
    job = shell.job()
    shell.stop_job()
    seen = len(shell.shown)
    shell.type("fg\n")
    shell.wait_until(lambda: "paused since" in shell.shown[seen:], "the line again")
    command = command_of(job)
    assert set(group_states(command).values()) == {"T"}
    laptop.charge(60)
    shell.type("\n")
    shell.wait_for("done\r\n")


def test_in_a_pipeline_the_terminal_goes_where_it_is_needed(laptop: Laptop, shell: Shell) -> None:
    """The reader at the end keeps it, until the command asks for it."""
    laptop.charge(60)
    shell.run(
        *CONDITION, "sh", "-c", "echo go; read x < /dev/tty; echo he''llo \\$x", after=" | cat"
    )
    shell.wait_for("go\r\n")
    shell.type("world\n")
    shell.wait_for("hello world\r\n")
    shell.wait_for("status=0")


def test_ctrl_c_ends_a_pipeline(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; sleep 1000", after=" | cat")
    shell.wait_for("go\r\n")
    job = shell.job()
    command = command_of(job)
    shell.type(CTRL_C)
    until(lambda: not is_alive(job) and not group_states(command), "the end")


def test_in_the_background_nothing_is_drawn(laptop: Laptop, shell: Shell) -> None:
    shell.run(*CONDITION, "echo", "working", after=" & wait")
    shell.wait_for(r"\ndeferpower: waiting: battery at 40 %, needs more than 50 %\r\n")
    laptop.charge(60)
    shell.wait_for("working\r\n")
    assert "waiting since" not in shell.shown


def test_in_the_background_it_stops_when_the_command_wants_the_terminal(
    laptop: Laptop, shell: Shell
) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; read x; echo he''llo \\$x", after=" & set -b")
    shell.wait_for(f"(?s)status=0\r\n.*{PROMPT}")
    shell.wait_for("Stopped")
    command = command_of(shell.job())
    shell.type("fg\n")
    until(lambda: set(group_states(command).values()) == {"S"}, "the command")
    shell.type("world\n")
    shell.wait_for("hello world\r\n")


def test_the_line_starts_below_unfinished_output(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "printf un''finished; sleep 1000")
    shell.wait_for("unfinished")
    laptop.charge(40)
    shell.wait_for(r"unfinished {80}\r\rdeferpower: paused since")
    shell.type(CTRL_C)
    shell.wait_for("status=130")


def test_status_watch_redraws_in_place(shell: Shell) -> None:
    shell.run("status", "--watch", "0.1")
    shell.wait_for(r"\x1b\[Hpower +plugged in +no\x1b\[K\r\n")
    shell.wait_for(r"backend +\w+\x1b\[K\r\n\x1b\[J\x1b\[H")
    shell.type(CTRL_C)
    shell.wait_for("status=0")


def test_nothing_is_left_when_the_terminal_closes(laptop: Laptop, shell: Shell) -> None:
    laptop.charge(60)
    shell.run(*CONDITION, "sh", "-c", "echo go; sleep 1000")
    shell.wait_for("go\r\n")
    job = shell.job()
    command = command_of(job)
    shell.hang_up()
    until(lambda: not is_alive(job) and not group_states(command), "the end")
