"""Sync beside doing it by hand: queueing, sending to a server on loopback, memory.

    python -m benches.sync.throughput [--items 100000] [--memory-items 1000000]

The server runs in a process of its own, takes a request and answers 200. Contenders take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
from benches import machine
from benches.comparison import OURS, Comparison, duration, in_full, mebibytes
from benches.timing import in_turns

from deferpower import BackgroundSyncManager
from deferpower.store.database import Durability
from deferpower.sync import HttpTarget
from deferpower.testing import FakeDevice

ROUNDS = 3
BARE, LOOP = "bare sqlite3", "bare httpx2 loop, which remembers nothing"
DURABILITIES: tuple[Durability, ...] = ("full", "process")
BATCH = 100
DATA = {"note": 7, "text": "a hundred bytes or so, as events of a program often are", "at": 1.5}


def serve(told: Connection) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 22)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def server() -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{here.recv()}/"
    process.terminate()
    process.join()


def manager(directory: str, url: str, **options: int) -> BackgroundSyncManager:
    path = Path(tempfile.mkdtemp(dir=directory), "sync.db")
    target = HttpTarget(url, **options)  # type: ignore[arg-type]
    return BackgroundSyncManager(target, path, device=FakeDevice(), durability="process")


def ours(directory: str, url: str, items: int, batch: int) -> float:
    """Seconds an item."""
    sync = manager(directory, url, max_items=batch)
    sync.queue_many_for_sync(DATA for _ in range(items))
    began = time.perf_counter()
    sent = sum(1 for _ in sync.iter_sync())
    took_s = time.perf_counter() - began
    assert sent == items, sync.stats()
    sync.close()
    return took_s / items


def bare(_: str, url: str, items: int, batch: int) -> float:
    """A loop that remembers nothing: what it has sent is lost with it."""

    async def main() -> None:
        async with httpx2.AsyncClient() as client:
            for _ in range(items // batch):
                body = DATA if batch == 1 else [DATA] * batch
                (await client.post(url, json=body)).raise_for_status()

    began = time.perf_counter()
    asyncio.run(main())
    return (time.perf_counter() - began) / items


def bare_sqlite(path: Path, full: bool) -> Callable[[], object]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute(f"PRAGMA synchronous = {'full' if full else 'normal'}")
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, content TEXT, due REAL)")

    def add() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO item (content, due) VALUES (?, ?)", (json.dumps(DATA), time.time())
        )
        connection.execute("COMMIT")

    return add


def queueing(directory: str, durability: Durability) -> Comparison:
    path = Path(tempfile.mkdtemp(dir=directory))
    sync = BackgroundSyncManager(
        print, path / "sync.db", device=FakeDevice(), durability=durability
    )
    calls = {
        OURS: lambda: sync.queue_for_sync(DATA),
        BARE: bare_sqlite(path / "bare.db", durability == "full"),
    }
    costs = in_turns(calls, ROUNDS * 5, 500)
    sync.close()
    what = f"queue an item, {'fsync' if durability == 'full' else 'no fsync'}"
    return Comparison(what, costs, duration, floors=frozenset({BARE}))


MEMORY = """
import sys
from deferpower import BackgroundSyncManager
from deferpower.testing import FakeDevice
path, items = sys.argv[1], int(sys.argv[2])
class Sink:
    name = "sink"
    def __init__(self):
        from deferpower.sync import Limits
        self.limits = Limits(100, 1 << 20)
    def send(self, items):
        from deferpower.sync import Outcome
        return [Outcome("delivered")] * len(items)
    def close(self): pass
    send_async = close_async = None
import asyncio
async def nothing(*_): ...
Sink.send_async = Sink.close_async = nothing
sync = BackgroundSyncManager(Sink(), path, device=FakeDevice(), durability="process",
                             max_items=2_000_000)
for _ in range(items // 1000):
    sync.queue_many_for_sync([{"note": 7, "text": "x" * 60}] * 1000)
def peak():  # not ru_maxrss, which an exec inherits
    return open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
sync.stats()
queued = peak()
sent = sum(1 for _ in zip(range(100_000), sync.iter_sync()))
print(queued, peak(), sent)
"""


def memory(directory: str, items: int) -> list[int]:
    """Peak KiB with so many items queued, and when up to 100,000 of them are sent."""
    path = Path(tempfile.mkdtemp(dir=directory), "sync.db")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(items)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--memory-items", type=int, default=1_000_000)
    options = parser.parse_args()
    found = []
    print(machine.described(), end="\n\n")
    with tempfile.TemporaryDirectory() as directory, server() as url:
        for durability in DURABILITIES:
            found.append(queueing(directory, durability))
        for batch, items in ((BATCH, options.items), (1, options.items // 20)):
            costs: dict[str, list[float]] = {OURS: [], LOOP: []}
            for _ in range(ROUNDS):
                costs[OURS].append(ours(directory, url, items, batch))
                costs[LOOP].append(bare(directory, url, items, batch))
            what = f"send an item, {batch} in a request"
            found.append(Comparison(what, costs, duration, floors=frozenset({LOOP})))
        for items in (10_000, options.memory_items):
            queued, peak, sent = memory(directory, items)
            of = f"peak memory, {items:,} queued"
            found.append(Comparison(of, {OURS: [queued * 1024]}, mebibytes))
            found.append(
                Comparison(f"{of}, {sent:,} of them sent", {OURS: [peak * 1024]}, mebibytes)
            )
    print(in_full(found))


if __name__ == "__main__":
    main()
