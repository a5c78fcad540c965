"""The queues that are compared, each in a process of its own that does as it is told.

Commands come as JSON lines on standard input and are answered in the same way; see `serve`.
"""

from __future__ import annotations

import abc
import json
import logging
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from deferpower import Device

FSYNC, NO_FSYNC = "fsync", "none"
"""Each commit reaches the disk, or is left to the system: it survives the process alone."""


LAPTOP = Path(__file__).parents[2] / "tests" / "data" / "linux" / "laptop-on-battery"

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def nothing(*args: object) -> None:
    """The empty task."""


def tell_start(*args: object) -> None:
    """The task of whose start the moment is wanted."""
    say({"started_s": time.monotonic()})


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")  # in one piece: several threads write
    sys.stdout.flush()


class Contender(abc.ABC):
    """A durable queue in a directory."""

    durabilities: ClassVar[tuple[str, ...]] = (FSYNC, NO_FSYNC)

    @abc.abstractmethod
    def __init__(self, directory: Path, durability: str) -> None: ...

    @abc.abstractmethod
    def submit(self, count: int) -> None:
        """Add empty tasks, one commit each."""

    def submit_together(self, count: int) -> None:
        """Add empty tasks in one commit."""
        raise NotImplementedError

    def drain(self, count: int) -> None:
        """Run that many tasks, all that there are, and have it written that they are done."""
        raise NotImplementedError

    def park(self, count: int) -> None:
        """Add tasks that wait, with a worker standing by."""
        raise NotImplementedError

    def listen(self) -> None:
        """Have a worker run what is posted."""
        raise NotImplementedError

    def post(self) -> None:
        """Add one task that tells when it starts."""
        raise NotImplementedError


