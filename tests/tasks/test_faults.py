"""What befalls file, disk and clock under a queue: a clear word or a recovery, and nothing lost."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from deferpower import BackgroundTaskManager, DeferpowerError, StoreError, TaskState
from deferpower.tasks.handle import Handle
from deferpower.testing import FakeDevice, run_until_idle
from store.support import on_a_small_disk
from tasks.conftest import MakeManager
from waiting import PATIENCE_S, until

HOUR_S = 3600.0


@pytest.fixture
def device() -> FakeDevice:
    """One on which everything may run; the rules are not what these tests are about."""
    return FakeDevice()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was logged as a warning or worse; never a traceback."""
    yield lambda: [record.getMessage() for record in caplog.records if record.levelno >= 30]
    assert not [record for record in caplog.get_records("call") if record.exc_info]


class Work:
    """A manager that runs, and what its tasks have done."""

    def __init__(self, manager: BackgroundTaskManager) -> None:
        self.manager = manager
        self.ran: list[str] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()
        manager.task(self.note, name="note")
        manager.task(self.hold, name="hold")

    def note(self, text: str) -> str:
        self.ran.append(text)
        return text

    def hold(self) -> str:
        self.begun.set()
        assert self.may_end.wait(PATIENCE_S)
        return "held"

    def submit(self, text: str, delay_s: float = 0.0) -> Handle:
        return self.manager.submit("note", [text], delay_s=delay_s)


@pytest.fixture
def work(make: MakeManager) -> Iterator[Work]:
    made = Work(make())
    made.manager.start()
    yield made
    made.may_end.set()


def has_succeeded(handle: Handle) -> bool:
    return handle.state is TaskState.SUCCEEDED


FILL = """
import logging, sys, threading, time
from pathlib import Path
from deferpower import BackgroundTaskManager, StoreError, TaskState
from deferpower.testing import FakeDevice

directory = Path(sys.argv[1])
full = f"{directory}/queue.db: the disk is full; make room and try again"
said = []

class Ear(logging.Handler):
    def emit(self, record):
        assert record.exc_info is None, record
        said.append(record.getMessage())

def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, said
        time.sleep(0.005)

logging.getLogger("deferpower").addHandler(Ear())
begun, may_end, ran = threading.Event(), threading.Event(), []
manager = BackgroundTaskManager(directory / "queue.db", device=FakeDevice())
note = manager.task(lambda number, text: ran.append(number), name="note")
hold = manager.task(lambda: begun.set() or may_end.wait(30), name="hold")
manager.start()
held = hold.defer()
assert begun.wait(30)
with open(directory / "ballast", "wb", buffering=0) as ballast:
    try:
        while ballast.write(b"x" * 4096):
            pass
    except OSError:
        pass
    ballast.truncate(ballast.tell() - 65536)
kept = []
try:
    while True:
        kept.append(note.defer(len(kept), "x" * 3000))
except StoreError as error:
    assert str(error).startswith(full), error
assert kept
may_end.set()
until(lambda: any(full in text for text in said))
used_s = time.process_time()
time.sleep(1)
assert time.process_time() - used_s < 0.5, "it spins"
assert len(said) < 10, said
(directory / "ballast").unlink()
until(lambda: all(one.state is TaskState.SUCCEEDED for one in [held, *kept]))
assert sorted(set(ran)) == list(range(len(kept))), ran
note.defer(len(kept), "after")
until(lambda: len(kept) in ran)
manager.close()
print("fine")
"""


