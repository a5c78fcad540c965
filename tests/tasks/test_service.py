"""Threads that run tasks: how many, what they hold up, and how they end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deferpower import BackgroundTaskManager, Constraints, Context, Device, TaskState
from deferpower._contract import Rules, Watch
from deferpower.errors import QueueFull, SensorError, StoreError, TaskError
from deferpower.testing import FakeDevice
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until


class Gate:
    """Tasks wait here until they are let through; knows how many are inside at once."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, number: int = 0) -> int:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(PATIENCE_S)
        with self._lock:
            self.inside -= 1
        return number


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_as_many_run_at_once_as_max_workers_says(make: MakeManager, gate: Gate) -> None:
    with make(max_workers=3) as tasks:
        handles = tasks.submit_many(tasks.task(gate, name="gate"), [[n] for n in range(8)])
        until(lambda: gate.inside == 3)
        assert tasks.stats()[TaskState.RUNNING] == 3
        gate.open.set()
        assert [handle.result(PATIENCE_S) for handle in handles] == list(range(8))
    assert gate.most == 3


def test_the_battery_says_how_many_threads_there_are_also_while_they_run(
    make: MakeManager, device: FakeDevice
) -> None:
    """Full performance takes every processor, minimal performance one, whatever the machine has."""
    device.unplug(75)
    device.clock.advance(5)
    tasks = make()
    tasks._pace._processor._cpu_count = 4  # a machine of four processors, on any machine
    first, second = Gate(), Gate()
    run_first = tasks.task(first, name="first")
    run_second = tasks.task(second, name="second", override="execute_now")
    with tasks:
        tasks.submit_many(run_first, [[n] for n in range(2)])
        until(lambda: first.inside == 2)
        device.unplug(40)
        device.clock.advance(5)
        handles = tasks.submit_many(run_second, [[n] for n in range(4)])
        first.open.set()
        until(lambda: second.inside == 1)
        second.open.set()
        assert [handle.result(PATIENCE_S) for handle in handles] == [0, 1, 2, 3]
    assert (first.most, second.most) == (2, 1)


def test_a_long_task_holds_up_neither_short_ones_nor_their_results(
    make: MakeManager, gate: Gate
) -> None:
    """With one thread, too: its results are written, and what it had claimed ahead is let go."""
    with make(max_workers=1) as tasks:
        echo = tasks.task(lambda number: number, name="echo")
        long = tasks.task(gate, name="long")
        before = tasks.submit_many(echo, [[n] for n in range(300)])
        held = tasks.submit(long)
        after = tasks.submit_many(echo, [[n] for n in range(300)])
        assert [handle.result(PATIENCE_S) for handle in before] == list(range(300))
        until(lambda: gate.inside == 1)
        until(lambda: tasks.stats()[TaskState.RUNNING] == 1, "claimed ahead of a long task")
        with make() as others:
            others.task(lambda number: number, name="echo")
            assert [handle.result(PATIENCE_S) for handle in after] == list(range(300))
        assert held.state is TaskState.RUNNING
        gate.open.set()
        assert held.result(PATIENCE_S) == 0


def test_a_second_long_task_starts_beside_the_first(make: MakeManager, gate: Gate) -> None:
    with make(max_workers=2) as tasks:
        run = tasks.task(gate, name="gate")
        run.defer(1)
        until(lambda: gate.inside == 1)
        run.defer(2)
        until(lambda: gate.inside == 2)
        gate.open.set()


def test_sys_exit_in_a_task_is_its_failure_and_the_thread_goes_on(make: MakeManager) -> None:
    with make(max_workers=1) as tasks:
        leave = tasks.task(lambda: sys.exit("enough"), name="leave", max_attempts=1)
        failed = leave.defer()
        until(lambda: failed.state is TaskState.FAILED)
        assert failed.record.error == "it called sys.exit('enough')"
        assert tasks.submit(tasks.task(lambda: "on", name="on")).result(PATIENCE_S) == "on"


def test_a_task_that_waits_for_another_gives_its_place_away(make: MakeManager) -> None:
    with make(max_workers=1) as tasks:
        leaf = tasks.task(lambda number: number * 2, name="leaf")

        @tasks.task
        def root(depth: int) -> int:
            waited = root.defer(depth - 1) if depth else leaf.defer(21)
            found: int = waited.result(PATIENCE_S)
            return found

        assert root.defer(5).result(PATIENCE_S) == 42


