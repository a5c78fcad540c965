"""The scheduler: used as it was asked for, its rules, its words, its times, its helpers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deferpower import Device
from deferpower.classifier import TaskClassifier
from deferpower.constraints import Constraints
from deferpower.errors import ConfigError, TaskError
from deferpower.reasons import UNMET_CODES
from deferpower.scheduler import IntelligentScheduler, decide
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.thresholds import Thresholds
from deferpower.types import IdleRules, Reading
from readings import NOON_S, a_reading, on_battery, plugged_in


def sentences(decision: Decision) -> list[str]:
    return [reason.sentence for reason in decision.reasons]


class TestAsAskedFor:
    """Mappings with the names of the original request, on machines read from files."""

    @pytest.fixture
    def laptop(self, backend_name: str, tree: Callable[[str], Path]) -> IntelligentScheduler:
        root = tree("laptop-on-battery")
        return IntelligentScheduler(Device(root=root, backend=backend_name, storage_paths=[]))

    @pytest.mark.parametrize(
        ("task", "verdict", "task_class"),
        [
            ({"type": "user_action"}, "execute_now", "critical"),
            ({"type": "ui_response", "requires_charging": True}, "execute_now", "critical"),
            ({"type": "realtime"}, "execute_now", "critical"),
            ({"type": "report", "requires_charging": True}, "defer_to_charging", "charging_only"),
            ({"type": "training"}, "defer_to_charging", "charging_only"),
            ({"can_background": True}, "defer_to_background", "background"),
            ({"description": "nightly sync", "priority": "low"}, "defer_to_background", None),
            ({}, "defer_to_background", "normal"),
        ],
    )
    def test_on_battery(
        self, laptop: IntelligentScheduler, task: Any, verdict: str, task_class: str | None
    ) -> None:
        decision = laptop.schedule_task(task)
        assert decision.verdict == verdict
        assert decision.task_class == (task_class or "background")
        assert decision.execute_now is (verdict == "execute_now")
        assert decision.defer_to_background is (verdict == "defer_to_background")
        assert decision.defer_to_charging is (verdict == "defer_to_charging")
        latest = laptop.device.latest
        assert latest is not None
        later_s = 0 if decision.execute_now else 60
        assert decision.scheduled_time == latest.wall_s + later_s

    def test_without_a_battery(self, backend_name: str, tree: Callable[[str], Path]) -> None:
        root = tree("desktop-no-battery")
        scheduler = IntelligentScheduler(Device(root=root, backend=backend_name, storage_paths=[]))
        for task in ({}, {"can_background": True}, {"requires_charging": True}):
            assert scheduler.schedule_task(task).execute_now

    def test_the_rules_have_the_values_asked_for(self) -> None:
        assert IntelligentScheduler(backend="pure").scheduling_rules == {
            "battery_threshold": 50,
            "idle_check_interval": 60,
            "max_background_batch": 5,
            "charging_only_threshold": 80,
        }


class TestSchedulingRules:
    def test_battery_threshold(self, backend_name: str) -> None:
        scheduler = IntelligentScheduler(
            backend=backend_name, scheduling_rules={"battery_threshold": 35}
        )
        task = Task(task_class=TaskClass.BACKGROUND, created_s=NOON_S)
        assert scheduler.schedule_task(task, a_reading(on_battery(36))).execute_now
        assert not scheduler.schedule_task(task, a_reading(on_battery(35))).execute_now

    def test_idle_check_interval(self, backend_name: str) -> None:
        scheduler = IntelligentScheduler(
            backend=backend_name, scheduling_rules={"idle_check_interval": 7.5}
        )
        task = Task(created_s=NOON_S)
        decision = scheduler.schedule_task(task, a_reading(on_battery(36), at_s=100))
        assert decision.scheduled_time == NOON_S + 107.5

    def test_batches_of_charging_only_work(self) -> None:
        scheduler = IntelligentScheduler(backend="pure")
        assert scheduler.charging_batch(a_reading(plugged_in(79.9))) == 1
        assert scheduler.charging_batch(a_reading(plugged_in(None))) == 1
        assert scheduler.charging_batch(a_reading(plugged_in(80.0))) == 5
        assert scheduler.charging_batch(a_reading()) == 5
        assert scheduler.charging_batch(a_reading(None)) == 5
        rules = {"max_background_batch": 3, "charging_only_threshold": 40}
        scheduler = IntelligentScheduler(backend="pure", scheduling_rules=rules)
        assert scheduler.charging_batch(a_reading(plugged_in(39.9))) == 1
        assert scheduler.charging_batch(a_reading(plugged_in(40.0))) == 3

    def test_any_other_threshold_by_name(self, backend_name: str) -> None:
        scheduler = IntelligentScheduler(
            backend=backend_name,
            scheduling_rules={"suspend_non_critical": 40},
            thresholds=Thresholds(normal_above=45),
        )
        task = Task(created_s=NOON_S)
        assert scheduler.schedule_task(task, a_reading(on_battery(46))).execute_now
        decision = scheduler.schedule_task(task, a_reading(on_battery(40), idle=True))
        assert sentences(decision)[0] == (
            "on battery at 40 %, all but critical work needs more than 40 %, or external power"
        )

    def test_they_cannot_be_changed_where_nothing_would_notice(self) -> None:
        rules: Any = IntelligentScheduler(backend="pure").scheduling_rules
        with pytest.raises(TypeError):
            rules["battery_threshold"] = 40

    @pytest.mark.parametrize("rules", [[1], "battery_threshold", 5])
    def test_no_mapping(self, rules: Any) -> None:
        with pytest.raises(ConfigError, match=r"scheduling_rules: .* is no mapping"):
            IntelligentScheduler(backend="pure", scheduling_rules=rules)

    def test_an_unknown_rule(self) -> None:
        with pytest.raises(ConfigError, match=r"unknown name 'battery'; known are .*battery_"):
            IntelligentScheduler(backend="pure", scheduling_rules={"battery": 50})


class TestWords:
    """What a decision says, to the letter. The unmet conditions are in test_rules."""

    @pytest.mark.parametrize(
        ("task", "reading", "code", "sentence"),
        [
            (
                Task(task_class=TaskClass.CRITICAL),
                a_reading(on_battery(3)),
                "critical",
                "critical work never waits",
            ),
            (Task(), a_reading(), "plugged", "on external power: no battery"),
            (Task(), a_reading(plugged_in()), "plugged", "on external power: plugged in"),
            (
                Task(),
                a_reading(on_battery(71.26)),
                "level_ok",
                "battery at 71.3 %, more than 70 %",
            ),
            (
                Task(task_class=TaskClass.BACKGROUND),
                a_reading(on_battery(51)),
                "level_ok",
                "battery at 51 %, more than 50 %",
            ),
            (
                Task(task_class=TaskClass.BACKGROUND),
                a_reading(on_battery(31), idle=True),
                "idle",
                "machine is idle, battery at 31 %",
            ),
            (
                Task(constraints=Constraints(battery_above=30)),
                a_reading(on_battery(31)),
                "constraints_met",
                "its own conditions on power are met: on battery at 31 %",
            ),
            (
                Task(override=Verdict.DEFER_TO_CHARGING),
                a_reading(),
                "override",
                "set by hand: defer_to_charging",
            ),
            (
                Task(created_s=NOON_S - 5, deadline_s=5),
                a_reading(on_battery(3)),
                "deadline_reached",
                "deadline reached, runs whatever holds",
            ),
            (
                Task(created_s=NOON_S - 5, deadline_s=5, on_deadline="expire"),
                a_reading(on_battery(3)),
                "expired",
                "deadline reached, gives up",
            ),
        ],
    )
    def test_why_it_does_not_wait(
        self, backend_name: str, task: Task, reading: Reading, code: str, sentence: str
    ) -> None:
        decision = decide(task, reading, local_minute=0, backend=backend_name)
        assert [(reason.code, reason.sentence) for reason in decision.reasons] == [(code, sentence)]

    @pytest.mark.parametrize(
        ("reading", "sentence"),
        [
            (a_reading(quiet_for_s=20.4), "not idle yet: quiet for 20 s of 60 s"),
            (
                a_reading(cpu=43.0, own_cpu=20.0),
                "not idle: cpu 23 % busy, quiet is below 10 %",
            ),
            (a_reading(cpu=None), "not idle: processor load not known yet"),
            (
                a_reading(cpu=2.0, disk=3000.0),
                "not idle: disk moves 5.9 KiB/s, quiet is below 1.0 KiB/s",
            ),
            (a_reading(cpu=2.0, disk=None), "not idle: not quiet for long enough to tell"),
        ],
    )
    def test_why_the_machine_is_not_idle(
        self, backend_name: str, reading: Reading, sentence: str
    ) -> None:
        task = Task(constraints=Constraints(idle=True), created_s=NOON_S)
        decision = decide(task, reading, local_minute=0, backend=backend_name)
        assert sentences(decision) == [sentence]

    def test_several_short_resources_are_named_one_by_one(self, backend_name: str) -> None:
        reading = a_reading(memory=85.0, cpu=95.0, own_cpu=5.0, storage=93.25)
        decision = decide(Task(created_s=NOON_S), reading, local_minute=0, backend=backend_name)
        assert [tuple(reason) for reason in decision.reasons] == [
            ("memory", "below 80 %", "memory 85 % used", "memory 85 % used, needs below 80 %"),
            ("cpu", "below 70 %", "processor 90 % used", "processor 90 % used, needs below 70 %"),
            (
                "disk",
                "below 90 %",
                "storage of / 93.2 % used",
                "storage of / 93.2 % used, needs below 90 %",
            ),
        ]

    def test_codes_are_unique(self) -> None:
        assert len(set(UNMET_CODES)) == len(UNMET_CODES)


class TestScheduledTime:
    """When a deferred task is to be looked at again. The reading is at 14:05 local time."""

    @pytest.mark.parametrize(
        ("task", "after_s"),
        [
            (Task(created_s=NOON_S), 60),
            (Task(created_s=NOON_S - 10, deadline_s=50), 40),
            (Task(created_s=NOON_S - 10, deadline_s=200), 60),
            # Until the window opens at 22:00 only the deadline can change the answer.
            (Task(created_s=NOON_S, constraints=Constraints(window="22:00-06:00")), 28_480),
            (
                Task(
                    created_s=NOON_S,
                    deadline_s=3600,
                    constraints=Constraints(window="22:00-06:00"),
                ),
                3600,
            ),
            (
                Task(created_s=NOON_S, deadline_s=7200, prefer=Constraints(window="14:30-15:00")),
                1480,
            ),
            (
                Task(created_s=NOON_S, deadline_s=7200, prefer=Constraints(window="22:00-06:00")),
                6840,
            ),
        ],
    )
    def test_of_a_deferred_task(self, backend_name: str, task: Task, after_s: float) -> None:
        # 20 s past the full minute.
        reading = a_reading(on_battery(40))
        decision = decide(task, reading, local_minute=845, backend=backend_name)
        assert not decision.execute_now
        assert decision.scheduled_time - NOON_S == after_s

    def test_a_preferred_window_that_was_dropped_does_not_count(self, backend_name: str) -> None:
        task = Task(
            task_class=TaskClass.NORMAL,
            constraints=Constraints(window="22:00-23:00"),
            prefer=Constraints(window="03:00-05:00"),
            created_s=NOON_S,
            deadline_s=200_000,
        )
        scheduler = IntelligentScheduler(backend=backend_name, local_minute=lambda _: 1260)
        decision = scheduler.schedule_task(task, a_reading(at_s=191_000))
        minute_s = (NOON_S + 191_000) // 60 * 60
        assert decision.scheduled_time == minute_s + 60 * 60

    def test_of_tasks_that_share_all_but_their_age(self, backend_name: str) -> None:
        scheduler = IntelligentScheduler(backend=backend_name)
        reading = a_reading(on_battery(40))
        after_s = [
            scheduler.schedule_task(
                Task(created_s=NOON_S - age_s, deadline_s=100), reading
            ).scheduled_time
            - NOON_S
            for age_s in (0, 70, 95)
        ]
        assert after_s == [60, 30, 5]


class TestCustomConditions:
    def test_one_that_asks_the_scheduler_itself_does_not_hang_it(
        self, backend_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def nosy(reading: Reading) -> bool:
            return scheduler.schedule_task(Task(created_s=0.0), reading).execute_now

        scheduler = IntelligentScheduler(backend=backend_name, predicates={"nosy": nosy})
        task = Task(created_s=0.0, constraints=Constraints(custom="nosy"))
        decisions: list[Decision] = []
        asking = threading.Thread(
            target=lambda: decisions.append(scheduler.schedule_task(task, a_reading(plugged_in()))),
            daemon=True,
        )
        asking.start()
        asking.join(20.0)
        assert [reason.code for reason in decisions[0].reasons] == ["custom"]
        assert "a condition asks the scheduler that is asking it" in caplog.text

    def test_predicates_are_asked_once_per_reading(self, backend_name: str) -> None:
        asked = []
        scheduler = IntelligentScheduler(
            backend=backend_name,
            predicates={"docked": lambda reading: asked.append(reading) or len(asked) > 1},  # type: ignore[func-returns-value]
        )
        task = Task(constraints=Constraints(custom="docked"), created_s=NOON_S)
        first, second = a_reading(), a_reading(at_s=1)
        assert sentences(scheduler.schedule_task(task, first)) == [
            "condition 'docked' does not hold"
        ]
        assert not scheduler.schedule_task(task, first).execute_now
        assert asked == [first]
        assert scheduler.schedule_task(task, second).execute_now

    def test_one_that_raises_does_not_hold(
        self, backend_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: Reading) -> bool:
            raise OSError("no dock")

        scheduler = IntelligentScheduler(backend=backend_name, predicates={"docked": broken})
        task = Task(constraints=Constraints(custom="docked"), created_s=NOON_S)
        with caplog.at_level(logging.ERROR, "deferpower"):
            assert scheduler.schedule_task(task, a_reading()).defer_to_background
        assert "'docked' failed" in caplog.text
        assert "no dock" in caplog.text

    def test_one_that_raises_is_told_of_once_until_it_answers(
        self, backend_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers: list[bool | None] = [None, None, True, None]

        def dock(_: Reading) -> bool:
            answer = answers.pop(0)
            if answer is None:
                raise OSError("no dock")
            return answer

        scheduler = IntelligentScheduler(backend=backend_name, predicates={"docked": dock})
        task = Task(constraints=Constraints(custom="docked"), created_s=NOON_S)
        told = []
        for second in range(4):
            with caplog.at_level(logging.ERROR, "deferpower"):
                scheduler.schedule_task(task, a_reading()._replace(monotonic_s=float(second)))
            told.append(len(caplog.records))
        assert told == [1, 1, 1, 2]

    def test_an_unknown_one(self, backend_name: str) -> None:
        scheduler = IntelligentScheduler(backend=backend_name)
        task = Task(prefer=Constraints(custom="docked"), created_s=NOON_S)
        with pytest.raises(TaskError, match="custom condition 'docked' is unknown"):
            scheduler.schedule_task(task, a_reading())

    @pytest.mark.parametrize(
        ("predicates", "complaint"),
        [
            ({"quiet": True}, r"predicates\['quiet'\]: True cannot be called"),
            (["quiet"], r"predicates: \['quiet'\] is no mapping"),
        ],
    )
    def test_no_predicates(self, predicates: Any, complaint: str) -> None:
        with pytest.raises(ConfigError, match=complaint):
            IntelligentScheduler(backend="pure", predicates=predicates)

    def test_there_is_room_for_64(self, backend_name: str) -> None:
        holds = {f"condition {number}": number != 63 for number in range(64)}
        for number in (0, 62, 63):
            task = Task(constraints=Constraints(custom=f"condition {number}"), created_s=NOON_S)
            decision = decide(task, a_reading(), local_minute=0, holds=holds, backend=backend_name)
            assert decision.execute_now is (number != 63)
        with pytest.raises(ConfigError, match="65 are too many"):
            IntelligentScheduler(predicates=dict.fromkeys([*holds, "one more"], bool))


class TestClasses:
    def test_a_classifier_of_ones_own_sees_the_task_as_it_was_given(self) -> None:
        seen = []

        class Answer:
            task_class = "charging_only"

        class Classifier:
            def classify_task(self, task: Any) -> Answer:
                seen.append(task)
                return Answer()

        scheduler = IntelligentScheduler(backend="pure", classifier=Classifier())
        task = {"type": "sync", "id": "notes"}
        decision = scheduler.schedule_task(task, a_reading(on_battery(90)))
        assert decision.task_class is TaskClass.CHARGING_ONLY
        assert seen == [task]
        by_hand = Task(task_class=TaskClass.NORMAL)
        assert scheduler.schedule_task(by_hand, a_reading(on_battery(90))).execute_now
        assert seen == [task]

    def test_what_the_user_waits_for_does_not_wait(self, backend_name: str) -> None:
        classifier = TaskClassifier(backend=backend_name)
        scheduler = IntelligentScheduler(backend=backend_name, classifier=classifier)
        task = {"type": "sync", "id": "notes", "created_s": NOON_S}
        reading = a_reading(on_battery(5))
        assert not scheduler.schedule_task(task, reading).execute_now
        with classifier.user_waits_for("notes"):
            assert scheduler.schedule_task(task, reading).execute_now
        assert not scheduler.schedule_task(task, reading).execute_now
        known = Task(type="sync", created_s=NOON_S)
        for waits in (False, True, False):
            if waits:
                wait = classifier.user_waits_for(known)
            assert scheduler.schedule_task(known, reading).execute_now is waits
            if waits:
                wait.done()

    def test_one_task_in_two_schedulers(self, backend_name: str) -> None:
        reading = a_reading(on_battery(40))
        task = Task(can_background=True, type="realtime", created_s=NOON_S)
        always = IntelligentScheduler(backend=backend_name)
        classifier = TaskClassifier(types={}, critical_keywords=(), backend=backend_name)
        never = IntelligentScheduler(backend=backend_name, classifier=classifier)
        for _ in range(2):
            assert always.schedule_task(task, reading).execute_now
            assert not never.schedule_task(task, reading).execute_now


def test_the_local_time_is_the_systems(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(constraints=Constraints(window="03:43-03:44"), created_s=NOON_S)
    try:
        scheduler = IntelligentScheduler(backend=backend_name)
        # A laptop that travels is set to another zone while the program runs.
        for zone, runs in (("UTC-5:30", True), ("UTC", False)):
            monkeypatch.setenv("TZ", zone)
            assert scheduler.schedule_task(task, a_reading()).execute_now is runs
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_local_time_can_be_told(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name, local_minute=lambda wall_s: 845)
    task = Task(constraints=Constraints(window="22:00-06:00"), created_s=NOON_S)
    assert sentences(scheduler.schedule_task(task, a_reading())) == [
        "outside the window 22:00-06:00 (now 14:05)"
    ]


@pytest.mark.parametrize("minute", [-1, 1440, 600.5, True, None])
def test_a_minute_that_is_none_of_the_day(backend_name: str, minute: Any) -> None:
    with pytest.raises(ConfigError, match=r"local_minute: .* is no minute of the day"):
        decide({}, a_reading(), local_minute=minute, backend=backend_name)


def test_the_device_it_makes_takes_its_word_for_idle(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFERPOWER_ROOT", str(tree("desktop-no-battery")))
    at_once = Thresholds(idle=IdleRules(100.0, 1e12, 1e12, dwell_s=0.0))
    device = IntelligentScheduler(backend="pure", thresholds=at_once).device
    device.read(max_age_s=0)
    (Path(device.root) / "proc" / "stat").write_text("cpu 999999999 0 0 999999999\ncpu0 1 1 1 1\n")
    deadline_s = time.monotonic() + 10
    while (
        reading := device.read(max_age_s=0)
    ).idle_since_s is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert reading.idle_since_s is not None


def test_it_goes_on_after_a_bad_task_and_a_bad_reading(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    good = Task(task_class=TaskClass.BACKGROUND, created_s=NOON_S)
    assert scheduler.schedule_task(good, a_reading(on_battery(90))).execute_now
    with pytest.raises(TaskError, match="priority"):
        scheduler.schedule_task({"priority": "urgent"}, a_reading())
    for percent in (130.0, float("nan")):
        with pytest.raises(ConfigError, match=r"power\.percent"):
            scheduler.schedule_task(good, a_reading(on_battery(percent)))
    # A refused reading leaves no trace.
    assert scheduler.schedule_task(good, a_reading(on_battery(51))).execute_now


def test_it_may_be_shared_by_threads(backend_name: str) -> None:
    scheduler = IntelligentScheduler(backend=backend_name)
    wrong = []

    def ask(task_class: TaskClass) -> None:
        for number in range(300):
            task = Task(task_class=task_class, created_s=NOON_S - number, deadline_s=9000)
            decision = scheduler.schedule_task(task, a_reading(on_battery(90)))
            if decision.execute_now is (task_class is TaskClass.CHARGING_ONLY):
                wrong.append(decision)

    threads = [threading.Thread(target=ask, args=(task_class,)) for task_class in TaskClass]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_takes_the_backend_of_its_device(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(root=tree("desktop-no-battery"), backend="pure")
    monkeypatch.setenv("DEFERPOWER_BACKEND", "nonsense")
    assert IntelligentScheduler(device).schedule_task({"type": "realtime"}).execute_now


@pytest.mark.parametrize(
    ("now", "change", "opens"),
    [
        ("2024-03-31T00:30+01:00", "2024-03-31T01:00+00:00", "2024-03-31T04:00+02:00"),
        ("2024-10-27T00:30+02:00", "2024-10-27T01:00+00:00", "2024-10-27T04:00+01:00"),
        ("2024-06-01T00:30+02:00", "2024-10-27T01:00+00:00", "2024-06-01T04:00+02:00"),
    ],
)
def test_a_window_opens_when_it_does_though_the_clocks_change(
    backend_name: str, now: str, change: str, opens: str
) -> None:
    start, changes, end = map(datetime.fromisoformat, (now, change, opens))

    def minute(wall_s: float) -> int:
        zone = start.tzinfo if wall_s < changes.timestamp() else end.tzinfo
        local = datetime.fromtimestamp(wall_s, zone)
        return local.hour * 60 + local.minute

    scheduler = IntelligentScheduler(backend=backend_name, local_minute=minute)
    reading = a_reading()._replace(wall_s=start.timestamp())
    task = Task(constraints=Constraints(window="04:00-05:00"), created_s=start.timestamp())
    assert scheduler.schedule_task(task, reading).scheduled_time == end.timestamp()


def test_a_preference_needs_to_know_since_when(backend_name: str) -> None:
    task = {"prefer": Constraints(idle=True)}
    with pytest.raises(TaskError, match="prefer counts from created_s, which is missing"):
        IntelligentScheduler(backend=backend_name).schedule_task(task, a_reading())