class Deferpower(Contender):
    def __init__(self, directory: Path, durability: str) -> None:
        from deferpower import BackgroundTaskManager, Constraints, Verdict

        self.tasks = BackgroundTaskManager(
            directory / "deferpower.db",
            durability="full" if durability == FSYNC else "process",
            device=self.device(),
        )
        # Whatever else runs here must not make tasks wait: that is no figure of a queue's.
        now = Verdict.EXECUTE_NOW
        self.nothing = self.tasks.task(nothing, override=now)
        self.tell_start = self.tasks.task(tell_start, override=now)
        self.waiting = self.tasks.task(
            nothing, name="waiting", constraints=Constraints(charging=True)
        )

    def device(self) -> Device | None:
        return None  # this machine

    def submit(self, count: int) -> None:
        for number in range(count):
            self.last = self.nothing.defer(number)

    def submit_together(self, count: int) -> None:
        self.last = self.tasks.submit_many(self.nothing, [(number,) for number in range(count)])[-1]

    def drain(self, count: int) -> None:
        self.tasks.start()
        self.last.wait()
        self.tasks.stop()
        assert not self.tasks.list(states=["enqueued"], limit=1)

    def park(self, count: int) -> None:
        self.submit_parked(count)
        self.tasks.start()

    def submit_parked(self, count: int) -> None:
        for _ in range(count // 1000):
            self.tasks.submit_many(self.waiting, [(number,) for number in range(1000)])

    def listen(self) -> None:
        self.tasks.start()

    def post(self) -> None:
        self.tell_start.defer()


class DeferpowerOnBattery(Deferpower):
    """On a recorded laptop whose charger is unplugged, so that something can wait for it."""

    def device(self) -> Device:
        from deferpower import Device

        return Device(root=LAPTOP)


class BareApsw(Contender):
    """The statements and commits of deferpower's store, on its tables, and nothing else."""

    SUBMIT = (
        "INSERT INTO tasks (spec, state, lane, priority, created_s, due_s, life_s, wake_s, payload,"
        " unique_key, metadata, blockers) VALUES (1, 1, 1, 0, ?, ?, NULL, NULL, ?, NULL, NULL, 0)"
    )
    CLAIM = (
        "UPDATE tasks SET state = 2, lane = NULL, wake_s = NULL, worker = 1,"
        " attempts = attempts + 1, started_s = ?, note = NULL WHERE id IN"
        " (SELECT id FROM tasks WHERE lane = 1 AND crashes = 0 ORDER BY priority DESC, due_s"
        " LIMIT 100) RETURNING id, spec, payload, attempts, crashes, created_s, due_s, life_s,"
        " checkpoint, priority"
    )
    FINISH = (
        "UPDATE tasks SET state = 3, finished_s = ?, result = NULL, error = NULL, worker = NULL,"
        " note = NULL, checkpoint = NULL, asked = 0 WHERE id = ? AND worker = 1"
    )

    def __init__(self, directory: Path, durability: str) -> None:
        self.connect(str(directory / "bare.db"))
        for pragma in (
            "journal_mode = wal",
            f"synchronous = {'full' if durability == FSYNC else 'normal'}",
            "temp_store = memory",
            "cache_size = -2048",
            "foreign_keys = on",
        ):
            self.execute(f"PRAGMA {pragma}")

        from deferpower.store.schema import MIGRATIONS

        for script in MIGRATIONS:
            self.script(script)
        self.execute("INSERT INTO specs VALUES (1, 'nothing')")

    def row(self, number: int, now_s: float) -> tuple[float, float, str]:
        return now_s, now_s, encode(((number,), {}))

    def connect(self, path: str) -> None:
        import apsw

        connection = apsw.Connection(path)
        cursor: Any = connection.cursor()
        self.execute, self.executemany = cursor.execute, cursor.executemany
        self.script: Any = self.execute

    def submit(self, count: int) -> None:
        for number in range(count):
            row = self.row(number, time.time())
            self.execute("BEGIN IMMEDIATE")
            self.execute(self.SUBMIT, row)
            self.execute("COMMIT")

    def submit_together(self, count: int) -> None:
        now_s = time.time()
        rows = [self.row(number, now_s) for number in range(count)]
        self.execute("BEGIN IMMEDIATE")
        self.executemany(self.SUBMIT, rows)
        self.execute("COMMIT")

    def drain(self, count: int) -> None:
        """As one who claims a hundred, runs them, and writes that with the next claim."""
        done: list[tuple[float, int]] = []
        while True:
            self.execute("BEGIN IMMEDIATE")
            self.executemany(self.FINISH, done)
            claimed = self.execute(self.CLAIM, (time.time(),)).fetchall()
            self.execute("COMMIT")
            if not claimed:
                return
            done.clear()
            for row in claimed:
                nothing(*json.loads(row[2])[0])
                done.append((time.time(), row[0]))


class BareSqlite3(BareApsw):
    """The same through Python's own module and the system's SQLite."""

    def connect(self, path: str) -> None:
        import sqlite3

        connection = sqlite3.connect(path, isolation_level=None)
        cursor = connection.cursor()
        self.execute, self.executemany = cursor.execute, cursor.executemany
        self.script = connection.executescript


class Huey(Contender):
    def __init__(self, directory: Path, durability: str) -> None:
        from huey import SqliteHuey

        path = str(directory / "huey.db")
        self.huey = SqliteHuey(filename=path, fsync=durability == FSYNC)
        self.nothing = self.huey.task()(nothing)
        self.tell_start = self.huey.task()(tell_start)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.nothing(number)

    def drain(self, count: int) -> None:
        """What a worker of its consumer does while there is work, without the waiting."""
        logging.getLogger("huey").setLevel(logging.WARNING)
        while (task := self.huey.dequeue()) is not None:
            self.huey.execute(task)

    def park(self, count: int) -> None:
        self.listen()
        for number in range(count):
            self.nothing.schedule((number,), delay=86_400)

    def listen(self) -> None:
        consumer = self.huey.create_consumer(workers=1, check_worker_health=False)
        consumer.start()

    def post(self) -> None:
        self.tell_start()


class PersistQueue(Contender):
    """Deletes a task as it hands it out: what its worker had in hand dies with it."""

    durabilities = (FSYNC,)  # it has no setting for less

    def __init__(self, directory: Path, durability: str) -> None:
        self.queue = self.open(str(directory / type(self).__name__))

    def open(self, path: str) -> Any:
        from persistqueue import SQLiteQueue

        return SQLiteQueue(path, auto_commit=True, multithreading=True)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.queue.put(("nothing", (number,)))

    def drain(self, count: int) -> None:
        for _ in range(count):
            _, args = self.queue.get(block=False)
            nothing(*args)

    def listen(self) -> None:
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        while True:
            self.queue.get()
            tell_start()

    def post(self) -> None:
        self.queue.put(("tell_start", ()))


class PersistQueueAck(PersistQueue):
    """Keeps a task until it is acknowledged, as deferpower does."""

    def open(self, path: str) -> Any:
        from persistqueue import SQLiteAckQueue

        return SQLiteAckQueue(path, multithreading=True)

    def drain(self, count: int) -> None:
        for _ in range(count):
            item = self.queue.get(block=False, raw=True)
            nothing(*item["data"][1])
            self.queue.ack(id=item["pqid"])


class Apscheduler(Contender):
    durabilities = (FSYNC,)  # SQLite's default, through SQLAlchemy

    def __init__(self, directory: Path, durability: str) -> None:
        from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
        from apscheduler.schedulers.background import BackgroundScheduler

        store = SQLAlchemyJobStore(url=f"sqlite:///{directory / 'apscheduler.db'}")
        self.scheduler = BackgroundScheduler(jobstores={"default": store})
        self.scheduler.start(paused=True)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.scheduler.add_job(nothing, args=(number,))

    def park(self, count: int) -> None:
        """By the rows that ``add_job`` would write, which one by one would take minutes."""
        import datetime

        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        job = self.scheduler.add_job(nothing, "date", run_date=when)
        store = self.scheduler._jobstores["default"]
        state, due_s = pickle.dumps(job.__getstate__()), when.timestamp()
        rows = [{"id": f"{n}", "next_run_time": due_s, "job_state": state} for n in range(count)]
        with store.engine.begin() as connection:
            connection.execute(store.jobs_t.insert(), rows)
        self.scheduler.resume()

    def listen(self) -> None:
        self.scheduler.resume()

    def post(self) -> None:
        self.scheduler.add_job(tell_start)


CONTENDERS: dict[str, type[Contender]] = {
    "deferpower": Deferpower,
    "deferpower on battery": DeferpowerOnBattery,
    "bare apsw": BareApsw,
    "bare sqlite3": BareSqlite3,
    "huey": Huey,
    "persist-queue": PersistQueue,
    "persist-queue, acknowledging": PersistQueueAck,
    "APScheduler": Apscheduler,
}


def serve(name: str, directory: str, durability: str) -> None:
    """Obey commands until the input ends.

    ``[method, argument, ...]`` calls a method and answers what that took; ``["rss"]`` answers the
    memory that this process holds.
    """
    contender = CONTENDERS[name](Path(directory), durability)
    say({"ready": True})
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        if method == "rss":
            say({"rss_bytes": resident_bytes()})
            continue
        cpu_s, started_s = time.process_time(), time.monotonic()
        getattr(contender, method)(*arguments)
        wall_s = time.monotonic() - started_s
        cpu_s = time.process_time() - cpu_s
        say({"at_s": started_s, "wall_s": wall_s, "cpu_s": cpu_s})


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


if __name__ == "__main__":
    serve(*sys.argv[1:])
