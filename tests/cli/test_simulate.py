"""``deferpower simulate``: the table, JSON, the picture, and what it says to a bad trace."""

from __future__ import annotations

import builtins
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Start
from cli.test_heatmap import Screen
from deferpower import cli
from deferpower.cli.progress import Bar
from deferpower.traces import Slot, write_trace
from lives import Part, slots_of

# On battery for four hours, below the level for background work from the second on, then plugged
# in for six. With a deadline of three hours, jobs of an hour are submitted from 0:00 to 6:00.
LIFE: tuple[Part, ...] = ((60, 60, False, 1.0), (180, 40, False, 1.0), (360, 60, True, 1.0))
SHORT = ("--deadline", "3h")


def written(path: Path, slots: Sequence[Slot]) -> str:
    with path.open("w", newline="") as file:
        write_trace(slots, file)
    return str(path)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # Away from any policy of the developer's own.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return written(tmp_path / "phone.csv", slots_of(*LIFE, offset_s=3600))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    status = cli.main(["simulate", *words])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out.splitlines()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads("\n".join(said(capsys, *words, "--json")))
    return fields


def test_the_table(start: Start, trace: str) -> None:
    run = start("simulate", trace, *SHORT)
    assert run.end() == 0
    assert run.err == ""
    # By the default policy the first job runs at once; those of 1:00, 2:00 and 3:00 wait for 4:00,
    # which is the deadline of the first of them. Those from 4:00 on run at once. A forecast has
    # no say yet after so few hours.
    assert run.out.splitlines() == [
        f"life  {trace}, phone: 2023-11-14 01:00 to 2023-11-14 11:00 local time, 10 h",
        "jobs  7, one every 1 h, each runs 1 h, deadline after 3 h",
        "",
        "                    default policy    run now  charging only    forecast",
        "started after, p50             0 s        0 s            1 h         0 s",
        "               p90             3 h        0 s            3 h         3 h",
        "               p99             3 h        0 s            3 h         3 h",
        "done after, p50                1 h        1 h            2 h         1 h",
        "            p90                4 h        1 h            4 h         4 h",
        "            p99                4 h        1 h            4 h         4 h",
        "jobs on battery             14.3 %     57.1 %         14.3 %      14.3 %",
        "time on battery             14.3 %     57.1 %         14.3 %      14.3 %",
        "missed deadlines        1 (14.3 %)  0 (0.0 %)     2 (28.6 %)  1 (14.3 %)",
        "starts                           7          7              7           7",
        "pauses                           0          0              0           0",
    ]