def test_a_task_that_would_wait_for_itself_is_told_so(make: MakeManager) -> None:
    with make(max_workers=1) as tasks:

        @tasks.task(pass_context=True, max_attempts=1)
        def myself(context: Context) -> None:
            tasks.result(context.id)

        @tasks.task(pass_context=True, max_attempts=1)
        def parent(context: Context) -> None:
            child.defer(context.id).result()

        @tasks.task(max_attempts=1)
        def child(of: int) -> None:
            tasks.result(of)

        alone = tasks.submit(myself)
        until(lambda: alone.state is TaskState.FAILED)
        assert f"task {alone.id} (myself): it would wait for itself" in str(alone.record.error)

        circle = tasks.submit(parent)
        until(lambda: circle.state is TaskState.FAILED)
        first_child = tasks.list(limit=1)[0]
        assert f"task {first_child.id} (child) failed" in str(circle.record.error)
        assert f"(child): it would wait for itself, as task {circle.id} ends only after it" in str(
            first_child.error
        )


def test_the_result_of_another_managers_task_wakes_who_waits(make: MakeManager, gate: Gate) -> None:
    here, there = make(), make()
    here.task(gate, name="gate")
    there.task(gate, name="gate")
    handle = here.submit("gate", [7])
    with there:
        until(lambda: gate.inside == 1)
        with pytest.raises(TimeoutError, match=r"still running after 0\.01 s"):
            handle.result(0.01)
        found: list[int] = []
        waiting = threading.Thread(target=lambda: found.append(handle.result(PATIENCE_S)))
        waiting.start()
        gate.open.set()
        waiting.join(PATIENCE_S)
        assert found == [7]
    until(lambda: not any(t.name == "deferpower-ends" for t in threading.enumerate()))


def test_waiting_where_nobody_runs_tasks_is_said_once(
    make: MakeManager, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = make(), make()
    size = here.task(abs, name="size")
    there.task(abs, name="size")
    handle = size.defer(-1)
    command = here.submit_command(["true"])
    with pytest.raises(TimeoutError):
        handle.result(0)
    assert caplog.messages == [], "who only looks does not wait"
    for waited in (handle, command):
        with pytest.raises(TimeoutError):
            waited.result(0.01)
        with pytest.raises(TimeoutError):
            asyncio.run(waited.result_async(0.01))
    alone = "waited for, but nobody runs tasks of this queue; "
    function = f"task {handle.id} (size): {alone}call start()"
    run = f"task {command.id} (command): {alone}run: deferpower worker --queue {here.path}"
    assert caplog.messages == [function, function, run, run]
    caplog.clear()
    with there:
        assert handle.result(PATIENCE_S) == 1
        later = here.submit("later", constraints=Constraints(charging=True))
        with pytest.raises(TimeoutError):
            later.result(0.01)
    assert caplog.messages == []


_SUBMITS_AND_WAITS = """
import sys
from deferpower import BackgroundTaskManager, Device
tasks = BackgroundTaskManager(sys.argv[1], device=Device(backend=sys.argv[2], desktop=False))
for number in range(60):
    assert tasks.submit("echo", [number], override="execute_now").result(20) == number
"""


def test_two_processes_hear_of_each_others_commits(tmp_path: Path, backend_name: str) -> None:
    """With real waits. The log is written to before a commit can be seen: looking at once when it
    is would miss some of them, and nothing would ever tell of those again."""
    path = tmp_path / "queue.db"
    device = Device(backend=backend_name, desktop=False)
    with BackgroundTaskManager(path, device=device) as tasks:
        tasks.task(lambda number: number, name="echo")
        done = _python(_SUBMITS_AND_WAITS, path, backend_name)
        assert (done.returncode, done.stderr) == (0, "")
    tasks.close()


def test_closing_wakes_who_waits(make: MakeManager) -> None:
    tasks = make()
    handle = tasks.submit("nobody")
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            handle.result(PATIENCE_S)
        except StoreError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: any(t.name == "deferpower-ends" for t in threading.enumerate()))
    tasks.close()
    waiting.join(PATIENCE_S)
    assert "closed" in str(errors[0])


