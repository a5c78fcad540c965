"""The predictor as a program uses it: time zones, clock changes, wrong input, choosing a start."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deferpower import PredictiveDeferredProcessor
from deferpower.errors import ConfigError
from deferpower.predictor import HourForecast
from deferpower.starting import Later

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2023, 11, 20, tzinfo=BERLIN)
MONDAY_S = MONDAY.timestamp()
DAY_S = 86_400.0

Life = list[tuple[float, float, bool]]


class Clock:
    def __init__(self, now_s: float = MONDAY_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new(backend_name: str, clock: Clock) -> Callable[..., PredictiveDeferredProcessor]:
    def make(zone: str | None = "Europe/Berlin") -> PredictiveDeferredProcessor:
        return PredictiveDeferredProcessor(zone=zone, backend=backend_name, clock=clock)

    return make


def local_hour(at_s: float, zone: ZoneInfo = BERLIN) -> int:
    return datetime.fromtimestamp(at_s, zone).hour


def nights(first_s: float, days: float, seed: int | None = None) -> Life:
    """Idle on the charger from 0 to 7 h of Berlin's clock; in use on battery for the rest."""
    chance = random.Random(seed)
    life = []
    for slot in range(int(days * 288)):
        at_s = first_s + slot * 300.0
        is_night = local_hour(at_s) < 7
        if seed is not None and chance.random() < 0.1:
            is_night = not is_night
        life.append((at_s, 0.0 if is_night else 0.7, is_night))
    return life


def test_the_usage_of_the_sketch_works_as_written() -> None:
    predictor = PredictiveDeferredProcessor()
    before_s = time.time()
    assert predictor.predict_optimal_processing_time() > before_s
    predictor.learn_usage_pattern(time.time(), 0.5)
    predictor.learn_usage_pattern(timestamp=time.time() - 10, activity_level=0.0)
    assert before_s < predictor.predict_optimal_processing_time() < time.time() + DAY_S + 3600


def test_nights_are_found(new: Any, clock: Clock) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 10 * DAY_S + 15 * 3600 + 100
    counted_s, repeated_s = predictor.learn_many(nights(MONDAY_S, 10.625))
    assert (counted_s, repeated_s) == (10.625 * DAY_S - 300, 0.0)
    best_s = predictor.predict_optimal_processing_time(duration_s=3 * 3600)
    assert clock.now_s < best_s < clock.now_s + DAY_S
    assert local_hour(best_s) in range(5)
    hours = predictor.forecast(24)
    assert [local_hour(hour.start_s) for hour in hours] == [*range(16, 24), *range(16)]
    for hour in hours:
        is_night = local_hour(hour.start_s) < 7
        assert (hour.p_idle > 0.7, hour.p_plugged > 0.7, hour.p_good > 0.7) == (is_night,) * 3
        assert hour.p_good <= min(hour.p_idle, hour.p_plugged)
        assert 8 < hour.evidence < 11


def test_too_little_evidence_says_nothing(new: Any, clock: Clock) -> None:
    predictor = new()
    assert predictor.forecast(3) == [
        HourForecast(MONDAY_S + hour * 3600, None, None, None, 0.0) for hour in range(3)
    ]
    clock.now_s = MONDAY_S + 1.5 * DAY_S
    predictor.learn_many((at_s, activity) for at_s, activity, _ in nights(MONDAY_S, 1.5))
    assert all(
        hour.p_idle is not None and hour.p_plugged is None and hour.p_good is None
        for hour in predictor.forecast(24)
    )
    # The one signal that there is decides.
    assert local_hour(predictor.predict_optimal_processing_time()) < 7


def test_the_future_changes_no_forecast(new: Any, clock: Clock) -> None:
    past = nights(MONDAY_S, 8.4, seed=1)
    told = []
    for seed in (2, 3):
        predictor = new()
        future = nights(MONDAY_S + 8.4 * DAY_S, 2, seed=seed)
        seen = []
        for at_s, activity, plugged in (*past, *future):
            clock.now_s = at_s
            if at_s % 3600 == 0 and at_s <= past[-1][0] + 300:
                seen.append(predictor.forecast(24))
                seen.append(predictor.advise_start(at_s + DAY_S))
                seen.append(predictor.predict_optimal_processing_time())
            predictor.learn_usage_pattern(at_s, activity, plugged)
        told.append(seen)
    assert len(told[0]) > 500
    assert told[0] == told[1]


def test_one_by_one_is_as_good_as_all_at_once(new: Any, clock: Clock) -> None:
    life = nights(MONDAY_S, 3, seed=4)
    clock.now_s = MONDAY_S + 3 * DAY_S
    singly, together = new(), new()
    for observation in life:
        singly.learn_usage_pattern(*observation)
    shuffled = life.copy()
    random.Random(5).shuffle(shuffled)
    together.learn_many(shuffled)
    assert singly.to_bytes() == together.to_bytes()


