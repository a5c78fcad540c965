"""The rules engine, on each backend: the table of SEMANTICS.md, its constraints, its memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deferpower._contract import CONSTRAINTS, Backend
from deferpower.constraints import Constraints
from deferpower.errors import ConfigError
from deferpower.scheduler import decide
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.types import NO_BATTERY, Power, Reading, Storage
from readings import NOON_S, a_reading, on_battery, plugged_in

# R run now, B defer to background, C defer to charging. Percentages are of a machine on battery.
TABLE = """
class          machine           none plugged 100  71  70  51  50  31  30  21  20   5   ?

critical       idle, ok            R     R     R   R   R   R   R   R   R   R   R   R   R
critical       busy, ok            R     R     R   R   R   R   R   R   R   R   R   R   R
critical       idle, short         R     R     R   R   R   R   R   R   R   R   R   R   R
critical       busy, short         R     R     R   R   R   R   R   R   R   R   R   R   R

charging_only  idle, ok            R     R     C   C   C   C   C   C   C   C   C   C   C
charging_only  busy, ok            R     R     C   C   C   C   C   C   C   C   C   C   C
charging_only  idle, short         B     B     C   C   C   C   C   C   C   C   C   C   C
charging_only  busy, short         B     B     C   C   C   C   C   C   C   C   C   C   C

background     idle, ok            R     R     R   R   R   R   R   R   R   R   B   B   B
background     busy, ok            R     R     R   R   R   R   B   B   B   B   B   B   B
background     idle, short         B     B     B   B   B   B   B   B   B   B   B   B   B
background     busy, short         B     B     B   B   B   B   B   B   B   B   B   B   B

