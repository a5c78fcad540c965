"""What a task says of itself is shown as text: it never steers the terminal or breaks a command."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deferpower import BackgroundTaskManager
from deferpower.testing import FakeDevice, run_until_idle

ESCAPES = "\x1b[2J\x1b]0;mine\x07\x9b31m\r\x08\x00"
PATIENCE_S = 60.0
SHOWING = (
    ("list",),
    ("show", "1"),
    ("show", "2"),
    ("why", "1"),
    ("why", "2"),
    ("why",),
    ("cancel", "1"),
    ("list", "--json"),
    ("show", "1", "--json"),
    ("worker", "--once", "--plain"),
)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue whose tasks say the worst wherever they may say something."""
    path = tmp_path_factory.mktemp("queue") / "queue.db"
    logging.disable()
    with_it = f"ä {ESCAPES}\nsecond {ESCAPES}"

    def work(*args: object, **kwargs: object) -> None:
        raise ValueError(with_it)

    manager = BackgroundTaskManager(path, device=FakeDevice())
    try:
        function = manager.task(
            work, name=f"../../{with_it}", description=with_it, max_attempts=1, type=with_it
        )
        manager.submit(function, [with_it], {"a": with_it}, key=with_it, metadata={"m": with_it})
        run_until_idle(manager)
        manager.submit_command(["/bin/echo", ESCAPES.replace("\0", ""), "\udcff"], delay_s=3600)
    finally:
        manager.close()
        logging.disable(logging.NOTSET)
    return path


def run(queue: Path, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "deferpower", *words],
        env={**os.environ, "DEFERPOWER_QUEUE": str(queue), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_control_character_reaches_the_terminal(
    queue: Path, words: tuple[str, ...], encoding: str
) -> None:
    done = run(queue, *words, PYTHONIOENCODING=encoding)
    written = done.stdout + done.stderr
    assert done.returncode in (0, 1), written.decode()
    assert b"Traceback (most recent call last):\n  File" not in done.stderr
    for character in written.decode():
        assert character == "\n" or not (ord(character) < 32 or 127 <= ord(character) < 160)


@pytest.mark.parametrize("words", [("list", "--json"), ("--help",), ("policy", "show")])
def test_output_that_finds_no_room_is_an_error_in_one_line(
    queue: Path, words: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deferpower", *words],
            env={**os.environ, "DEFERPOWER_QUEUE": str(queue)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("deferpower: ")
    assert "No space left on device" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEFERPOWER_BACKEND", "junk"),
        ("DEFERPOWER_ROOT", "/nonexistent"),
        ("DEFERPOWER_QUEUE", "relative.db"),
        ("DEFERPOWER_QUEUE", "/dev/null"),
        ("COLUMNS", "junk"),
        ("COLUMNS", "-5"),
        ("TZ", "junk"),
        ("TERM", "dumb"),
        ("NO_COLOR", "\x1b"),
        ("HOME", "/nonexistent"),
        ("XDG_DATA_HOME", "relative"),
        ("LC_ALL", "junk"),
        ("PYTHONUTF8", "0"),
    ],
)
@pytest.mark.parametrize("words", [("list",), ("status",)], ids=" ".join)
def test_junk_in_the_environment_costs_one_line_at_most(
    queue: Path, words: tuple[str, ...], name: str, value: str
) -> None:
    done = run(queue, *words, **{name: value})
    lines = done.stderr.decode().splitlines()
    assert done.returncode in (0, 1, 2)
    # A queue that is not there yet is no error, and costs a line that says how to make it.
    is_hint = words == ("list",) and value == "relative.db"
    assert len(lines) == (done.returncode != 0 or is_hint), lines
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptors_harm_no_queue(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """What is opened first takes their numbers; nothing may be written there by mistake."""
    queue = tmp_path / "queue.db"
    shut = " ".join(f"{number}>&-" for number in closed)
    command = f'"$0" -m deferpower submit --queue "$1" -- /bin/echo hello {shut}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, str(queue)],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    manager = BackgroundTaskManager(queue, device=FakeDevice())
    try:
        assert [task.kwargs["argv"] for task in manager.list()] == [["/bin/echo", "hello"]]
    finally:
        manager.close()
