"""Constraints, windows, tasks and thresholds as values: what they take, and what they refuse."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferpower.constraints import ANYTIME, Constraints, Window
from deferpower.errors import ConfigError, TaskError
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Task, TaskClass, Verdict
from deferpower.thresholds import Thresholds


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("22:00-06:00", 1320, 360),
        ("9:30-17:05", 570, 1025),
        (" 00:00 - 24:00 ", 0, 1440),
        ("23:59-00:00", 1439, 0),
    ],
)
def test_window(text: str, start: int, end: int) -> None:
    assert Window.parse(text) == Window(start, end)
    assert Constraints(window=text) == Constraints(window=Window(start, end))


def test_window_says_itself() -> None:
    assert str(Window(1320, 360)) == "22:00-06:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-06",
        "22:00",
        "22:00-",
        "22:00-06:00-07:00",
        "24:00-06:00",
        "22:60-06:00",
        "22:00-24:01",
        "22:00-25:00",
        "-1:00-06:00",
        "22:00-22:00",
        "00:00-00:00",
        "२२:००-०६:००",
        "22:00-06:00 daily",
    ],
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^window: "):
        Constraints(window=text)


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (1440, 5), (5, 1441), (5, 5), (1.0, 5)])
def test_minutes_that_are_no_window(start: Any, end: Any) -> None:
    with pytest.raises(ConfigError, match=r"^window: "):
        Window(start, end)


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 1439))
def test_a_closed_window_opens_when_it_says(start: int, end: int, minute: int) -> None:
    if start == end:
        return
    window = Window(start, end)
    wait = window.minutes_until_open(minute)
    assert [window.contains((minute + ahead) % 1440) for ahead in range(wait + 1)] == [
        *[False] * wait,
        True,
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charging", 1),
        ("charging", "yes"),
        ("idle", None),
        ("battery_not_low", "no"),
        ("storage_not_low", 0),
        ("resources_ok", []),
        ("battery_above", -0.1),
        ("battery_above", 100),
        ("battery_above", 130),
        ("battery_above", float("nan")),
        ("battery_above", "50"),
        ("battery_above", True),
        ("network", "metered"),
        ("network", True),
        ("window", 22),
        ("window", ("22:00", "06:00")),
        ("custom", [1]),
        ("custom", [""]),
        ("custom", ""),
        ("custom", 7),
    ],
)
def test_what_is_no_constraint(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: "):
        Constraints(**{field: value})


def test_a_single_custom_condition_needs_no_list() -> None:
    assert Constraints(custom="docked").custom == ("docked",)
    assert Constraints(custom=["docked", "quiet"]).custom == ("docked", "quiet")


def test_every_field_is_asked_for_by_a_code() -> None:
    """Fails when a constraint was added, but is not handed on to the rules engine."""
    values: dict[str, Any] = {"battery_above": 5, "window": "1:00-2:00", "custom": "docked"}
    values["network"] = "connected"
    for field in dataclasses.fields(Constraints):
        asked = Constraints(**{field.name: values.get(field.name, True)})
        assert len(asked.codes()) == 1, field.name
    assert ANYTIME.codes() == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", 5),
        ("type", None),
        ("description", b"bytes"),
        ("priority", "urgent"),
        ("priority", 1),
        ("priority", []),
        ("requires_charging", "yes"),
        ("can_background", 1),
        ("task_class", "important"),
        ("task_class", 3),
        ("task_class", []),
        ("constraints", {"charging": True}),
        ("prefer", "charging"),
        ("created_s", float("nan")),
        ("created_s", float("inf")),
        ("created_s", "now"),
        ("created_s", None),
        ("deadline_s", -1),
        ("deadline_s", float("nan")),
        ("deadline_s", float("inf")),
        ("deadline_s", "6h"),
        ("deadline_s", True),
        ("on_deadline", "stop"),
        ("override", "now"),
    ],
)
def test_what_is_no_task(field: str, value: Any) -> None:
    with pytest.raises(TaskError, match=rf"^task: {field} is "):
        Task(**{field: value})
    mapping = {"created_s": 0.0, field: value}
    with pytest.raises(TaskError, match=rf"^task: {field} is "):
        Task.of(mapping)
    with pytest.raises(TaskError, match=rf"^task: {field} is "):
        IntelligentScheduler(backend="pure").schedule_task(mapping)


@pytest.mark.parametrize("value", [None, "backup", 5, [("type", "sync")]])
def test_what_is_neither_task_nor_mapping(value: Any) -> None:
    with pytest.raises(TaskError, match="neither a Task nor a mapping"):
        Task.of(value)


def test_a_mapping_may_hold_more_than_a_task() -> None:
    task = Task.of({"type": "sync", "payload": [1, 2], "created_s": 5.0})
    assert task == Task(type="sync", created_s=5.0)


def test_a_deadline_needs_a_moment_to_count_from() -> None:
    with pytest.raises(TaskError, match="created_s, which is missing"):
        Task.of({"type": "sync", "deadline_s": 60})
    assert Task.of({"deadline_s": 60, "created_s": 5}).deadline_s == 60
    assert Task.of({"type": "sync", "deadline_s": None}).deadline_s is None


def test_names_stand_for_classes_and_verdicts() -> None:
    task = Task.of({"task_class": "charging_only", "override": "execute_now"})
    assert task.task_class is TaskClass.CHARGING_ONLY
    assert task.override is Verdict.EXECUTE_NOW


def test_a_task_is_created_now() -> None:
    before_s = time.time()
    assert before_s <= Task().created_s <= time.time()


def test_a_task_is_a_value() -> None:
    asked = Constraints(battery_above=40, window="22:00-06:00")
    task = Task(type="sync", constraints=asked, created_s=5.0)
    IntelligentScheduler(backend="pure").schedule_task(task)  # leaves its note on it
    same = Task(type="sync", constraints=asked, created_s=5.0)
    assert task == same
    assert hash(task) == hash(same)
    assert pickle.loads(pickle.dumps(task)) == copy.deepcopy(task) == copy.copy(task) == task
    assert dataclasses.replace(task, type="cleanup").type == "cleanup"
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.type = "cleanup"  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(task))
    assert IntelligentScheduler(backend="pure").schedule_task(again).task_class == "background"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("battery_threshold", 101),
        ("battery_threshold", -1),
        ("battery_threshold", float("nan")),
        ("battery_threshold", "50"),
        ("suspend_non_critical", None),
        ("memory_threshold", 80),
        ("cpu_threshold", -0.1),
        ("disk_threshold", True),
        ("plug_dwell_s", float("inf")),
        ("idle_check_interval_s", -5),
        ("max_background_batch", 0),
        ("max_background_batch", 2.5),
        ("battery_low", 21),
        ("normal_idle_above", 71),
        ("relax_battery", 0.4),
        ("relax_all", 0.7),
    ],
)
def test_what_is_no_threshold(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"\b{field}\b"):
        Thresholds(**{field: value})
    with pytest.raises(ConfigError, match=rf"\b{field}\b"):
        Thresholds().with_rules({field: value})


def test_the_defaults_are_those_of_the_original_request() -> None:
    thresholds = Thresholds()
    assert (thresholds.battery_threshold, thresholds.idle_check_interval_s) == (50, 60)
    assert (thresholds.max_background_batch, thresholds.charging_only_threshold) == (5, 80)
    assert (thresholds.normal_above, thresholds.normal_idle_above) == (70, 30)
    assert thresholds.suspend_non_critical == 20
    fractions = (
        thresholds.memory_threshold,
        thresholds.cpu_threshold,
        thresholds.disk_threshold,
    )
    assert fractions == (0.8, 0.7, 0.9)


def test_every_threshold_is_checked() -> None:
    """Fails when a threshold was added without a range."""
    for field in dataclasses.fields(Thresholds):
        if field.name != "idle":
            with pytest.raises(ConfigError, match=field.name):
                Thresholds(**{field.name: float("nan")})  # type: ignore[arg-type]
