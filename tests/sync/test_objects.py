"""ObjectTarget on real stores: a directory, memory, and an S3 API on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from deferpower.errors import ConfigError
from deferpower.sync import ObjectTarget, TargetUnavailable, deliver
from deferpower.sync.objects import object_name
from sync.conftest import item, some
from sync.server import Answer, Hang, Server

KEYS: dict[str, Any] = {"access_key_id": "hunter2-access", "secret_access_key": "hunter2-secret"}


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of moto's server, which speaks S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
    yield server.get_host_and_port()[1]
    server.stop()


def s3_request(port: int, method: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"
    connection.request(method, path, headers={"Authorization": scope})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def s3(port: int, bucket: str, **options: Any) -> ObjectTarget:
    return ObjectTarget(
        f"s3://{bucket}/some/path",
        endpoint=f"http://127.0.0.1:{port}",
        region="us-east-1",
        client_options={"allow_http": True},
        **KEYS,
        **options,
    )


def content(target: ObjectTarget, name: str) -> bytes:
    return bytes(obstore.get(target.store, name).bytes())


def names(target: ObjectTarget) -> list[str]:
    return sorted(found["path"] for page in obstore.list(target.store) for found in page)


@pytest.fixture(params=["file", "memory", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectTarget]:
    if request.param == "file":
        target = ObjectTarget((tmp_path / "with space").as_uri())
    elif request.param == "memory":
        target = ObjectTarget("memory://")
    else:
        port = request.getfixturevalue("s3_port")
        bucket = f"bucket{abs(hash(tmp_path))}"
        assert s3_request(port, "PUT", f"/{bucket}").status == 200
        target = s3(port, bucket)
    yield target
    target.close()


def test_an_item_becomes_an_object(target: ObjectTarget, tmp_path: Path) -> None:
    path = tmp_path / "spilled"
    path.write_bytes(b"from a file")
    items = [item(0, {"a": "b"}), item(1, b"\x00"), item(2)._replace(content=path)]
    outcomes = target.send(items)
    assert [(outcome.status, outcome.result) for outcome in outcomes] == [
        ("delivered", "k0"), ("delivered", "k1"), ("delivered", "k2"),
    ]  # fmt: skip
    assert content(target, "k0") == b'{"a":"b"}'
    assert content(target, "k1") == b"\x00"
    assert content(target, "k2") == b"from a file"
    if target.name.startswith("file"):
        directory = tmp_path / "with space"
        assert sorted(path.name for path in directory.iterdir()) == ["k0", "k1", "k2"]
    else:
        kinds = [
            obstore.get(target.store, name).attributes["Content-Type"] for name in ("k0", "k1")
        ]
        assert kinds == ["application/json", "application/octet-stream"]


def test_a_duplicate_is_the_same_object(target: ObjectTarget) -> None:
    for _ in range(2):
        assert target.send([item(1)])[0].status == "delivered"
    assert names(target) == ["k1"]


@pytest.mark.parametrize("key", ["../../up", "/etc/x", "a b#1", "..", ".", "ä\n%2F", "C:\\x"])
def test_any_key_is_one_name_below_the_path(target: ObjectTarget, key: str) -> None:
    (outcome,) = target.send([item(1)._replace(idempotency_key=key)])
    assert outcome.status == "delivered"
    assert outcome.result == object_name(key)
    assert "/" not in outcome.result
    assert len(names(target)) == 1


def test_many(target: ObjectTarget) -> None:
    told = [pair for part in deliver(target, some(250)) for pair in part]
    assert {outcome.status for _, outcome in told} == {"delivered"}
    assert len(names(target)) == 250


def test_a_large_file_goes_in_parts(target: ObjectTarget, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (12 << 12))  # above the 5 MiB of one part
    assert target.send([item(1)._replace(content=path)])[0].status == "delivered"
    assert content(target, "k1") == path.read_bytes()


def test_a_file_that_is_gone_is_refused(target: ObjectTarget, tmp_path: Path) -> None:
    gone, other = target.send([item(1)._replace(content=tmp_path / "gone"), item(2)])
    assert (gone.status, other.status) == ("refused", "delivered")
    assert "gone" in gone.error


def test_on_an_event_loop(target: ObjectTarget) -> None:
    async def use() -> None:
        outcomes = await target.send_async(some(5))
        assert {outcome.status for outcome in outcomes} == {"delivered"}
        await target.close_async()

    asyncio.run(use())
    assert len(names(target)) == 5


def test_a_file_is_on_the_disk_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No crash can be had here, so what is asked of the kernel is looked at."""
    flushed: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: flushed.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    target = ObjectTarget(tmp_path.as_uri())
    target.send(some(1))
    target.close()
    assert flushed == [tmp_path / "k0", tmp_path]


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    target = ObjectTarget((tmp_path / "d").as_uri())
    (tmp_path / "d").rmdir()
    (tmp_path / "d").write_text("a file in its place")
    with pytest.raises(TargetUnavailable, match=r"file:///.*/d: "):
        target.send(some(3))
    target.close()


def test_a_bucket_that_is_not_there(s3_port: int) -> None:
    target = s3(s3_port, "no-such-bucket")
    with pytest.raises(TargetUnavailable, match="no-such-bucket") as raised:
        target.send(some(3))
    assert "hunter2" not in f"{raised.value!r} {target!r}"
    target.close()


def test_a_store_that_is_down_is_asked_once(server: Server) -> None:
    target = s3(server.port, "bucket")
    for answer in (Answer(503), Answer(500), Answer(429), Answer(403), Answer(401)):
        server.count = 0
        server.behave = lambda request, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(TargetUnavailable) as raised:
            target.send(some(100))
        assert server.count == 1, answer
        assert "hunter2" not in str(raised.value)
    target.close()


def test_a_store_that_goes_down_is_asked_a_few_times_more(server: Server) -> None:
    target = s3(server.port, "bucket")
    server.script(*[Answer(200, {"ETag": '"x"'})] * 10)
    server.behave = lambda request: Answer(503)
    outcomes = target.send(some(100))
    assert [outcome.status for outcome in outcomes].count("delivered") == 10
    assert [outcome.status for outcome in outcomes].count("later") == 90
    assert server.count <= 10 + 16
    target.close()


def test_a_store_that_hangs(server: Server) -> None:
    server.behave = lambda request: Hang()
    target = s3(server.port, "bucket", timeout_s=0.3)
    with pytest.raises(TargetUnavailable):
        target.send(some(3))
    assert server.count == 1
    target.close()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("bucket/path", {}, "must begin with"),
        ("sftp://host/path", {}, "must begin with"),
        ("s3:///path", {}, "names no bucket"),
        ("file://relative/path", {}, "file:///absolute/path"),
        ("file:///", {}, "file:///absolute/path"),
        ("file:///proc/nowhere", {}, "cannot sync to file"),
        ("s3://bucket", {"nonsense": "x"}, "nonsense"),
        ("s3://bucket", {"region": 5}, "cannot sync to s3"),
        ("gs://bucket", {"timeout_s": 0}, "timeout_s"),
        ("az://container/path", {"account_key": "hunter2"}, "(?i)account"),
        ("memory://", {"max_items": 0}, "max_items"),
        ("memory://", {"region": "x"}, "cannot sync to memory"),
    ],
)
def test_what_cannot_be_used(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        ObjectTarget(url, **options)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/path", {"skip_signature": True}),
        ("az://container/path", {"account_name": "name", "skip_signature": True}),
    ],
)
def test_other_stores_open(url: str, options: dict[str, Any]) -> None:
    assert ObjectTarget(url, **options).name == url
