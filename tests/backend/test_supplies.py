"""Power supplies on disk: what is read, when, and what happens while it changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backend.machine import SUPPLIES, Machine, Watch
from deferpower._contract import Backend
from deferpower.types import NO_BATTERY

TYPEC = "sys/class/typec"


def test_a_laptop(backend: Backend, machine: Machine) -> None:
    machine.pack(capacity=61)
    machine.supply("AC", type="Mains", online=0)
    assert Watch(backend, machine).power_at(1.0) == (
        True,
        60.0,
        False,
        "discharging",
        -10.0,
        30.0,
        50.0,
        10_800.0,
        1,
    )


@pytest.mark.parametrize("change", [Machine.write, Machine.replace])
def test_a_change_is_seen(
    backend: Backend, machine: Machine, change: Callable[[Machine, str, str], None]
) -> None:
    machine.pack()
    machine.supply("AC", type="Mains", online=0)
    watch = Watch(backend, machine)
    assert watch.power_at(1.0).plugged is False
    change(machine, f"{SUPPLIES}/AC/online", "1\n")
    change(machine, f"{SUPPLIES}/BAT0/status", "Charging\n")
    change(machine, f"{SUPPLIES}/BAT0/energy_now", "5000000\n")
    power = watch.power_at(2.0)
    assert (power.plugged, power.state, power.percent) == (True, "charging", 10.0)


def test_power_is_read_again_only_when_it_is_old(backend: Backend, machine: Machine) -> None:
    machine.pack()
    watch = Watch(backend, machine)
    assert watch.power_at(100.0, 30.0).state == "discharging"
    machine.pack(status="Charging")
    assert watch.power_at(129.9, 30.0).state == "discharging"
    assert watch.power_at(130.0, 30.0).state == "charging"
    machine.pack(status="Full")
    assert watch.power_at(159.9, 30.0).state == "charging"
    assert watch.power_at(159.9, 0.0).state == "full"
    machine.pack(status="Discharging")
    assert watch.power_at(189.8, 30.0).state == "full"
    assert watch.power_at(20.0, 30.0).state == "discharging", "time went back"


def test_a_pack_is_pulled_and_put_back(backend: Backend, machine: Machine) -> None:
    machine.pack("BAT0")
    machine.pack("BAT1", energy_now=5_000_000)
    watch = Watch(backend, machine)
    assert watch.power_at(1.0).battery_count == 2
    machine.remove(f"{SUPPLIES}/BAT1")
    power = watch.power_at(2.0)
    assert (power.battery_count, power.percent) == (1, 60.0)
    machine.remove(f"{SUPPLIES}/BAT0")
    power = watch.power_at(3.0)
    assert (power.present, power.plugged, power.state) == (False, True, "none")
    machine.pack("BAT1", energy_now=20_000_000)
    power = watch.power_at(4.0)
    assert (power.battery_count, power.percent) == (1, 40.0)


def test_the_directory_appears_and_goes(backend: Backend, machine: Machine) -> None:
    watch = Watch(backend, machine)
    assert watch.power_at(1.0) == NO_BATTERY
    machine.pack()
    assert watch.power_at(2.0).present
    machine.remove(SUPPLIES)
    assert not watch.power_at(3.0).present


def test_an_unreadable_attribute_costs_that_figure(backend: Backend, machine: Machine) -> None:
    machine.pack()
    watch = Watch(backend, machine)
    machine.break_(f"{SUPPLIES}/BAT0/power_now")
    power = watch.power_at(1.0)
    assert (power.percent, power.battery_watts, power.time_to_empty_s) == (60.0, None, None)
    machine.pack(power_now=4_000_000)
    assert watch.power_at(2.0).battery_watts == -4.0
    machine.break_(f"{SUPPLIES}/BAT0/power_now")
    assert watch.power_at(3.0).battery_watts is None
    machine.pack(power_now=3_000_000)
    assert watch.power_at(4.0).battery_watts == -3.0


@pytest.mark.parametrize("attribute", ["type", "scope", "present", "status", "energy_full"])
def test_no_unreadable_attribute_costs_the_battery(
    backend: Backend, machine: Machine, attribute: str
) -> None:
    machine.pack(capacity=60, scope="System", present=1)
    machine.break_(f"{SUPPLIES}/BAT0/{attribute}")
    power = Watch(backend, machine).power_at(1.0)
    assert (power.battery_count, power.percent) == (1, 60.0)


def test_an_attribute_appears_later(backend: Backend, machine: Machine) -> None:
    machine.supply("BAT0", type="Battery", status="Discharging")
    watch = Watch(backend, machine)
    assert watch.power_at(1.0).percent is None
    machine.supply("BAT0", capacity=41)
    assert watch.power_at(2.0).percent == 41.0


def test_what_is_no_supply_is_passed_over(backend: Backend, machine: Machine) -> None:
    machine.pack()
    machine.write(f"{SUPPLIES}/.keep", "")
    machine.write(f"{SUPPLIES}/notes", "Battery")
    machine.supply(".hidden", type="Battery", capacity=3)
    (machine.root / SUPPLIES / "gone").symlink_to("../../devices/gone")
    assert Watch(backend, machine).power_at(1.0).battery_count == 1


def test_entries_are_links_into_the_device_tree(backend: Backend, machine: Machine) -> None:
    machine.pack()
    (machine.root / "sys/devices").mkdir()
    (machine.root / SUPPLIES / "BAT0").rename(machine.root / "sys/devices/BAT0")
    (machine.root / SUPPLIES / "BAT0").symlink_to("../../devices/BAT0")
    assert Watch(backend, machine).power_at(1.0).percent == 60.0


def test_supplies_are_added_up_in_the_order_of_their_names(
    backend: Backend, machine: Machine
) -> None:
    # In any other order, and with rounding compensated, the sum is 1.0.
    for name, energy in (("BAT10", 700_000), ("BAT2", 200_000), ("BAT1", 100_000)):
        machine.pack(name, energy_now=energy, energy_full=1_000_000)
    assert Watch(backend, machine).power_at(1.0).energy_wh == 0.9999999999999999


class TestPorts:
    """Whether the USB-C port of an online adapter feeds what hangs on it."""

    @pytest.fixture
    def laptop(self, machine: Machine) -> Machine:
        machine.pack()
        return machine

    def plugged(self, backend: Backend, laptop: Machine) -> bool | None:
        return Watch(backend, laptop).power_at(1.0).plugged

    @pytest.mark.parametrize(
        ("role", "plugged"), [("[source] sink", False), ("source [sink]", True)]
    )
    def test_a_port_of_its_own(
        self, backend: Backend, laptop: Machine, role: str, plugged: bool
    ) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{SUPPLIES}/usb/device/typec/port0/power_role", role)
        laptop.write(f"{TYPEC}/port1/power_role", "source [sink]")
        assert self.plugged(backend, laptop) is plugged

    def test_any_port_where_it_has_none(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        assert self.plugged(backend, laptop) is False
        laptop.write(f"{TYPEC}/port1/power_role", "source [sink]")
        assert self.plugged(backend, laptop) is True

    def test_none_where_the_charger_has_a_plug_of_its_own(
        self, backend: Backend, laptop: Machine
    ) -> None:
        laptop.supply("AC", type="Mains", online=1)
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        assert self.plugged(backend, laptop) is True

    def test_the_supply_itself_says_that_it_feeds(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1, status="Discharging")
        assert self.plugged(backend, laptop) is False

    def test_none_below_its_own_directory(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{SUPPLIES}/usb/device/typec/notes", "")
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        assert self.plugged(backend, laptop) is True

    def test_partners_and_cables_are_no_ports(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        for name in ("port", "port0-partner", "port0.0", "cable"):
            laptop.write(f"{TYPEC}/{name}/power_role", "[sink]")
        assert self.plugged(backend, laptop) is False

    @pytest.mark.parametrize(
        ("name", "plugged"),
        [
            ("ucsi-source-psy-USBC000:001", False),
            ("ucsi-source-psy-USBC000:002", True),
            ("ucsi-source-psy-USBC000:003", True),
            ("ucsi-source-psy-USBC000:000", True),
            ("ucsi-source-psy-USBC000:00x", True),
            ("other-source-psy-USBC000:001", True),
        ],
    )
    def test_the_port_that_the_name_counts(
        self, backend: Backend, laptop: Machine, name: str, plugged: bool
    ) -> None:
        laptop.supply(name, type="USB", online=1)
        laptop.write(f"{SUPPLIES}/{name}/device/typec/port0/power_role", "[source] sink")
        laptop.write(f"{SUPPLIES}/{name}/device/typec/port1/power_role", "source [sink]")
        assert self.plugged(backend, laptop) is plugged

    def test_an_unreadable_role_is_none(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        laptop.break_(f"{TYPEC}/port1/power_role")
        assert self.plugged(backend, laptop) is False
        laptop.break_(f"{TYPEC}/port0/power_role")
        assert self.plugged(backend, laptop) is True

    def test_the_role_is_swapped_while_it_is_held(self, backend: Backend, laptop: Machine) -> None:
        laptop.supply("usb", type="USB", online=1)
        laptop.write(f"{TYPEC}/port0/power_role", "source [sink]")
        watch = Watch(backend, laptop)
        assert watch.power_at(1.0).plugged is True
        laptop.write(f"{TYPEC}/port0/power_role", "[source] sink")
        assert watch.power_at(2.0).plugged is False
        laptop.remove(TYPEC)
        assert watch.power_at(3.0).plugged is True
