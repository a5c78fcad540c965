"""Whatever words, files and variables the command line is given: a status, and no traceback."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deferpower.cli import COMMANDS, main
from fuzz.test_texts import any_text, numbers

# A command takes milliseconds, and some of them a tenth of a second.
FEW = settings(
    max_examples=max(settings().max_examples // 2, 1),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# The others run programs, or go on until they are told to stop.
ENDING = sorted(
    {*COMMANDS} & {"cancel", "decide", "doctor", "forecast", "heatmap", "history", "list", "logs"}
    | {*COMMANDS} & {"policy", "prune", "retry", "show", "simulate", "status", "sync", "why"}
)
# Not --watch, --follow and --app: they go on, or run what they are given.
OPTIONS = [
    *("--all", "--description", "--device", "--discard", "--failed", "--help", "--hours"),
    *("--json", "--key", "--limit", "--now", "--older-than", "--plain", "--policy", "--priority"),
    *(
        "--queue",
        "--state",
        "--to",
        "--type",
        "--battery-above",
        "--window",
        "--deadline",
        "--zone",
    ),
    *("import", "export", "dead", "status", "replay", "discard", "--", "-h", "=", "-n"),
]
words = st.lists(
    st.sampled_from(OPTIONS)
    | numbers
    | any_text.map(lambda text: text.replace("\0", ""))
    | st.sampled_from(["FILE", "NOT", "22:00-06:00", "6h", "1", "2", "failed", "high", "note"]),
    max_size=6,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with nothing of the user's."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(tmp_path / "queue.db"))
    return tmp_path


def exit_status(given: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    status = main(given)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert status in range(256)
    # Who is told that it failed is told why.
    assert status in (0, 1) or told.err.strip(), given
    return status


@FEW
@given(st.sampled_from(ENDING), words, st.binary(max_size=80))
@example("cancel", ["9" * 5000], b"")
@example("simulate", ["FILE"], b"device_id,timestamp_utc\n\xff,1\n")
@example("policy", ["--policy", "FILE"], b"a = " + b"[" * 5000)
@example("list", ["--queue", "FILE"], b"SQLite format 3\0")
def test_any_words(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    given: list[str],
    content: bytes,
) -> None:
    file = place / "file"
    file.write_bytes(content)
    exit_status([command, *(str(file) if word == "FILE" else word for word in given)], capsys)


VARIABLES = st.sampled_from(["DEFERPOWER_BACKEND", "DEFERPOWER_ROOT", "DEFERPOWER_QUEUE", "TERM"])


@FEW
@given(
    st.dictionaries(VARIABLES, any_text | st.sampled_from(["pure", "native", "/", ".", "queue"])),
    st.sampled_from(["status", "doctor", "list", "decide", "policy"]),
)
@example({"DEFERPOWER_QUEUE": ""}, "list")
@example({"DEFERPOWER_ROOT": "/nonexistent"}, "status")
def test_any_variables(
    place: Path, capsys: pytest.CaptureFixture[str], variables: dict[str, str], command: str
) -> None:
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            try:
                os.fsencode(value)
            except UnicodeEncodeError:
                continue
            if "\0" not in value:
                environment.setenv(name, value)
        del stack
        exit_status([command], capsys)