def test_functions_registered_after_the_start_run_what_waited_for_them(make: MakeManager) -> None:
    with make() as tasks:
        handle = tasks.submit("later", [1])
        until(lambda: tasks.stats()[TaskState.ENQUEUED] == 1)
        beats: list[int] = []
        tasks.task(lambda: beats.append(1), name="beat", every_s=3600)
        tasks.task(lambda number: number + 1, name="later")
        assert handle.result(PATIENCE_S) == 2
        until(lambda: beats == [1])


def test_tasks_may_defer_tasks(make: MakeManager) -> None:
    with make(max_workers=1) as tasks:
        ran: list[int] = []

        @tasks.task
        def count_down(number: int) -> None:
            ran.append(number)
            if number:
                count_down.defer(number - 1)

        count_down.defer(20)
        until(lambda: len(ran) == 21)
    assert ran == list(range(20, -1, -1))


# Stopping


def test_stopping_tells_tasks_and_they_run_again_from_their_checkpoint(make: MakeManager) -> None:
    tasks = make()
    seen: list[tuple[int, object, str | None]] = []

    @tasks.task(pass_context=True)
    def patient(context: Context) -> str:
        if context.resumed_from:
            return f"resumed from {context.resumed_from}, attempt {context.attempt}"
        context.checkpoint("half")
        assert context.wait_for_stop(PATIENCE_S)
        seen.append((context.attempt, context.resumed_from, context.stop_reason))
        context.stop_if_asked()
        return "never"

    with tasks:
        handle = patient.defer()
        until(lambda: handle.record.checkpoint == "half")
    assert seen == [(1, "half", "the worker is shutting down")]
    assert handle.state is TaskState.ENQUEUED
    with tasks:
        assert handle.result(PATIENCE_S) == "resumed from half, attempt 1"


def test_what_was_claimed_and_has_not_begun_is_given_back(make: MakeManager, gate: Gate) -> None:
    tasks = make(max_workers=1)
    handles = tasks.submit_many(tasks.task(gate, name="gate"), [[n] for n in range(50)])
    tasks.start()
    until(lambda: gate.inside == 1)
    stopping = threading.Thread(target=tasks.stop)
    stopping.start()
    until(lambda: tasks.stats()[TaskState.RUNNING] == 1)
    gate.open.set()
    stopping.join(PATIENCE_S)
    states = [handle.state for handle in handles]
    assert states == [TaskState.SUCCEEDED] + [TaskState.ENQUEUED] * 49


@pytest.mark.parametrize("timeout_s", [None, PATIENCE_S])
def test_a_task_may_stop_its_manager(make: MakeManager, timeout_s: float | None) -> None:
    tasks = make(max_workers=1)

    @tasks.task
    def last() -> str:
        tasks.stop(timeout_s)
        return "stopped it"

    handle = last.defer()
    tasks.start()
    assert handle.result(PATIENCE_S / 2) == "stopped it"
    tasks.stop()
    with tasks:
        assert tasks.submit(tasks.task(lambda: "again", name="again")).result(PATIENCE_S) == "again"


def test_a_callback_may_stop_the_manager(make: MakeManager) -> None:
    tasks = make(max_workers=2)
    stopped = threading.Event()

    @tasks.on_event
    def stop_soon(event: object) -> None:
        if getattr(event, "kind", "") == "succeeded":
            tasks.stop(PATIENCE_S)
            stopped.set()

    tasks.submit(tasks.task(lambda: 1, name="one"))
    tasks.start()
    assert stopped.wait(PATIENCE_S / 2)


def test_what_ends_after_the_stop_gave_up_is_written_all_the_same(
    make: MakeManager, gate: Gate
) -> None:
    tasks = make(max_workers=1)
    handle = tasks.submit(tasks.task(gate, name="gate"), [9])
    tasks.start()
    until(lambda: gate.inside == 1)
    tasks.stop(timeout_s=0.01)
    tasks.stop()
    assert handle.state is TaskState.RUNNING
    gate.open.set()
    assert handle.result(PATIENCE_S) == 9
    until(lambda: not _workers(tasks), "the worker has left")


