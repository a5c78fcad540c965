"""The command line itself: help, versions, and what it says to input that cannot be used."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.support import Laptop, command_line
from deferpower import cli
from waiting import PATIENCE_S

RUN_WRONGLY = [
    # words before "-- true", what the line must name, and how to write it right
    (["--chargin"], "unknown option --chargin", "did you mean --charging?"),
    (["--frobnicate"], "unknown option --frobnicate", "deferpower run --help"),
    (["--battery-abov=3"], "unknown option --battery-abov;", "did you mean --battery-above?"),
    (["-x"], "unknown option -x", "deferpower run --help"),
    (["80"], "'80' is not expected here", "deferpower run --help"),
    (["--charging=yes"], "--charging takes no value", "write --charging alone"),
    (["--battery-above"], "--battery-above needs a value", "write --battery-above N"),
    (["--battery-above", "101"], "--battery-above: '101'", "from 0 to below 100"),
    (["--battery-above", "100"], "--battery-above: '100'", "from 0 to below 100"),
    (["--battery-above", "-1"], "--battery-above: '-1'", "from 0 to below 100"),
    (["--battery-above", "nan"], "--battery-above: 'nan'", "from 0 to below 100"),
    (["--battery-above", "inf"], "--battery-above: 'inf'", "from 0 to below 100"),
    (["--battery-above", "fifty"], "--battery-above: 'fifty'", "from 0 to below 100"),
    (["--battery-above", "5_0"], "--battery-above: '5_0'", "from 0 to below 100"),
    (["--battery-above", ""], "--battery-above: ''", "from 0 to below 100"),
    (["--window"], "--window needs a value", "write --window HH:MM-HH:MM"),
    (["--window", "night"], "--window: 'night'", "22:00-06:00"),
    (["--window", "25:00-06:00"], "--window: '25:00-06:00'", "00:00 to 23:59"),
    (["--window", "22:60-06:00"], "--window: '22:60-06:00'", "00:00 to 23:59"),
    (["--window", "22:00-22:00"], "the same minute", "write 00:00-24:00"),
    (["--window", "22:00"], "--window: '22:00'", "22:00-06:00"),
    (["--deadline", "soon"], "--deadline: 'soon'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--deadline", "0"], "--deadline: '0'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--deadline", "h"], "--deadline: 'h'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--deadline", "30m1h"], "--deadline: '30m1h'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--deadline", "1e300"], "--deadline: '1e300'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--timeout", "-5"], "--timeout: '-5'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--timeout", "nan"], "--timeout: 'nan'", "6h, 90m, 45s, 1h30m or plain seconds"),
    (["--poll", "0"], "--poll: '0'", "such as 5 or 0.5"),
    (["--poll", "often"], "--poll: 'often'", "such as 5 or 0.5"),
]
EXAMPLE = "write it after --, as in deferpower run --charging -- tar"
WRONG = [
    ([], "no command", "write one of run, submit"),
    (["rnu"], "unknown command 'rnu'", "did you mean run?"),
    (["undo"], "unknown command 'undo'", "write one of run, submit"),
    (["show"], "show: ID is missing", "see deferpower show --help"),
    (["run", "--network", "any"], "--network: 'any' is no choice", "one of connected, unmetered"),
    (["--chargin"], "unknown option '--chargin'", "write one of run, submit"),
    *((["run", *words, "--", "true"], what, how) for words, what, how in RUN_WRONGLY),
    (["run"], "no command to run", EXAMPLE),
    (["run", "--charging"], "no command to run", EXAMPLE),
    (["run", "--"], "no command to run", EXAMPLE),
    (["run", "--", ""], "no command to run", EXAMPLE),
    (["run", "tar", "czf"], "'tar' is not expected here", "write the command after --"),
    (["run", "two\nlines", "--", "true"], "'two\\nlines' is not expected", "--help"),
    (["status", "--wtach"], "unknown option --wtach", "did you mean --watch?"),
    (["status", "--watch", "never"], "--watch: 'never'", "such as 5 or 0.5"),
    (["status", "--", "x"], "'x' is not expected here", "deferpower status --help"),
    (["doctor", "--josn"], "unknown option --josn", "did you mean --json?"),
]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_one_order(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert cli.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for marks in (
        ("usage:", "\narguments:", "\noptions:", "\nexit status:", "\nThe queue", "\nexamples:"),
        ("\n  --policy ", "\n  --queue ", "\n  --json "),
    ):
        places = [shown.find(mark) for mark in marks if mark in shown]
        assert places == sorted(places)


@pytest.mark.parametrize(("words", "what", "how"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_command_line(
    capsys: pytest.CaptureFixture[str], words: list[str], what: str, how: str
) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("deferpower: ")
    assert said.err.count("\n") == 1
    assert what in said.err
    assert how in said.err


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DEFERPOWER_ROOT": "/dev/null"}, "DEFERPOWER_ROOT: '/dev/null' is no directory; name"),
        ({"DEFERPOWER_ROOT": "/no/such"}, "DEFERPOWER_ROOT: '/no/such' is no directory; name"),
        ({"DEFERPOWER_BACKEND": "rust"}, "unknown backend 'rust'"),
    ],
)
@pytest.mark.parametrize("words", [["status"], ["doctor"], ["run", "--", "true"]])
def test_a_wrong_environment(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    env: dict[str, str],
    said: str,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"deferpower: {said}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for command, summary in cli.COMMANDS.items():
        assert f"  {command} " in said.out
        assert summary in said.out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_and_option_has_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:\n  " in shown
    assert max(map(len, shown.splitlines())) <= 80
    parser = importlib.import_module(f"deferpower.cli.{command}").parser()
    for action in parser._actions:
        name = action.option_strings[-1] if action.option_strings else action.metavar
        assert action.help, name
        assert name in shown


@pytest.mark.parametrize("words", [["--version"], ["-V"]])
def test_version(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert cli.main(words) == 0
    assert re.fullmatch(r"deferpower \S.*\n", capsys.readouterr().out)


def test_as_a_process_it_is_the_same_line() -> None:
    done = subprocess.run(
        command_line(["run", "--window", "night", "--", "true"]),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "deferpower: --window: 'night' is no window; write it like 22:00-06:00\n"
    )


def test_help_loads_nothing_that_it_does_not_need() -> None:
    script = (
        "import sys; before = set(sys.modules); from deferpower.cli import main; main(['--help']);"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stderr.split()
    assert {name for name in loaded if name.startswith("deferpower")} == {
        "deferpower",
        "deferpower.cli",
        "deferpower.errors",
    }
    assert not {"argparse", "json", "pathlib", "subprocess", "psutil"} & set(loaded)


def test_a_reader_that_goes_away_is_no_fault(laptop: Laptop, env: dict[str, str]) -> None:
    done = subprocess.run(
        f"{sys.executable} -m deferpower status; echo $? >&2",
        shell=True,
        env={**os.environ, **env},
        stdout=open_closed_pipe(),
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == "141\n"


def open_closed_pipe() -> int:
    """The write end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer
