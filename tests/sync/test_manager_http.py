"""The sync manager through a real server that misbehaves, and through processes that are killed.

``DEFERPOWER_TEST_KILLS`` sets how often a sending process is killed; 300 take about a minute.
"""

from __future__ import annotations

import collections
import gc
import json
import os
import random
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import trustme

from deferpower import BackgroundSyncManager
from deferpower.sync import HttpTarget
from deferpower.testing import FakeDevice
from sync.server import (
    OK,
    Answer,
    Behaviour,
    CloseUnanswered,
    Drip,
    Hang,
    Refuse,
    Request,
    ResetWhileAnswering,
    ResetWhileReading,
    Server,
)
from sync.test_objects import names, s3, s3_port, s3_request
from waiting import PATIENCE_S

__all__ = ["s3_port"]  # a fixture

ITEMS = 10_000
KILLS = int(os.environ.get("DEFERPOWER_TEST_KILLS", "40"))
PRIORITIES = ("high", "normal", "low")


class Witness:
    """Sees every request, answers most of them badly, and remembers what it took from whom."""

    def __init__(self, server: Server, badly: float, seed: int = 1) -> None:
        self.keys_of: dict[str, set[str]] = collections.defaultdict(set)
        self.unacknowledged: set[str] = set()
        self._server = server
        self._badly = badly
        self._random = random.Random(seed)
        server.behave = self

    def __call__(self, request: Request) -> Behaviour:
        for key, data in contents(request):
            self.keys_of[data].add(key)
        behaviour = self._behaviour()
        if behaviour == Answer(413) and len(request.keys) == 1:
            behaviour = OK  # none is too large by itself
        if isinstance(behaviour, ResetWhileAnswering | CloseUnanswered | Drip):
            self.unacknowledged.update(request.keys)
        return behaviour

    def _behaviour(self) -> Behaviour:
        choice = self._random
        if choice.random() >= self._badly:
            return OK
        if choice.random() < 0.1:
            self._server.script(ResetWhileReading())
        behaviours: list[Behaviour] = [
            Answer(500),
            Answer(503, {"Retry-After": "5"}),
            Answer(429, {"Retry-After": "7"}),
            Answer(302, {"Location": "http://127.0.0.1:1/"}),
            Answer(413),
            Refuse(lambda key: int(key, 16) % 2 == 0, status=500),
            ResetWhileAnswering(),
            CloseUnanswered(),
        ]
        return choice.choice([*behaviours * 3, Hang(), Drip()])  # these take time


def contents(request: Request) -> list[tuple[str, str]]:
    """Keys and contents, as text, of the items of a request."""
    if "deferpower-batch" in request.headers:
        elements = json.loads(request.content)
        return [
            (element["idempotency_key"], json.dumps(element.get("data"))) for element in elements
        ]
    return [(request.headers["idempotency-key"], request.content[:1000].decode())]


def test_a_block_that_is_left_leaves_no_connection_open(server: Server) -> None:
    """What is forgotten open warns when it is collected, which fails a test."""
    with BackgroundSyncManager(server.url, device=FakeDevice(plugged=True)) as sync:
        sync.queue_for_sync(1)
        assert sync.wait(PATIENCE_S)
    with sync:
        sync.queue_for_sync(2)
        assert sync.wait(PATIENCE_S)
    assert [json.loads(request.body) for request in server.requests] == [1, 2]
    del sync
    gc.collect()


def test_ten_thousand_items_through_a_server_that_misbehaves(
    server: Server, tmp_path: Path
) -> None:
    witness = Witness(server, badly=0.3)
    device = FakeDevice()
    # A request of one item that fails is the item's failure as far as anybody can tell; so a
    # third of all requests failing needs more patience than the default.
    with HttpTargetOf(server) as target:
        sync = BackgroundSyncManager(
            target, tmp_path / "sync.db", device=device, max_retries=30, durability="process"
        )
        for third, priority in enumerate(PRIORITIES):
            sync.queue_many_for_sync(range(third, ITEMS, 3), priority)  # type: ignore[arg-type]
        results: collections.Counter[str] = collections.Counter()
        while sync.stats().pending:
            results.update(result.status for result in sync.process_sync_queue())
            device.clock.advance(60)
        assert sync.dead_letters() == []
        sync.close()
    assert results["synced"] == ITEMS
    assert {*witness.keys_of} == {str(number) for number in range(ITEMS)}
    assert all(len(keys) == 1 for keys in witness.keys_of.values())
    assert len(server.received) == ITEMS
    twice = {key for key, times in server.received.items() if times > 1}
    assert twice <= witness.unacknowledged
    assert witness.unacknowledged  # else nothing was shown


class HttpTargetOf:
    """A target for a server, closed in the end, which does not wait long."""

    def __init__(self, server: Server, **options: Any) -> None:
        self._target = HttpTarget(server.url, **{"timeout_s": 0.1, **options})

    def __enter__(self) -> HttpTarget:
        return self._target

    def __exit__(self, *_: object) -> None:
        self._target.close()


def test_a_server_that_is_down_is_asked_once_for_each_wait(server: Server) -> None:
    server.behave = lambda request: Answer(503)
    device = FakeDevice()
    with HttpTargetOf(server, timeout_s=20.0) as target:
        sync = BackgroundSyncManager(target, device=device, backoff_s=60, backoff_cap_s=60)
        sync.queue_many_for_sync(range(ITEMS))
        for _ in range(100):
            device.clock.advance(6)
            sync.process_sync_queue()
        # Ten minutes with waits of 0 to 60 s: twenty requests or so, for ten thousand items.
        assert 10 <= server.count <= 45
        server.behave = lambda request: OK
        device.clock.advance(60)
        sync.process_sync_queue()
        device.clock.advance(60)
        sync.process_sync_queue()
        assert len(server.received) == ITEMS
        sync.close()


def test_a_server_with_a_certificate_of_its_own_gets_nothing(tmp_path: Path) -> None:
    authority = trustme.CA()
    ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(ssl_context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    device = FakeDevice()
    with Server(ssl_context) as server:
        for ca_file, arrived in ((None, 0), (tmp_path / "ca.pem", 1)):
            with HttpTargetOf(server, ca_file=ca_file, timeout_s=5) as target:
                sync = BackgroundSyncManager(target, tmp_path / "sync.db", device=device)
                if ca_file is None:
                    sync.queue_for_sync({"n": 1})
                sync.process_sync_queue()
                assert len(server.received) == arrived
                assert sync.stats().pending == 1 - arrived
                sync.close()
            device.clock.advance(100)


def test_no_secret_reaches_the_database(server: Server, tmp_path: Path) -> None:
    secrets = ("hunter2-password", "hunter2-token", "hunter2-header", "hunter2-path-of-the-hook")
    url = server.url.replace("//", f"//user:{secrets[0]}@") + f"/{secrets[3]}?key={secrets[1]}"
    server.behave = lambda request: Answer(503, body=" ".join(secrets).encode())
    target = HttpTarget(url, headers={"X-Api-Key": secrets[2]})
    sync = BackgroundSyncManager(target, tmp_path / "sync.db", device=FakeDevice())
    sync.queue_for_sync(1)
    sync.process_sync_queue()
    assert sync.stats().failures == 1
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"127.0.0.1" in kept
    for secret in secrets:
        assert secret.encode() not in kept
        assert secret not in repr((sync.stats(), sync.pending()))
    sync.close()


def test_items_of_all_sizes_reach_an_object_store(s3_port: int, tmp_path: Path) -> None:
    assert s3_request(s3_port, "PUT", "/synced").status == 200
    sync = BackgroundSyncManager(s3(s3_port, "synced"), tmp_path / "sync.db", device=FakeDevice())
    sync.queue_many_for_sync([{"n": 1}, b"raw", b"x" * 300_000])
    keys = [record.idempotency_key for record in sync.pending()]
    results = sync.process_sync_queue()
    assert [result.status for result in results] == ["synced"] * 3
    assert names(sync.target) == sorted(keys)  # type: ignore[arg-type]
    sync.close()


SENDER = """
import os, random, signal, sys, time
from deferpower import BackgroundSyncManager
from deferpower.sync import HttpTarget
from deferpower.testing import FakeDevice
url, path, log, kills, seed = sys.argv[1:]
choice = random.Random(int(seed))

target = HttpTarget(url, max_items=7, timeout_s=5)  # connects when it first sends

def life(number):
    sync = BackgroundSyncManager(target, path, device=FakeDevice(), durability="process",
        backoff_s=0.01, backoff_cap_s=0.02, max_retries=1000)
    with open(log, "a", buffering=1) as queued:
        count = 0
        while number is not None or sync.stats().pending:
            for _ in range(20 if number is not None else 0):
                count += 1
                text = f"{number}-{count}"
                if count % 11 == 0:
                    text += "x" * 70_000
                sync.queue_for_sync(text, ("high", "normal", "low")[count % 3])
                queued.write(text[:20] + "\\n")
            sync.device.clock.advance(10)
            sync.process_sync_queue()
    os._exit(0)

# A bare process: what it has imported need not be imported again by those that it forks.
import apsw, httpx2, asyncio, deferpower.sync.round, deferpower._native
for number in range(int(kills)):
    before = os.path.getsize(log) if os.path.exists(log) else 0
    child = os.fork()
    if child == 0:
        life(number)
    # Every other one is killed at work, however slow the machine is; the others at any moment.
    give_up_s = time.monotonic() + 10
    while number % 2 and time.monotonic() < give_up_s:
        if os.path.exists(log) and os.path.getsize(log) > before:
            break
        time.sleep(0.001)
    time.sleep(choice.uniform(0.01, 0.2))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    print(number, flush=True)
life(None)
"""


def test_killing_the_sender_at_any_moment_loses_nothing(server: Server, tmp_path: Path) -> None:
    witness = Witness(server, badly=0.0)
    log = tmp_path / "queued"
    program = SENDER
    if "native" not in os.environ.get("DEFERPOWER_TEST_BACKENDS", "native"):
        program = program.replace(", deferpower._native", "")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            server.url,
            *map(str, (tmp_path / "sync.db", log, KILLS, 7)),
        ],
        capture_output=True,
        text=True,
        timeout=110 + KILLS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == KILLS
    queued = set(log.read_text().split())
    arrived = {data[1:21].rstrip('"') for data in witness.keys_of}
    assert queued - arrived == set()
    assert len(arrived - queued) <= KILLS  # queued, and killed before it could say so
    assert all(len(keys) == 1 for keys in witness.keys_of.values())
    # What was under way when the process died may come again, under the same key.
    repeated = sum(times - 1 for times in server.received.values())
    assert repeated <= 7 * KILLS
    assert not list(tmp_path.glob("sync.db-payloads/*"))
    assert len(queued) >= KILLS // 2
