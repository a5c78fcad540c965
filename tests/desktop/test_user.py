"""Whether somebody is at the machine, by each service that may tell."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deferpower import Constraints, Device
from deferpower.scheduler import decide
from deferpower.task import Task
from deferpower.types import Source, User
from desktop.conftest import LOGIND, MUTTER, SCREEN_SAVER, Buses, Clock, QuietMachine
from waiting import until

pytestmark = pytest.mark.desktop

Open = Callable[[], Device]


def user_source(device: Device) -> Source:
    (source,) = (source for source in device.sources() if source.sensor == "user")
    return source


def test_gnome_tells_milliseconds(buses: Buses, open_device: Open, clock: Clock) -> None:
    mutter = buses.mutter(59_999)
    device = open_device()
    assert device.read().user == User(59.999, True, MUTTER[0])
    assert user_source(device).status == "ok"
    mutter.answer("GetIdletime", "ret = 60000")
    clock.now += 1.0
    assert device.read(max_age_s=0.5).user == User(60.0, False, MUTTER[0])


def test_it_is_asked_once_a_second_at_most(buses: Buses, open_device: Open, clock: Clock) -> None:
    mutter = buses.mutter(10_000)
    device = open_device()
    device.read()
    mutter.answer("GetIdletime", "ret = 0")
    clock.now += 0.75
    assert device.read(max_age_s=0.1).user == User(10.75, True, MUTTER[0])
    clock.now += 0.25
    assert device.read(max_age_s=0.1).user == User(0.0, True, MUTTER[0])
    mutter.answer("GetIdletime", "ret = 3000")
    clock.now += 0.25
    assert device.read(max_age_s=0).user == User(3.0, True, MUTTER[0])


def test_kde_tells_milliseconds_under_the_name_of_the_screen_saver(
    buses: Buses, open_device: Open
) -> None:
    buses.screen_saver("ret = 90500")
    assert open_device().read().user == User(90.5, False, SCREEN_SAVER[0])


def test_gnome_counts_before_the_screen_saver(buses: Buses, open_device: Open) -> None:
    buses.screen_saver("ret = 0")
    buses.logind(IdleHint=False, IdleSinceHintMonotonic=1)
    buses.mutter(70_000)
    assert open_device().read().user == User(70.0, False, MUTTER[0])


def test_kde_on_wayland_leaves_it_to_the_login_manager(buses: Buses, open_device: Open) -> None:
    buses.screen_saver(
        "raise dbus.exceptions.DBusException('not on this platform', "
        "name='org.freedesktop.DBus.Error.NotSupported')"
    )
    device = open_device()
    assert device.read().user is None
    source = user_source(device)
    assert source.status == "absent"
    assert "load alone" in source.detail
    buses.logind(IdleHint=False, IdleSinceHintMonotonic=1)
    until(lambda: device.read(max_age_s=0).user is not None, "the login manager")
    assert device.read().user == User(None, True, LOGIND[0])


def test_the_login_manager_tells_of_idle_sessions(
    buses: Buses, open_device: Open, clock: Clock
) -> None:
    since_s = time.monotonic() - 300.0
    logind = buses.logind(IdleHint=True, IdleSinceHintMonotonic=int(since_s * 1e6))
    device = open_device()
    user = device.read().user
    assert user is not None
    assert user.idle_s == pytest.approx(300.0, abs=30.0)
    assert (user.present, user.source) == (False, LOGIND[0])
    logind.set("IdleHint", "<false>")
    clock.now += 1.0
    assert device.read().user == User(None, True, LOGIND[0])


def test_nobody_logged_in(buses: Buses, open_device: Open) -> None:
    buses.logind(IdleHint=True, IdleSinceHintMonotonic=0)
    assert open_device().read().user == User(None, False, LOGIND[0])


def test_a_hint_that_was_never_set_is_none(buses: Buses, open_device: Open) -> None:
    buses.logind(IdleHint=False, IdleSinceHintMonotonic=0)
    device = open_device()
    assert device.read().user is None
    assert user_source(device).status == "absent"


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ("s", "ret = 'long ago'"),
        ("b", "ret = True"),
        ("i", "ret = -1"),
        ("d", "ret = float('nan')"),
        ("", "pass"),
        ("t", "raise dbus.exceptions.DBusException('broken', name='org.example.Broken')"),
    ],
)
def test_an_answer_that_cannot_be_used_counts_as_presence(
    buses: Buses, open_device: Open, signature: str, code: str
) -> None:
    mutter = buses.mutter(0)
    mutter.answer("GetIdletime", code, signature)
    device = open_device()
    assert device.read().user == User(None, True, MUTTER[0])
    assert user_source(device).status == "failing"


def test_a_monitor_that_dies_leaves_the_user_present_until_it_is_back(
    buses: Buses, open_device: Open, clock: Clock
) -> None:
    mutter = buses.mutter(90_000)
    device = open_device()
    assert device.read().user == User(90.0, False, MUTTER[0])
    mutter.end()
    until(lambda: device.read(max_age_s=0).user == User(None, True, MUTTER[0]), "its end")
    assert user_source(device).status == "failing"
    assert "is gone" in user_source(device).detail
    buses.mutter(80_000)
    clock.now += 1.0
    assert device.read().user == User(80.0, False, MUTTER[0])


def test_a_monitor_that_dies_is_stood_in_for(buses: Buses, open_device: Open) -> None:
    mutter = buses.mutter(90_000)
    buses.logind(IdleHint=True, IdleSinceHintMonotonic=0)
    device = open_device()
    device.read()
    mutter.end()
    until(lambda: device.read(max_age_s=0).user == User(None, False, LOGIND[0]), "logind")


def test_a_hung_monitor_holds_up_no_reading_but_one(
    buses: Buses, open_device: Open, clock: Clock
) -> None:
    mutter = buses.mutter(90_000)
    device = open_device()
    assert device.read().user == User(90.0, False, MUTTER[0])
    mutter.freeze()
    # Were each of them waited for, this would take longer than a test may.
    for _ in range(2000):
        clock.now += 2.0
        assert device.read().user == User(None, True, MUTTER[0])
    assert user_source(device).detail == "does not answer"
    mutter.thaw()
    until(lambda: device.read(max_age_s=0).user == User(90.0, False, MUTTER[0]), "its answer")
    clock.now += 2.0
    until(lambda: device.read().user == User(90.0, False, MUTTER[0]), "the next answer")


def test_a_quiet_machine_is_idle_once_its_user_has_been_away(
    buses: Buses, quiet_machine: QuietMachine, clock: Clock
) -> None:
    mutter = buses.mutter(0)
    device = quiet_machine.device
    device.read(max_age_s=0)
    quiet_machine.pass_quietly(100)
    reading = device.latest
    assert reading is not None
    assert (reading.quiet_since_s, reading.idle_since_s) == (1000.0, None)
    assert [reason.sentence for reason in decide(IDLE, reading, local_minute=0).reasons] == [
        "not idle: keyboard or mouse used 0 s ago, needs 60 s"
    ]
    mutter.answer("GetIdletime", "ret = 70000")
    clock.now += 1.0
    assert device.read(max_age_s=0).idle_since_s == clock.now - 70.0
    mutter.answer("GetIdletime", "ret = 500000")
    clock.now += 1.0
    assert device.read(max_age_s=0).idle_since_s == 1000.0
    mutter.end()
    until(lambda: device.read(max_age_s=0).idle_since_s is None, "presence, for want of a monitor")
    (reason,) = decide(IDLE, device.read(), local_minute=0).reasons
    assert reason.sentence == f"not idle: somebody is present by {MUTTER[0]}"


def test_a_quiet_machine_without_a_desktop_is_idle(
    buses: Buses, quiet_machine: QuietMachine
) -> None:
    quiet_machine.device.read(max_age_s=0)
    quiet_machine.pass_quietly(60)
    assert quiet_machine.device.latest is not None
    assert quiet_machine.device.latest.idle_since_s == 1000.0


def test_a_quiet_machine_where_nobody_is_logged_in_is_idle(
    buses: Buses, quiet_machine: QuietMachine
) -> None:
    buses.logind(IdleHint=True, IdleSinceHintMonotonic=0)
    assert quiet_machine.device.read(max_age_s=0).user == User(None, False, LOGIND[0])
    quiet_machine.pass_quietly(60)
    assert quiet_machine.device.latest is not None
    assert quiet_machine.device.latest.idle_since_s == 1000.0


IDLE = Task(constraints=Constraints(idle=True))