def test_json(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    fields = told(capsys, trace, *SHORT)
    assert fields["device_id"] == "phone"
    assert fields["end_s"] - fields["start_s"] == fields["known_s"] == 36_000
    assert fields["workload"] == {"every_s": 3600, "duration_s": 3600, "deadline_s": 10_800}
    assert fields["tells"] == {
        "plugged": True,
        "percent": True,
        "activity": True,
        "local_time": True,
    }
    assert [policy["name"] for policy in fields["policies"]] == [
        "default policy",
        "run now",
        "charging only",
        "forecast",
    ]
    assert fields["policies"][1] == {
        "name": "run now",
        "jobs": 7,
        "started_after_s": {"p50": 0, "p90": 0, "p99": 0},
        "done_after_s": {"p50": 3600, "p90": 3600, "p99": 3600},
        "on_battery_jobs_percent": pytest.approx(400 / 7),
        "on_battery_time_percent": pytest.approx(400 / 7),
        "power_not_told_percent": 0,
        "missed_deadlines": 0,
        "starts": 7,
        "pauses": 0,
    }


def test_a_forecast_waits_for_the_night(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    night, day = (480, 90, True, 0.0), (960, 80, False, 1.0)
    nights = written(tmp_path / "nights.csv", slots_of(*([night, day] * 14)))
    default, _, _, forecast = told(capsys, nights, "--every", "3h")["policies"]
    assert default["on_battery_jobs_percent"] > 60
    # Those of the first day are in: nothing was known then.
    assert forecast["on_battery_jobs_percent"] < 10
    assert forecast["missed_deadlines"] == 0


def test_policies_side_by_side(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    for name, level in (("bold.toml", 30), ("meek.toml", 70)):
        (tmp_path / name).write_text(f"[scheduling]\nbattery_threshold = {level}\n")
    fields = told(capsys, trace, *SHORT, "--policy", "bold.toml", "--policy", "meek.toml")
    bold, meek = fields["policies"]
    assert (bold["name"], meek["name"]) == ("bold.toml", "meek.toml")
    assert bold["on_battery_jobs_percent"] == pytest.approx(400 / 7)
    assert meek["on_battery_jobs_percent"] == pytest.approx(100 / 7)
    assert meek["missed_deadlines"] == 2


def test_the_policy_of_this_directory(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    (tmp_path / "deferpower.toml").write_text("[scheduling]\nbattery_threshold = 30\n")
    first = told(capsys, trace, *SHORT)["policies"][0]
    assert first["name"] == "deferpower.toml"
    assert first["on_battery_jobs_percent"] == pytest.approx(400 / 7)


def test_conditions_are_those_of_run(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    fields = told(
        capsys,
        trace,
        *("--every", "30m", "--duration", "90m", "--deadline", "4h30m"),
        *("--charging", "--window", "06:00-06:30"),
    )
    assert fields["workload"] == {"every_s": 1800, "duration_s": 5400, "deadline_s": 16_200}
    default = fields["policies"][0]
    # In UTC the window opens at 5:00, after the deadline of the jobs of 0:00 and 0:30. Half an hour
    # of each of the others runs in it, and the rest from the deadline on; 1:00's is at its end.
    assert default["jobs"] == 9
    assert default["pauses"] == 6
    assert default["missed_deadlines"] == 9


def test_one_device_of_several(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    slots = [
        *slots_of((600, 90, True, None), device_id="a"),
        *slots_of((300, None, None, 1.0), 300, (60, None, None, 1.0), device_id="b", offset_s=None),
    ]
    house = written(tmp_path / "house.csv", slots)
    assert cli.main(["simulate", house]) == 2
    assert capsys.readouterr().err == (
        f"deferpower: {house}: 2 devices are in it; choose one with --device: a, b\n"
    )
    assert cli.main(["simulate", house, "--device", "c"]) == 2
    assert capsys.readouterr().err == (
        f"deferpower: --device: 'c' is not in {house}; there are a, b\n"
    )
    assert said(capsys, house, "--device", "b", *SHORT)[:5] == [
        f"life  {house}, b: 2023-11-14 00:00 to 2023-11-14 11:00 UTC, 11 h",
        "jobs  5, one every 1 h, each runs 1 h, deadline after 3 h",
        "note  neither charger nor battery are told: a device without a battery",
        "note  5 h are not in the trace: there nothing is known",
        "",
    ]


@pytest.mark.parametrize(
    ("part", "note"),
    [
        ((600, None, True, 1.0), "the level is not told (column battery_percent): on battery"),
        ((600, 50, None, 1.0), "the charger is not told (column plugged): it counts as on battery"),
        ((600, 50, True, None), "activity is not told (column active): the device never counts as"),
    ],
)
def test_what_is_not_told_is_said(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path, part: Part, note: str
) -> None:
    poor = written(tmp_path / "poor.csv", slots_of(part))
    notes = [line for line in said(capsys, poor, *SHORT) if line.startswith("note")]
    assert len(notes) == 1
    assert notes[0].startswith(f"note  {note}")


def test_running_time_of_which_nothing_is_known(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    hole = [*slots_of((60, 60, False, 1.0)), *slots_of((300, 60, True, 1.0), start_s=5 * 3600)]
    holed = written(tmp_path / "holed.csv", hole)
    lines = said(capsys, holed, *SHORT)
    # Jobs come at 0:00, 5:00 and 6:00, the first in an hour on battery. Where it waits for the
    # charger it runs at 3:00, in the hole.
    assert [line for line in lines if line.startswith("time")] == [
        "time on battery             33.3 %     33.3 %          0.0 %     33.3 %",
        "time not known               0.0 %      0.0 %         33.3 %      0.0 %",
    ]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"life.{kind}"
    said(capsys, trace, *SHORT, "--idle", "--plot", str(path))
    picture = path.read_bytes()
    assert picture.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    if kind == "png":
        width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
        assert width == 1000
        assert 500 < height < 1500


def test_what_a_picture_shows(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    path = tmp_path / "life.svg"
    hole = [*slots_of(*LIFE), *slots_of((60, 60, None, None), start_s=12 * 3600)]
    holed = written(tmp_path / "holed.csv", hole)
    said(capsys, holed, *SHORT, "--plot", str(path))
    # Text is drawn as shapes, with what it says in a comment.
    text = path.read_text()
    for words in (
        "holed.csv, phone: 2023-11-14 00:00",
        "the device",
        "default policy",
        "run now",
        "charging only",
        "Tue 14 Nov",
        "battery level",
        "on external power",
        "not in the trace",
        "job runs on battery",
        "job is paused",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--plot", "life.jpg"], "--plot: 'life.jpg' is no picture; name a file in .png, .svg"),
        (["--plot", "no/life.png"], "--plot: there is no directory 'no'; make it first"),
        (["--plot", "taken.png", *SHORT], "--plot: cannot write 'taken.png': Is a directory"),
        ([], "deadline: a job may take 25 h from submission to end, and the trace has but 10 h"),
        (["--every", "never"], "--every: 'never' is no length of time above 0"),
        (["--every", "1e-9", *SHORT], "every: 1e-09 s makes too many jobs; 1000000 is the most"),
        (["--policy", "none.toml"], "policy: no file 'none.toml'; name a TOML file"),
        (["--polcy", "none.toml"], "unknown option --polcy; did you mean --policy?"),
        (["other.csv"], "'other.csv' is not expected here; see deferpower simulate --help"),
    ],
)
def test_what_cannot_be_done(
    capsys: pytest.CaptureFixture[str],
    trace: str,
    tmp_path: Path,
    words: list[str],
    complaint: str,
) -> None:
    (tmp_path / "taken.png").mkdir()
    assert cli.main(["simulate", trace, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"deferpower: {complaint}")
    assert err.count("\n") == 1


def test_a_broken_line_is_named(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    with Path(trace).open("a") as file:
        file.write("phone,1700000100,0,101,1,\n")
    assert cli.main(["simulate", trace]) == 2
    assert capsys.readouterr().err == (
        f"deferpower: {trace}: line 122: battery_percent: '101' is no number from 0 to 100; "
        "leave it empty if not known\n"
    )


def test_a_trace_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate"]) == 2
    assert "TRACE.csv is missing; see deferpower simulate --help" in capsys.readouterr().err


def test_without_matplotlib(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["simulate", trace, *SHORT, "--plot", "life.png"]) == 2
    assert capsys.readouterr().err == (
        "deferpower: --plot needs matplotlib, which is not installed; "
        "pip install 'deferpower[plot]'\n"
    )
    assert len(said(capsys, trace, *SHORT)) == 15


def test_matplotlib_is_imported_for_a_picture_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    imported = []
    real = builtins.__import__

    def watching(name: str, *rest: Any) -> Any:
        imported.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watching)
    said(capsys, trace, *SHORT)
    assert imported
    assert not [name for name in imported if name.startswith("matplotlib")]


class TestBar:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The time now, as its only item."""
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "40")
        return now

    def drawn(self, screen: Screen) -> str:
        screen.flush()
        return screen.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]

    def test_it_comes_when_something_takes_long(
        self, monkeypatch: pytest.MonkeyPatch, clock: list[float]
    ) -> None:
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        with Bar("replaying") as bar:
            clock[0] += 0.2
            bar.show(0.25)
            assert self.drawn(screen) == ""
            clock[0] += 0.2
            bar.show(0.5)
            line = f"\rreplaying [{'#' * 10:<21}]  50 %\x1b[K"
            assert self.drawn(screen) == line
            bar.show(0.6)
            assert self.drawn(screen) == line
        assert self.drawn(screen) == line + "\r\x1b[K"

    @pytest.mark.parametrize(("is_terminal", "term"), [(False, "xterm"), (True, "dumb")])
    def test_nothing_is_drawn_where_it_cannot_be(
        self,
        monkeypatch: pytest.MonkeyPatch,
        clock: list[float],
        is_terminal: bool,
        term: str,
    ) -> None:
        screen = Screen(is_terminal=is_terminal)
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("TERM", term)
        with Bar("replaying") as bar:
            clock[0] += 10
            bar.show(0.5)
        assert self.drawn(screen) == ""
