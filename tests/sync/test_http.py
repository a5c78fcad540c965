"""HttpTarget against a real server: what arrives, and what each answer means."""

from __future__ import annotations

import asyncio
import concurrent.futures
import email.utils
import json
import logging
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from deferpower.errors import ConfigError, TargetError
from deferpower.sync import BatchRefused, HttpTarget, ItemRefused, TargetUnavailable, deliver
from deferpower.sync.target import BYTES_TYPE
from sync.conftest import item, some
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
    elements,
)


@pytest.fixture
def target(server: Server) -> Any:
    target = HttpTarget(server.url)
    yield target
    target.close()


def statuses(target: HttpTarget, count: int) -> list[str]:
    return [outcome.status for outcome in target.send(some(count))]


# What arrives.


def test_a_single_item_is_sent_as_itself(server: Server, target: HttpTarget) -> None:
    (outcome,) = target.send([item(1, {"a": "ä"}, key="dé/1")])
    assert (outcome.status, outcome.result) == ("delivered", 200)
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/inbox")
    assert json.loads(request.body) == {"a": "ä"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "k1"
    assert request.headers["deferpower-key"] == "d%C3%A9%2F1"
    assert "deferpower-batch" not in request.headers
    assert request.headers["accept-encoding"] == "identity"


def test_bytes_are_sent_as_they_are(server: Server, target: HttpTarget) -> None:
    target.send([item(1, b"\x00\xff", content_type="image/x-none")])
    assert server.requests[0].body == b"\x00\xff"
    assert server.requests[0].headers["content-type"] == "image/x-none"


def test_several_items_are_one_request(server: Server, target: HttpTarget) -> None:
    items = [item(0, key="name"), item(1, b"\x00\xff"), item(2, [None, 'quo"te', 1.5])]
    assert [outcome.status for outcome in target.send(items)] == ["delivered"] * 3
    (request,) = server.requests
    assert request.headers["deferpower-batch"] == "3"
    assert elements([request]) == [
        {"idempotency_key": "k0", "key": "name", "data": {"n": 0}},
        {"idempotency_key": "k1", "key": None, "content_type": BYTES_TYPE, "data_base64": "AP8="},
        {"idempotency_key": "k2", "key": None, "data": [None, 'quo"te', 1.5]},
    ]


def test_the_same_batch_has_the_same_key(server: Server, target: HttpTarget) -> None:
    for items in (some(3), some(3), some(2)):
        target.send(items)
    first, again, other = (request.headers["idempotency-key"] for request in server.requests)
    assert first == again != other


def test_connections_are_kept(server: Server, target: HttpTarget) -> None:
    for _ in range(3):
        target.send(some(2))
    assert server.count == 3
    assert server.connections == 1


# In a process of its own, where nothing is imported yet.
FIRST_REQUEST = """
import asyncio, sys, threading

imported = []

class Finder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            imported.append(name)

async def main():
    target = HttpTarget(sys.argv[1])
    sys.meta_path.insert(0, Finder())
    await target.send_async([SyncItem("k1", "1")])
    await target.close_async()

from deferpower.sync import HttpTarget, SyncItem
asyncio.run(main())
print(*(name for name in imported if name.partition(".")[0] in ("anyio", "httpcore2", "ssl")))
"""


def test_the_first_request_imports_nothing_on_the_event_loop(server: Server) -> None:
    words = [sys.executable, "-c", FIRST_REQUEST, server.url]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("count", [1, 5])
def test_compressed(server: Server, count: int) -> None:
    target = HttpTarget(server.url, compress=True, method="PUT")
    target.send(some(count))
    target.close()
    (request,) = server.requests
    assert request.method == "PUT"
    assert request.headers["content-encoding"] == "gzip"
    assert request.body != request.content
    assert request.keys == [f"k{number}" for number in range(count)]


def test_a_file_is_streamed(server: Server, target: HttpTarget, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 4096)
    file = item(1, b"")._replace(content=path)
    assert target.send([file])[0].status == "delivered"
    assert server.requests[0].headers["content-length"] == str(1 << 20)
    assert server.requests[0].body == path.read_bytes()


def test_a_file_that_is_gone_is_refused(server: Server, target: HttpTarget, tmp_path: Path) -> None:
    gone = item(1)._replace(content=tmp_path / "gone")
    (outcome,) = target.send([gone])
    assert outcome.status == "refused"
    assert "gone" in outcome.error
    assert server.count == 0
    told = [pair for part in deliver(target, [item(0), gone, item(2)]) for pair in part]
    assert [outcome.status for _, outcome in told] == ["delivered", "refused", "delivered"]
    with pytest.raises(BatchRefused, match="gone"):
        target.send([item(0), gone])


def test_a_content_type_cannot_smuggle_headers(server: Server, target: HttpTarget) -> None:
    (outcome,) = target.send([item(1, b"x", content_type="a/b\r\nX-Evil: 1")])
    assert outcome.status == "refused"
    assert "content_type" in outcome.error
    assert server.count == 0


def test_the_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    target = HttpTarget("http://nowhere.invalid/inbox?a=1")
    assert statuses(target, 1) == ["delivered"]
    assert server.requests[0].target == "http://nowhere.invalid/inbox?a=1"
    target.close()


# What answers mean.


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_item(server: Server, target: HttpTarget, status: int) -> None:
    server.script(Answer(status, {"Content-Type": "text/plain"}, b"n must\n be even"))
    (outcome,) = target.send(some(1))
    assert outcome.status == "refused"
    assert outcome.error == f"{target.name} answered {status}: n must be even"


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_refused_batch(server: Server, target: HttpTarget, status: int) -> None:
    server.script(Answer(status))
    with pytest.raises(BatchRefused, match=f"answered {status}"):
        target.send(some(2))


@pytest.mark.parametrize("status", [404, 405, 410])
def test_the_wrong_place_refuses_all_at_once(
    server: Server, target: HttpTarget, status: int
) -> None:
    server.script(Answer(status))
    assert statuses(target, 8) == ["refused"] * 8
    assert server.count == 1


def test_a_conflict_of_one_item_is_tried_again(server: Server, target: HttpTarget) -> None:
    server.script(Answer(409))
    assert statuses(target, 1) == ["later"]


def test_a_broken_server_has_each_item_wait(server: Server, target: HttpTarget) -> None:
    server.script(Answer(500, {"Retry-After": "7"}))
    outcomes = target.send(some(2))
    assert [(outcome.status, outcome.retry_after_s) for outcome in outcomes] == [("later", 7)] * 2


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 502, 503, 504])
def test_unavailable(server: Server, target: HttpTarget, status: int) -> None:
    server.script(Answer(status))
    with pytest.raises(TargetUnavailable, match=f"answered {status}") as raised:
        target.send(some(1))
    assert raised.value.retry_after_s is None
    assert not raised.value.maybe_delivered


