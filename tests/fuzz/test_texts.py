"""Whatever text a person, a file, a server or a bus gives: a value, or an error of ours."""

from __future__ import annotations

import argparse
import io
import json
import math
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deferpower import ConfigError, TaskError
from deferpower.cli import parsing
from deferpower.cli.systemd import quoted, user_unit
from deferpower.constraints import Window
from deferpower.desktop.services import (
    IDLE_MONITOR,
    LOGIND,
    NETWORK_MANAGER,
    IdleMonitor,
    LoginManager,
    NetworkManager,
    Reply,
)
from deferpower.life import Life
from deferpower.policy import Policy
from deferpower.sync import BatchRefused, Outcome, SyncItem, TargetUnavailable
from deferpower.sync.answers import LONGEST_PAUSE_S, Answer, outcomes, retry_after_s
from deferpower.sync.secrets import Redactor
from deferpower.tasks.spec import Spec
from deferpower.traces import COLUMNS, Slot, parse_trace, write_trace

# Any character but, as files and terminals give it, with halves of what is no UTF-8.
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
odd_numbers = st.sampled_from(
    [
        *("0", "-0", "-1", "1e308", "1e309", "-1e309", "nan", "inf", "1_0", "0x10", " 5 ", "5."),
        *(".5", "1e", "٣", "²", "9" * 400, "9" * 5000, "1e-400", "--1", "+3", "1,5", "", "1 2"),
    ]
)
numbers = odd_numbers | st.floats().map(str) | st.integers().map(str)


def spelled(pieces: list[str]) -> st.SearchStrategy[str]:
    """Texts of these pieces, of numbers and of anything."""
    piece = st.sampled_from(pieces)
    return st.lists(piece | piece | numbers | any_text, max_size=6).map("".join)


@pytest.mark.parametrize(
    "parse",
    [
        *(parsing.percentage, parsing.seconds, parsing.time_span, parsing.moment),
        *(parsing.task_id, parsing.whole_number),
    ],
)
@example(text="9" * 5000 + "s")
@given(text=numbers | spelled(["s", "m", "h", "d", "%", ":", "-", "T", "Z", "2031-01-01", "+"]))
def test_values_of_options(parse: Callable[[str], float], text: str) -> None:
    try:
        value = parse(text)
    except argparse.ArgumentTypeError as error:
        str(error).encode(errors="surrogateescape")
    else:
        assert math.isfinite(value)
        assert value >= 0 or parse is parsing.moment


@given(spelled(["22:00-06:00", "0", "1", "24:00", ":", "-", "2", " "]))
def test_windows(text: str) -> None:
    try:
        window = Window.parse(text)
    except ConfigError:
        return
    assert Window.parse(str(window)) == window


policy_values = st.recursive(
    st.sampled_from(['"text"', "true", "nan", "-inf", "1979-05-27", "0", "80", '""', "'\\u0000'"])
    | numbers
    | any_text.map(json.dumps),
    lambda inner: st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(found)}]"),
    max_leaves=4,
)
policy_names = sorted(
    {f"{table}.{name}" for table, entries in Policy().tables().items() for name in entries}
)


@given(
    st.lists(st.tuples(st.sampled_from(policy_names) | any_text, policy_values), max_size=4),
    any_text | st.just(""),
)
@example([], "a = " + "[" * 5000)
@example([], "a = " + "9" * 5000)
def test_policies(lines: list[tuple[str, str]], rest: str) -> None:
    text = "\n".join(f"{name} = {value}" for name, value in lines) + "\n" + rest
    try:
        policy = Policy(text)
    except ConfigError:
        return
    policy.tables()
    policy.scheduler()
    policy.classifier()


cells = st.sampled_from(["", "0", "1", "42.5", "2026-03-01T10:00:00Z", "+02:00", "1772359200", "x"])
header = st.permutations(COLUMNS).map(lambda names: names[:5]) | st.just([*COLUMNS])
rows = st.lists(
    st.lists(cells | cells | numbers | any_text, min_size=3, max_size=7).map(",".join), max_size=6
)


@given(header, rows, any_text)
@example([*COLUMNS], ["a,1772359200,+02:00,50,1,0"], "")
@example([*COLUMNS], ["a,253402300500,-23:59,50,1,0"], "")
@example([*COLUMNS], ["a,0,+23:59,50,1,0"], '"')
def test_traces(names: list[str], lines: list[str], rest: str) -> None:
    text = "\n".join([",".join(names), *lines, rest])
    try:
        slots = list(parse_trace(io.StringIO(text, newline=""), "trace.csv"))
    except ConfigError:
        return
    for slot in slots:
        assert slot.start_s % 300 == 0
        assert slot.percent is None or 0 <= slot.percent <= 100
        assert slot.activity is None or 0 <= slot.activity <= 1
    written = io.StringIO(newline="")
    write_trace(slots, written)
    written.seek(0)
    assert list(parse_trace(written, "copy")) == slots
    by_time = {slot.start_s: Slot("", *slot[1:]) for slot in slots}
    if by_time:
        Life(by_time[start_s] for start_s in sorted(by_time))