def _workers(tasks: BackgroundTaskManager) -> int:
    count: int = tasks._queue.database.read(
        lambda cursor: cursor.execute("SELECT count(*) FROM workers").get
    )
    return count


def test_starting_twice_and_stopping_from_many_threads(make: MakeManager) -> None:
    tasks = make()
    one = tasks.task(lambda: 1, name="one")
    for _ in range(3):
        tasks.start()
        tasks.start()
        assert one.defer().result(PATIENCE_S) == 1
        stoppers = [threading.Thread(target=tasks.stop) for _ in range(4)]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(PATIENCE_S)
    with tasks, tasks:
        assert one.defer().result(PATIENCE_S) == 1
    until(lambda: not _workers(tasks))
    until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("deferpower")],
        "threads that are left over",
    )


# The end of the program

_PROGRAM = """
import threading, time, sys
from concurrent.futures import ThreadPoolExecutor
from deferpower import BackgroundTaskManager
from deferpower.testing import FakeDevice
began = threading.Event()
tasks = BackgroundTaskManager(sys.argv[1], device=FakeDevice(plugged=True), max_workers=2 {options})
def short():
    began.set()
    time.sleep(0.05)
    return "short"
def patient(context):
    began.set()
    if context.wait_for_stop(3600):
        context.stop_if_asked()
async def coroutine():
    import asyncio
    began.set()
    await asyncio.sleep(3600)
tasks.task(short)
tasks.task(coroutine)
tasks.task(patient, pass_context=True)
tasks.start()
{body}
print("the end")
"""


@pytest.mark.parametrize("options", ["", ", executor=ThreadPoolExecutor(2)"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", None),
        ("tasks.submit('short'); began.wait()", "succeeded"),
        ("tasks.submit('patient'); began.wait()", "enqueued"),
        ("tasks.submit('coroutine'); began.wait()", "enqueued"),
        ("tasks.submit('patient'); began.wait(); tasks.submit('short').result()", "succeeded"),
    ],
)
def test_a_program_ends_with_its_manager_started(
    tmp_path: Path, make: MakeManager, options: str, body: str, expected: str | None
) -> None:
    done = _python(_PROGRAM.format(body=body, options=options), tmp_path / "queue.db")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")
    tasks = make()
    assert _workers(tasks) == 0
    assert [str(task.state) for task in tasks.list(limit=1)] == [expected] * bool(expected)
    assert all(task.attempts <= 1 and task.state is not TaskState.RUNNING for task in tasks.list())


def _python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


_INTERRUPTED = """
import sys, threading, signal, os
from deferpower import BackgroundTaskManager
from deferpower.testing import FakeDevice
tasks = BackgroundTaskManager(sys.argv[1], device=FakeDevice(plugged=True))
began = threading.Event()
@tasks.task(pass_context=True)
def patient(context):
    began.set()
    context.wait_for_stop(3600)
    context.stop_if_asked()
handle = patient.defer()
tasks.start()
began.wait()
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    handle.result()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_wait(tmp_path: Path) -> None:
    done = _python(_INTERRUPTED, tmp_path / "queue.db")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


_WAITS_AND_ENDS = """
import sys, threading
from deferpower import BackgroundTaskManager
tasks = BackgroundTaskManager(sys.argv[1])
def wait():
    try:
        tasks.result(int(sys.argv[2]))
    finally:
        print("woken")
daemon = sys.argv[3] == "daemon"
threading.Thread(target=wait, daemon=daemon).start()
while not [t for t in threading.enumerate() if t.name == "deferpower-ends"]:
    pass
