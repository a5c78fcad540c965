"""Commands as tasks: real processes, real signals, and a device that is set by hand."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.support import Gate, Laptop, command_line, group_states, is_alive, state
from deferpower import BackgroundTaskManager, Constraints, TaskError
from deferpower.tasks import commands
from deferpower.tasks.events import Event
from deferpower.tasks.handle import Handle
from deferpower.tasks.record import TaskFailed, TaskRecord, TaskState
from deferpower.testing import FakeDevice, run_until_idle
from tasks.conftest import MakeManager
from waiting import until

CHARGING = Constraints(charging=True)


@pytest.fixture
def device(backend_name: str) -> FakeDevice:
    """On the charger, with a full battery."""
    return FakeDevice(plugged=True, percent=100, backend=backend_name)


@pytest.fixture
def worker(make: MakeManager) -> BackgroundTaskManager:
    """One that runs two at a time."""
    manager = make(max_workers=2)
    manager.start()
    return manager


@pytest.fixture
def events(worker: BackgroundTaskManager) -> list[Event]:
    told: list[Event] = []
    worker.on_event(told.append)
    return told


def sh(manager: BackgroundTaskManager, script: str, **options: Any) -> Handle:
    return manager.submit_command(["sh", "-c", script], **options)


def run(manager: BackgroundTaskManager, script: str, **options: Any) -> TaskRecord:
    """A script that ran to its end in this thread."""
    handle = sh(manager, script, **options)
    run_until_idle(manager)
    return handle.record


def has_written(manager: BackgroundTaskManager, handle: Handle, text: bytes) -> None:
    until(lambda: text in manager.logs(handle.id), f"{text!r} in the log")


def begun(manager: BackgroundTaskManager, handle: Handle) -> int:
    """The process group of a script that says ``pid $$``, once it did."""
    until(lambda: manager.logs(handle.id).count(b"\n") > 0, "the first line")
    return int(manager.logs(handle.id).split()[1])


def has_ended(handle: Handle) -> Callable[[], bool]:
    return lambda: handle.state.has_ended


def plug_in(device: FakeDevice, group: int) -> None:
    """Plug in, and let time pass until that counts and the group goes on."""
    device.plug_in()

    def goes_on() -> bool:
        device.clock.advance(1)
        return "T" not in group_states(group).values()

    until(goes_on, "all thawed")


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in list(events)]


def test_status_0_is_success_and_the_output_is_kept(tasks: BackgroundTaskManager) -> None:
    done = run(tasks, r"echo out; echo err >&2; printf 'a\0\377'")
    assert (done.state, done.result, done.error) == (TaskState.SUCCEEDED, {"exit_status": 0}, None)
    assert tasks.logs(done.id) == b"out\nerr\na\0\xff"
    assert list(tasks.follow_logs(done.id)) == [b"out\nerr\na\0\xff"]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo no such book; echo; exit 3", "exit status 3: no such book"),
        ("exit 255", "exit status 255"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -TERM $$", "killed by SIGTERM"),
    ],
)
def test_any_other_end_is_a_failure(tasks: BackgroundTaskManager, script: str, error: str) -> None:
    failed = run(tasks, script)
    assert (failed.state, failed.error, failed.attempts) == (TaskState.FAILED, error, 1)


def test_what_cannot_be_started_fails_and_says_why(
    tasks: BackgroundTaskManager, tmp_path: Path
) -> None:
    (tmp_path / "script").write_text("echo\n")
    for argv, cwd, error in (
        (["no-such-program"], tmp_path, "no-such-program: command not found; is it on the PATH?"),
        (["./script"], tmp_path, "./script: is not executable; try chmod +x"),
        (["true"], tmp_path / "gone", f"true: its working directory {tmp_path}/gone does not"),
    ):
        handle = tasks.submit_command(argv, cwd=cwd)
        run_until_idle(tasks)
        with pytest.raises(TaskFailed, match="failed") as raised:
            handle.result(0)
        assert (raised.value.record.error or "").startswith(error)


def test_directory_and_environment_are_those_that_were_asked_for(
    tasks: BackgroundTaskManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "1")
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\npwd; echo "$INHERITED $ADDED"; cat; echo end\n')
    tool.chmod(0o755)
    handle = tasks.submit_command(
        ["tool"], cwd=tmp_path, env={"ADDED": "2", "PATH": f"bin:{os.environ['PATH']}"}
    )
    run_until_idle(tasks)
    assert handle.state is TaskState.SUCCEEDED
    assert tasks.logs(handle.id).decode() == f"{tmp_path}\n1 2\nend\n"


def test_the_directory_of_now_is_kept(
    tasks: BackgroundTaskManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handle = sh(tasks, "pwd")
    monkeypatch.chdir("/")
    run_until_idle(tasks)
    assert tasks.logs(handle.id).decode() == f"{tmp_path}\n"


def test_names_of_files_need_not_be_utf_8(tasks: BackgroundTaskManager) -> None:
    handle = tasks.submit_command(["printf", "%s", os.fsdecode(b"a\xffb")])
    run_until_idle(tasks)
    assert tasks.logs(handle.id) == b"a\xffb"


def test_a_failure_is_tried_again_where_that_is_asked_for(
    tasks: BackgroundTaskManager, device: FakeDevice, tmp_path: Path
) -> None:
    script = f"echo try; test -e {tmp_path}/there"
    handle = sh(tasks, script, max_attempts=3, backoff_s=30)
    run_until_idle(tasks)
    assert (handle.state, handle.record.error) == (TaskState.ENQUEUED, "exit status 1: try")
    (tmp_path / "there").touch()
    device.clock.advance(31)
    run_until_idle(tasks)
    assert (handle.state, handle.record.attempts) == (TaskState.SUCCEEDED, 2)
    first, line, second = tasks.logs(handle.id).splitlines()
    assert (first, second) == (b"try", b"try")
    assert line.startswith(b"[deferpower: started again, 2024-01-01 ")


def test_it_is_frozen_while_its_conditions_do_not_hold(
    worker: BackgroundTaskManager, device: FakeDevice, events: list[Event], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    handle = sh(worker, f"echo pid $$; ({gate.wait}; echo on) & wait", constraints=CHARGING)
    group = begun(worker, handle)
    until(lambda: device.own_work == (group,), "its work to be known")

    device.unplug(80)
    until(lambda: set(group_states(group).values()) == {"T"}, "all of it frozen")
    until(lambda: handle.record.note, "the note")
    assert handle.record.note == "paused: not charging: on battery at 80 %"
    assert str(handle.why()) == "running: paused: not charging: on battery at 80 %"
    until(lambda: device.own_work is None, "nobody at work")
    assert kinds(events) == ["submitted", "started", "stopping"]
    assert events[-1].detail == "not charging: on battery at 80 %"

    plug_in(device, group)
    until(lambda: handle.record.note is None, "the note taken back")
    until(lambda: device.own_work == (group,), "its work to be known again")
    gate.open()
    assert handle.result(30) == {"exit_status": 0}
    assert kinds(events) == ["submitted", "started", "stopping", "resumed", "succeeded"]
    assert worker.logs(handle.id).endswith(b"on\n")


def test_a_frozen_one_takes_no_place_from_others(make: MakeManager, device: FakeDevice) -> None:
    worker = make(max_workers=1)
    worker.start()
    waits = sh(worker, "echo pid $$; sleep 1000", constraints=CHARGING)
    group = begun(worker, waits)
    device.unplug(80)
    until(lambda: state(group) == "T", "frozen")
    assert sh(worker, "echo on battery").result(30) == {"exit_status": 0}
    assert state(group) == "T"


def test_no_more_run_at_once_than_there_are_places(
    worker: BackgroundTaskManager, tmp_path: Path
) -> None:
    gates = [Gate(tmp_path / f"gate{number}") for number in range(3)]
    handles = [sh(worker, f"echo pid $$; {gate.wait}") for gate in gates]
    begun(worker, handles[0])
    begun(worker, handles[1])
    assert [handle.state for handle in handles].count(TaskState.RUNNING) == 2
    assert handles[2].state is TaskState.ENQUEUED
    gates[0].open()
    begun(worker, handles[2])
    for gate in gates[1:]:
        gate.open()
    assert [handle.result(30) for handle in handles] == [{"exit_status": 0}] * 3


def test_without_pauses_it_runs_to_its_end(
    worker: BackgroundTaskManager, device: FakeDevice, events: list[Event], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    handle = sh(worker, f"echo pid $$; {gate.wait}", constraints=CHARGING, pauses=False)
    group = begun(worker, handle)
    device.unplug(80)
    other = sh(worker, "true", priority="high")
    assert other.result(30) == {"exit_status": 0}  # the change has been seen by then
    assert (state(group), handle.record.note) == ("S", None)
    gate.open()
    assert handle.result(30) == {"exit_status": 0}
    assert "stopping" not in kinds(events)


def test_a_frozen_one_goes_on_at_its_deadline(
    worker: BackgroundTaskManager, device: FakeDevice
) -> None:
    handle = sh(worker, "echo pid $$; sleep 1000", constraints=CHARGING, deadline_s=600)
    group = begun(worker, handle)
    device.unplug(80)
    until(lambda: state(group) == "T", "frozen")
    until(lambda: handle.record.note, "the note")
    device.clock.advance(601)
    until(lambda: state(group) == "S", "thawed")


def test_a_deadline_that_expires_is_for_the_beginning(
    worker: BackgroundTaskManager, device: FakeDevice, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    handle = sh(worker, f"echo pid $$; {gate.wait}", deadline_s=60, on_deadline="expire")
    group = begun(worker, handle)
    device.clock.advance(61)
    assert sh(worker, "true").result(30) == {"exit_status": 0}
    assert (handle.state, state(group)) == (TaskState.RUNNING, "S")
    gate.open()
    assert handle.result(30) == {"exit_status": 0}


# It starts nothing while it may be frozen: a shell that is stopped between the two halves of a
# vfork is in state D and not T, until it goes on.
TRAP = "trap 'echo had TERM; exit 0' TERM; sleep 1000 & echo pid $$; wait"


def test_cancelled_it_is_asked_to_end(worker: BackgroundTaskManager, events: list[Event]) -> None:
    handle = sh(worker, TRAP)
    group = begun(worker, handle)
    handle.cancel()
    until(has_ended(handle), "the end")
    assert handle.state is TaskState.CANCELLED
    assert worker.logs(handle.id).endswith(b"had TERM\n")
    assert not group_states(group)
    assert kinds(events) == ["submitted", "started", "stopping", "cancelled"]


def test_a_frozen_one_that_is_cancelled_ends_before_it_does_anything_else(
    worker: BackgroundTaskManager, device: FakeDevice
) -> None:
    handle = sh(worker, TRAP, constraints=CHARGING)
    group = begun(worker, handle)
    device.unplug(80)
    until(lambda: state(group) == "T", "frozen")
    handle.cancel()
    until(has_ended(handle), "the end")
    assert handle.state is TaskState.CANCELLED
    assert worker.logs(handle.id).endswith(b"had TERM\n")


def test_what_does_not_heed_sigterm_is_killed(
    worker: BackgroundTaskManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "KILL_AFTER_S", 0.1)
    handle = sh(worker, "trap '' TERM; echo pid $$; (setsid sleep 1000)& while :; do sleep 1; done")
    group = begun(worker, handle)
    handle.cancel()
    until(has_ended(handle), "the end")
    assert handle.state is TaskState.CANCELLED
    assert not group_states(group)


def test_out_of_time_it_is_ended_and_that_is_a_failure(
    worker: BackgroundTaskManager, device: FakeDevice, events: list[Event]
) -> None:
    handle = sh(worker, TRAP, timeout_s=6000, constraints=CHARGING)
    group = begun(worker, handle)
    device.unplug(80)
    until(lambda: state(group) == "T", "frozen")
    until(lambda: handle.record.note, "the note")
    device.clock.advance(36_000)  # frozen, it uses up no time
    plug_in(device, group)
    assert sh(worker, "true").result(30) == {"exit_status": 0}  # it has been looked after by then
    assert kinds(events).count("stopping") == 1
    until(lambda: handle.record.note is None, "the note taken back")
    device.clock.advance(6001)
    until(has_ended(handle), "the end")
    assert (handle.state, handle.record.error) == (TaskState.FAILED, "stopped after its 6000 s")


def test_when_its_worker_shuts_down_it_waits_again(
    worker: BackgroundTaskManager, device: FakeDevice, events: list[Event]
) -> None:
    """Whether it runs, is frozen, or was stopped by somebody else."""
    frozen = sh(worker, TRAP, constraints=CHARGING)
    group = begun(worker, frozen)
    device.unplug(80)
    until(lambda: frozen.record.note, "the note")
    runs, stopped = sh(worker, TRAP), sh(worker, TRAP)
    groups = [group, begun(worker, runs), begun(worker, stopped)]
    os.kill(groups[2], signal.SIGSTOP)
    worker.stop()
    for one in (frozen, runs, stopped):
        assert (one.state, one.record.attempts) == (TaskState.ENQUEUED, 0)
        assert one.record.note is None
        assert worker.logs(one.id).endswith(b"had TERM\n")
    assert not any(is_alive(group) for group in groups)
    assert kinds(events).count("stopped") == 3


def test_at_most_once_it_does_not_run_again(worker: BackgroundTaskManager) -> None:
    handle = sh(worker, TRAP, at_most_once=True)
    begun(worker, handle)
    worker.stop()
    assert handle.state is TaskState.FAILED
    assert "the worker is shutting down" in (handle.record.error or "")


def test_what_it_leaves_running_does_not_hold_it_up(
    worker: BackgroundTaskManager, tmp_path: Path
) -> None:
    handle = sh(worker, "sleep 1000 & echo left $!")
    assert handle.result(30) == {"exit_status": 0}
    left = int(worker.logs(handle.id).split()[1])
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)


def test_it_may_close_its_output_and_go_on(worker: BackgroundTaskManager, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    handle = sh(worker, f"echo bye; exec >&- 2>&-; {gate.wait}; exit 4")
    has_written(worker, handle, b"bye")
    gate.open()
    until(has_ended(handle), "the end")
    assert handle.record.error == "exit status 4: bye"


def test_its_output_can_be_followed_while_it_comes(
    worker: BackgroundTaskManager, make: MakeManager, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    handle = sh(worker, f"echo one; {gate.wait}; echo two")
    pieces = make().follow_logs(handle.id)
    assert next(pieces) == b"one\n"
    gate.open()
    assert b"".join(pieces) == b"two\n"


def test_it_is_slowed_down_as_the_battery_asks(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.unplug(60)
    device.clock.advance(5)
    here = os.getpriority(os.PRIO_PROCESS, 0)
    script = "sleep 0.2; cut -d' ' -f19 /proc/self/stat"
    slowed = run(tasks, script)
    assert int(tasks.logs(slowed.id)) == min(19, here + 5)
    critical = run(tasks, script, task_class="critical")
    assert int(tasks.logs(critical.id)) == here


def test_commands_take_their_place_in_chains_and_under_keys(
    tasks: BackgroundTaskManager,
) -> None:
    first = sh(tasks, "echo 1", key="one")
    assert sh(tasks, "echo 1", key="one").id == first.id
    second = sh(tasks, "echo 2", after=first)
    third = sh(tasks, "exit 1", after=second)
    vain = sh(tasks, "echo never", after=[third, second])
    run_until_idle(tasks)
    assert [one.state for one in (first, second, third, vain)] == [
        TaskState.SUCCEEDED,
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.FAILED,
    ]
    assert tasks.logs(vain.id) == b""


def test_one_with_a_period_runs_in_each(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    handle = sh(tasks, "echo turn", every_s=3600, flex_s=600)
    assert len(run_until_idle(tasks)) == 0
    device.clock.advance(3000)
    assert len(run_until_idle(tasks)) == 1
    device.clock.advance(3600)
    assert len(run_until_idle(tasks)) == 1
    assert tasks.logs(handle.id).count(b"turn\n") == 2


def test_what_cannot_be_a_command_is_refused(tasks: BackgroundTaskManager) -> None:
    for argv, env in (
        ([], {}),
        ([""], {}),
        ("ls", {}),
        (["a\0b"], {}),
        (["a", 1], {}),
        ([b"a"], {}),
        (["\ud800"], {}),
        (["a"], {"": "x"}),
        (["a"], {"A=B": "x"}),
        (["a"], {"A": 1}),
    ):
        with pytest.raises(TaskError, match="command:"):
            tasks.submit_command(argv, env=env)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="submit_command"):
        tasks.submit("command", [["ls"]])
    with pytest.raises(TaskError, match="there is no such task"):
        tasks.logs(1)
    assert tasks.list() == []


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "laptop", plugged=True, level=80)


@pytest.fixture
def process(laptop: Laptop, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``deferpower worker`` on a queue in ``tmp_path / "queue.db"``."""
    env = {**os.environ, "DEFERPOWER_ROOT": str(laptop.root)}
    words = command_line(["worker", "--queue", str(tmp_path / "queue.db")])
    started = subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL)
    with started:
        yield started
        started.kill()