normal         idle, ok            R     R     R   R   R   R   R   R   B   B   B   B   B
normal         busy, ok            R     R     R   R   B   B   B   B   B   B   B   B   B
normal         idle, short         B     B     B   B   B   B   B   B   B   B   B   B   B
normal         busy, short         B     B     B   B   B   B   B   B   B   B   B   B   B
"""
VERDICTS = {
    "R": Verdict.EXECUTE_NOW,
    "B": Verdict.DEFER_TO_BACKGROUND,
    "C": Verdict.DEFER_TO_CHARGING,
}


def table_cells() -> list[Any]:
    header, *rows = (line.split() for line in TABLE.splitlines() if line)
    cells_of_all = []
    for task_class, load, resources, *cells in rows:
        for column, cell in zip(header[2:], cells, strict=True):
            case = (task_class, column, load == "idle,", resources == "short", VERDICTS[cell])
            name = f"{task_class}-{column}-{load[:-1]}-{resources}"
            cells_of_all.append(pytest.param(*case, id=name))
    return cells_of_all


def power_of(column: str) -> Power:
    if column == "none":
        return NO_BATTERY
    if column == "plugged":
        return plugged_in(5.0)
    return on_battery(None if column == "?" else float(column))


@pytest.mark.parametrize(("task_class", "column", "idle", "short", "verdict"), table_cells())
def test_table(
    backend_name: str, task_class: str, column: str, idle: bool, short: bool, verdict: Verdict
) -> None:
    reading = a_reading(power_of(column), idle=idle, memory=95.0 if short else 40.0)
    task = Task(task_class=TaskClass(task_class), created_s=NOON_S)
    decision = decide(task, reading, local_minute=0, backend=backend_name)
    assert decision.verdict is verdict
    assert decision.task_class == task_class
    assert decision.reasons
    assert (decision.execute_now, decision.defer_to_background, decision.defer_to_charging) == (
        verdict is Verdict.EXECUTE_NOW,
        verdict is Verdict.DEFER_TO_BACKGROUND,
        verdict is Verdict.DEFER_TO_CHARGING,
    )


BACKGROUND = TaskClass.BACKGROUND
NORMAL = TaskClass.NORMAL


@pytest.mark.parametrize(
    ("task_class", "percent", "idle", "runs"),
    [
        (BACKGROUND, 50.0, False, False),
        (BACKGROUND, 50.000001, False, True),
        (BACKGROUND, 20.0, True, False),
        (BACKGROUND, 20.000001, True, True),
        (NORMAL, 70.0, False, False),
        (NORMAL, 70.000001, False, True),
        (NORMAL, 30.0, True, False),
        (NORMAL, 30.000001, True, True),
    ],
)
def test_boundaries_of_levels(
    backend_name: str, task_class: TaskClass, percent: float, idle: bool, runs: bool
) -> None:
    task = Task(task_class=task_class, created_s=NOON_S)
    reading = a_reading(on_battery(percent), idle=idle)
    assert decide(task, reading, local_minute=0, backend=backend_name).execute_now is runs


@pytest.mark.parametrize(
    ("loads", "runs"),
    [
        ({"memory": 79.999}, True),
        ({"memory": 80.0}, False),
        ({"memory": None}, True),
        ({"cpu": 69.999}, True),
        ({"cpu": 70.0}, False),
        ({"cpu": 95.0, "own_cpu": 25.001}, True),
        ({"cpu": 95.0, "own_cpu": 25.0}, False),
        ({"cpu": 95.0, "own_cpu": None}, False),
        ({"cpu": None, "own_cpu": None}, True),
        ({"storage": 89.999}, True),
        ({"storage": 90.0}, False),
        ({"storage": None}, True),
    ],
)
def test_boundaries_of_resources(
    backend_name: str, loads: dict[str, float | None], runs: bool
) -> None:
    reading = a_reading(**loads)  # type: ignore[arg-type]
    task = Task(created_s=NOON_S)
    assert decide(task, reading, local_minute=0, backend=backend_name).execute_now is runs


def test_the_fullest_storage_counts(backend_name: str) -> None:
    storage = {"/": Storage(50.0, 9), "/data": None, "/home": Storage(95.0, 1)}
    reading = a_reading()._replace(storage=storage)
    decision = decide(Task(created_s=NOON_S), reading, local_minute=0, backend=backend_name)
    assert [reason.sentence for reason in decision.reasons] == [
        "storage of /home 95 % used, needs below 90 %"
    ]


def test_power_that_no_sensor_tells_is_no_battery(backend_name: str) -> None:
    task = Task(task_class=TaskClass.CHARGING_ONLY, created_s=NOON_S)
    assert decide(task, a_reading(None), local_minute=0, backend=backend_name).execute_now


def test_plugged_unknown_counts_as_on_battery(backend_name: str) -> None:
    unsure = Power(True, 60.0, None, "not_charging", battery_count=1)
    task = Task(task_class=TaskClass.CHARGING_ONLY, created_s=NOON_S)
    decision = decide(task, a_reading(unsure), local_minute=0, backend=backend_name)
    assert decision.defer_to_charging
    assert decision.reasons[0].sentence == (
        "not charging: cannot tell whether plugged in, battery at 60 %"
    )


@pytest.mark.parametrize("percent", [130.0, -0.1, float("nan")])
def test_a_level_that_cannot_be_is_refused(backend_name: str, percent: float) -> None:
    reading = a_reading(on_battery(percent))
    with pytest.raises(ConfigError, match=r"power\.percent"):
        decide(Task(created_s=NOON_S), reading, local_minute=0, backend=backend_name)


BUSY = a_reading()
# What is asked, a machine that meets it, one that does not, and the reason then given.
ASKED: dict[str, tuple[Constraints, Reading, Reading, str]] = {
    "charging": (
        Constraints(charging=True),
        a_reading(plugged_in()),
        a_reading(on_battery(41.0), idle=True),
        "not charging: on battery at 41 %",
    ),
    "battery_above": (
        Constraints(battery_above=50),
        a_reading(on_battery(50.5)),
        a_reading(plugged_in(50.0)),
        "battery at 50 %, needs more than 50 %",
    ),
    "battery_not_low": (
        Constraints(battery_not_low=True),
        a_reading(on_battery(20.5)),
        a_reading(plugged_in(15.0)),
        "battery low: battery at 15 %, needs 20 % once it was at 15 % or less",
    ),
    "idle": (
        Constraints(idle=True),
        a_reading(idle=True),
        a_reading(cpu=34.0),
        "not idle: cpu 34 % busy, quiet is below 10 %",
    ),
    "storage_not_low": (
        Constraints(storage_not_low=True),
        a_reading(storage=89.9),
        a_reading(storage=None),
        "storage not known: no watched file system can be asked; name one with storage_paths",
    ),
    "resources_ok": (
        Constraints(resources_ok=True),
        a_reading(),
        a_reading(cpu=70.0),
        "processor 70 % used, needs below 70 %",
    ),
    "connected": (Constraints(network="connected"), a_reading(), a_reading(), ""),
    "unmetered": (
        Constraints(network="unmetered"),
        a_reading(),
        a_reading(),
        "cannot tell whether the network is metered, which counts as metered",
    ),
    "window": (
        Constraints(window="22:00-06:00"),
        a_reading(),
        a_reading(),
        "outside the window 22:00-06:00 (now 14:05)",
    ),
    "custom": (
        Constraints(custom=("docked",)),
        a_reading(),
        a_reading(),
        "condition 'docked' does not hold",
    ),
}


def test_each_language_knows_each_constraint(backend: Backend) -> None:
    """Fails when a constraint was added to the contract, but forgotten elsewhere."""
    assert backend.Rules.CONSTRAINTS == CONSTRAINTS
    assert set(ASKED) == set(CONSTRAINTS)
    for code, (asked, *_) in ASKED.items():
        assert asked.codes() == (code,)


def ask(
    backend_name: str,
    task: Task,
    reading: Reading,
    *,
    minute: int = 845,
    docked: bool = False,
    running: bool = False,
) -> Decision:
    return decide(
        task,
        reading,
        local_minute=minute,
        holds={"docked": docked},
        running=running,
        backend=backend_name,
    )


@pytest.mark.parametrize("side", ["constraints", "prefer"])
@pytest.mark.parametrize("code", CONSTRAINTS)
def test_each_constraint(backend_name: str, code: str, side: str) -> None:
    asked, meeting, failing, sentence = ASKED[code]
    task = Task(**{side: asked}, created_s=NOON_S)  # type: ignore[arg-type]
    # No sensor tells of networks yet: connected counts as met, unmetered as unmet.
    if code != "unmetered":
        met = ask(backend_name, task, meeting, minute=1400, docked=True)
        # What is only preferred does not settle what power must be like.
        settles = side == "constraints" or code not in ("battery_above", "battery_not_low")
        assert met.execute_now is settles, met
    if code != "connected":
        unmet = ask(backend_name, task, failing)
        assert unmet.verdict is VERDICTS["C" if code == "charging" else "B"]
        assert sentence in [reason.sentence for reason in unmet.reasons]
        assert [reason.code for reason in unmet.reasons].count(code) == (code != "resources_ok")


def test_every_unmet_condition_is_named(backend_name: str) -> None:
    task = Task(
        task_class=TaskClass.NORMAL,
        constraints=Constraints(idle=True, window="22:00-06:00", custom="docked"),
        prefer=Constraints(charging=True, battery_above=60, idle=True),
        created_s=NOON_S,
    )
    reading = a_reading(on_battery(18.0), quiet_for_s=20.0, memory=85.0)
    decision = ask(backend_name, task, reading)
    assert decision.defer_to_charging
    assert [(reason.code, reason.sentence) for reason in decision.reasons] == [
        ("idle", "not idle yet: quiet for 20 s of 60 s"),
        ("memory", "memory 85 % used, needs below 80 %"),
        ("window", "outside the window 22:00-06:00 (now 14:05)"),
        ("custom", "condition 'docked' does not hold"),
        (
            "suspended",
            "on battery at 18 %, all but critical work needs more than 20 %, or external power",
        ),
        (
            "level",
            "on battery at 18 %, normal work needs more than 70 %, "
            "an idle machine and more than 30 %, or external power",
        ),
        ("charging", "not charging: on battery at 18 %"),
        ("battery_above", "battery at 18 %, needs more than 60 %"),
    ]


@pytest.mark.parametrize(
    ("constraints", "percent", "runs"),
    [
        # A hard constraint on the level or the charger settles what power must be like ...
        (Constraints(battery_above=30), 40.0, True),
        (Constraints(battery_above=30), 30.0, False),
        (Constraints(battery_not_low=True), 21.0, True),
        # ... but does not lift the line where all but critical work is suspended.
        (Constraints(battery_above=10), 20.0, False),
        (Constraints(battery_not_low=True), 20.0, False),
        (Constraints(), 40.0, False),
    ],
)
@pytest.mark.parametrize("task_class", [BACKGROUND, NORMAL])
def test_what_a_constraint_settles(
    backend_name: str, task_class: TaskClass, constraints: Constraints, percent: float, runs: bool
) -> None:
    task = Task(task_class=task_class, constraints=constraints, created_s=NOON_S)
    assert ask(backend_name, task, a_reading(on_battery(percent))).execute_now is runs
    # Nor does it lift the threshold of resources.
    assert not ask(backend_name, task, a_reading(on_battery(percent), cpu=70.0)).execute_now


def test_short_resources_stop_only_what_has_not_started(backend_name: str) -> None:
    short = a_reading(memory=95.0, cpu=100.0, storage=99.0)
    task = Task(created_s=NOON_S)
    assert ask(backend_name, task, short).defer_to_background
    assert ask(backend_name, task, short, running=True).execute_now
    task = Task(constraints=Constraints(resources_ok=True), created_s=NOON_S)
    assert ask(backend_name, task, short, running=True).defer_to_background
    task = Task(task_class=TaskClass.CHARGING_ONLY, created_s=NOON_S)
    unplugged = a_reading(on_battery(90.0))
    assert ask(backend_name, task, unplugged, running=True).defer_to_charging


def test_low_storage_stops_a_running_task_that_named_it(backend_name: str) -> None:
    task = Task(constraints=Constraints(storage_not_low=True), created_s=NOON_S)
    for used, runs in ((89.999, True), (90.0, False)):
        reading = a_reading(storage=used)
        assert ask(backend_name, task, reading, running=True).execute_now is runs


# Of a life of 1000 s: the moment from which each preference is dropped. All are by 940 s, that is
# 60 s before the deadline, which comes before 950 s.
DROPPED_AT_S = {
    "idle": 500,
    "battery_above": 600,
    "battery_not_low": 600,
    "connected": 700,
    "unmetered": 700,
    "charging": 800,
    "storage_not_low": 940,
    "resources_ok": 940,
    "window": 940,
    "custom": 940,
}


@pytest.mark.parametrize("code", [code for code in CONSTRAINTS if code != "connected"])
def test_preferences_are_dropped_in_order(backend_name: str, code: str) -> None:
    asked, _, failing, _ = ASKED[code]
    task = Task(prefer=asked, created_s=NOON_S, deadline_s=1000)

    def is_named(after_s: float) -> bool:
        decision = ask(backend_name, task, at(failing, after_s), running=True)
        codes = {reason.code for reason in decision.reasons}
        return bool(codes & ({"cpu"} if code == "resources_ok" else {code}))

    moment_s = DROPPED_AT_S[code]
    assert is_named(0.0)
    assert is_named(moment_s - 0.001)
    assert not is_named(moment_s)
    assert not is_named(999.999)


def at(reading: Reading, after_s: float) -> Reading:
    return reading._replace(wall_s=NOON_S + after_s)


def test_all_preferences_go_together_at_95_percent_of_a_long_life(backend_name: str) -> None:
    task = Task(prefer=Constraints(window="22:00-06:00"), created_s=NOON_S, deadline_s=10_000)
    assert not ask(backend_name, task, at(BUSY, 9_499.999)).execute_now
    assert ask(backend_name, task, at(BUSY, 9_500)).execute_now


def test_a_short_life_prefers_nothing(backend_name: str) -> None:
    task = Task(prefer=Constraints(idle=True), created_s=NOON_S, deadline_s=60)
    assert ask(backend_name, task, BUSY).execute_now


def test_preferences_without_a_deadline_last_a_day(backend_name: str) -> None:
    task = Task(prefer=Constraints(charging=True), created_s=NOON_S)
    reading = a_reading(on_battery(90.0))
    assert not ask(backend_name, task, at(reading, 0.8 * 86_400 - 0.001)).execute_now
    assert ask(backend_name, task, at(reading, 0.8 * 86_400)).execute_now
    # Relaxed to the table, not further: there is no deadline.
    assert not ask(backend_name, task, at(a_reading(on_battery(60.0)), 1e7)).execute_now


def test_deadline(backend_name: str) -> None:
    task = Task(constraints=Constraints(charging=True), created_s=NOON_S, deadline_s=100)
    empty = a_reading(on_battery(3.0), memory=99.0)
    assert ask(backend_name, task, at(empty, 99.999)).defer_to_charging
    decision = ask(backend_name, task, at(empty, 100))
    assert decision.execute_now
    assert [reason.code for reason in decision.reasons] == ["deadline_reached"]
    expiring = dataclasses.replace(task, on_deadline="expire")
    assert ask(backend_name, expiring, at(empty, 99.999)).defer_to_charging
    assert ask(backend_name, expiring, at(empty, 100)).verdict is Verdict.EXPIRE
    critical = dataclasses.replace(expiring, task_class=TaskClass.CRITICAL)
    assert ask(backend_name, critical, at(empty, 100)).execute_now


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("task_class", list(TaskClass))
def test_an_override_always_wins(
    backend_name: str, task_class: TaskClass, verdict: Verdict
) -> None:
    task = Task(task_class=task_class, override=verdict, created_s=NOON_S, deadline_s=1)
    for reading in (a_reading(on_battery(3.0)), at(BUSY, 5)):
        decision = ask(backend_name, task, reading)
        assert decision.verdict is verdict
        assert [reason.code for reason in decision.reasons] == ["override"]


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("22:00-06:00", [22 * 60, 1439, 0, 359], [360, 1319]),
        ("09:30-17:00", [570, 1019], [569, 1020, 0, 1439]),
        ("18:00-24:00", [1080, 1439], [0, 1079]),
        ("00:00-24:00", [0, 720, 1439], []),
        ("23:59-00:00", [1439], [0, 1438]),
    ],
)
def test_windows(backend_name: str, window: str, inside: list[int], outside: list[int]) -> None:
    task = Task(constraints=Constraints(window=window), created_s=NOON_S)
    for minute in inside:
        assert ask(backend_name, task, BUSY, minute=minute).execute_now, minute
    for minute in outside:
        assert not ask(backend_name, task, BUSY, minute=minute).execute_now, minute