def test_asking_in_between_changes_nothing(new: Any, clock: Clock) -> None:
    asked, unasked = new(), new()
    for at_s, activity, plugged in nights(MONDAY_S, 2, seed=6):
        clock.now_s = at_s
        for predictor in (asked, unasked):
            predictor.learn_usage_pattern(at_s, activity, plugged)
        clock.now_s = at_s + 100.0
        asked.forecast(2)
    assert asked.repeated_s == 0.0
    for mine, theirs in zip(asked.forecast(24), unasked.forecast(24), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)


def test_what_was_observed_before_is_told_and_not_counted(new: Any, clock: Clock) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 2 * DAY_S
    life = nights(MONDAY_S, 1)
    predictor.learn_many(life)
    again = predictor.learn_many(life)
    assert again.repeated_s == pytest.approx(DAY_S - 300)
    assert again.counted_s == 0.0
    assert predictor.repeated_s == again.repeated_s


def test_a_clock_set_back_does_not_stop_learning(new: Any, clock: Clock) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 400 * DAY_S
    predictor.learn_many(nights(clock.now_s - DAY_S, 1))
    clock.now_s = MONDAY_S + DAY_S
    learned = predictor.learn_many(nights(MONDAY_S, 1))
    assert learned == (DAY_S - 300, 0.0)


@pytest.mark.parametrize(
    ("changes", "hours"),
    [(datetime(2024, 3, 31, tzinfo=BERLIN), 23), (datetime(2024, 10, 27, tzinfo=BERLIN), 25)],
)
def test_days_of_clock_changes(new: Any, clock: Clock, changes: datetime, hours: int) -> None:
    predictor = new()
    midnight_s = changes.timestamp()
    clock.now_s = midnight_s - 7200
    predictor.learn_many(nights(midnight_s - 10 * DAY_S, 9.9))
    starts = [hour.start_s for hour in predictor.forecast(30, now_s=midnight_s)]
    assert starts == [midnight_s + 3600 * hour for hour in range(30)]
    days = [datetime.fromtimestamp(start_s, BERLIN).day for start_s in starts]
    assert days.count(changes.day) == hours
    # It knows the local night by its name, on both sides of the change.
    for hour in predictor.forecast(30, now_s=midnight_s):
        assert (hour.p_good > 0.5) == (local_hour(hour.start_s) < 7), local_hour(hour.start_s)
    best_s = predictor.predict_optimal_processing_time(now_s=midnight_s + 90)
    assert best_s > midnight_s + 90
    assert datetime.fromtimestamp(best_s, BERLIN).minute == 0


