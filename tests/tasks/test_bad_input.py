"""What cannot be done is said, by name, and nothing is left half-written."""

from __future__ import annotations

import enum
import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deferpower import (
    BackgroundTaskManager,
    ConfigError,
    Constraints,
    Context,
    DeferpowerError,
    StoreError,
    TaskError,
    TaskState,
)
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ([1, object()], {}, r"task echo: argument 1 is nothing .* not JSON serializable"),
        ([], {"when": {1, 2}}, r"argument 'when' is nothing .*set is not JSON"),
        ([float("nan")], {}, r"argument 0 .*not JSON compliant"),
        ([0, 0, float("inf")], {}, r"argument 2 .*not JSON compliant"),
        ([deep(300)], {}, r"argument 0 .*nested too deeply"),
        ([deep(100_000)], {}, r"argument 0 .*nested too deeply"),
        ([circle()], {}, r"argument 0 .*nested too deeply or holds itself"),
        (["fine", "\ud800"], {}, r"argument 1 .*lone surrogate"),
        ([], {"name": b"bytes"}, r"argument 'name' .*bytes"),
        ("text", {}, r"args is 'text'; give a list"),
        ({"a": 1}, {}, r"args is \{'a': 1\}; give a list"),
    ],
)
def test_arguments_that_json_cannot_hold_are_named(
    tasks: BackgroundTaskManager, args: Any, kwargs: dict[str, Any], complaint: str
) -> None:
    echo = tasks.task(lambda *a, **k: [a, k], name="echo")
    with pytest.raises(TaskError, match=complaint):
        tasks.submit(echo, args, kwargs)
    assert tasks.list() == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        deep(150),
        "x" * 10_000_000,
        {"a": [1, 2.5, True, None, "é\U0001f600", '"]}{[\\']},
        -(2**70),
        ["[" * 500, "}" * 500],
    ],
    ids=["none", "deep", "10 MB", "mixed", "large", "brackets"],
)
def test_what_json_can_hold_arrives_unchanged(tasks: BackgroundTaskManager, value: Any) -> None:
    handle = tasks.task(lambda v: v, name="echo").defer(value)
    run_until_idle(tasks)
    assert (handle.result(0), handle.record.args) == (value, (value,))


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"delay_s": -1}, "delay_s: -1 is no number of seconds of at least 0"),
        ({"delay_s": "soon"}, "delay_s: 'soon'"),
        ({"not_before_s": -5.0}, "not_before_s: -5.0"),
        ({"not_before_s": 5.0, "delay_s": 5.0}, "exclude each other"),
        ({"deadline_s": float("nan")}, "deadline_s: nan"),
        ({"deadline_s": True}, "deadline_s: True"),
        ({"key": ""}, "key: ''"),
        ({"key": 7}, "key: 7"),
        ({"on_conflict": "merge"}, "on_conflict: 'merge' is none of keep, replace, append"),
        ({"metadata": [1]}, "metadata: .* no mapping"),
        ({"metadata": {"c": Colour.RED}}, "metadata is nothing that JSON can hold"),
        ({"after": "3"}, "after: '3' is neither a handle nor the number of a task"),
        ({"after": 3}, "after: there is no task 3"),
        ({"priority": "urgent"}, "priority is 'urgent'; it must be one of high, normal, low"),
        ({"task_class": "vital"}, "task echo: task_class is 'vital'; it must be one of critical, "),
        ({"override": "never"}, "override is 'never'; it must be one of execute_now"),
        ({"colour": 1}, "task echo: no such option: colour$"),
        ({"delay": 1}, "task echo: no such option: delay; did you mean delay_s?"),
        ({"pass_context": True}, "pass_context belongs to the function"),
        ({"max_attempts": 0}, "max_attempts is 0; it must be a whole number of at least 1"),
        ({"backoff_s": -1}, "backoff_s is -1"),
        ({"timeout_s": 0}, "timeout_s is 0; it must be a number of seconds above 0"),
        ({"at_most_once": 1}, "at_most_once is 1; it must be True or False"),
        ({"constraints": {"idle": True}}, "constraints is .* must be Constraints"),
    ],
)
def test_options_that_cannot_be_are_named(
    tasks: BackgroundTaskManager, options: dict[str, Any], complaint: str
) -> None:
    tasks.task(lambda: 0, name="echo")
    for submit in (
        lambda: tasks.submit("echo", **options),
        lambda: tasks.submit_many("echo", [[], []], **options),
    ):
        with pytest.raises(TaskError, match=complaint):
            submit()
    assert tasks.list() == []


