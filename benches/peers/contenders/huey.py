"""huey, on SQLite."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from pathlib import Path

from benches.peers.contenders import FSYNC
from benches.peers.contenders.contender import Contender
from benches.peers.contenders.functions import mark, nothing, tell_start
from huey import SqliteHuey
from huey.consumer import Consumer


class Huey(Contender):
    """Takes a task out of its table as it hands it to a worker."""

    def __init__(self, directory: Path, durability: str) -> None:
        path = str(directory / "huey.db")
        self.huey = SqliteHuey(filename=path, fsync=durability == FSYNC)
        self.nothing = self.huey.task()(nothing)
        self.tell_start = self.huey.task()(tell_start)
        self.mark = self.huey.task()(mark)
        logging.getLogger("huey").setLevel(logging.WARNING)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.nothing(number)

    def submit_marks(self, path: str, count: int, takes_s: float) -> None:
        for number in range(count):
            self.mark(path, number, takes_s)

    def drain(self, count: int) -> None:
        """What a worker of its consumer does while there is work, without the waiting."""
        while (task := self.huey.dequeue()) is not None:
            self.huey.execute(task)

    def park(self, count: int) -> None:
        """By the rows that ``schedule`` would write, which one by one would take minutes."""
        data = self.huey.serialize_task(self.nothing.s(0))
        due_s = (datetime.datetime.now() + datetime.timedelta(days=2)).timestamp()
        with self.huey.storage.db(commit=True) as cursor:
            cursor.executemany(
                "insert into schedule (queue, data, timestamp) values (?, ?, ?)",
                ((self.huey.name, data, due_s) for _ in range(count)),
            )

    def tick(self) -> None:
        """What its scheduler does every second, and a worker every 0.1 to 10 s."""
        assert not self.huey.read_schedule()
        assert self.huey.dequeue() is None

    def listen(self) -> None:
        """What ``Consumer.run`` does, whose loop would not leave this thread free."""
        consumer = self.huey.create_consumer(workers=1)
        consumer.start()
        threading.Thread(target=look_after, args=(consumer,), daemon=True).start()

    def post(self) -> None:
        self.tell_start()

    def left(self) -> int:
        return int(self.huey.pending_count())


def look_after(consumer: Consumer) -> None:
    checked_s = time.monotonic()
    while True:
        checked_s = consumer.loop(checked_s)