def test_the_systems_zone_is_followed(
    new: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = new(zone=None)
    try:
        monkeypatch.setenv("TZ", "Europe/Berlin")
        clock.now_s = MONDAY_S + 10 * DAY_S
        predictor.learn_many(nights(MONDAY_S, 10))
        at_home = predictor.predict_optimal_processing_time(now_s=clock.now_s + 12 * 3600)
        assert local_hour(at_home) < 7
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        away = predictor.predict_optimal_processing_time(now_s=clock.now_s + 12 * 3600)
        assert local_hour(away, ZoneInfo("Asia/Tokyo")) < 7
    finally:
        monkeypatch.undo()
        time.tzset()


def test_it_survives_a_restart_on_either_backend(new: Any, clock: Clock) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 9 * DAY_S
    predictor.learn_many(nights(MONDAY_S, 9, seed=7))
    expected = predictor.forecast(24)
    copy = PredictiveDeferredProcessor.from_bytes(
        predictor.to_bytes(), zone="Europe/Berlin", clock=clock, backend="pure"
    )
    assert copy.forecast(24) == expected
    other = new()
    other.merge(predictor.to_bytes())
    assert other.forecast(24) == expected
    with pytest.raises(ConfigError, match="damaged"):
        PredictiveDeferredProcessor.from_bytes(predictor.to_bytes()[:-1] + b"?")


def test_a_night_ahead_is_waited_for_and_taken(new: Any, clock: Clock) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 14 * DAY_S
    predictor.learn_many(nights(MONDAY_S, 14))
    # From noon of the 15th day on the device is free: not worth it with a night ahead.
    noon_s = MONDAY_S + 14.5 * DAY_S
    day = [(at_s, 0.7, False) for at_s, _, _ in nights(MONDAY_S + 14 * DAY_S, 0.5)]
    free = [(noon_s + slot * 300, 0.0, True) for slot in range(19)]
    clock.now_s = noon_s + 5400
    predictor.learn_many([*day, *free])
    with_night = predictor.advise_start(noon_s + DAY_S)
    assert not with_night.start
    assert with_night.worth_now < with_night.worth_waiting
    without_night = predictor.advise_start(noon_s + 6 * 3600)
    assert without_night.start
    assert without_night.worth_waiting < without_night.worth_now
    # The night comes, and is taken.
    evening = nights(noon_s + 5700, 12.5 / 24)
    clock.now_s = evening[-1][0] + 300
    assert local_hour(clock.now_s) == 2
    predictor.learn_many(evening)
    assert predictor.advise_start(noon_s + DAY_S).start


@pytest.mark.parametrize("need", ["idle", "plugged", "good"])
def test_a_pause_is_no_idleness_until_it_has_lasted(new: Any, clock: Clock, need: str) -> None:
    predictor = new()
    clock.now_s = MONDAY_S + 14 * DAY_S
    predictor.learn_many(nights(MONDAY_S, 14))
    # Free from noon on, hours after the night; the deadline leaves no other night.
    noon_s = MONDAY_S + 14.5 * DAY_S
    clock.now_s = noon_s
    predictor.learn_many((at_s, 0.7, False) for at_s, _, _ in nights(noon_s - 0.5 * DAY_S, 0.5))
    started_s = None
    for slot in range(20):
        clock.now_s = noon_s + slot * 300
        predictor.learn_usage_pattern(clock.now_s, 0.0, True)
        if slot and predictor.advise_start(noon_s + 6 * 3600, need=need).start:
            started_s = clock.now_s - noon_s
            break
    assert started_s == (300.0 if need == "plugged" else 5400.0)


def test_on_the_charger_a_quiet_night_is_nearer_than_on_battery() -> None:
    # Of eight nights half were on the charger, and only these were good; idle they all were.
    hours = [(0.75, 0.9, 0.9, 0.5, 0.95, 0.95, 0.4, 0.9, 0.9)] * 12
    day = [(0.1, 0.3, 0.3, 0.5, 0.95, 0.95, 0.05, 0.3, 0.3)] * 5
    starts_s = [hour * 3600.0 for hour in range(17)]
    later = Later(starts_s, [*day, *hours], need=2)
    no_age = (0.0, 0.0, 0.0)
    charged = later.advise(0.0, 12 * 3600.0, (0.0, 0.95, 0.0), no_age)
    on_battery = later.advise(0.0, 12 * 3600.0, (0.0, 0.0, 0.0), no_age)
    assert not charged.start
    assert charged.worth_waiting > 0.5 > 0.4 > on_battery.worth_waiting


def test_at_the_deadline_it_starts_whatever_the_state(new: Any, clock: Clock) -> None:
    predictor = new()
    predictor.learn_many((MONDAY_S - 3600 + slot * 300, 0.9, False) for slot in range(12))
    assert not predictor.advise_start(clock.now_s + 600).start
    assert predictor.advise_start(clock.now_s).start
    assert predictor.advise_start(clock.now_s - 5).start


def test_a_deadline_before_the_next_hour_means_now(new: Any, clock: Clock) -> None:
    clock.now_s = MONDAY_S + 1000
    assert new().predict_optimal_processing_time(until_s=MONDAY_S + 3000) == clock.now_s


def wrong(value: object) -> dict[str, object]:
    return {"timestamp": value, "activity_level": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((wrong(value), "timestamp") for value in (math.nan, math.inf, -1, "now", None, True)),
        (wrong(MONDAY_S + 3600), "future"),
        *(
            ({"timestamp": MONDAY_S, "activity_level": value}, "activity")
            for value in (math.nan, -0.1, 1.1, "busy", False)
        ),
        ({"timestamp": MONDAY_S, "activity_level": 0, "plugged": "yes"}, "plugged"),
    ],
)
def test_wrong_observations(new: Any, arguments: dict[str, object], message: str) -> None:
    predictor = new()
    before = predictor.to_bytes()
    with pytest.raises(ConfigError, match=message):
        predictor.learn_usage_pattern(**arguments)
    assert predictor.to_bytes() == before


def test_one_wrong_observation_among_many_is_named(new: Any) -> None:
    predictor = new()
    with pytest.raises(ConfigError, match="observation 2: activity"):
        predictor.learn_many([*nights(MONDAY_S - DAY_S, 1)[:2], (MONDAY_S - 9, 7.0, True)])
    with pytest.raises(ConfigError, match="observation 0"):
        predictor.learn_many([5])
    assert predictor.learn_many([]) == (0.0, 0.0)


def test_other_wrong_arguments(new: Any) -> None:
    with pytest.raises(ConfigError, match="zone: 'Mars/Olympus'"):
        new(zone="Mars/Olympus")
    predictor = new()
    for hours in (0, 169, 2.5, True):
        with pytest.raises(ConfigError, match="hours"):
            predictor.forecast(hours)
    for duration_s in (0, -5, math.nan, math.inf):
        with pytest.raises(ConfigError, match="duration_s"):
            predictor.predict_optimal_processing_time(duration_s=duration_s)
        with pytest.raises(ConfigError, match="duration_s"):
            predictor.advise_start(MONDAY_S, duration_s)
    with pytest.raises(ConfigError, match="need"):
        predictor.advise_start(MONDAY_S, need="coffee")
    with pytest.raises(ConfigError, match="now_s"):
        predictor.forecast(now_s=math.nan)
    with pytest.raises(ConfigError, match="until_s"):
        predictor.predict_optimal_processing_time(until_s=-1)
