"""The network connection, the power profile, and the buses themselves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from deferpower import Constraints, Device
from deferpower.scheduler import decide
from deferpower.task import Task
from deferpower.types import Reading, User
from desktop.conftest import MUTTER, NETWORK_MANAGER, PROFILES, Buses, Clock
from waiting import until

pytestmark = pytest.mark.desktop

Open = Callable[[], Device]


def connection(reading: Reading) -> tuple[bool | None, bool | None]:
    network = reading.network
    return (None, None) if network is None else (network.connected, network.metered)


@pytest.mark.parametrize(
    ("state", "metered", "expected"),
    [
        (70, "<uint32 1>", (True, True)),
        (70, "<uint32 2>", (True, False)),
        (70, "<uint32 3>", (True, True)),
        (60, "<uint32 4>", (True, False)),
        (70, "<uint32 0>", (True, None)),
        (50, "<uint32 9>", (False, None)),
        (20, None, (False, None)),
        (0, "<uint32 2>", (None, False)),
        (70, "<'yes'>", (True, None)),
    ],
)
def test_what_network_manager_says(
    buses: Buses,
    open_device: Open,
    state: int,
    metered: str | None,
    expected: tuple[bool | None, bool | None],
) -> None:
    buses.network_manager(state, metered)
    assert connection(open_device().read()) == expected


def sentences(device: Device, constraints: Constraints) -> list[str]:
    task = Task(constraints=constraints)
    return [reason.sentence for reason in decide(task, device.read(0), local_minute=0).reasons]


def test_changes_are_announced(buses: Buses, open_device: Open) -> None:
    manager = buses.network_manager(70, "<uint32 4>")
    device = open_device()
    unmetered = Constraints(network="unmetered")
    assert connection(device.read(0)) == (True, False)
    assert not {"the network is metered", "no network connection"} & {*sentences(device, unmetered)}
    manager.set("Metered", "<uint32 3>")
    assert sentences(device, unmetered) == ["the network is metered"]
    manager.set("State", "<uint32 20>")
    assert connection(device.read(0)) == (False, True)
    assert sentences(device, unmetered) == ["no network connection"]
    assert sentences(device, Constraints(network="connected")) == ["no network connection"]
    manager.set("State", "<'seventy'>")
    assert connection(device.read(0)) == (None, True)


def test_what_is_announced_without_its_value_is_asked_for(buses: Buses, open_device: Open) -> None:
    manager = buses.network_manager(70, None)
    device = open_device()
    assert connection(device.read(0)) == (True, None)
    manager.tell("AddProperty", manager.interface, "Metered", "<uint32 1>")
    assert connection(device.read(0)) == (True, None)
    manager.tell(
        "EmitSignal",
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        "sa{sv}as",
        f"[<'{manager.interface}'>, <@a{{sv}} {{}}>, <['Metered']>]",
    )
    assert connection(device.read(0)) == (True, True)


def test_what_a_stranger_announces_is_not_believed(buses: Buses, open_device: Open) -> None:
    buses.network_manager(70, "<uint32 4>")
    device = open_device()
    assert connection(device.read(0)) == (True, False)
    for name in buses.system.connections():
        buses.system.announce(
            name, NETWORK_MANAGER[1], NETWORK_MANAGER[2], "{'State': <uint32 20>}"
        )
    assert connection(device.read(0)) == (True, False)


def test_a_manager_that_dies_is_unknown_until_it_is_back(buses: Buses, open_device: Open) -> None:
    manager = buses.network_manager(70, "<uint32 2>")
    device = open_device()
    assert connection(device.read(0)) == (True, False)
    manager.end()
    until(lambda: connection(device.read(0)) == (None, None), "its end")
    (row,) = (s for s in device.sources() if s.where == NETWORK_MANAGER[0])
    assert (row.sensor, row.status) == ("network", "absent")
    buses.network_manager(70, "<uint32 1>")
    assert connection(device.read(0)) == (True, True)
    (row,) = (s for s in device.sources() if s.where == NETWORK_MANAGER[0])
    assert (row.status, row.detail) == ("ok", "connected, metered")


@pytest.mark.parametrize(
    ("profile", "saving"), [("power-saver", True), ("balanced", False), ("performance", False)]
)
def test_the_power_profile_under_its_old_name(
    buses: Buses, open_device: Open, profile: str, saving: bool
) -> None:
    buses.old_profiles(profile)
    assert open_device().read().power_saver is saving


def test_the_power_profile(buses: Buses, open_device: Open) -> None:
    profiles = buses.profiles("<'power-saver'>")
    device = open_device()
    assert device.read(0).power_saver is True
    profiles.tell("UpdateProperties", PROFILES[2], "{'ActiveProfile': <'balanced'>}")
    assert device.read(0).power_saver is False
    profiles.tell("UpdateProperties", PROFILES[2], "{'ActiveProfile': <int64 3>}")
    assert device.read(0).power_saver is None
    profiles.end()
    until(lambda: "ok" not in power_saver_status(device), "its end")


def power_saver_status(device: Device) -> list[str]:
    device.read(0)
    return [source.status for source in device.sources() if source.sensor == "power_saver"]


def test_a_bus_that_ends_and_comes_back(buses: Buses, open_device: Open, clock: Clock) -> None:
    profiles = buses.profiles("<'power-saver'>")
    device = open_device()
    assert device.read(0).power_saver is True
    buses.system.end()
    profiles.end()
    until(lambda: device.read(0).power_saver is None, "the end of the bus")
    (row,) = (source for source in device.sources() if source.sensor == "power_saver")
    assert row.detail.startswith("the system bus is lost: ")
    buses.system.start()
    buses.profiles("<'power-saver'>")
    clock.now += 60.0
    assert device.read(0).power_saver is True


def test_a_hung_bus_is_tried_less_and_less(buses: Buses, open_device: Open, clock: Clock) -> None:
    buses.system.freeze()
    buses.session.freeze()
    device = open_device()
    # Were it tried in each of them, this would take longer than a test may.
    for _ in range(600):
        reading = device.read(0)
        clock.now += 1.0
    assert (reading.user, reading.power_saver) == (None, None)
    (row,) = (source for source in device.sources() if source.sensor == "power_saver")
    assert row.detail.startswith("the system bus does not answer: ")
    buses.system.thaw()
    buses.profiles("<'power-saver'>")
    clock.now += 60.0
    assert device.read(0).power_saver is True


def test_a_child_asks_over_a_connection_of_its_own(buses: Buses, open_device: Open) -> None:
    buses.mutter(90_000)
    device = open_device()
    told = User(90.0, False, MUTTER[0])
    assert device.read(0).user == told
    pid = os.fork()
    if pid == 0:
        os._exit(0 if all(device.read(0).user == told for _ in range(50)) else 1)
    for _ in range(50):
        assert device.read(0).user == told
    assert os.waitpid(pid, 0)[1] == 0
    assert device.read(0).user == told


def test_threads_share_a_device(buses: Buses) -> None:
    buses.mutter(90_000)
    device = Device()
    wrong: list[User | None] = []

    def read() -> None:
        for _ in range(100):
            user = device.read(0).user
            if user is None or user.present:
                wrong.append(user)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