print("the end", flush=True)
"""


@pytest.mark.parametrize("kind", ["daemon", "thread"])
def test_the_program_ends_when_its_waiting_threads_have_daemons_aside(
    tmp_path: Path, make: MakeManager, kind: str
) -> None:
    tasks = make()
    handle = tasks.submit("later")
    arguments = [str(tmp_path / "queue.db"), str(handle.id), kind]
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", _WAITS_AND_ENDS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "the end\n"
    tasks.task(lambda: 1, name="later")
    if kind == "thread":
        tasks.process_background_tasks()
    out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "woken\n" * (kind == "thread"))
    (said,) = err.splitlines()
    assert "waited for, but nobody runs tasks of this queue" in said


def test_ctrl_c_in_a_task_of_the_main_thread_gives_it_back(make: MakeManager) -> None:
    tasks = make()
    handle = tasks.submit(
        tasks.task(lambda: signal.raise_signal(signal.SIGINT), name="interrupted")
    )
    with pytest.raises(KeyboardInterrupt):
        tasks.process_background_tasks()
    assert (handle.state, handle.record.attempts) == (TaskState.ENQUEUED, 0)


# Forks


def _in_child(work: Callable[[], None]) -> int:
    """Do something in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_leaves_the_parent_running_and_lets_the_child_start_its_own(
    make: MakeManager, gate: Gate
) -> None:
    with make(max_workers=2) as tasks:
        pid_of = tasks.task(os.getpid, name="pid")
        run = tasks.task(gate, name="gate")
        held = run.defer(1)
        until(lambda: gate.inside == 1)

        def child() -> None:
            assert pid_of.defer().result(PATIENCE_S) == os.getppid()  # the parent's worker goes on
            with tasks:
                until(lambda: pid_of.defer().result(PATIENCE_S) == os.getpid())

        assert _in_child(child) == 0
        assert held.state is TaskState.RUNNING
        gate.open.set()
        assert held.result(PATIENCE_S) == 1
        assert pid_of.defer().result(PATIENCE_S) == os.getpid()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_multiprocessing_defers_to_its_parent(make: MakeManager) -> None:
    with make() as tasks:
        double = tasks.task(lambda number: number * 2, name="double")
        process = multiprocessing.get_context("fork").Process(target=double.defer, args=(4,))
        process.start()
        process.join(PATIENCE_S)
        assert process.exitcode == 0
        assert [tasks.result(task.id, PATIENCE_S) for task in tasks.list()] == [8]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_queue_in_memory_stays_with_the_parent(make: MakeManager) -> None:
    with make(path=None) as tasks:
        one = tasks.task(lambda: 1, name="one")

        def child() -> None:
            with pytest.raises(StoreError, match="stayed with the process that forked this one"):
                one.defer()

        assert _in_child(child) == 0
        assert one.defer().result(PATIENCE_S) == 1


def test_conditions_that_fall_away_are_told_to_a_running_task(
    make: MakeManager, device: FakeDevice
) -> None:
    device.plug_in()
    device.clock.advance(5)
    with make() as tasks:

        @tasks.task(pass_context=True, constraints=Constraints(charging=True))
        def until_unplugged(context: Context) -> str | None:
            assert context.wait_for_stop(PATIENCE_S)
            return context.stop_reason

        handle = until_unplugged.defer()
        until(lambda: handle.state is TaskState.RUNNING)
        device.unplug(90)
        device.clock.advance(5)
        assert "charging" in handle.result(PATIENCE_S)


def test_waiting_for_a_task_that_is_not_there(make: MakeManager) -> None:
    with pytest.raises(TaskError, match="no such task"):
        make().result(5)


def test_a_start_that_failed_can_be_tried_again(make: MakeManager) -> None:
    tasks = make(max_queued=1)
    ran = threading.Event()
    tasks.task(ran.set, name="beat", every_s=60)
    first = tasks.submit("elsewhere")
    with pytest.raises(QueueFull):
        tasks.start()
    tasks.stop()
    with pytest.raises(QueueFull):
        tasks.start()
    first.cancel()
    tasks.start()
    assert ran.wait(PATIENCE_S)


def test_who_cannot_wait_leaves_nobody_waiting(make: MakeManager, backend_name: str) -> None:
    class Scarce(FakeDevice):
        """One that has too few descriptors at first."""

        fails = True

        def open_watch(self, rules: Rules) -> Watch:
            if self.fails:
                self.fails = False
                raise SensorError("too many open files")
            return super().open_watch(rules)

    tasks = make(device=Scarce(plugged=False, percent=90, backend=backend_name))
    handle = tasks.submit("elsewhere")
    with pytest.raises(SensorError):
        handle.result(0)
    with pytest.raises(TimeoutError):
        handle.result(0)
    until(lambda: "deferpower-ends" not in [thread.name for thread in threading.enumerate()])
