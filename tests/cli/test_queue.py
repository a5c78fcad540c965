"""``deferpower list``, ``show``, ``why``, ``cancel``, ``retry`` and ``prune``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.support import Laptop
from deferpower import BackgroundTaskManager, Constraints, Device, TaskState, cli

ABOUT_ONE = ["show 1", "why 1", "cancel 1", "retry 1", "logs 1"]
ABOUT_ALL = {
    "list": "{path}: the queue is empty\n",
    "list --json": "[]\n",
    "why": "nothing waits\n",
    "retry --failed": "no task has failed\n",
    "prune": "0 tasks forgotten\n",
}


@pytest.fixture
def queue(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[BackgroundTaskManager]:
    """A queue that the commands find by themselves, on a laptop on battery at 40 %."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.chdir(tmp_path)
    with_functions = BackgroundTaskManager(tmp_path / "queue.db", device=Device())
    with_functions.task(lambda n: n, name="echo", task_class="critical")
    with_functions.task(lambda: 1 / 0, name="broken", task_class="critical", max_attempts=1)
    with_functions.task(lambda n, rate=1.0: n, name="train", constraints=Constraints(charging=True))
    yield with_functions
    with_functions.close()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line; what it printed and complained, and its exit status."""

    def say(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(line.split())
        said = capsys.readouterr()
        return status, said.out, said.err

    return say


def test_before_the_first_task_nothing_waits(
    say: Any, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DEFERPOWER_QUEUE", raising=False)
    for path in (tmp_path / "data/deferpower/queue.db", tmp_path / "named.db"):
        hint = f"deferpower: queue: no file '{path}' yet; deferpower submit makes one\n"
        for line, said in ABOUT_ALL.items():
            assert say(line) == (0, said.format(path=path), hint)
        assert json.loads(say("why --json")[1])["waiting"] == []
        monkeypatch.setenv("DEFERPOWER_QUEUE", str(tmp_path / "named.db"))
    assert list(tmp_path.rglob("*.db")) == []


def test_a_queue_that_is_named_or_should_have_the_task_must_be_there(
    say: Any, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "none.db"
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(path))
    for line in [*ABOUT_ONE, *(f"{line} --queue {path}" for line in ABOUT_ALL)]:
        status, out, err = say(line)
        assert (status, out) == (1, "")
        assert err == (
            f"deferpower: queue: no file '{path}' yet; deferpower submit makes one, "
            "--queue names another\n"
        )
    assert list(tmp_path.glob("none*")) == []


def test_an_empty_queue_is_said(say: Any, queue: BackgroundTaskManager) -> None:
    assert say("list") == (0, f"{queue.path}: the queue is empty\n", "")
    assert say("why") == (0, "nothing waits\n", "")
    assert say("list --json") == (0, "[]\n", "")
    assert json.loads(say("why --json")[1])["waiting"] == []
    assert say("retry --failed") == (0, "no task has failed\n", "")
    assert say("prune --all") == (0, "0 tasks forgotten\n", "")


def test_list(say: Any, queue: BackgroundTaskManager) -> None:
    queue.submit("echo", ["now"])
    queue.submit("broken")
    queue.process_background_tasks()
    queue.submit("train", [1], {"rate": 0.5})
    queue.submit("train", [2], after=3)
    queue.submit("train", [3], delay_s=7200)
    queue.submit_command(["tar", "czf", "a b.tgz", "docs"], constraints=Constraints(charging=True))
    _, out, _ = say("list")
    lines = [line.split(maxsplit=4) for line in out.splitlines()]
    assert lines[0] == ["id", "state", "since", "task"]
    assert [(line[0], line[1]) for line in lines[1:]] == [
        ("6", "enqueued"),
        ("5", "enqueued"),
        ("4", "blocked"),
        ("3", "enqueued"),
        ("2", "failed"),
        ("1", "succeeded"),
    ]
    assert "tar czf 'a b.tgz' docs" in out
    assert "train(1, rate=0.5)" in out
    assert "due in 2 h" in out or "due in 1 h 59 min" in out
    assert "after other tasks" in out
    assert "ZeroDivisionError: division by zero" in out

    _, out, _ = say("list --state failed --state succeeded")
    assert [line.split()[0] for line in out.splitlines()] == ["id", "2", "1"]
    _, out, _ = say("list --limit 2")
    assert out.splitlines()[-1] == "and 4 older tasks; --limit N shows more"
    assert say("list --state expired") == (0, "no task in such a state\n", "")

    found = json.loads(say("list --json --limit 4")[1])
    assert [task["id"] for task in found] == [6, 5, 4, 3]
    assert found[3]["spec"]["constraints"] == {"charging": True}
    assert found[3]["kwargs"] == {"rate": 0.5}


def test_show(say: Any, queue: BackgroundTaskManager) -> None:
    queue.submit("broken", metadata={"who": "me"}, key="only one")
    queue.process_background_tasks()
    status, out, err = say("show 1")
    assert (status, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(" "))
    assert shown["task"] == "1"
    assert shown["runs"] == "broken()"
    assert shown["state"] == "failed"
    assert shown["attempts"] == "1 of 1"
    assert shown["key"] == "only one"
    assert shown["metadata"] == '{"who": "me"}'
    assert shown["error"] == "Traceback (most recent call last):"
    assert "ZeroDivisionError: division by zero" in out
    told = json.loads(say("show 1 --json")[1])
    assert told["failures"][0]["attempt"] == 1
    assert told["state"] == "failed"


def test_why_one_task_waits(say: Any, queue: BackgroundTaskManager, laptop: Laptop) -> None:
    queue.submit("train", [1])
    assert say("why 1")[1].splitlines()[:3] == [
        "task 1, train(1): enqueued for 0 s",
        "  not charging: on battery at 40 %",
        "  it takes external power",
    ]
    laptop.plug(True)
    nothing = "  nothing keeps it but that no worker runs; start one with deferpower worker, or "
    assert say("why 1")[1].splitlines()[1].startswith(nothing)
    told = json.loads(say("why 1 --json")[1])
    assert (told["state"], told["reasons"][0]["code"]) == ("enqueued", "no_worker")


def test_why_all_that_waits(say: Any, queue: BackgroundTaskManager) -> None:
    queue.submit_many("train", [[n] for n in range(12)])
    queue.submit("train", [12], delay_s=600)
    assert say("why")[1].splitlines() == [
        "13 tasks wait; no worker runs, start one with deferpower worker",
        "  12  not charging: on battery at 40 % (train)",
        "   1  not due yet; the first in 10 min (task 13)",
    ]
    groups = json.loads(say("why --json")[1])["waiting"]
    assert [(group["size"], group["reasons"][0]["code"]) for group in groups] == [
        (12, "charging"),
        (1, "not_due"),
    ]


def test_why_asks_the_policy_that_it_is_given(
    say: Any, queue: BackgroundTaskManager, tmp_path: Path
) -> None:
    (tmp_path / "low.toml").write_text("[scheduling]\nbattery_threshold = 30\n")
    queue.submit("echo", [1], task_class="background")
    assert "background work needs more than 50 %" in say("why 1")[1]
    assert "nothing keeps it but" in say("why 1 --policy low.toml")[1]


def test_cancel(say: Any, queue: BackgroundTaskManager) -> None:
    queue.submit("echo", [1])
    queue.process_background_tasks()
    for _ in range(2):
        queue.submit("train", [2])
    assert say("cancel 2 3") == (0, "task 2: cancelled\ntask 3: cancelled\n", "")
    assert {queue.get(task).state for task in (2, 3)} == {TaskState.CANCELLED}
    assert say("cancel 3") == (0, "task 3: cancelled\n", "")
    assert say("cancel 1") == (1, "task 1: not cancelled: it has succeeded\n", "")


def test_one_that_does_not_exist_stops_no_other(say: Any, queue: BackgroundTaskManager) -> None:
    queue.submit("train", [1])
    status, out, err = say("cancel 99 1")
    assert (status, out) == (1, "task 1: cancelled\n")
    assert err == "deferpower: task 99: there is no such task; it may have been pruned\n"
    status, out, err = say("cancel 99 1 --json")
    assert status == 1
    assert json.loads(out) == [
        {"id": 99, "error": "task 99: there is no such task; it may have been pruned"},
        {"id": 1, "state": "cancelled", "done": True},
    ]
    for line in ("show 99", "why 99", "retry 99"):
        assert say(line) == (1, "", err)


def test_retry(say: Any, queue: BackgroundTaskManager) -> None:
    for name in ("broken", "broken", "train", "echo"):
        queue.submit(name, [] if name == "broken" else [1])
    queue.process_background_tasks()
    assert say("retry 1") == (0, "task 1: waits again\n", "")
    assert queue.get(1).attempts == 0
    assert say("retry 3") == (0, "task 3: left as it is: it waits\n", "")
    status, out, err = say("retry 4")
    assert (status, out) == (1, "")
    assert err.startswith("deferpower: task 4: it succeeded; only one that failed")
    assert say("retry --failed") == (0, "task 2: waits again\n", "")
    assert queue.get(2).state is TaskState.ENQUEUED


@pytest.mark.parametrize("line", ["retry", "retry 1 --failed"])
def test_retry_wants_to_know_which(say: Any, queue: BackgroundTaskManager, line: str) -> None:
    status, _, err = say(line)
    assert status == 2
    assert err == (
        "deferpower: which tasks? write their numbers, or --failed for all that have failed\n"
    )


def test_prune(say: Any, queue: BackgroundTaskManager) -> None:
    for n in range(3):
        queue.submit("echo", [n])
    queue.process_background_tasks()
    queue.submit("train", [3])
    assert say("prune") == (0, "0 tasks forgotten\n", "")
    assert say("prune --older-than 1h") == (0, "0 tasks forgotten\n", "")
    assert say("prune --all --json") == (0, '{"pruned": 3}\n', "")
    assert [task.id for task in queue.list()] == [4]
    status, _, err = say("prune --all --older-than 1h")
    assert (status, err.count("\n")) == (2, 1)
    assert "--older-than is not allowed with --all; leave one out" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("list --state waiting", "--state: 'waiting' is no state; write one of blocked, enqueued"),
        ("list --limit 0", "--limit: '0' is no whole number of at least 1"),
        ("list 1", "'1' is not expected here"),
        ("show", "show: ID is missing; see deferpower show --help"),
        ("show one", "ID: 'one' is no number of a task"),
        ("cancel", "cancel: ID is missing; see deferpower cancel --help"),
        ("prune --older-than soon", "--older-than: 'soon' is no length of time"),
    ],
)
def test_a_wrong_command_line(say: Any, line: str, said: str) -> None:
    status, out, err = say(line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"deferpower: {said}")


def test_another_program_s_file_is_refused_untouched(say: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be looked at as one" * 20)
    before = path.read_bytes()
    for line in (*ABOUT_ONE, *ABOUT_ALL):
        status, out, err = say(f"{line} --queue {path}")
        assert (status, out) == (1, "")
        assert str(path) in err
    assert path.read_bytes() == before
