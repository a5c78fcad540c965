"""Tasks that wait for the hours in which the device is usually idle and charging."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from deferpower import BackgroundTaskManager, Constraints
from deferpower.errors import ConfigError
from deferpower.store.history import KEPT_S
from deferpower.testing import FakeDevice, run_until_idle
from deferpower.traces import SLOT_S, Slot
from tasks.conftest import MakeManager

HOUR_S = 3600.0
DAY_S = 86_400.0
DAYS = 14


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hours of the clock are those of UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def nights(until_s: float, days: int = DAYS) -> list[Slot]:
    """Days until then: charging and idle from 0 to 8 o'clock, in use on battery for the rest."""
    slots = []
    for start_s in range(int(until_s - days * DAY_S), int(until_s), SLOT_S):
        is_night = start_s % DAY_S < 8 * HOUR_S
        slots.append(Slot("", start_s, 0, 90.0, is_night, 0.0 if is_night else 1.0))
    return slots


def hour_now(device: FakeDevice) -> float:
    """Hours of the local clock."""
    return device.wall_clock() % DAY_S / HOUR_S


def live_on(tasks: BackgroundTaskManager, device: FakeDevice, hours: float) -> None:
    """Let time pass as on all days; the worker is awake every 20 minutes."""
    for _ in range(round(hours * 3)):
        device.clock.advance(1200)
        is_night = hour_now(device) < 8
        device.set(plugged=is_night, idle=is_night)
        run_until_idle(tasks)