NOON_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "999999999"}, 86_400),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        (
            {
                "Retry-After": email.utils.formatdate(NOON_S + 90, usegmt=True),
                "Date": email.utils.formatdate(NOON_S, usegmt=True),
            },
            90,
        ),
        ({"Retry-After": email.utils.formatdate(NOON_S, usegmt=True)}, 0),
    ],
)
def test_retry_after(
    server: Server, target: HttpTarget, headers: dict[str, str], pause_s: float | None
) -> None:
    server.script(Answer(503, headers))
    with pytest.raises(TargetUnavailable) as raised:
        target.send(some(2))
    assert raised.value.retry_after_s == pause_s


def test_a_part_is_refused(server: Server, target: HttpTarget) -> None:
    server.script(Refuse(lambda key: key in ("k1", "k3")))
    outcomes = target.send(some(5))
    assert [outcome.status for outcome in outcomes] == [
        "delivered", "refused", "delivered", "refused", "delivered",
    ]  # fmt: skip
    assert outcomes[1].error == f"{target.name} answered 422 for the item: not this one"


def test_a_part_is_to_come_later(server: Server, target: HttpTarget) -> None:
    server.script(Refuse(lambda key: key == "k1", 503, 9.5))
    outcomes = target.send(some(2))
    assert (outcomes[1].status, outcomes[1].retry_after_s) == ("later", 9.5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"failed": {',
        b'{"failed": {}, "failed": null}',
        b'{"failed": [{"idempotency_key": "strange", "status": 422}]}',
        b'{"failed": [{"idempotency_key": "k0", "status": 200}]}',
        b'{"failed": [{"idempotency_key": "k0"}]}',
        b'{"failed": [{"idempotency_key": ["k0"], "status": 422}]}',
        b'{"failed": [{"idempotency_key": "k0", "status": 422, "retry_after_s": "x"}]}',
        b'{"failed": [{"idempotency_key": "k0", "status": 422, "retry_after_s": NaN}]}',
        b"[" * 100_000,
        b'{"failed": []}' + b" " * (2 << 20),
    ],
    ids=range(13),
)
def test_a_part_that_cannot_be_made_out(server: Server, target: HttpTarget, body: bytes) -> None:
    server.script(Answer(207, {}, body))
    with pytest.raises(TargetUnavailable, match="without a list") as raised:
        target.send(some(2))
    assert raised.value.maybe_delivered


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: Server, target: HttpTarget, status: int) -> None:
    server.script(Answer(status, {"Location": server.url + "2"}))
    with pytest.raises(TargetUnavailable, match="redirects are not followed"):
        target.send(some(2))
    assert server.count == 1


