"""persist-queue, on SQLite: the queue that forgets what it hands out, and the one that does not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from benches.peers.contenders.contender import Contender
from benches.peers.contenders.functions import mark, nothing, tell_start
from persistqueue import SQLiteAckQueue, SQLiteQueue

FUNCTIONS = {function.__name__: function for function in (mark, nothing, tell_start)}


class PersistQueue(Contender):
    """Deletes a task as it hands it out: what its worker had in hand dies with it."""

    def __init__(self, directory: Path, durability: str) -> None:
        self.queue = self.open(str(directory / type(self).__name__))

    def open(self, path: str) -> Any:
        return SQLiteQueue(path, auto_commit=True, multithreading=True)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.queue.put(("nothing", (number,)))

    def submit_marks(self, path: str, count: int, takes_s: float) -> None:
        for number in range(count):
            self.queue.put(("mark", (path, number, takes_s)))

    def drain(self, count: int) -> None:
        for _ in range(count):
            self.run_one(block=False)

    def run_one(self, block: bool) -> None:
        name, args = self.queue.get(block=block)
        FUNCTIONS[name](*args)

    def listen(self) -> None:
        threading.Thread(target=self.work, daemon=True).start()

    def work(self) -> None:
        while True:
            self.run_one(block=True)

    def post(self) -> None:
        self.queue.put(("tell_start", ()))

    def left(self) -> int:
        return int(self.queue.qsize())


class PersistQueueAck(PersistQueue):
    """Keeps a task until it is acknowledged, as deferpower does."""

    def open(self, path: str) -> Any:
        return SQLiteAckQueue(path, multithreading=True)

    def run_one(self, block: bool) -> None:
        item = self.queue.get(block=block, raw=True)
        name, args = item["data"]
        FUNCTIONS[name](*args)
        self.queue.ack(id=item["pqid"])