def test_a_worker_records_what_it_sees(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    device.set(plugged=True, idle=True)
    run_until_idle(tasks)
    device.clock.advance(600)
    run_until_idle(tasks)
    device.set(plugged=False, idle=False, percent=80)
    run_until_idle(tasks)
    device.clock.advance(600)
    run_until_idle(tasks)
    start_s = 1_704_110_400
    assert tasks.export_history() == (
        Slot("", start_s, 0, 90.0, True, 0.0),
        Slot("", start_s + 300, 0, 90.0, True, 0.0),
        Slot("", start_s + 600, 0, 80.0, False, 1.0),
        Slot("", start_s + 900, 0, 80.0, False, 1.0),
    )


def test_what_is_equal_at_both_ends_of_a_wait_held_throughout_it(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    device.set(plugged=True)
    run_until_idle(tasks)
    device.clock.advance(3600)
    device.set(plugged=False)
    run_until_idle(tasks)
    device.clock.advance(3600)
    run_until_idle(tasks)
    seen = tasks.export_history()
    # In the first hour the charger was pulled, nobody knows when; what was seen stands for 300 s.
    assert [slot.plugged for slot in seen] == [True, *[None] * 11, *[False] * 12]
    assert [slot.activity for slot in seen] == [1.0] * 24


def test_a_sleeping_machine_is_not_seen(tasks: BackgroundTaskManager, device: FakeDevice) -> None:
    run_until_idle(tasks)
    device.clock.suspend(3000)
    device.clock.advance(600)
    run_until_idle(tasks)
    assert [slot.start_s for slot in tasks.export_history()] == [1_704_110_400]


def test_the_history_outlives_the_program_and_eight_weeks_of_it_are_kept(
    make: MakeManager, device: FakeDevice
) -> None:
    first = make()
    assert first.import_history(nights(device.wall_clock(), 60)) == 56 * 288
    expected = first.forecast()
    first.close()
    second = make()
    assert second.forecast() == expected
    assert expected[0].p_good == pytest.approx(0.0, abs=0.05)
    assert expected[14].p_good == pytest.approx(1.0, abs=0.05)
    device.clock.advance(DAY_S)
    for _ in range(3):
        device.clock.advance(300)
        run_until_idle(second)
    oldest_s = second.export_history()[0].start_s
    assert device.wall_clock() - KEPT_S <= oldest_s <= device.wall_clock() - KEPT_S + 600


def test_a_damaged_history_is_set_aside_and_learning_starts_anew(
    make: MakeManager, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    first.import_history(nights(device.wall_clock()))
    first._queue.database.write(
        lambda cursor: cursor.execute("UPDATE history SET activity = 'much' WHERE rowid % 9 = 0")
    )
    first.close()
    second = make()
    with caplog.at_level(logging.WARNING, "deferpower.tasks"):
        assert second.forecast()[0].p_good is None
    assert "history_damaged_1; learning starts anew" in caplog.text
    kept = second._queue.database.read(
        lambda cursor: cursor.execute("SELECT count(*) FROM history_damaged_1").get
    )
    assert kept == DAYS * 288
    run_until_idle(second)
    device.clock.advance(300)
    run_until_idle(second)
    assert len(second.export_history()) == 1


def test_what_lies_in_the_future_is_not_imported(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    with pytest.raises(ConfigError, match="lies in the future"):
        tasks.import_history(nights(device.wall_clock() + DAY_S))
    assert tasks.export_history() == ()


def test_a_task_with_a_deadline_waits_for_the_night(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.import_history(nights(device.wall_clock()))
    starts: list[float] = []
    work = tasks.task(lambda: starts.append(hour_now(device)), name="work", task_class="background")
    waits = work.defer().id  # without a deadline the level alone counts
    run_until_idle(tasks)
    assert starts == [12.0]
    handle = tasks.submit(work, deadline_s=DAY_S)
    run_until_idle(tasks)
    why = tasks.why(handle.id)
    assert [reason.code for reason in why.reasons] == ["forecast"]
    assert why.probable_start_s is not None
    assert why.probability is not None
    assert why.probable_start_s % DAY_S / HOUR_S < 8
    assert why.probability > 0.9
    assert "probably starts around Tue 0" in str(why)
    assert [group.reasons[0].code for group in tasks.overview().waiting] == ["forecast"]
    live_on(tasks, device, 23)
    assert tasks.get(waits).state == "succeeded"
    assert len(starts) == 2
    assert starts[1] < 8


def test_without_a_night_before_its_deadline_it_does_not_wait_for_one(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.import_history(nights(device.wall_clock()))
    starts: list[float] = []
    work = tasks.task(lambda: starts.append(hour_now(device)), name="work", task_class="background")
    tasks.submit(work, deadline_s=5 * HOUR_S)
    live_on(tasks, device, 6)
    assert len(starts) == 1
    assert 16.9 <= starts[0] <= 17.0


def test_a_charger_that_comes_out_of_turn_is_taken(
    tasks: BackgroundTaskManager, device: FakeDevice
) -> None:
    tasks.import_history(nights(device.wall_clock()))
    ran: list[int] = []
    work = tasks.task(ran.append, name="work", task_class="background")
    tasks.submit(work, [1], deadline_s=4 * HOUR_S, prefer=Constraints(charging=True))
    live_on(tasks, device, 1)
    assert ran == []
    device.set(plugged=True)
    run_until_idle(tasks)
    assert ran == []  # it may have a loose contact
    device.clock.advance(60)
    run_until_idle(tasks)
    assert ran == [1]


def test_the_worker_thread_starts_it_at_night(make: MakeManager, device: FakeDevice) -> None:
    tasks = make()
    tasks.import_history(nights(device.wall_clock()))
    work = tasks.task(lambda: hour_now(device), name="work", task_class="background")
    tasks.start()
    handle = tasks.submit(work, deadline_s=DAY_S)
    end_s = time.monotonic() + 30
    while not handle.state.has_ended and time.monotonic() < end_s:
        time.sleep(0.02)
        if hour_now(device) < 7 or hour_now(device) >= 11.9:
            device.clock.advance(300)
            is_night = hour_now(device) < 8
            device.set(plugged=is_night, idle=is_night)
    assert handle.result(timeout_s=5) < 8