@given(spelled(['{"name":"f"', "}", '"prefer"', ":", ",", "{", '"idle":', "true", "[", "]"]))
@example("[" * 100_000)
@example('{"name":"f","constraints":5}')
@example('{"name":"f","constraints":{"window":7}}')
@example('{"name":"f","task_class":[]}')
@example('{"name":"f","override":{}}')
@example('{"name":["f"]}')
def test_specs(text: str) -> None:
    try:
        spec = Spec.from_text(text)
    except TaskError:
        return
    assert Spec.from_text(spec.to_text()) == spec


LONG_PAUSE = b'{"failed":[{"idempotency_key":"a","status":503,"retry_after_s":1%s}]}' % (b"0" * 400)
ITEMS = [SyncItem(name, '"x"') for name in ("a", "b", "c")]
headers = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-type"]),
    numbers
    | any_text
    | st.sampled_from(["application/json", "text/plain", "Wed, 21 Oct 2026 07:28:00 GMT"])
    | spelled(["Wed, ", "21 ", "Oct ", "2026 ", "99999999 ", "07:28:00", " GMT", " +9999"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)
failed = st.lists(
    st.fixed_dictionaries(
        {"idempotency_key": st.sampled_from("abc") | json_values},
        optional={
            "status": st.sampled_from([300, 409, 500, 599]) | json_values,
            "error": any_text | json_values,
            "retry_after_s": numbers | json_values | st.just(10**400),
        },
    ),
    max_size=3,
)
bodies = (
    failed.map(lambda rows: json.dumps({"failed": rows}).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.none()
)


@given(
    st.sampled_from([200, 204, 207, 207, 207, 301, 400, 404, 409, 413, 429, 500, 503]),
    headers,
    bodies,
    st.integers(1, 3),
)
@example(207, {}, b'{"failed":[{"idempotency_key":"a","status":503,"retry_after_s":"nan"}]}', 2)
@example(207, {}, b'{"failed":[{"idempotency_key":"a","status":503,"error":"\\ud800"}]}', 2)
@example(207, {}, LONG_PAUSE, 1)
@example(207, {}, b"[" * 100_000, 1)
def test_answers_of_servers(
    status: int, told: dict[str, str], body: bytes | None, count: int
) -> None:
    items = ITEMS[:count]
    try:
        found = outcomes(items, Answer(status, told, body), "server", Redactor(["secret"]))
    except TargetUnavailable as error:
        check_pause(error.retry_after_s)
        str(error).encode()
    except BatchRefused as error:
        str(error).encode()
    else:
        assert len(found) == count
        for outcome in found:
            check_outcome(outcome)


def check_outcome(outcome: Outcome) -> None:
    """Whether it can be written to the file."""
    assert outcome.status in ("delivered", "refused", "later")
    check_pause(outcome.retry_after_s)
    outcome.error.encode()


def check_pause(pause_s: float | None) -> None:
    assert pause_s is None or 0.0 <= pause_s <= LONGEST_PAUSE_S


@given(headers, st.floats(0, 4e9))
def test_when_a_server_wants_to_be_asked_again(told: dict[str, str], now_s: float) -> None:
    check_pause(retry_after_s(told, now_s))


variants = st.recursive(
    st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(any_text, inner, max_size=3)
        | st.tuples(st.sampled_from(["b", "t", "u", "s", "v"]), inner)
    ),
    max_leaves=4,
)
names_told = st.sampled_from(
    ["IdleHint", "IdleSinceHintMonotonic", "BlockInhibited", "Metered", "State", "Connectivity"]
)
told_properties = st.dictionaries(names_told | any_text, variants, max_size=4) | variants


@given(
    st.lists(st.lists(told_properties, max_size=2) | st.lists(variants, max_size=2), max_size=3),
    any_text,
    st.floats(0, 1e9),
)
def test_answers_of_desktop_services(answers: list[list[Any]], error: str, now_s: float) -> None:
    idle = IdleMonitor(IDLE_MONITOR, "GetIdletime")
    login, network = LoginManager(LOGIND), NetworkManager(NETWORK_MANAGER)
    for service in (idle, login, network):
        service.appeared(":1.5")
        for body in answers:
            service.answered(Reply(tuple(body)), now_s, in_time=True)
            if isinstance(service, LoginManager | NetworkManager) and body:
                service.changed(body[0])
            assert isinstance(service.found(), str)
            for since_s in (idle.idle_s(now_s), login.idle_s(now_s)):
                assert since_s is None or (math.isfinite(since_s) and since_s >= 0)
            assert login.is_present in (True, False)
            assert network.is_metered in (True, False, None)
            assert network.is_connected in (True, False, None)
        service.answered(Reply((), "org.example.Error", error), now_s, in_time=False)


@given(st.lists(any_text, max_size=4), any_text | st.none(), any_text)
def test_every_word_keeps_its_line_in_a_systemd_unit(
    words: list[str], directory: str | None, seen: str
) -> None:
    plain = user_unit([], directory="x" if directory else None, seen="x")
    unit = user_unit(words, directory=directory, seen=seen)
    assert [line.partition("=")[0] for line in unit.split("\n")] == [
        line.partition("=")[0] for line in plain.split("\n")
    ]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_words_of_a_unit_are_quoted(word: str) -> None:
    said = quoted(word).replace("%%", "%").replace("$$", "$")
    assert shlex.split(said.replace("'", r"\'") if not said.startswith('"') else said) == [word]