@pytest.fixture
def onlooker(tmp_path: Path) -> Iterator[BackgroundTaskManager]:
    """This process, which runs nothing of that queue."""
    manager = BackgroundTaskManager(tmp_path / "queue.db", device=FakeDevice())
    yield manager
    manager.close()


def test_a_laptop_is_unplugged_and_plugged_in(
    laptop: Laptop,
    process: subprocess.Popen[bytes],
    onlooker: BackgroundTaskManager,
    tmp_path: Path,
) -> None:
    """From one process to another, by way of the file alone."""
    gate = Gate(tmp_path / "gate")
    handle = sh(onlooker, f"echo pid $$; {gate.wait}; echo done", constraints=CHARGING)
    group = begun(onlooker, handle)
    laptop.plug(False)
    until(lambda: state(group) == "T", "frozen")
    until(lambda: handle.record.note, "the note")
    assert "paused: not charging" in str(handle.why())
    laptop.plug(True)
    until(lambda: state(group) == "S", "thawed")
    gate.open()
    assert handle.result(30) == {"exit_status": 0}
    process.terminate()
    assert process.wait(30) == 0


def test_a_command_does_not_outlive_its_worker_and_runs_again(
    process: subprocess.Popen[bytes], onlooker: BackgroundTaskManager
) -> None:
    handle = sh(onlooker, "echo pid $$; sleep 1000")
    group = begun(onlooker, handle)
    process.kill()
    process.wait(30)
    until(lambda: not is_alive(group), "its end")
    onlooker.process_background_tasks(0)  # looks after what dead workers held
    assert (handle.state, handle.record.crashes) == (TaskState.ENQUEUED, 1)
