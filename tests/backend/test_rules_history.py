"""What rules remember of earlier readings: a charger that flaps, a level about its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from deferpower.constraints import Constraints
from deferpower.scheduler import IntelligentScheduler
from deferpower.task import Task, TaskClass
from deferpower.types import Power, Reading
from readings import NOON_S, a_reading, on_battery, plugged_in

HOUR_S = 3600


class Worker:
    """Starts and stops one task as decisions say, and counts."""

    def __init__(self, backend: str, task: Task) -> None:
        self.scheduler = IntelligentScheduler(backend=backend)
        self.task = task
        self.running = False
        self.starts = 0
        self.stops = 0

    def live(self, readings: Iterable[Reading]) -> tuple[int, int]:
        """How often it started and stopped by the end of the readings."""
        for reading in readings:
            decision = self.scheduler.schedule_task(self.task, reading, running=self.running)
            if decision.execute_now != self.running:
                self.running = decision.execute_now
                self.starts += self.running
                self.stops += not self.running
        return self.starts, self.stops


CHARGING_ONLY = Task(task_class=TaskClass.CHARGING_ONLY, created_s=NOON_S)


def powers(states: Iterable[Power], every_s: float = 1.0) -> Iterator[Reading]:
    for number, power in enumerate(states):
        yield a_reading(power, at_s=number * every_s)


def test_a_charger_that_flaps_for_an_hour_starts_a_task_once(backend_name: str) -> None:
    def flap() -> Iterator[Power]:
        for second in range(HOUR_S):
            yield on_battery(60.0) if second < 9 or second // 3 % 2 == 0 else plugged_in()

    worker = Worker(backend_name, CHARGING_ONLY)
    assert worker.live(powers(flap())) == (1, 1)


def test_a_charger_that_comes_loose_for_an_hour_stops_a_task_once(backend_name: str) -> None:
    def flap() -> Iterator[Power]:
        for second in range(HOUR_S):
            yield plugged_in() if second < 9 or second // 3 % 2 == 0 else on_battery(60.0)

    worker = Worker(backend_name, CHARGING_ONLY)
    assert worker.live(powers(flap())) == (1, 1)


def test_a_flapping_charger_counts_once_it_rests(backend_name: str) -> None:
    worker = Worker(backend_name, CHARGING_ONLY)
    on, off = plugged_in(), on_battery(60.0)
    seen = [off] * 4 + [on] * 3 + [off] * 4 + [on, off] + [on] * 3 + [off] + [on] * 5
    # The first state had lasted for ever, so plugging in counts at once, and so does unplugging;
    # after that no time without power is long enough for the next plugging in.
    assert worker.live(powers(seen)) == (1, 1)
    # The last change was 4 s before the last of these readings; now it is 5 s.
    assert worker.live([a_reading(on, at_s=len(seen))]) == (2, 1)


def test_unplugging_counts_at_once_and_a_calm_line_plugs_in_at_once(backend_name: str) -> None:
    worker = Worker(backend_name, CHARGING_ONLY)
    on, off = plugged_in(), on_battery(60.0)
    assert worker.live(powers([off, on])) == (1, 0)
    assert worker.live([a_reading(off, at_s=2)]) == (1, 1)
    assert worker.live([a_reading(off, at_s=6.9)]) == (1, 1)
    assert worker.live([a_reading(on, at_s=7)]) == (2, 1)


def test_the_reason_says_that_the_charger_was_just_plugged_in(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    for power in (plugged_in(), on_battery(60.0), plugged_in()):
        decision = scheduler.schedule_task(CHARGING_ONLY, next(powers([power])))
    assert [reason.sentence for reason in decision.reasons] == [
        "not charging: plugged in for less than 5 s"
    ]


SUSPENDABLE = Task(task_class=TaskClass.BACKGROUND, created_s=NOON_S)
NORMAL = Task(task_class=TaskClass.NORMAL, created_s=NOON_S)
ABOVE_40 = Task(constraints=Constraints(battery_above=40), created_s=NOON_S)
ABOVE_99 = Task(constraints=Constraints(battery_above=99), created_s=NOON_S)
NOT_LOW = Task(constraints=Constraints(battery_not_low=True), created_s=NOON_S)


@pytest.mark.parametrize(
    ("task", "idle", "plugged", "low", "high", "expected"),
    [
        # Runs at the higher level at first; within the hysteresis it stops once and stays so.
        (SUSPENDABLE, True, False, 20.0, 22.9, (1, 1)),
        (SUSPENDABLE, True, False, 20.0, 23.0, (1800, 1800)),
        (SUSPENDABLE, True, False, 20.1, 22.9, (1, 0)),
        (SUSPENDABLE, False, False, 50.0, 52.9, (1, 1)),
        (SUSPENDABLE, False, False, 50.0, 53.0, (1800, 1800)),
        (SUSPENDABLE, False, False, 50.1, 52.9, (1, 0)),
        (NORMAL, False, False, 70.0, 72.9, (1, 1)),
        (NORMAL, False, False, 70.0, 73.0, (1800, 1800)),
        (NORMAL, True, False, 30.0, 32.9, (1, 1)),
        (NORMAL, True, False, 30.0, 33.0, (1800, 1800)),
        (ABOVE_40, False, False, 40.0, 42.9, (1, 1)),
        (ABOVE_40, False, False, 40.0, 43.0, (1800, 1800)),
        # A line that the level cannot rise 3 points above is passed again when full.
        (ABOVE_99, False, True, 99.0, 99.9, (1, 1)),
        (ABOVE_99, False, True, 99.0, 100.0, (1800, 1800)),
        (NOT_LOW, False, True, 15.0, 19.9, (1, 1)),
        (NOT_LOW, False, True, 15.0, 20.0, (1800, 1800)),
        (NOT_LOW, False, True, 15.1, 19.9, (1, 0)),
    ],
)
def test_a_level_that_oscillates_for_an_hour(
    backend_name: str,
    task: Task,
    idle: bool,
    plugged: bool,
    low: float,
    high: float,
    expected: tuple[int, int],
) -> None:
    power = plugged_in if plugged else on_battery
    readings = (
        a_reading(power(low if second % 2 else high), idle=idle, at_s=second)
        for second in range(HOUR_S)
    )
    assert Worker(backend_name, task).live(readings) == expected


def test_a_slow_discharge_and_charge_is_one_stop_and_one_start(backend_name: str) -> None:
    levels = [60 - step / 10 for step in range(200)]
    readings = [on_battery(level) for level in levels] + [on_battery(x) for x in levels[::-1]]
    worker = Worker(backend_name, SUSPENDABLE)
    assert worker.live(powers(readings[:101])) == (1, 1)
    assert worker.live(powers(readings[101:])) == (2, 1)


def test_the_reason_says_how_far_the_level_must_rise(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    for level in (50.0, 52.0):
        decision = scheduler.schedule_task(SUSPENDABLE, a_reading(on_battery(level)))
    assert [reason.sentence for reason in decision.reasons] == [
        "on battery at 52 %, background work needs 53 % again after 50 % or less, "
        "an idle machine, or external power"
    ]


@pytest.mark.parametrize(
    ("before", "level", "idle", "end"),
    [
        (70.0, 70.0, False, "an idle machine and more than 30 %"),
        (32.0, 32.0, False, "an idle machine and more than 30 %"),
        (30.0, 30.0, True, "an idle machine and more than 30 %"),
        (30.0, 32.0, True, "an idle machine and 33 % again after 30 % or less"),
    ],
)
def test_the_reason_speaks_of_a_rise_only_where_the_level_was_too_low(
    backend_name: str, before: float, level: float, idle: bool, end: str
) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    task = Task(task_class=TaskClass.NORMAL, created_s=NOON_S)
    for percent in (before, level):
        decision = scheduler.schedule_task(task, a_reading(on_battery(percent), idle=idle))
    assert [reason.sentence for reason in decision.reasons] == [
        f"on battery at {level:g} %, normal work needs more than 70 %, {end}, or external power"
    ]


def test_idleness_is_told_where_the_level_alone_does_not_let_it_run(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    for level, idle, code in (
        (50.0, True, "idle"),
        (52.0, True, "idle"),
        (53.0, True, "level_ok"),
        (52.0, False, "level_ok"),
    ):
        reading = a_reading(on_battery(level), idle=idle)
        assert [
            reason.code for reason in scheduler.schedule_task(SUSPENDABLE, reading).reasons
        ] == [code]


def test_tasks_share_what_is_remembered_of_a_line(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    first = Task(constraints=Constraints(battery_above=40), created_s=NOON_S)
    scheduler.schedule_task(first, a_reading(on_battery(40.0)))
    # Another task names the same line; a third one a line of its own, which has no history.
    reading = a_reading(on_battery(42.0))
    second = Task(constraints=Constraints(battery_above=40, idle=False), created_s=NOON_S + 1)
    assert not scheduler.schedule_task(second, reading).execute_now
    third = Task(constraints=Constraints(battery_above=41), created_s=NOON_S)
    assert scheduler.schedule_task(third, reading).execute_now


def test_taking_the_battery_out_ends_its_history(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    assert not scheduler.schedule_task(SUSPENDABLE, a_reading(on_battery(10.0))).execute_now
    assert scheduler.schedule_task(SUSPENDABLE, a_reading(at_s=10)).execute_now
    in_again = a_reading(on_battery(51.0), at_s=20)
    assert scheduler.schedule_task(SUSPENDABLE, in_again).execute_now


@pytest.mark.parametrize(
    ("rules", "task", "power"),
    [
        ({"hysteresis_points": 0}, SUSPENDABLE, on_battery(50.0)),
        ({"battery_threshold": 100}, SUSPENDABLE, on_battery(100.0)),
        ({"normal_above": 100}, NORMAL, on_battery(100.0)),
        ({"battery_well": 15}, NOT_LOW, plugged_in(15.0)),
    ],
)
def test_a_level_that_stays_at_a_line_is_never_above_it(
    backend_name: str, rules: dict[str, float], task: Task, power: Power
) -> None:
    """Where being well again takes no more than the line itself."""
    scheduler = IntelligentScheduler(backend=backend_name, scheduling_rules=rules)
    readings = powers([power] * 5)
    starts = [scheduler.schedule_task(task, reading).execute_now for reading in readings]
    assert not any(starts)


def test_an_idle_machine_at_a_line_that_cannot_be_passed_starts_by_its_idleness(
    backend_name: str,
) -> None:
    rules = {"battery_threshold": 100}
    scheduler = IntelligentScheduler(backend=backend_name, scheduling_rules=rules)
    decision = scheduler.schedule_task(SUSPENDABLE, a_reading(on_battery(100.0), idle=True))
    assert [reason.code for reason in decision.reasons] == ["idle"]
