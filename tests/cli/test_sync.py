"""``deferpower sync``: files into the queue and out of it again."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.support import Laptop, command_line
from deferpower import cli
from waiting import PATIENCE_S


@pytest.fixture
def files(tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, on a laptop on battery at 40 %, with a queue that is not there."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(tmp_path / "queue.db"))
    directory = tmp_path / "files"
    directory.mkdir()
    monkeypatch.chdir(directory)
    (directory / "small").write_bytes(b"small\n")
    (directory / "large").write_bytes(os.urandom(200_000))
    return directory


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    def say(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(["sync", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return say


def contents(directory: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in directory.iterdir())


def test_files_are_sent_at_once_where_they_may(say: Any, files: Path, there: Path) -> None:
    assert say("push", "--to", there.as_uri(), "small", "large") == (
        0,
        "2 items queued\n2 items sent, 195.3 KiB\n",
        "",
    )
    assert contents(there) == sorted(path.read_bytes() for path in files.iterdir())


def test_low_priority_waits_for_the_charger(
    say: Any, files: Path, there: Path, laptop: Laptop
) -> None:
    to = ("--to", there.as_uri())
    status, out, _ = say("push", *to, "--priority", "low", "small")
    why = "low priority waits for the charger or 50 % (on battery, 40 %)"
    assert (status, out) == (0, f"1 item queued\n0 items sent, 0 B\n1 item left: {why}\n")
    assert say("flush", *to)[0] == 1
    (told,) = json.loads(say("status", "--json")[1])
    assert told["waiting"] == {"high": 0, "normal": 0, "low": 1}
    laptop.plug(True)
    assert say("flush", *to) == (0, "1 item sent, 6 B\n", "")
    assert contents(there) == [b"small\n"]


def test_a_key_replaces(say: Any, files: Path, there: Path) -> None:
    push = ("push", "--to", there.as_uri(), "--priority", "low", "--key", "k", "--json")
    first = json.loads(say(*push, "small")[1])
    second = json.loads(say(*push, "large")[1])
    assert second["queued"] == first["queued"]
    assert (second["pending"], second["pending_bytes"]) == (1, 200_000)


def test_a_server_that_is_down_is_told_of(say: Any, files: Path) -> None:
    to = ("--to", "http://user:hunter2-password@127.0.0.1:9/hook")
    status, out, err = say("push", *to, "small")
    assert (status, err) == (0, "")
    assert "1 item left\nhttp://127.0.0.1:9/… is tried again in " in out
    assert "last error: http://127.0.0.1:9/… cannot be reached" in out
    told = json.loads(say("flush", *to, "--now", "--json")[1])
    assert (told["failures"], told["pending"]) == (2, 1)
    # Another place on that server is another queue.
    assert json.loads(say("flush", "--to", "http://127.0.0.1:9/other", "--json")[1])["pending"] == 0
    status, out, _ = say("status")
    assert status == 0
    assert "hunter2" not in out


def test_dead_items_are_shown_replayed_and_discarded(
    say: Any, files: Path, there: Path, tmp_path: Path, laptop: Laptop
) -> None:
    to = ("--to", there.as_uri())
    assert say("push", *to, "--priority", "low", "large")[0] == 0
    assert say("dead")[1] == "no item is dead\n"
    (payload,) = (tmp_path / "queue.db-payloads").iterdir()
    kept = payload.read_bytes()
    payload.unlink()
    laptop.plug(True)
    status, out, _ = say("flush", *to)
    assert (status, "1 item dead; deferpower sync dead shows them" in out) == (1, True)
    (dead,) = json.loads(say("dead", "--json")[1])
    assert "cannot be read" in dead["error"]
    assert say("dead", "--discard", "999")[:2] == (1, "0 items discarded\n")
    payload.write_bytes(kept)
    assert say("replay", str(dead["item_id"]))[:2] == (0, "1 item replayed\n")
    assert say("flush", *to)[0] == 0
    assert contents(there) == [kept]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "sync: what of it? write deferpower sync and one of push, flush, status, dead, replay",
        ),
        (["pull"], "sync: 'pull' is no action; write deferpower sync and one of push"),
        (["push", "--to", "file:///x"], "sync push: which files?"),
        (["push", "small"], "where to? write --to URL"),
        (["push", "--to", "example.org", "small"], "the URL to sync to must begin with https://"),
        (["push", "--to", "file:///x", "small", "none"], "none: cannot be read: no such file"),
        (["push", "--to", "file:///x", "--priority", "urgent", "small"], "--priority: "),
        (["push", "--to", "file:///x", "--key", "k", "small", "large"], "--key names one file"),
        (["push", "--to", "file:///x", "--now", "small"], "sync push takes no --now"),
        (["dead", "seven"], "'seven' is no number of an item"),
        (["flush", "--to", "file:///x", "small"], "sync flush takes no files"),
    ],
)
def test_what_cannot_be_done(
    say: Any, files: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    status, out, err = say(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"deferpower: {said}")
    assert err.count("\n") == 1
    assert not (tmp_path / "queue.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("status", "nothing was ever queued\n"),
        ("dead", "no item is dead\n"),
        ("replay", "0 items replayed\n"),
        ("flush --to file:///there", "0 items sent, 0 B\n"),
    ],
)
def test_before_the_first_push_nothing_waits(
    say: Any, files: Path, tmp_path: Path, words: str, said: str
) -> None:
    status, out, err = say(*words.split())
    assert (status, out) == (0, said)
    path = tmp_path / "queue.db"
    assert err == f"deferpower: queue: no file '{path}' yet; deferpower sync push makes one\n"
    assert not path.exists()


@pytest.mark.parametrize(
    "words", ["status --queue none.db", "flush --to file:///x --queue none.db", "replay 7"]
)
def test_a_file_or_an_item_that_is_named_must_be_there(
    say: Any, files: Path, tmp_path: Path, words: str
) -> None:
    status, out, err = say(*words.split())
    assert (status, out) == (1, "")
    assert err.endswith("deferpower sync push makes one, --queue names another\n")
    assert err.count("\n") == 1
    assert list(tmp_path.glob("*.db")) == []


def test_standard_input_and_a_bar_of_bytes(files: Path, there: Path) -> None:
    """On a terminal, once it has taken long enough, which a few thousand flushed files do."""
    for number in range(1500):
        (files / f"file{number}").write_bytes(b"x" * 1000)
    leader, follower = pty.openpty()
    shown = b""
    try:
        done = subprocess.Popen(
            command_line(["sync", "push", "--to", there.as_uri(), "-", *map(str, files.iterdir())]),
            env={**os.environ, "TERM": "xterm"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=follower,
        )
        os.close(follower)
        assert done.stdin is not None
        done.stdin.write(b"from standard input")
        done.stdin.close()
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
        assert done.wait(PATIENCE_S) == 0
    finally:
        os.close(leader)
    assert len(list(there.iterdir())) == 1503
    assert b"KiB of 1.6 MiB [" in shown
    assert shown.endswith(b"\r\x1b[K")
