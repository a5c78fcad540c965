"""``deferpower run``: waits, runs, pauses, resumes, and ends as its command does."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from cli.conftest import Start
from cli.support import Gate, Laptop, command_line, group_states
from waiting import PATIENCE_S, until

FROM_40_TO_60 = ("--battery-above", "50", "--poll", "0.05", "--json")
"""Conditions that change of level, unlike one of the charger, meets and fails at once."""


def test_the_main_job(laptop: Laptop, start: Start, tmp_path: Path) -> None:
    """Issue: tar waits on battery, starts on the charger, is frozen, thawed, and ends whole."""
    big = tmp_path / "big"
    (big / "sub").mkdir(parents=True)
    contents = {"sub/noise": os.urandom(40 << 20), "text": b"deferred\n" * 1000, "empty": b""}
    for name, data in contents.items():
        (big / name).write_bytes(data)
    archive = tmp_path / "out.tgz"
    # A compressor that takes its time, so that there is a moment to pull the charger at.
    slow = tmp_path / "slow-gzip"
    gate = Gate(tmp_path / "gate")
    slow.write_text(f'#!/bin/sh\n{gate.wait}\nexec gzip -1 "$@"\n')
    slow.chmod(0o755)

    run = start(
        "run", "--charging", "--poll", "0.1", "--json", "--",
        "tar", "-c", "-I", str(slow), "-f", str(archive), "-C", str(tmp_path), "big",
    )  # fmt: skip
    waiting = run.event("waiting")
    assert waiting["verdict"] == "defer_to_charging"
    assert [reason["code"] for reason in waiting["reasons"]] == ["charging"]
    assert "40 %" in waiting["reasons"][0]["sentence"]
    assert not archive.exists()

    laptop.plug(True)
    group = run.event("started")["pid"]
    until(archive.exists, "the archive")
    laptop.plug(False)
    run.event("paused")
    until(lambda: set(group_states(group).values()) == {"T"}, "every process stopped")
    assert len(group_states(group)) >= 2
    assert archive.stat().st_size == 0

    laptop.plug(True)
    run.event("resumed")
    gate.open()
    assert run.end() == 0
    assert run.event("exited")["exit_code"] == 0
    with tarfile.open(archive) as tar:
        for name, data in contents.items():
            member = tar.extractfile(f"big/{name}")
            assert member is not None
            assert member.read() == data


def test_words_when_standard_error_is_no_terminal(laptop: Laptop, start: Start) -> None:
    run = start("run", "--battery-above", "50", "--poll", "0.05", "--", "echo", "done")
    run.wait_until(lambda: run.err, "a line")
    laptop.charge(41)
    time.sleep(0.5)  # ten polls, each of which could have said so
    laptop.charge(60)
    assert run.end() == 0
    assert run.out == "done\n"
    waiting, started = run.err.splitlines()
    assert waiting == "deferpower: waiting: battery at 40 %, needs more than 50 %"
    assert started.startswith("deferpower: started: ")


def test_nothing_is_said_when_there_is_nothing_to_wait_for(laptop: Laptop, start: Start) -> None:
    laptop.plug(True)
    run = start("run", "--charging", "--", "true")
    assert run.end() == 0
    assert run.err == ""


@pytest.mark.parametrize(
    ("plugged", "level", "waits"), [(True, 40, False), (False, 60, False), (False, 50, True)]
)
def test_without_conditions_it_is_a_background_task(
    laptop: Laptop, start: Start, plugged: bool, level: int, waits: bool
) -> None:
    laptop.plug(plugged)
    laptop.charge(level)
    run = start("run", "--dry-run", "--", "touch", "ran")
    assert run.end() == 0
    assert run.out.startswith("would wait:" if waits else "would run now:")
    assert (
        run.out.endswith("(one look never sees an idle machine: that takes a minute of quiet)\n")
        is waits
    )


def test_a_flapping_charger_starts_and_stops_once(laptop: Laptop, start: Start) -> None:
    run = start("run", "--charging", "--poll", "0.05", "--json", "--", "sleep", "1000")
    run.event("waiting")
    for flap in range(10):
        laptop.plug(flap % 2 == 0)
        time.sleep(0.2)  # the flapping itself
    run.event("paused")
    laptop.plug(True)
    run.event("resumed")
    run.process.terminate()
    assert run.end() == 128 + 15
    turns = ("started", "paused", "resumed")
    assert [len(run.events(turn)) for turn in turns] == [1, 1, 1]


def test_no_pause(laptop: Laptop, start: Start, tmp_path: Path) -> None:
    laptop.charge(60)
    gate = Gate(tmp_path / "gate")
    run = start("run", *FROM_40_TO_60, "--no-pause", "--", "sh", "-c", gate.wait)
    group = run.event("started")["pid"]
    laptop.charge(40)
    time.sleep(0.5)  # ten polls in which it could have been paused
    assert "T" not in group_states(group).values()
    gate.open()
    assert run.end() == 0
    assert run.events("paused") == []


def test_reasons_that_change_while_it_is_paused(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--", "sleep", "1000")
    pid = run.event("started")["pid"]
    laptop.charge(40)
    assert [r["code"] for r in run.event("paused")["reasons"]] == ["battery_above"]
    laptop.charge(20)
    waiting = run.event("waiting")
    assert [r["code"] for r in waiting["reasons"]] == ["battery_above", "suspended"]
    assert waiting["pid"] == pid


def test_a_deadline_runs_it_whatever_holds(start: Start) -> None:
    run = start(
        "run", "--charging", "--deadline", "1s", "--poll", "60", "--json", "--", "echo", "ok"
    )
    run.event("waiting")
    assert [r["code"] for r in run.event("started")["reasons"]] == ["deadline_reached"]
    assert run.end() == 0
    assert run.out == "ok\n"
    assert run.events("paused") == []


def test_a_window(laptop: Laptop, start: Start) -> None:
    laptop.plug(True)
    now = time.localtime().tm_hour
    closed = f"{(now + 2) % 24:02}:00-{(now + 3) % 24:02}:00"
    run = start("run", "--window", closed, "--json", "--", "true")
    assert [r["code"] for r in run.event("waiting")["reasons"]] == ["window"]
    # Wide enough for the test not to see the hour turn.
    around = f"{(now - 2) % 24:02}:00-{(now + 3) % 24:02}:00"
    assert start("run", "--window", around, "--", "true").end() == 0


def test_idle_waits_for_quiet(laptop: Laptop, start: Start) -> None:
    laptop.plug(True)
    run = start("run", "--idle", "--poll", "0.1", "--json", "--", "true")
    assert [r["code"] for r in run.event("waiting")["reasons"]] == ["idle"]


def test_dry_run_as_json(start: Start, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    run = start("run", "--charging", "--dry-run", "--json", "--", "touch", str(ran))
    assert run.end() == 0
    decision = json.loads(run.out)
    assert decision["verdict"] == "defer_to_charging"
    assert set(decision["reasons"][0]) == {"code", "wanted", "seen", "sentence"}
    assert run.err == ""
    assert not ran.exists()


@pytest.mark.parametrize(
    ("script", "status", "killed_by"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("kill -TERM $$", 143, "SIGTERM"),
        ("kill -KILL $$", 137, "SIGKILL"),
        ("kill -PIPE $$", 141, "SIGPIPE"),  # which Python itself ignores
    ],
)
def test_the_exit_status_is_the_commands(
    laptop: Laptop, start: Start, script: str, status: int, killed_by: str | None
) -> None:
    laptop.plug(True)
    run = start("run", "--json", "--", "sh", "-c", script)
    assert run.end() == status
    exited = run.event("exited")
    assert (exited["exit_code"], exited["signal"]) == (status, killed_by)


@pytest.mark.parametrize(
    ("name", "content", "mode", "status", "said"),
    [
        ("missing", None, 0, 127, "no such file"),
        ("plain", b"#!/bin/sh\n", 0o644, 126, "is not executable; try chmod +x"),
        ("garbage", b"\x01\x02\x03", 0o755, 126, "no format that can be executed"),
        ("orphan", b"#!/no/such/interpreter\n", 0o755, 126, "the interpreter"),
    ],
)
def test_a_command_that_cannot_be_executed(
    laptop: Laptop,
    start: Start,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    mode: int,
    status: int,
    said: str,
) -> None:
    laptop.plug(True)
    program = tmp_path / name
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)
    run = start("run", "--", str(program))
    assert run.end() == status
    assert run.err.count("\n") == 1
    assert run.err.startswith(f"deferpower: {program}: ")
    assert said in run.err


def test_a_mistyped_command_is_told_before_the_waiting(start: Start) -> None:
    run = start("run", "--charging", "--", "resitc-not-there", "backup")
    assert run.end() == 127
    assert run.err == "deferpower: resitc-not-there: command not found; is it on the PATH?\n"


def test_timeout_ends_it_without_counting_pauses(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    run = start("run", *FROM_40_TO_60, "--timeout", "1.5", "--", "sleep", "1000")
    pid = run.event("started")["pid"]
    laptop.charge(40)
    run.event("paused")
    time.sleep(2.0)  # longer than the timeout, frozen
    assert set(group_states(pid).values()) == {"T"}
    laptop.charge(60)
    assert run.end() == 124
    exited = run.event("exited")
    assert exited["signal"] == "SIGTERM"
    assert exited["ran_s"] >= 1.5
    assert exited["paused_s"] >= 2.0


def test_timeout_leaves_nothing_behind(laptop: Laptop, start: Start, tmp_path: Path) -> None:
    """A command that ends on SIGTERM, but whose child in a session of its own does not."""
    laptop.plug(True)
    child = tmp_path / "child"
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {child}; sleep 1000; sleep 1000' & wait"
    run = start("run", "--timeout", "0.5", "--json", "--", "sh", "-c", script)
    assert run.end() == 124
    until(lambda: not group_states(int(child.read_text())), "the end of the child")


def test_streams_are_the_commands_own(laptop: Laptop, start: Start) -> None:
    laptop.charge(60)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stdin:
        run = start(
            "run", *FROM_40_TO_60, "--", "sh", "-c", "echo to-stderr >&2; exec cat", stdin=stdin
        )
    data = os.urandom(1 << 20)
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data[:1000])
        pipe.flush()
        run.event("started")
        laptop.charge(40)
        run.event("paused")
        pipe.write(data[1000:2000])
        pipe.flush()
        laptop.charge(60)
        run.event("resumed")
        pipe.write(data[2000:])
    assert run.end() == 0
    assert run.out_bytes == data
    assert "to-stderr\n" in run.err


def test_inherited_descriptors_reach_the_command(laptop: Laptop, env: dict[str, str]) -> None:
    """As a shell's process substitution needs."""
    laptop.plug(True)
    reader, writer = os.pipe()
    os.write(writer, b"through")
    os.close(writer)
    done = subprocess.run(
        command_line(["run", "--", "cat", f"/dev/fd/{reader}"]),
        env={**os.environ, **env},
        pass_fds=[reader],
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    os.close(reader)
    assert done.stdout == b"through"


def test_the_command_gets_nothing_but_the_marker(laptop: Laptop, env: dict[str, str]) -> None:
    """No descriptor and no ignored signal of deferpower's own."""
    laptop.plug(True)
    script = (
        "ls /proc/self/fd | wc -l; sed -n 's/^SigIgn://p' /proc/self/status; "
        "echo $DEFERPOWER_RUN_ID"
    )
    direct, deferred = (
        subprocess.run(
            [*prefix, "sh", "-c", script],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        ).stdout.splitlines()
        for prefix in ([], command_line(["run", "--"]))
    )
    assert deferred[0] == direct[0]
    # Signals 32 and 33 are the C library's own.
    assert int(deferred[1], 16) & 0x7FFFFFFF == int(direct[1], 16) & 0x7FFFFFFF
    assert (len(direct[2]), len(deferred[2])) == (0, 32)


def test_closed_streams_are_no_obstacle(
    laptop: Laptop, env: dict[str, str], tmp_path: Path
) -> None:
    laptop.plug(True)
    run = " ".join(command_line(["run", "--", "sh", "-c", "'exit 3'"]))
    done = subprocess.run(
        ["sh", "-c", f"{run} >&- 2>&-"],
        env={**os.environ, **env},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 3


def test_what_starts_on_battery_is_slowed_down_as_the_level_asks(
    laptop: Laptop, start: Start, tmp_path: Path
) -> None:
    laptop.charge(60)
    gate = Gate(tmp_path / "gate")
    script = f"{gate.wait}; cut -d' ' -f19 /proc/self/stat"
    run = start("run", *FROM_40_TO_60, "--", "sh", "-c", script)
    run.event("started")
    gate.open()
    assert run.end() == 0
    assert int(run.out) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        (("--network", "connected", "--storage-not-low"), []),
        (("--network", "unmetered"), ["unmetered"]),
        (("--network", "unmetered", "--charging"), ["charging", "unmetered"]),
    ],
)
def test_conditions_on_network_and_storage(
    laptop: Laptop, start: Start, asked: tuple[str, ...], codes: list[str]
) -> None:
    laptop.charge(60)
    run = start("run", *asked, "--dry-run", "--json", "--", "true")
    assert run.end() == 0
    decision = json.loads(run.out)
    assert (decision["verdict"] == "execute_now") is not bool(codes)
    if codes:
        assert [reason["code"] for reason in decision["reasons"]] == codes