@pytest.mark.parametrize(
    "behaviour", [ResetWhileReading(), ResetWhileAnswering(), CloseUnanswered()]
)
def test_a_lost_acknowledgement(server: Server, target: HttpTarget, behaviour: Behaviour) -> None:
    server.script(behaviour)
    large = item(0, "x" * 2_000_000)
    with pytest.raises(TargetUnavailable, match="may have arrived") as raised:
        target.send([large, item(1)])
    assert raised.value.maybe_delivered
    target.send([large, item(1)])
    assert server.received["k0"] == (1 if isinstance(behaviour, ResetWhileReading) else 2)


def test_a_refusal_cut_short_is_a_refusal(server: Server, target: HttpTarget) -> None:
    server.script(ResetWhileAnswering(422))
    assert statuses(target, 1) == ["refused"]


@pytest.mark.parametrize("behaviour", [Hang(), Drip()])
def test_no_answer_in_time(server: Server, behaviour: Behaviour) -> None:
    target = HttpTarget(server.url, timeout_s=2.0)
    server.script(behaviour)
    with pytest.raises(TargetUnavailable, match=r"did not answer within 2\.0 s") as raised:
        target.send(some(2))
    assert raised.value.maybe_delivered
    assert statuses(target, 2) == ["delivered"] * 2
    target.close()


def test_nobody_there(server: Server, target: HttpTarget) -> None:
    statuses(target, 1)
    with (
        server.down(),
        pytest.raises(TargetUnavailable, match="cannot be reached") as raised,
    ):
        target.send(some(1))
    assert not raised.value.maybe_delivered
    assert statuses(target, 1) == ["delivered"]


# Trust.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def secure(certificate: trustme.LeafCert) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return Server(context)


def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def test_a_certificate_of_the_named_authority(authority: trustme.CA, tmp_path: Path) -> None:
    with secure(authority.issue_cert("127.0.0.1")) as server:
        target = HttpTarget(server.url, ca_file=ca_file(authority, tmp_path))
        assert statuses(target, 2) == ["delivered"] * 2
        target.close()


@pytest.mark.parametrize("wrong", ["authority", "host"])
def test_a_wrong_certificate(authority: trustme.CA, tmp_path: Path, wrong: str) -> None:
    host = "127.0.0.2" if wrong == "host" else "127.0.0.1"
    with secure(authority.issue_cert(host)) as server:
        trusted = ca_file(authority, tmp_path) if wrong == "host" else None
        target = HttpTarget(server.url, ca_file=trusted)
        with pytest.raises(TargetUnavailable, match=r"(?i)certificate") as raised:
            target.send(some(1))
        assert not raised.value.maybe_delivered
        assert server.count == 0
        target.close()


def check_digest(request: Request) -> Behaviour:
    if request.headers.get("authorization", "").startswith("Digest "):
        is_right = 'uri="/inbox?a=1"' in request.headers["authorization"]
        return OK if is_right and request.target == "/inbox?a=1" else Answer(400)
    return Answer(401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})


def test_digests_are_made_of_the_real_url(server: Server, tmp_path: Path) -> None:
    import httpx2

    server.behave = check_digest
    target = HttpTarget(server.url + "?a=1", auth=httpx2.DigestAuth("user", "password"))
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert statuses(target, 2) == ["delivered"] * 2
    assert target.send([item(1, b"")._replace(content=path)])[0].status == "delivered"
    assert server.requests[-1].body == b"content"
    target.close()


SECRETS = ("hunter2-user", "hunter2-pass", "hunter2-query", "hunter2-header", "hunter2-token",
           "hunter2-path-long-enough", "aHVudGVyMi")  # fmt: skip