@pytest.mark.parametrize(
    ("make_it", "complaint"),
    [
        (lambda t: t.task(3), "task: 3 cannot be called"),
        (lambda t: t.task(lambda: 0, name=""), "'' is no name"),
        (lambda t: t.task(lambda: 0), "<lambda> .* has no name .*; give it one with name=..."),
        (lambda t: t.task(functools.partial(int, "1")), "partial.* give it one with name=..."),
        (lambda t: t.task(lambda: 0, name="command"), "'command' is kept for commands"),
        (lambda t: t.task(lambda: 0, name="f", deadline_s=-1), "deadline_s: -1"),
        (lambda t: t.task(lambda: 0, name="f", speed=1), "no such option: speed"),
        (lambda t: t.submit("command"), "commands go to submit_command"),
        (lambda t: t.submit(""), "'' is no name"),
        (lambda t: t.submit(7), "7 is neither a task function nor its name"),
        (lambda t: t.prune(-1), "older_than_s: -1"),
    ],
)
def test_functions_that_cannot_be_are_named(
    tasks: BackgroundTaskManager, make_it: Callable[[Any], Any], complaint: str
) -> None:
    with pytest.raises(DeferpowerError, match=complaint):
        make_it(tasks)
    assert tasks.list() == []


def test_arguments_that_a_function_does_not_take_are_refused_at_once(
    tasks: BackgroundTaskManager,
) -> None:
    @tasks.task
    def plain(a: int, b: int = 0) -> None: ...

    @tasks.task(pass_context=True)
    def contextual(context: Context, a: int) -> None: ...

    @tasks.task
    def greedy(*args: int, **kwargs: int) -> None: ...

    @tasks.task
    def named(*, a: int) -> None: ...

    # A built-in function that tells nothing of what it takes: so it may take this.
    handles = [
        plain.defer(1),
        plain.defer(1, 2),
        plain.defer(a=1),
        contextual.defer(1),
        greedy.defer(1, b=2),
        named.defer(a=1),
        tasks.task(max, name="max").defer([1, 2]),
        tasks.submit("unknown here", [1, 2, 3]),
    ]
    for call, complaint in (
        (lambda: plain.defer(), r"missing a required argument: 'a'; it takes \(a, b=0\)$"),
        (lambda: plain.defer(1, 2, 3), "too many positional arguments"),
        (lambda: plain.defer(1, c=2), "unexpected keyword argument 'c'"),
        (lambda: contextual.defer(), "missing a required argument: 'a'"),
        (lambda: contextual.defer(1, 2), r"too many positional arguments; it takes \(a\)$"),
        (lambda: named.defer(1), "too many positional arguments"),
        (lambda: tasks.submit("plain"), "missing a required argument: 'a'"),
        (lambda: tasks.submit_many(plain, [[1], []]), "missing a required argument: 'a'"),
    ):
        with pytest.raises(TaskError, match=f"it cannot be called so: .*{complaint}"):
            call()
    assert len(tasks.list()) == len(handles)


