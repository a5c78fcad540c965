"""``deferpower worker`` as a process: what it runs, what it says, how it ends."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Start
from cli.support import Deferpower, Laptop, command_line, is_alive
from deferpower import BackgroundTaskManager, Constraints, TaskState, cli
from deferpower.cli import shift
from deferpower.cli.systemd import quoted
from waiting import PATIENCE_S, until

AGENT = """
import os, time
from pathlib import Path
from deferpower import BackgroundTaskManager, Constraints

tasks = BackgroundTaskManager(Path(__file__).parent / "agent.db")
begun = Path(__file__).parent / "begun"

@tasks.task
def echo(text):
    print("echo says", text)

@tasks.task(constraints=Constraints(charging=True))
def train(n):
    pass

@tasks.task(max_attempts=1)
def broken():
    raise ValueError("no good")

@tasks.task(pass_context=True, task_class="critical")
def patient(context):
    begun.touch()
    context.wait_for_stop()
    context.stop_if_asked()

@tasks.task(task_class="critical")
def stubborn():
    begun.touch()
    while True:
        time.sleep(0.05)

"""
HOURLY = """
@tasks.task(every_s=3600.0)
def hourly():
    pass
"""


@pytest.fixture
def backend_name() -> str:
    """One is enough: how a worker waits for the machine is tested with the manager."""
    return os.environ.get("DEFERPOWER_TEST_BACKENDS", "native,pure").split(",")[0]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """On battery at 90 %, so that everything may run but what wants the charger."""
    return Laptop(tmp_path / "laptop", level=90)


@pytest.fixture
def env(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    (tmp_path / "agent.py").write_text(AGENT)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return {**env, "PYTHONPATH": path, "DEFERPOWER_QUEUE": str(tmp_path / "queue.db")}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[BackgroundTaskManager]:
    """The queue of the program ``agent``, from the outside."""
    manager = BackgroundTaskManager(tmp_path / "agent.db")
    yield manager
    manager.close()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[BackgroundTaskManager]:
    """The queue of commands, from the outside."""
    manager = BackgroundTaskManager(tmp_path / "queue.db")
    yield manager
    manager.close()


CHARGING = Constraints(charging=True)
APP = ("worker", "--app", "agent:tasks")


def events(worker: Deferpower) -> list[dict[str, Any]]:
    """What ``--json`` told so far."""
    return [json.loads(line) for line in worker.out.splitlines(keepends=True) if line[-1] == "\n"]


def said(worker: Deferpower) -> list[str]:
    """The plain lines without their times."""
    lines = worker.err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    return [line[20:] for line in lines]


def test_once_runs_what_may_run_and_says_what_waits(
    start: Start, agent: BackgroundTaskManager
) -> None:
    agent.submit("echo", ["hello"])
    agent.submit("train", [1], constraints=CHARGING)
    agent.submit("nowhere")
    worker = start(*APP, "--once")
    assert worker.end() == 0
    assert worker.out == "echo says hello\n"
    logged = "tasks wait for a function named 'nowhere'"
    assert [line for line in said(worker) if not line.startswith(logged)] == [
        f"running {agent.path}; 3 tasks in the queue",
        "started task 1 echo",
        "succeeded task 1 echo",
        "ended; 2 tasks left:",
        "  1: not charging: on battery at 90 % (train)",
        "  1: this program has no function named 'nowhere'; another must run it (nowhere)",
    ]
    assert agent.worker_pids() == ()


def test_once_ends_by_what_happens_not_by_looking_again(
    env: dict[str, str],
    commands: BackgroundTaskManager,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shift, "_LOOK_AGAIN_S", 3600.0)
    assert cli.main(["worker", "--once"]) == 0
    commands.submit_command(["sh", "-c", "echo one; sleep 0.2"])
    commands.submit_command(["false"], constraints=CHARGING)
    assert cli.main(["worker", "--once"]) == 0
    assert commands.get(1).state is TaskState.SUCCEEDED
    assert "ended; 1 task left:" in capfd.readouterr().err


def test_a_task_that_fails_for_good_shows_in_the_exit_status(
    start: Start, agent: BackgroundTaskManager
) -> None:
    agent.submit("broken", max_attempts=1)
    worker = start(*APP, "--once")
    assert worker.end() == 1
    assert "failed task 1 broken: ValueError: no good" in said(worker)
    assert worker.err.count("no good") == 1


def test_drain_waits_until_nothing_is_left_but_what_recurs(
    start: Start, agent: BackgroundTaskManager, laptop: Laptop, tmp_path: Path
) -> None:
    (tmp_path / "agent.py").write_text(AGENT + HOURLY)
    agent.submit("train", [1], constraints=CHARGING)
    worker = start(*APP, "--drain", "--json")
    worker.wait_until(lambda: "worker_ready" in worker.out, "the worker")
    laptop.plug(True)
    assert worker.end() == 0
    told = events(worker)
    assert [event["event"] for event in told if event.get("name") == "train"] == [
        "started",
        "succeeded",
    ]
    assert told[-1]["event"] == "worker_ended"
    assert [group["reasons"][0]["code"] for group in told[-1]["waiting"]] == ["periodic"]
    assert agent.get(1).state is TaskState.SUCCEEDED


def test_a_signal_that_cuts_drain_short_shows_in_the_exit_status(
    start: Start, agent: BackgroundTaskManager
) -> None:
    agent.submit("train", [1], constraints=CHARGING)
    worker = start(*APP, "--drain")
    worker.wait_until(lambda: "in the queue" in worker.err, "the worker")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end() == 128 + signal.SIGTERM


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_and_what_ran_waits_again(
    start: Start, agent: BackgroundTaskManager, tmp_path: Path, signum: signal.Signals
) -> None:
    agent.submit("patient")
    worker = start(*APP)
    worker.wait_until((tmp_path / "begun").exists, "the task")
    worker.process.send_signal(signum)
    assert worker.end() == 0
    assert agent.get(1).state is TaskState.ENQUEUED
    assert agent.get(1).attempts == 0
    assert f"{signum.name}: stopping; a second signal leaves what runs" in said(worker)
    assert "stopped task 1 patient" in said(worker)


def test_a_second_signal_ends_it_at_once(
    start: Start, agent: BackgroundTaskManager, tmp_path: Path
) -> None:
    agent.submit("stubborn", task_class="critical")
    worker = start(*APP)
    worker.wait_until((tmp_path / "begun").exists, "the task")
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_until(lambda: "a second signal" in worker.err, "the first signal")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end() == 128 + signal.SIGTERM
    assert agent.get(1).state is TaskState.RUNNING
    assert agent.worker_pids() == ()


def test_commands_are_run_and_ended_with_it(
    start: Start, commands: BackgroundTaskManager, tmp_path: Path
) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    commands.submit_command(["sh", "-c", script], task_class="critical")
    worker = start("worker")
    pid = tmp_path / "pid"
    worker.wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the command")
    assert commands.worker_pids() == (worker.process.pid,)
    (running,) = commands.overview(for_others=True).running
    assert (running.id, running.state) == (1, TaskState.RUNNING)
    worker.process.terminate()
    assert worker.end() == 0
    assert not is_alive(int(pid.read_text()))
    assert commands.get(1).state is TaskState.ENQUEUED
    assert any(line.startswith("started task 1 sh -c 'echo") for line in said(worker))


def test_cancel_from_another_process_stops_a_running_task(
    start: Start, agent: BackgroundTaskManager, tmp_path: Path
) -> None:
    agent.submit("patient")
    worker = start(*APP)
    worker.wait_until((tmp_path / "begun").exists, "the task")
    cancel = start("cancel", "1", "--queue", str(agent.path))
    assert cancel.end() == 0
    assert cancel.out == "task 1: it runs and was asked to stop\n"
    worker.wait_until(lambda: agent.get(1).state is TaskState.CANCELLED, "the cancelled task")
    assert start("why", "--queue", str(agent.path)).end() == 0


def test_why_knows_that_a_worker_runs(start: Start, agent: BackgroundTaskManager) -> None:
    agent.submit("nowhere", task_class="critical")
    worker = start(*APP)
    worker.wait_until(agent.worker_pids, "the worker")
    why = start("why", "1", "--queue", str(agent.path))
    assert why.end() == 0
    assert why.out.splitlines()[1] == (
        f"  nothing keeps it; a worker runs (process {worker.process.pid}) and takes it in its "
        "turn, if its program has a function named 'nowhere'"
    )


def test_every_event_is_a_json_object(start: Start, agent: BackgroundTaskManager) -> None:
    agent.submit("echo", ["hello"])
    agent.submit("broken", max_attempts=1)
    worker = start(*APP, "--once", "--json")
    assert worker.end() == 1
    told = events(worker)
    assert told[0]["event"] == "worker_ready"
    assert told[0]["pid"] == worker.process.pid
    assert told[0]["queue"] == agent.path
    mine = [(event["event"], event["task"]) for event in told if event.get("name") == "broken"]
    assert mine == [("started", 2), ("failed", 2)]
    (failed,) = (event for event in told if event["event"] == "failed")
    assert failed["detail"].endswith("ValueError: no good")
    assert failed["title"] == "broken"
    assert worker.err == "echo says hello\n"


def test_an_event_of_a_command_says_which(
    start: Start, commands: BackgroundTaskManager, tmp_path: Path
) -> None:
    commands.submit_command(["echo", "a b"])
    commands.submit_command(["true"], constraints=CHARGING, deadline_s=0.01, on_deadline="expire")
    worker = start("worker", "--once", "--json")
    assert worker.end() == 1
    told = [(e["event"], e["name"], e["title"]) for e in events(worker) if "task" in e]
    assert sorted(told) == [
        ("expired", "command", "true"),
        ("started", "command", "echo 'a b'"),
        ("succeeded", "command", "echo 'a b'"),
    ]


def test_the_service_manager_is_told(
    env: dict[str, str], agent: BackgroundTaskManager, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(PATIENCE_S)
        process = subprocess.Popen(
            command_line(APP),
            env={**os.environ, **env, "NOTIFY_SOCKET": str(address)},
            stderr=subprocess.DEVNULL,
        )
        assert manager.recv(100) == b"READY=1"
        process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
    assert process.wait(PATIENCE_S) == 0


def test_the_unit_runs_this_worker(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["worker", "--print-unit", "--queue", "my 100% queue.db"]) == 0
    text = capsys.readouterr().out
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    assert service["KillMode"] == "mixed"
    assert shlex.split(service["ExecStart"].replace("%%", "%")) == [
        *(sys.executable, "-m", "deferpower", "worker", "--plain"),
        *("--queue", str(tmp_path / "my 100% queue.db")),
    ]
    assert unit["Install"]["WantedBy"] == "default.target"
    assert not (tmp_path / "my 100% queue.db").exists()
    assert cli.main(["worker", "--print-unit", "--app", "agent:tasks"]) == 0
    assert f"WorkingDirectory={tmp_path}\n" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["worker", "--print-unit", "--queue", str(tmp_path / "my $HOME; queue")]) == 0
    unit = tmp_path / "deferpower.service"
    unit.write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--recursive-errors=no", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, "deferpower.service" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("word", "text"),
    [("plain", "plain"), ("a b", '"a b"'), ("100%", "100%%"), ("$HOME", "$$HOME"), ("", '""')],
)
def test_words_mean_nothing_to_systemd(word: str, text: str) -> None:
    assert quoted(word) == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--app", "agent"], "--app: 'agent' is no name; write it like agent:tasks"),
        (["--app", "no_such_module:x"], "--app: there is no module 'no_such_module'"),
        (["--app", "odd_program:x"], "--app: importing 'odd_program' failed ("),
        (["--app", "json:nothing"], "--app: 'nothing' of json is not there; name a Background"),
        (["--app", "json:dumps"], "--app: 'dumps' of json is a function; name a Background"),
        (["--app", "in_memory:tasks"], "--app: in_memory:tasks keeps its tasks in memory"),
        (["--app", "x:y", "--queue", "z"], "--queue: --app x:y has its own; set it where"),
        (["--app", "x:y", "--max-workers", "2"], "--max-workers: --app x:y has its own"),
        (["--once", "--drain"], "--drain is not allowed with --once; leave one out"),
        (["--max-workers", "0"], "--max-workers: '0' is no whole number"),
        (["now"], "'now' is not expected here"),
    ],
)
def test_a_wrong_command_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "odd_program.py").write_text("import nothing_of_the_kind\n")
    (tmp_path / "in_memory.py").write_text(
        "from deferpower import BackgroundTaskManager\ntasks = BackgroundTaskManager()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["worker", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"deferpower: {said}")
    assert err.count("\n") == 1


class Screen:
    """A terminal, as tmux draws it."""

    def __init__(self, directory: Path) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]

    def start(self, line: str, env: dict[str, str], size: tuple[int, int]) -> None:
        columns, lines = map(str, size)
        given = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        # The shell stays when the worker has ended, so that the screen can still be read.
        self._do("new-session", "-d", "-x", columns, "-y", lines, *given, f"{line}; exec cat")

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self._do("capture-pane", "-p").splitlines()]

    def wait_for(self, condition: Callable[[list[str]], object], what: str) -> list[str]:
        try:
            until(lambda: condition(self.shown()), what)
        except AssertionError:
            pytest.fail("\n".join([f"never came: {what}; shown:", *self.shown()]))
        return self.shown()

    def resize(self, columns: int, lines: int) -> None:
        self._do("resize-window", "-x", str(columns), "-y", str(lines))

    def type(self, key: str) -> None:
        self._do("send-keys", key)

    def end(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True, timeout=PATIENCE_S
        )
        return done.stdout


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    if shutil.which("tmux") is None:
        missing = "tmux draws the terminal: install it (apt-get install tmux)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    screen = Screen(tmp_path)
    yield screen
    screen.end()


@pytest.mark.parametrize("size", [(80, 24), (40, 24)])
def test_the_queue_is_shown_at_the_bottom_of_a_terminal(
    screen: Screen,
    env: dict[str, str],
    agent: BackgroundTaskManager,
    laptop: Laptop,
    size: tuple[int, int],
) -> None:
    agent.submit("patient")
    agent.submit_many("train", [[n] for n in range(12)], constraints=CHARGING)
    screen.start(shlex.join(command_line(APP)), env, size)
    shown = screen.wait_for(lambda lines: "running" in lines, "the display")
    assert "on battery at 90.0 %" in shown
    (running,) = (line for line in shown if "patient()" in line)
    assert re.fullmatch(r"     1 +\d+ s  patient\(\)", running)
    (waiting,) = (line for line in shown if line.startswith("    12  "))
    full = "    12  not charging: on battery at 90 % (train)"
    assert waiting == (full if size[0] == 80 else full[:36] + "...")
    screen.wait_for(lambda lines: any(re.search(r" [2-9] s  patient", x) for x in lines), "a tick")
    laptop.plug(True)
    shown = screen.wait_for(lambda lines: any("12 succeeded" in x for x in lines), "all 12")
    # Redrawn in place: what was drawn before is not left behind.
    assert sum(line == "running" for line in shown) == 1
    assert not any("not charging" in line for line in shown)
    screen.type("C-c")
    shown = screen.wait_for(lambda lines: any("ended;" in x for x in lines), "the end")
    assert "running" not in shown


def test_what_tasks_print_and_what_fails_stays_above_the_display(
    screen: Screen, env: dict[str, str], agent: BackgroundTaskManager
) -> None:
    agent.submit("patient")
    screen.start(shlex.join(command_line(APP)), env, (80, 24))
    screen.wait_for(lambda lines: any("patient()" in line for line in lines), "the display")
    agent.submit("echo", ["hello"])
    agent.submit("broken", max_attempts=1)
    failed, echoed = "failed task 3 broken: ValueError: no good", "succeeded task 2 echo"
    # What is drawn may be older than what stands above it.
    shown = screen.wait_for(
        lambda lines: all(
            any(text in line for line in lines) for text in (failed, echoed, "1 failed")
        ),
        "the failure",
    )
    at = next(at for at, line in enumerate(shown) if " running" in line)
    assert "echo says hello" in shown[:at]
    assert any(failed in line for line in shown[:at])
    assert any(echoed in line for line in shown[at:])


def test_a_narrower_terminal_leaves_nothing_behind(
    screen: Screen, env: dict[str, str], agent: BackgroundTaskManager
) -> None:
    agent.submit("patient")
    agent.submit("train", [1], constraints=CHARGING)
    screen.start(f"seq 5; {shlex.join(command_line(APP))}", env, (80, 24))
    screen.wait_for(lambda lines: any("patient()" in line for line in lines), "the display")
    screen.resize(34, 24)
    shown = screen.wait_for(
        lambda lines: any(line.endswith("...") for line in lines), "the narrow display"
    )
    assert sum(line == "waiting" for line in shown) == 1
    assert [at for at, line in enumerate(shown) if "1 running" in line] == [0]
    assert sum("on battery at" in line for line in shown) == 1


def test_drain_shows_how_far_it_is(
    screen: Screen, env: dict[str, str], agent: BackgroundTaskManager, laptop: Laptop
) -> None:
    agent.submit("echo", ["hello"])
    agent.submit("train", [1], constraints=CHARGING)
    screen.start(shlex.join(command_line([*APP, "--drain"])), env, (80, 24))
    half = "1 of 2 done [####################                    ]  50 %"
    screen.wait_for(lambda lines: half in lines, "half of it")
    laptop.plug(True)
    screen.wait_for(lambda lines: any("ended; " in line for line in lines), "the end")


def test_without_colours_lines_are_plain_on_a_terminal_too(
    screen: Screen, env: dict[str, str], agent: BackgroundTaskManager
) -> None:
    agent.submit("echo", ["hello"])
    line = shlex.join(command_line([*APP, "--once"]))
    screen.start(line, {**env, "NO_COLOR": "1"}, (80, 24))
    shown = screen.wait_for(lambda lines: any("ended; " in x for x in lines), "the end")
    assert any(line.endswith("started task 1 echo") for line in shown)