def test_secrets_are_nowhere_to_be_seen(
    server: Server, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    place = f"127.0.0.1:{server.port}/hooks/hunter2-path-long-enough?key=hunter2-query"
    headers = {"X-Api-Key": "hunter2-header"}
    targets = [
        HttpTarget(f"http://hunter2-user:hunter2-pass@{place}", headers=headers),
        HttpTarget(f"http://{place}", headers=headers, auth="hunter2-token"),
        HttpTarget(f"http://{place}", headers=headers, auth=("hunter2-user", "hunter2-pass")),
    ]

    def echo(request: Request) -> Behaviour:
        everything = f"{request.target} {request.headers}".encode()
        return Answer(503, {"Content-Type": "text/plain"}, everything)

    seen = [repr(target) + target.name for target in targets]
    for target in targets:
        target.send(some(1))
        server.behave = echo
        for _ in range(2):
            with pytest.raises(TargetUnavailable) as raised:
                target.send(some(1))
            seen.append(f"{raised.value!r} {raised.value.__cause__!r}")
            server.behave = lambda request: CloseUnanswered()
        server.behave = lambda request: OK
        target.close()

    sent = [request.headers["authorization"] for request in server.requests]
    assert {text.split()[0] for text in sent} == {"Basic", "Bearer"}
    assert {request.target for request in server.requests} == {
        "/hooks/hunter2-path-long-enough?key=hunter2-query"
    }
    assert any("HTTP Request" in record.getMessage() for record in caplog.records)
    everything = "\n".join([*seen, caplog.text, *capsys.readouterr()])
    assert not [secret for secret in SECRETS if secret in everything]
    assert f"http://127.0.0.1:{server.port}/…" in everything


# Without a server.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.org/inbox", "must begin with https://"),
        ("", "must begin with https://"),
        ("ftp://example.org", "must begin with https://"),
        ("https:///inbox", "names no host"),
        ("https://example.org:port", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://hunter2@exa mple.org/", "without spaces"),
        ("https://hunter2@example.org\n/", "without spaces"),
    ],
)
def test_urls_that_are_none(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        HttpTarget(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "GET"}, "POST, PUT, PATCH"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"max_items": 0}, "max_items"),
        ({"max_bytes": 0.5}, "max_bytes"),
        ({"headers": {"Idempotency-Key": "x"}}, "set for each request"),
        ({"headers": {"X Y": "x"}}, "not a name"),
        ({"headers": {"X-Y": "hunter2\n"}}, "header X-Y may hold visible"),
        ({"headers": {"X-Y": 5}}, "header X-Y may hold visible"),
        ({"auth": "hunter2\n"}, "auth may hold visible"),
        ({"auth": ("hunter2",)}, "user, password"),
        ({"auth": ("hunter2:", "x")}, "without a colon"),
        ({"auth": 5}, "auth is a token"),
        ({"timeout_s": None}, "timeout_s"),
        ({"ca_file": "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"),
        ({"ca_file": __file__}, "cannot be used"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        HttpTarget("https://example.org", **options)
    assert "hunter2" not in str(raised.value)


def test_two_credentials_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="not both"):
        HttpTarget("https://user@example.org", auth="token")


# The async form, and both at once.


def test_on_an_event_loop(server: Server) -> None:
    target = HttpTarget(server.url)
    target.send(some(1))

    async def use() -> None:
        with pytest.raises(TargetError, match="await send_async"):
            target.send(some(1))
        outcomes = await asyncio.gather(*[target.send_async([item(n)]) for n in range(1, 9)])
        assert all(outcome.status == "delivered" for (outcome,) in outcomes)
        await target.close_async()

    asyncio.run(use())
    assert server.received == {f"k{n}": 1 for n in range(9)}
    assert statuses(target, 1) == ["delivered"]
    target.close()


def test_from_several_threads(server: Server, target: HttpTarget) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda number: target.send([item(number)]), range(20)))
    assert {outcome.status for (outcome,) in sent} == {"delivered"}
    assert len(server.received) == server.count == 20


def test_cancelled_while_it_waits(server: Server) -> None:
    server.script(Hang())

    async def use() -> None:
        target = HttpTarget(server.url)
        sending = asyncio.create_task(target.send_async(some(1)))
        async with asyncio.timeout(20):
            while not server.count:
                await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (await target.send_async(some(1)))[0].status == "delivered"
        await target.close_async()

    asyncio.run(use())


def test_ten_thousand_items_of_which_some_are_poison(server: Server, target: HttpTarget) -> None:
    poison = {"k17", "k18", "k5000", "k9999"}
    server.behave = lambda request: Answer(422) if poison & {*request.keys} else OK
    told = [pair for part in deliver(target, some(10_000)) for pair in part]
    refused = {item.idempotency_key for item, outcome in told if outcome.status == "refused"}
    assert refused == poison
    assert len(told) == 10_000
    assert server.received.total() == len(server.received) == 10_000 - len(poison)
    assert server.count <= 100 + len(poison) * 2 * 7


def test_too_large_a_batch_is_halved(server: Server, target: HttpTarget) -> None:
    server.behave = lambda request: Answer(413) if len(request.keys) > 30 else OK
    told = [pair for part in deliver(target, some(100)) for pair in part]
    assert [item.idempotency_key for item, _ in told] == [f"k{n}" for n in range(100)]
    assert server.count == 1 + 2 + 4


def test_the_server_is_of_this_machine_alone() -> None:
    """What these tests stand on: a refused connection, not a proxy's answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target = HttpTarget(f"http://127.0.0.1:{port}")
    with pytest.raises(TargetUnavailable, match="cannot be reached"):
        target.send(some(1))
    target.close()


def test_errors_are_of_one_tree() -> None:
    for error in (TargetUnavailable, BatchRefused, ItemRefused):
        assert issubclass(error, TargetError)
