"""``deferpower submit`` and ``logs``: what a shell puts into the queue, and what comes out."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.support import Gate, command_line
from deferpower import BackgroundTaskManager
from deferpower.tasks.record import TaskState
from deferpower.testing import FakeDevice, ManualClock, run_until_idle
from waiting import until


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def tasks(queue: Path, backend_name: str) -> Iterator[BackgroundTaskManager]:
    """The same queue, in this process, whose clock is a minute ahead: what is due is due."""
    device = FakeDevice(clock=ManualClock(time.time() + 60), backend=backend_name)
    manager = BackgroundTaskManager(queue, device=device)
    yield manager
    manager.close()


@pytest.fixture(autouse=True)
def _here(queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(queue))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


def deferpower(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command_line(words), capture_output=True, check=False, timeout=60, cwd=cwd
    )


def submit(*words: str, cwd: Path | None = None) -> int:
    """The number of the new task, which is all that it prints."""
    done = deferpower("submit", *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, b"")
    return int(done.stdout)


def complaint(*words: str) -> str:
    """The one line that it says about a command line; nothing is submitted."""
    done = deferpower(*words)
    assert (done.returncode, done.stdout) in ((1, b""), (2, b""))
    (line,) = done.stderr.decode().splitlines()
    return line.removeprefix("deferpower: ")


def test_a_command_runs_where_and_as_it_was_submitted(
    tasks: BackgroundTaskManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LC_TIME", "C"), ("SECRET", "no"), ("NAMED", "yes")):
        monkeypatch.setenv(name, value)
    here = tmp_path / "here"
    here.mkdir()
    script = 'pwd; echo "$NAMED $GIVEN $HOME"; exit 0'
    task = submit("--env", "NAMED", "--env", "GIVEN=a=b", "--", "sh", "-c", script, cwd=here)
    kept = tasks.get(task).kwargs["env"]
    assert {"PATH", "HOME", "LC_TIME", "NAMED", "GIVEN"} <= kept.keys()
    assert kept.keys() - {"PATH", "HOME", "LANG", "NAMED", "GIVEN"} == {
        name for name in os.environ if name.startswith("LC_")
    }
    monkeypatch.setenv("HOME", "/elsewhere")
    run_until_idle(tasks)
    assert deferpower("logs", str(task)).stdout.decode() == (
        f"{here}\nyes a=b {tmp_path / 'home'}\n"
    )


def test_options_reach_the_task(tasks: BackgroundTaskManager) -> None:
    task = submit(
        *("--charging", "--battery-above", "30", "--window", "22:00-06:00", "--prefer-idle"),
        *("--network", "unmetered", "--storage-not-low", "--prefer-network", "connected"),
        *("--deadline", "12h", "--expire", "--timeout", "1h30m", "--max-attempts", "3"),
        *("--no-pause", "--at-most-once", "--priority", "low", "--key", "photos"),
        *("--", "./photos", "--all", "--", "-x"),
    )
    found = tasks.get(task)
    spec = found.spec
    assert found.kwargs["argv"] == ["./photos", "--all", "--", "-x"]
    assert (spec.constraints.charging, spec.constraints.battery_above) == (True, 30)
    assert (str(spec.constraints.window), spec.prefer.idle) == ("22:00-06:00", True)
    assert (spec.constraints.network, spec.prefer.network) == ("unmetered", "connected")
    assert spec.constraints.storage_not_low
    assert found.deadline_s == pytest.approx(found.created_s + 12 * 3600)
    assert (spec.on_deadline, spec.timeout_s, spec.max_attempts) == ("expire", 5400, 3)
    assert (spec.pauses, spec.at_most_once, spec.priority) == (False, True, "low")
    assert (found.key, spec.task_class) == ("photos", "background")


def test_it_may_wait_for_its_time(tasks: BackgroundTaskManager) -> None:
    before = time.time()
    delayed = tasks.get(submit("--delay", "2h", "--", "true"))
    assert delayed.due_s == pytest.approx(before + 7200, abs=60)
    clock = time.strftime("%H:%M", time.localtime(before + 4 * 3600))
    timed = tasks.get(submit("--not-before", clock, "--", "true"))
    assert timed.due_s == pytest.approx(before + 4 * 3600, abs=120)
    dated = tasks.get(submit("--not-before", "2030-05-01T22:00:00+00:00", "--", "true"))
    assert dated.due_s == 1_903_903_200
    periodic = tasks.get(submit("--every", "1d", "--flex", "6h", "--", "true"))
    assert (periodic.spec.every_s, periodic.spec.flex_s) == (86_400, 21_600)
    assert periodic.due_s == pytest.approx(before + 18 * 3600, abs=60)


def test_of_those_that_are_the_same_one_waits(tasks: BackgroundTaskManager, tmp_path: Path) -> None:
    first = submit("--unique", "--", "echo", "a")
    assert submit("--unique", "--", "echo", "a") == first
    assert submit("--unique", "--", "echo", "b") != first
    assert submit("--unique", "--", "echo", "a", cwd=tmp_path) != first
    newer = submit("--unique", "--on-conflict", "replace", "--", "echo", "a")
    assert (tasks.get(first).state, newer > first) == (TaskState.CANCELLED, True)
    last = submit("--unique", "--on-conflict", "append", "--", "echo", "a")
    assert tasks.get(last).state is TaskState.BLOCKED


def test_one_comes_after_others(tasks: BackgroundTaskManager) -> None:
    first, second = submit("--", "true"), submit("--", "true")
    third = submit("--after", str(first), str(second), "--", "echo", "last")
    assert tasks.get(third).state is TaskState.BLOCKED
    run_until_idle(tasks)
    assert tasks.logs(third) == b"last\n"


def test_json(tasks: BackgroundTaskManager, queue: Path) -> None:
    done = deferpower("submit", "--json", "--", "printf", r"a\377\0")
    told = json.loads(done.stdout)
    assert told == {"id": told["id"], "queue": str(queue)}
    run_until_idle(tasks)
    (line,) = deferpower("logs", "--json", str(told["id"])).stdout.splitlines()
    assert json.loads(line) == {
        "id": told["id"],
        "text": "a\N{REPLACEMENT CHARACTER}\0",
        "base64": base64.b64encode(b"a\xff\0").decode(),
    }


def test_the_queue_is_private_and_where_systems_keep_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFERPOWER_QUEUE")
    assert "no file" in complaint("logs", "1")
    submit("--", "true")
    made = tmp_path / "home/.local/share/deferpower/queue.db"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    submit("--", "true")
    assert (tmp_path / "data/deferpower/queue.db").exists()
    named = tmp_path / "named.db"
    assert submit("--queue", str(named), "--", "true") == 1
    assert named.exists()
    assert "the directory does not exist" in complaint(
        "submit", "--queue", str(tmp_path / "no/where.db"), "--", "true"
    )


def test_following_ends_with_the_command(tasks: BackgroundTaskManager, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    task = submit("--", "sh", "-c", f"echo one; {gate.wait}; echo two")
    tasks.start()
    until(lambda: tasks.logs(task) == b"one\n", "the first line")
    with subprocess.Popen(
        command_line(["logs", "--follow", str(task)]), stdout=subprocess.PIPE
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"one\n"
        gate.open()
        assert follower.stdout.read() == b"two\n"
        assert follower.wait(30) == 0


def test_logs_of_what_has_none(tasks: BackgroundTaskManager) -> None:
    function = tasks.task(lambda: None, name="index")
    handle = function.defer()
    assert complaint("logs", str(handle.id)) == (
        f"task {handle.id}: a function, which has no output of its own"
    )
    done = deferpower("logs", str(submit("--delay", "1d", "--", "true")))
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"task 2 has not begun yet\n"
    assert complaint("logs", "77") == "task 77: there is no such task; it may have been pruned"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("submit", "no command to submit; write it after --"),
        ("submit --charging --", "no command to submit"),
        ("submit true", "write the command after --"),
        ("submit --expire -- true", "--expire needs --deadline"),
        ("submit --flex 1h -- true", "--flex needs --every"),
        ("submit --every 1h --flex 2h -- true", "--flex is longer than --every"),
        ("submit --prefer-charging -- true", "a preference needs --deadline"),
        ("submit --on-conflict keep -- true", "--on-conflict needs --key"),
        (
            "submit --on-conflict drop --key a -- true",
            "--on-conflict: 'drop' is no choice; write one of keep, replace, append",
        ),
        ("submit --unique --key a -- true", "--unique and --key exclude each other"),
        ("submit --delay 1 --not-before 22:00 -- true", "exclude each other"),
        ("submit --at-most-once --every 1h -- true", "exclude each other"),
        ("submit --not-before 24:00 -- true", "'24:00' is no moment"),
        ("submit --not-before soon -- true", "'soon' is no moment"),
        ("submit --max-attempts 0 -- true", "'0' is no whole number of at least 1"),
        ("submit --after x -- true", "'x' is no number of a task"),
        ("submit --after 99 -- true", "after: there is no task 99"),
        ("submit --env NOT_SET_HERE -- true", "NOT_SET_HERE is not set here"),
        ("submit --env =x -- true", "names no variable"),
        ("logs", "of which task? write deferpower logs ID"),
        ("logs seven", "'seven' is no number of a task"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    words: str, said: str, tasks: BackgroundTaskManager
) -> None:
    assert said in complaint(*words.split())
    assert tasks.list() == []
