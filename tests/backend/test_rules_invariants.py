"""What holds whatever is asked and read: promises that a user can lean on."""

from __future__ import annotations

import dataclasses
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deferpower.constraints import Constraints
from deferpower.scheduler import decide
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.types import NO_BATTERY, Power, Reading
from readings import NOON_S, a_reading

# The backend is the same for all examples of one run.
per_backend = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

levels = st.sampled_from([0.0, 15.0, 20.0, 21.0, 30.0, 31.0, 50.0, 51.0, 70.0, 71.0, 100.0])
percents = st.none() | levels | st.floats(0, 100)
networks: list[Literal["connected", "unmetered"] | None] = [None, "connected", "unmetered"]
constraints = st.builds(
    Constraints,
    charging=st.booleans(),
    battery_above=st.none() | st.floats(0, 99),
    battery_not_low=st.booleans(),
    idle=st.booleans(),
    network=st.sampled_from(networks),
    storage_not_low=st.booleans(),
    resources_ok=st.booleans(),
    window=st.none() | st.sampled_from(["22:00-06:00", "09:00-17:30"]),
)
tasks = st.builds(
    Task,
    task_class=st.sampled_from(TaskClass),
    constraints=st.just(Constraints()) | constraints,
    prefer=st.just(Constraints()) | constraints,
    created_s=st.just(NOON_S),
    deadline_s=st.none() | st.floats(0, 2000),
    on_deadline=st.sampled_from(["run", "expire"]),
)
powers = st.builds(
    lambda percent, plugged: Power(True, percent, plugged, "unknown", battery_count=1),
    percents,
    st.none() | st.booleans(),
)
readings = st.builds(
    a_reading,
    powers | st.just(NO_BATTERY),
    idle=st.booleans(),
    cpu=st.none() | st.floats(0, 100),
    memory=st.none() | st.floats(0, 100),
    storage=st.none() | st.floats(0, 100),
    at_s=st.floats(0, 1999),
)
minutes = st.integers(0, 1439)


def codes(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons}


@per_backend
@given(tasks, readings, minutes, st.booleans())
def test_critical_work_never_waits(
    backend_name: str, task: Task, reading: Reading, minute: int, running: bool
) -> None:
    task = dataclasses.replace(task, task_class=TaskClass.CRITICAL)
    decision = decide(task, reading, local_minute=minute, running=running, backend=backend_name)
    assert decision.execute_now


@per_backend
@given(tasks, readings, minutes, st.floats(0, 2000))
def test_a_task_with_a_deadline_never_starves(
    backend_name: str, task: Task, reading: Reading, minute: int, life_s: float
) -> None:
    task = dataclasses.replace(task, deadline_s=life_s)
    reading = reading._replace(wall_s=NOON_S + life_s)
    decision = decide(task, reading, local_minute=minute, backend=backend_name)
    expires = task.on_deadline == "expire" and task.task_class is not TaskClass.CRITICAL
    assert decision.verdict is (Verdict.EXPIRE if expires else Verdict.EXECUTE_NOW)


@per_backend
@given(tasks, readings, minutes, powers, percents)
def test_more_battery_never_defers_what_less_allowed(
    backend_name: str,
    task: Task,
    reading: Reading,
    minute: int,
    power: Power,
    percent: float | None,
) -> None:
    less, more = sorted((power.percent or 0.0, percent or 0.0))
    less_allows, more_allows = (
        decide(
            task,
            reading._replace(power=power._replace(percent=level)),
            local_minute=minute,
            backend=backend_name,
        ).execute_now
        for level in (less, more)
    )
    assert more_allows >= less_allows


@per_backend
@given(tasks, readings, minutes)
def test_without_a_battery_nothing_waits_for_one(
    backend_name: str, task: Task, reading: Reading, minute: int
) -> None:
    reading = reading._replace(power=NO_BATTERY)
    decision = decide(task, reading, local_minute=minute, backend=backend_name)
    about_power = {"charging", "battery_above", "battery_not_low", "suspended", "level"}
    assert not codes(decision) & about_power
    assert not decision.defer_to_charging


@per_backend
@given(tasks, readings, minutes)
def test_a_task_only_gets_freer_with_age(
    backend_name: str, task: Task, reading: Reading, minute: int
) -> None:
    task = dataclasses.replace(task, on_deadline="run")
    runs = [
        decide(
            task,
            reading._replace(wall_s=NOON_S + age_s),
            local_minute=minute,
            backend=backend_name,
        ).execute_now
        for age_s in (0, 400, 700, 1100, 1900, 2100)
    ]
    assert runs == sorted(runs)


@per_backend
@given(tasks, readings, minutes, st.booleans())
def test_every_answer_is_whole(
    backend_name: str, task: Task, reading: Reading, minute: int, running: bool
) -> None:
    decision = decide(task, reading, local_minute=minute, running=running, backend=backend_name)
    assert decision.reasons
    assert all(all(reason) for reason in decision.reasons)
    assert len(set(decision.reasons)) == len(decision.reasons)
    if decision.execute_now or decision.verdict is Verdict.EXPIRE:
        assert decision.scheduled_time == reading.wall_s
    else:
        assert decision.scheduled_time > reading.wall_s
        if task.deadline_s is not None:
            assert decision.scheduled_time <= task.created_s + task.deadline_s
