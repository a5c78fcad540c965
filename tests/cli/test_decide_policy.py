"""``deferpower decide``, ``deferpower policy show``, and ``--policy`` everywhere."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from cli.conftest import Start
from cli.support import Laptop


def test_decide_in_words(laptop: Laptop, start: Start) -> None:
    run = start("decide", "--description", "sync the calendar")
    assert run.end() == 0
    assert run.out.splitlines() == [
        "verdict  defer to background",
        "class    background (keyword 'sync' in description)",
        "reasons  on battery at 40 %, background work needs more than 50 %, an idle machine, "
        "or external power",
        "note     one look never sees an idle machine: that takes a minute of quiet",
        "profile  batch_size 8, priority normal, can_parallel no, processing_quality low, "
        "suspend_non_critical no, max_workers 1, nice 10, io_class idle, scheduling_policy batch",
    ]
    laptop.charge(60)
    run = start("decide", "--description", "sync the calendar")
    assert run.end() == 0
    assert run.out.splitlines()[0] == "verdict  execute now"
    assert "note" not in run.out


def test_decide_as_json(laptop: Laptop, start: Start) -> None:
    run = start("decide", "--type", "training", "--json")
    assert run.end() == 0
    said = json.loads(run.out)
    assert said["verdict"] == "defer_to_charging"
    assert said["task_class"] == "charging_only"
    assert said["rule"] == "type 'training'"
    assert [reason["code"] for reason in said["reasons"]] == ["charging"]
    assert said["reasons"][0]["sentence"] == "not charging: on battery at 40 %"
    assert said["profile"]["batch_size"] == 8


def test_what_policy_show_prints_is_a_policy(start: Start, tmp_path: Path) -> None:
    run = start("policy", "show")
    assert run.end() == 0
    assert run.out.startswith("# no policy file: the defaults\n")
    lines = [line for line in run.out.splitlines() if " = " in line]
    assert all(line.endswith("  # default") for line in lines)
    told = tomllib.loads(run.out)
    assert told["scheduling"]["battery_threshold"] == 50
    assert told["resources"] == {
        "memory_threshold": 0.8,
        "cpu_threshold": 0.7,
        "disk_threshold": 0.9,
        "pressure_threshold": 1.0,
    }
    assert told["processing"] == {
        "full_performance": 80,
        "reduced_performance": 50,
        "minimal_performance": 30,
    }
    assert "user_action" in told["classifier"]["critical_keywords"]

    shown = tmp_path / "shown.toml"
    shown.write_text(run.out)
    again = start("policy", "show", "--policy", str(shown))
    assert again.end() == 0
    assert tomllib.loads(again.out) == told
    assert "# default" not in again.out


@pytest.mark.parametrize(
    "text",
    [
        '[classifier.types]\n"𠀀" = "normal"\n"two words" = "critical"\n',
        "[classifier.types]\n",
        '[classifier]\ncritical_keywords = ["é\\"\\\\q", "bell\\u0007", "del\\u007fete"]\n',
    ],
)
def test_what_policy_shows_is_a_policy(start: Start, tmp_path: Path, text: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(text, encoding="utf-8")
    run = start("policy", "show", "--policy", str(mine))
    assert run.end() == 0
    shown, given = tomllib.loads(run.out)["classifier"], tomllib.loads(text)["classifier"]
    assert {table: shown[table] for table in given} == given


def test_policy_alone_shows_it(start: Start) -> None:
    alone, shown = start("policy"), start("policy", "show")
    assert (alone.end(), shown.end()) == (0, 0)
    assert alone.out == shown.out != ""


def test_policy_show_marks_defaults(start: Start, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[scheduling]\nbattery_threshold = 33\n")
    run = start("policy", "show", "--policy", str(mine))
    assert run.end() == 0
    assert run.out.splitlines()[0] == f"# {mine}"
    assert "battery_threshold = 33\n" in run.out
    assert "normal_above = 70  # default\n" in run.out
    run = start("policy", "show", "--json", "--policy", str(mine))
    assert run.end() == 0
    told = json.loads(run.out)
    assert told["path"] == str(mine)
    assert told["policy"]["scheduling"]["battery_threshold"] == {"value": 33, "default": False}
    assert told["policy"]["idle"]["dwell_s"] == {"value": 60.0, "default": True}


def test_a_policy_decides_what_runs(laptop: Laptop, start: Start, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[scheduling]\nbattery_threshold = 30\n")
    run = start("run", "--poll", "0.1", "--policy", str(mine), "--", "true")
    assert run.end() == 0
    run = start("decide", "--type", "sync", "--policy", str(mine), "--json")
    assert run.end() == 0
    assert json.loads(run.out)["verdict"] == "execute_now"


def test_mistakes_are_one_line(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[scheduling]\nbattery_threshold = 130\n")
    for words, complaint in (
        (("policy", "edit"), "policy: 'edit' is no action; write deferpower policy show"),
        (
            ("policy", "show", "--policy", str(broken)),
            f"{broken}: scheduling.battery_threshold: 130 is no number from 0 to 100",
        ),
        (
            ("run", "--policy", str(broken), "--", "true"),
            f"{broken}: scheduling.battery_threshold: 130 is no number from 0 to 100",
        ),
        (
            ("decide", "--policy", str(tmp_path / "none.toml")),
            f"policy: no file '{tmp_path / 'none.toml'}'; name a TOML file",
        ),
    ):
        run = start(*words)
        assert run.end() == 2
        assert run.err == f"deferpower: {complaint}\n"
        assert run.out == ""