def test_a_full_disk_holds_a_worker_up_and_loses_nothing(tmp_path: Path) -> None:
    prefix = on_a_small_disk(tmp_path, "768k")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FILL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_what_may_not_be_written_to_is_named_and_left_alone(
    make: MakeManager, path: Path, tmp_path: Path
) -> None:
    manager = make()
    manager.submit("note", ["kept"])
    manager.close()
    whole = path.read_bytes()
    program = (
        "import sys; from deferpower import BackgroundTaskManager, StoreError\n"
        "try: BackgroundTaskManager(sys.argv[1])\n"
        "except StoreError as error: print(error)"
    )
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    prefix = unprivileged if os.geteuid() == 0 else []
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root may read and write everything, and setpriv is missing to change that")

    def opened() -> str:
        command = [*prefix, sys.executable, "-c", program, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        return done.stdout

    path.chmod(0o400)
    assert opened() == f"{path}: cannot be read and written by this user; give another path\n"
    path.chmod(0o600)
    tmp_path.chmod(0o500)
    try:
        said = opened()
    finally:
        tmp_path.chmod(0o700)
    assert said.startswith(f"{path}: cannot be ")
    assert "permissions of the file and its directory" in said or "directory writable" in said
    assert path.read_bytes() == whole
    [kept] = make().list()
    assert (kept.args, kept.state) == (("kept",), TaskState.ENQUEUED)


LOCK = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(5000)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


def test_a_worker_goes_on_when_another_program_lets_go_of_the_file(
    work: Work, path: Path, said: Callable[[], list[str]]
) -> None:
    """The other one holds it for longer than anybody waits."""
    held = work.manager.submit("hold")
    assert work.begun.wait(PATIENCE_S)
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        locked = f"{path}: another program keeps it locked; try again, or end that program"
        work.may_end.set()
        until(lambda: any(locked in text for text in said()))
        assert held.state is TaskState.RUNNING
        other.communicate()
    until(lambda: has_succeeded(held))
    assert work.submit("later").result(PATIENCE_S) == "later"
    assert work.ran == ["later"]


class TestAFileThatIsGone:
    """Whoever takes a file away under a running worker is told; nothing goes to a ghost of it."""

    TAKEN = "deleted, moved or replaced while it was in use; put it back, or start"

    def take(self, path: Path) -> dict[str, Path]:
        """Move the file and its log; where to."""
        away = path.parent / "away"
        away.mkdir()
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        for file in files:
            file.rename(away / file.name)
        return {file.name: away / file.name for file in files}

    def test_put_back_it_is_gone_on_with(
        self, work: Work, path: Path, said: Callable[[], list[str]]
    ) -> None:
        waiting = work.submit("waiting", delay_s=HOUR_S)
        held = work.manager.submit("hold")
        assert work.begun.wait(PATIENCE_S)
        moved = self.take(path)
        work.may_end.set()
        until(lambda: any(self.TAKEN in text for text in said()))
        for call in (lambda: work.submit("nowhere"), work.manager.list):
            with pytest.raises(StoreError, match=f"{path}: {self.TAKEN}"):
                call()
        assert not path.exists()
        for name, place in moved.items():
            place.rename(path.parent / name)
        until(lambda: has_succeeded(held))
        assert waiting.state is TaskState.ENQUEUED
        assert work.submit("after").result(PATIENCE_S) == "after"

    def test_another_queue_in_its_place_is_not_touched(self, work: Work, path: Path) -> None:
        assert work.submit("before").result(PATIENCE_S) == "before"
        for file in path.parent.iterdir():
            file.unlink()
        theirs = BackgroundTaskManager(path, device=FakeDevice())
        mine = theirs.submit("note", ["theirs"])
        with pytest.raises(StoreError, match=self.TAKEN):
            work.submit("nowhere")
        work.manager.close()
        assert [task.id for task in theirs.list()] == [mine.id]
        theirs.close()
        reopened = BackgroundTaskManager(path, device=FakeDevice())
        assert [task.args for task in reopened.list()] == [("theirs",)]
        reopened.close()


def filled(path: Path, make: MakeManager) -> bytes:
    """A queue of 150 tasks that ended and 150 that wait."""
    manager = make(path=path)
    work = Work(manager)
    manager.submit_many("note", [[f"{number} " * 40] for number in range(150)])
    assert len(run_until_idle(manager)) == len(work.ran) == 150
    manager.submit_many("note", [[f"{number} " * 40] for number in range(150, 300)], delay_s=60.0)
    manager.close()
    return path.read_bytes()


def used(path: Path) -> list[str]:
    """What the calls of a program say of a file; nothing but errors of ours."""
    errors = []

    def attempt(call: Callable[[], object]) -> None:
        try:
            call()
        except DeferpowerError as error:
            errors.append(str(error))

    device = FakeDevice()
    device.clock.advance(120)
    try:
        manager = BackgroundTaskManager(path, device=device)
    except StoreError as error:
        return [str(error)]
    Work(manager)
    attempt(manager.stats)
    attempt(manager.list)
    for task_id in range(1, 301, 7):
        attempt(lambda task_id=task_id: manager.why(task_id))  # type: ignore[misc]
    attempt(lambda: manager.submit("note", ["new"]))
    attempt(lambda: run_until_idle(manager))
    attempt(lambda: manager.cancel(299))
    attempt(lambda: manager.prune(0.0))
    manager.close()
    return errors


class TestADamagedFile:
    @pytest.mark.parametrize(
        ("damage", "saying"),
        [
            (lambda whole: b"\xa5" * 100 + whole[100:], "not a SQLite database"),
            (lambda whole: whole[:100] + b"\xa5" * 3996 + whole[4096:], "the file is damaged"),
            (lambda whole: whole[: len(whole) // 2], "the file is damaged"),
            (lambda whole: whole[:50], "not a SQLite database"),
        ],
        ids=["header", "schema", "half", "stub"],
    )
    def test_one_that_cannot_be_opened_is_named_and_left_as_it_is(
        self, damage: Callable[[bytes], bytes], saying: str, path: Path, make: MakeManager
    ) -> None:
        damaged = damage(filled(path, make))
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"{path}: {saying}"):
            BackgroundTaskManager(path)
        assert path.read_bytes() == damaged

    def test_damage_among_the_tasks_gives_errors_of_ours_alone(
        self, path: Path, make: MakeManager
    ) -> None:
        whole = filled(path, make)
        schema = max(whole.rindex(b"CREATE "), 4096) + 1000
        said: collections.Counter[str] = collections.Counter()
        for seed in (*range(20), 148, 197):  # the last two: a state and a text that are none
            dice = random.Random(seed)
            damaged = bytearray(whole)
            for _ in range(dice.choice((1, 3, 40))):
                at, size = dice.randrange(schema, len(whole)), dice.choice((1, 8, 200))
                damaged[at : at + size] = dice.randbytes(len(damaged[at : at + size]))
            path.write_bytes(damaged)
            for end in ("-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)
            said.update(used(path))
        assert any("the file is damaged" in text for text in said)

    def test_under_a_running_worker(self, work: Work, path: Path) -> None:
        # More than it keeps in memory.
        handles = work.manager.submit_many("note", [["x" * 4000] for _ in range(1000)])
        until(lambda: has_succeeded(handles[-1]) and has_succeeded(handles[0]))
        with contextlib.closing(apsw.Connection(str(path))) as other:
            other.pragma("wal_checkpoint")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        damaged = f"{path}: the file is damaged"
        with pytest.raises(StoreError, match=damaged):
            work.manager.list()
        for _ in range(100):
            # Where it needs no more than it remembers, it may well go on.
            with contextlib.suppress(StoreError):
                work.submit("x" * 4000)
        work.manager.close()
        with pytest.raises(StoreError, match=damaged), BackgroundTaskManager(path) as again:
            again.list()

    @pytest.mark.parametrize("damage", ["behind its end", "cut off", "in the middle", "all of it"])
    def test_of_a_damaged_log_all_that_stands_before_it_is_kept(
        self, damage: str, path: Path, make: MakeManager, tmp_path: Path
    ) -> None:
        first = make()
        first.submit_many("note", [[number] for number in range(5)])
        first.close()
        second = make()
        for number in range(5, 10):
            second.submit("note", [number])
        log = bytearray(Path(f"{path}-wal").read_bytes())
        match damage:
            case "behind its end":
                log += random.Random(1).randbytes(10_000)
            case "cut off":
                del log[-1000:]
            case "in the middle":
                log[len(log) // 2 : len(log) // 2 + 100] = bytes(100)
            case "all of it":
                log[:] = random.Random(2).randbytes(len(log))
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "queue.db").write_bytes(path.read_bytes())
        (copy / "queue.db-wal").write_bytes(log)
        found = [task.args[0] for task in make(path=copy / "queue.db").list()][::-1]
        assert found == list(range(len(found)))
        assert len(found) >= {"behind its end": 10, "cut off": 9}.get(damage, 5)


class TestTheClock:
    @pytest.mark.parametrize("hours", [5, -5])
    def test_set_by_hours_nothing_is_lost_and_nothing_runs_twice(
        self, hours: int, work: Work, device: FakeDevice
    ) -> None:
        later = work.submit("later", delay_s=60.0)
        device.clock.jump(hours * HOUR_S)
        now = work.submit("now")
        assert now.result(PATIENCE_S) == "now"
        device.clock.jump(-hours * HOUR_S)
        device.clock.advance(61)
        assert later.result(PATIENCE_S) == "later"
        assert (sorted(work.ran), now.record.attempts) == (["later", "now"], 1)

    @pytest.mark.parametrize("hours", [30, -30])
    def test_no_living_worker_is_taken_for_dead(
        self, hours: int, work: Work, make: MakeManager, device: FakeDevice
    ) -> None:
        held = work.manager.submit("hold")
        assert work.begun.wait(PATIENCE_S)
        other = Work(make())
        other.may_end.set()
        other.manager.start()
        device.clock.jump(hours * HOUR_S)
        device.clock.advance(20)  # workers look for dead ones every 15 s
        assert other.submit("looked").result(PATIENCE_S) == "looked"
        device.clock.advance(20)
        assert other.submit("again").result(PATIENCE_S) == "again"
        work.may_end.set()
        until(lambda: has_succeeded(held))
        assert (held.record.attempts, held.record.crashes) == (1, 0)
        assert not other.begun.is_set()

    def test_a_year_forward_leaves_what_waits(self, work: Work, device: FakeDevice) -> None:
        done = work.submit("done")
        assert done.result(PATIENCE_S) == "done"
        waiting = work.manager.submit("unknown", ["precious"])
        device.clock.jump(365 * 24 * HOUR_S)
        work.manager.prune()
        assert [task.id for task in work.manager.list()] == [waiting.id]
        assert waiting.record.args == ("precious",)

    def test_what_came_due_while_the_machine_slept_runs_once_on_waking(
        self, work: Work, device: FakeDevice
    ) -> None:
        due = [work.submit(f"{hour}", delay_s=hour * HOUR_S) for hour in (1, 2, 7)]
        much_later = work.submit("tomorrow", delay_s=24 * HOUR_S)
        device.clock.suspend(8 * HOUR_S)
        until(lambda: all(map(has_succeeded, due)))
        assert sorted(work.ran) == ["1", "2", "7"]
        assert much_later.state is TaskState.ENQUEUED