def test_a_name_that_is_taken_names_both(tasks: BackgroundTaskManager) -> None:
    @tasks.task
    def index() -> None: ...

    with pytest.raises(ConfigError, match=r"the name 'index' is taken by .*index.*test_bad_input"):
        tasks.task(lambda: 0, name="index")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_queued": 0}, "max_queued: 0 is no whole number of at least 1"),
        ({"max_workers": 1.5}, "max_workers: 1.5"),
        ({"retention_s": -1}, "retention_s: -1"),
        ({"retention_s": "1d"}, "retention_s: '1d' is no number of seconds of at least 0"),
        ({"durability": "maybe"}, "durability: 'maybe' is neither 'full' nor 'process'"),
        ({"predicates": {"x": 3}}, "cannot be called"),
    ],
)
def test_a_manager_that_cannot_be_leaves_no_file(
    make: MakeManager, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make(**options)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_a_directory_is_named(make: MakeManager, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        make(path=tmp_path)
    with pytest.raises(StoreError, match="missing"):
        make(path=tmp_path / "missing" / "queue.db")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_kept_fails_the_run_and_keeps_the_last_one(
    tasks: BackgroundTaskManager,
) -> None:
    def work(ctx: Any) -> None:
        ctx.checkpoint(1)
        ctx.checkpoint({1, 2})

    handle = tasks.task(work, name="work", pass_context=True).defer()
    run_until_idle(tasks)
    assert handle.record.checkpoint == 1
    assert "the checkpoint is nothing that JSON can hold" in str(handle.record.error)


def test_an_unknown_function_is_kept_reported_once_and_run_once_it_is_there(
    tasks: BackgroundTaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    lanes: tuple[dict[str, Any], ...] = ({}, {"task_class": "critical"})
    handles = [tasks.submit("later", [n], **options) for n, options in enumerate(lanes)]
    with caplog.at_level(logging.WARNING, "deferpower"):
        for _ in range(3):
            assert run_until_idle(tasks) == []
    assert caplog.messages == [
        "tasks wait for a function named 'later', which is not registered in this program; "
        "they run once it is there"
    ]
    assert str(handles[0].why()) == (
        "waiting: this program has no function named 'later'; another must run it"
    )
    tasks.task(lambda n: n, name="later")
    assert sorted(task.result for task in run_until_idle(tasks)) == [0, 1]


def test_a_condition_that_this_program_does_not_know_waits_for_one_that_does(
    make: MakeManager, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    knows = make(predicates={"on_home_wifi": lambda reading: True})
    knows.task(lambda: "synced", name="sync", constraints=Constraints(custom="on_home_wifi"))
    handle = knows.submit("sync")
    knows.submit("sync", task_class="background")
    other = make()
    other.task(lambda: "wrong", name="sync")
    with caplog.at_level(logging.WARNING, "deferpower"):
        assert run_until_idle(other) == run_until_idle(other) == []
    (message,) = caplog.messages
    assert "on_home_wifi" in message
    assert "no condition named 'on_home_wifi'" in str(other.why(handle.id))
    run_until_idle(knows)
    assert handle.result(0) == "synced"


def test_arguments_from_elsewhere_that_do_not_fit_the_function_fail_with_its_own_words(
    tasks: BackgroundTaskManager,
) -> None:
    handle = tasks.submit("f", [1, 2], max_attempts=1)  # a program that does not know it
    tasks.task(lambda one: one, name="f")
    run_until_idle(tasks)
    assert handle.state is TaskState.FAILED
    assert "takes 1 positional argument but 2 were given" in str(handle.record.error)


def test_a_long_error_is_cut_at_its_beginning(tasks: BackgroundTaskManager) -> None:
    def fail() -> None:
        raise ValueError("x" * 100_000 + " the end")

    handle = tasks.task(fail, name="f", max_attempts=1).defer()
    run_until_idle(tasks)
    error = handle.record.error
    assert error is not None
    assert len(error) <= 8000
    assert error.endswith("the end")


def test_an_error_of_surrogates_or_endless_recursion_is_kept_somehow(
    tasks: BackgroundTaskManager,
) -> None:
    def surrogate() -> None:
        raise ValueError("\ud800")

    def endless() -> None:
        endless()

    handles = [
        tasks.task(function, name=function.__name__, max_attempts=1).defer()
        for function in (surrogate, endless)
    ]
    assert sys.getrecursionlimit() < 100_000
    run_until_idle(tasks)
    assert [handle.state for handle in handles] == [TaskState.FAILED] * 2
    assert "RecursionError" in str(handles[1].record.error)


@pytest.mark.parametrize(
    "ask", ["get", "handle", "why", "cancel", "retry", "logs", "failures", "result"]
)
def test_what_is_not_a_number_of_a_task_names_none(tasks: BackgroundTaskManager, ask: str) -> None:
    tasks.task(lambda: None, name="index")
    handle = tasks.submit("index", delay_s=60)
    method = getattr(tasks, ask)
    for wrong in (handle, "1", 1.0, True, None, b"1"):
        with pytest.raises(TaskError, match="is not the number of a task; a handle has it as its"):
            method(wrong)
    for missing in (0, -1, 2, 1 << 63, -(1 << 70)):
        with pytest.raises(TaskError, match=rf"^task {missing}: there is no such task"):
            method(missing)
    assert handle.state is TaskState.ENQUEUED


def test_a_list_takes_no_limit_that_sqlite_would_understand_otherwise(
    tasks: BackgroundTaskManager,
) -> None:
    tasks.task(lambda: None, name="index")
    tasks.submit_many("index", [[]] * 3)
    assert [len(tasks.list(limit=limit)) for limit in (0, 2, 3, 1 << 40)] == [0, 2, 3, 3]
    for wrong in (-1, "2", 2.0, True, None, 1 << 63):
        with pytest.raises(ConfigError, match=r"^limit: .* is not a whole number of 0 or more$"):
            tasks.list(limit=wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=r"^before: '2' is not the number of a task"):
        tasks.list(before="2")  # type: ignore[arg-type]
