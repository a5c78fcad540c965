"""Power supplies taken together: SEMANTICS.md, "Power", rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from deferpower._contract import Backend
from deferpower.types import NO_BATTERY, Power

Supply = dict[str, bytes]


def supply(**attributes: object) -> Supply:
    return {
        name: value if isinstance(value, bytes) else f"{value}\n".encode()
        for name, value in attributes.items()
    }


def pack(status: object = "Discharging", **attributes: object) -> Supply:
    return supply(type="Battery", status=status, **attributes)


def mains(online: object) -> Supply:
    return supply(type="Mains", online=online)


def usb(online: object, power_role: str | None = None) -> Supply:
    role = {} if power_role is None else {"power_role": power_role}
    return supply(type="USB", online=online, **role)


def ups(status: str, **attributes: object) -> Supply:
    return supply(type="UPS", status=status, **attributes)


def power(backend: Backend, *supplies: Supply) -> Power:
    return Power._make(backend.aggregate_power(list(supplies)))


def check(got: Power, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        seen = getattr(got, name)
        if isinstance(value, float) and seen is not None:
            assert seen == pytest.approx(value, rel=1e-12), name
        else:
            assert seen == value, name


FULL_FIGURES = {
    "energy_now": 30_000_000,
    "energy_full": 50_000_000,
    "power_now": 10_000_000,
    "capacity": 60,
}


# Which supplies count


@pytest.mark.parametrize(
    "supplies",
    [
        [],
        [mains(1)],
        [mains(0)],
        [pack(scope="Device", capacity=30)],
        [pack(scope="device\0", capacity=30), mains(0)],
        [pack(present=0, capacity=77)],
        [ups("Discharging", present=0)],
        [supply(type="Unknown", capacity=30, online=0)],
        [supply(capacity=30, present=0)],
        [supply(online=0)],
        [supply(voltage_now=5_000_000)],
        [supply()],
    ],
)
def test_a_machine_without_a_battery_is_on_external_power(
    backend: Backend, supplies: list[Supply]
) -> None:
    assert power(backend, *supplies) == NO_BATTERY


@pytest.mark.parametrize(
    ("supplies", "count"),
    [
        ([pack(), pack()], 2),
        ([pack(), pack(scope="Device")], 1),
        ([pack(scope="System")], 1),
        ([pack(present=1), pack(present=0)], 1),
        ([pack(present="")], 1),
        ([supply(type="battery\0")], 1),
        ([supply(capacity=30)], 1),
        ([supply(type=" \0", energy_now=1)], 1),
        ([supply(charge_now=1)], 1),
        ([supply(status="nonsense")], 1),
        ([ups("Full"), pack(), pack()], 1),
        ([ups("Full"), ups("Full")], 2),
        ([ups("Full", present=0), pack(), pack()], 2),
    ],
)
def test_how_many_packs_count(backend: Backend, supplies: list[Supply], count: int) -> None:
    assert power(backend, *supplies).battery_count == count
    assert power(backend, *supplies).present


# Plugged: each row of the table, and the neighbours that it must win against


@pytest.mark.parametrize(
    ("supplies", "plugged"),
    [
        pytest.param(
            [ups("Discharging"), mains(1)], False, id="a UPS drains behind a live adapter"
        ),
        pytest.param([ups("Charging"), mains(0)], True, id="a UPS charges"),
        pytest.param([ups("Full"), mains(0)], True, id="a UPS is full"),
        pytest.param([ups("Not charging"), mains(0)], True, id="a UPS holds"),
        pytest.param([ups("Full"), ups("Discharging")], False, id="one of two UPSes drains"),
        pytest.param([ups("?"), mains(1)], True, id="a UPS says nothing, an adapter does"),
        pytest.param([ups("?"), mains(0)], False, id="a UPS says nothing, no adapter is online"),
        pytest.param([ups("?")], None, id="a UPS says nothing"),
        pytest.param(
            [ups("Full"), pack("Discharging")], True, id="the pack behind a UPS is not asked"
        ),
        pytest.param([pack("Charging"), mains(1)], True, id="on mains"),
        pytest.param([pack("Discharging"), mains(1)], True, id="weak charger"),
        pytest.param([pack("Unknown"), mains(1)], True, id="conservation mode"),
        pytest.param([pack("Not charging"), mains(1)], True, id="charge limit"),
        pytest.param([pack("Full"), mains(1)], True, id="full"),
        pytest.param([pack("Discharging"), mains(0), usb(1)], True, id="charger on USB, mains off"),
        pytest.param([pack("Discharging"), usb(2)], True, id="programmable supply"),
        pytest.param([pack("Discharging"), supply(type="USB_PD", online=1)], True, id="USB_PD"),
        pytest.param(
            [pack("Discharging"), supply(type="usb_c", online=1)], True, id="usb in any case"
        ),
        pytest.param([pack("Discharging"), supply(type="Wireless", online=1)], True, id="wireless"),
        pytest.param([pack("Discharging"), supply(type="BrickID", online=1)], True, id="BrickID"),
        pytest.param([pack("Discharging"), supply(online=1)], True, id="an adapter without a type"),
        pytest.param(
            [pack("Discharging"), supply(type="Unknown", online=1)], False, id="other type"
        ),
        pytest.param([pack("Discharging", online=1)], False, id="a pack's own online"),
        pytest.param(
            [pack("Discharging"), supply(type="USB", scope="Device", online=1)], False, id="pen"
        ),
        pytest.param([pack("Discharging"), mains(0)], False, id="on battery"),
        pytest.param([pack("Charging"), pack("Discharging")], False, id="one pack feeds the other"),
        pytest.param([pack("Charging"), mains(0)], True, id="charging says more than mains"),
        pytest.param([pack("Not charging"), mains(0)], None, id="seen both plugged and unplugged"),
        pytest.param(
            [pack("Full"), pack("Not charging"), mains(0)], None, id="one holds, one is full"
        ),
        pytest.param([pack("Full"), mains(0)], False, id="full, just unplugged"),
        pytest.param([pack("Unknown"), mains(0)], False, id="unknown, mains off"),
        pytest.param([pack("Full"), mains(-1)], False, id="a negative online is listed"),
        pytest.param([pack("Full"), mains("yes")], True, id="an adapter that says nothing"),
        pytest.param([pack("Full")], True, id="full, no adapter listed"),
        pytest.param([pack("Not charging")], True, id="holding, no adapter listed"),
        pytest.param([pack("Unknown")], None, id="nothing is said"),
        pytest.param([supply(type="Battery")], None, id="no status"),
    ],
)
def test_plugged(backend: Backend, supplies: list[Supply], plugged: bool | None) -> None:
    assert power(backend, *supplies).plugged is plugged
    assert power(backend, *reversed(supplies)).plugged is plugged


@pytest.mark.parametrize(
    ("role", "plugged"),
    [
        (None, True),
        ("source [sink]\n", True),
        ("[source] sink\n", False),
        ("[source]\n", False),
        ("[sink]\n", True),
        ("[source] sink\n\nsource [sink]\n", True),
        ("source sink", True),
        ("", True),
    ],
)
def test_a_port_that_feeds_a_phone_is_no_charger(
    backend: Backend, role: str | None, plugged: bool
) -> None:
    assert power(backend, pack("Discharging"), usb(1, role)).plugged is plugged
    assert power(backend, pack("Full"), usb(1, role)).plugged is plugged, "an offline one is listed"


@pytest.mark.parametrize(
    ("adapter", "plugged"),
    [
        (supply(type="USB", online=1, status="Discharging"), False),
        (supply(type="usb_pd", online=1, status="DISCHARGING\0"), False),
        (supply(type="USB", online=1, status="Discharging", power_role="source [sink]"), False),
        (supply(type="USB", online=1, status="Charging"), True),
        (supply(type="Mains", online=1, status="Discharging"), True),
        # A charger with a plug of its own is not judged by the ports beside it.
        (supply(type="Mains", online=1, power_role="[source] sink"), True),
        (supply(type="Wireless", online=1, power_role="[source]"), True),
        (supply(online=1, power_role="[source]"), True),
    ],
)
def test_only_a_usb_supply_can_be_a_source(
    backend: Backend, adapter: Supply, plugged: bool
) -> None:
    assert power(backend, pack("Discharging"), adapter).plugged is plugged


# Figures of one pack


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param(
            FULL_FIGURES,
            {
                "percent": 60.0,
                "energy_wh": 30.0,
                "energy_full_wh": 50.0,
                "battery_watts": -10.0,
                "time_to_empty_s": 10_800.0,
            },
            id="in energy",
        ),
        pytest.param(
            {
                "charge_now": 2_000_000,
                "charge_full": 4_000_000,
                "voltage_min_design": 11_000_000,
                "voltage_now": 12_000_000,
                "current_now": 1_000_000,
            },
            {
                "percent": 50.0,
                "energy_wh": 22.0,
                "energy_full_wh": 44.0,
                "battery_watts": -12.0,
                "time_to_empty_s": 6_600.0,
            },
            id="in charge",
        ),
        pytest.param(
            {"charge_now": 2_000_000, "voltage_min_design": 0, "voltage_now": 12_000_000},
            {"energy_wh": 24.0, "percent": None},
            id="design voltage 0",
        ),
        pytest.param(
            {"charge_now": 2_000_000, "charge_full": 4_000_000, "voltage_now": -1},
            {"energy_wh": None, "energy_full_wh": None, "percent": 50.0},
            id="no voltage",
        ),
        pytest.param(
            {
                "energy_now": 20_000_000,
                "charge_now": 3,
                "charge_full": 6,
                "voltage_now": 10_000_000,
            },
            {"energy_wh": 3e-5, "percent": 50.0, "energy_full_wh": 6e-5},
            id="a whole pair goes before a lone figure",
        ),
        pytest.param(
            {"energy_now": 20_000_000, "charge_full": 4_000_000, "capacity": 41},
            {"energy_wh": 20.0, "percent": 41.0, "energy_full_wh": None},
            id="no pair",
        ),
        pytest.param(
            {"energy_now": "", "charge_now": 2_000_000, "voltage_now": 10_000_000},
            {"energy_wh": 20.0},
            id="empty energy",
        ),
        pytest.param(
            {
                "energy_now": -1,
                "energy_full": 9,
                "charge_now": 2,
                "charge_full": 4,
                "voltage_now": 10_000_000,
            },
            {"energy_wh": 2e-5, "energy_full_wh": 4e-5, "percent": 50.0},
            id="negative energy",
        ),
        pytest.param({"capacity": 41}, {"percent": 41.0, "energy_wh": None}, id="capacity alone"),
        pytest.param({"capacity": 130}, {"percent": 100.0}, id="capacity too large"),
        pytest.param({"capacity": -1}, {"percent": 0.0}, id="capacity negative"),
        pytest.param({"capacity": -(2**63)}, {"percent": 0.0}, id="capacity least"),
        pytest.param({"capacity": -(2**63) - 1}, {"percent": None}, id="capacity below"),
        pytest.param({"capacity": "- 5"}, {"percent": None}, id="capacity with a blank"),
        pytest.param({"capacity": "nan"}, {"percent": None}, id="capacity nan"),
        pytest.param({"capacity": "4_1"}, {"percent": None}, id="capacity of Python"),
        pytest.param({"capacity": "\u0664"}, {"percent": None}, id="capacity in other digits"),
        pytest.param({"capacity": b"\0\0 41\n\0"}, {"percent": 41.0}, id="padded capacity"),
        pytest.param({"capacity": 2**63}, {"percent": None}, id="capacity beyond 64 bits"),
        pytest.param({"energy_now": 1, "energy_full": 0}, {"percent": None}, id="full is 0"),
        pytest.param(
            {"energy_now": 1, "energy_full": 0},
            {"energy_full_wh": None, "energy_wh": 1e-6},
            id="full is 0, energy",
        ),
        pytest.param({"energy_now": 54, "energy_full": 50}, {"percent": 100.0}, id="108 percent"),
        pytest.param(
            {"energy_now": 30, "energy_full": 50, "capacity": 55},
            {"percent": 60.0, "energy_wh": 3e-5},
            id="a small disagreement",
        ),
        pytest.param(
            {"energy_now": 30, "energy_full": 50, "capacity": 50},
            {"percent": 60.0, "energy_wh": 3e-5},
            id="10 points are small",
        ),
        pytest.param(
            {"energy_now": 30, "energy_full": 50, "capacity": 49},
            {"percent": 49.0, "energy_wh": None, "energy_full_wh": 5e-5},
            id="the smaller is capacity",
        ),
        pytest.param(
            {"energy_now": 30, "energy_full": 50, "capacity": 100},
            {"percent": 60.0, "energy_wh": 3e-5},
            id="the smaller is the ratio",
        ),
        pytest.param(
            {"charge_now": 300, "charge_full": 50, "capacity": 100, "voltage_now": 1_000_000},
            {"percent": 100.0, "energy_wh": None},
            id="ratio beyond 110",
        ),
        pytest.param(
            {"energy_now": 30, "energy_full": 50, "capacity": 255},
            {"percent": 60.0, "energy_wh": 3e-5},
            id="capacity beyond 110",
        ),
        pytest.param(
            {"energy_now": 150, "energy_full": 50, "capacity": 200},
            {"percent": 100.0, "energy_wh": None},
            id="both beyond 110",
        ),
    ],
)
def test_figures_of_one_pack(
    backend: Backend, attributes: dict[str, object], expected: dict[str, Any]
) -> None:
    check(power(backend, pack(**attributes)), expected)


@pytest.mark.parametrize(
    ("status", "attributes", "watts"),
    [
        ("Charging", {"power_now": 9_000_000}, 9.0),
        ("Charging", {"power_now": -9_000_000}, 9.0),
        ("Discharging", {"power_now": 9_000_000}, -9.0),
        ("Discharging", {"power_now": -9_000_000}, -9.0),
        ("Not charging", {"power_now": -9_000_000}, -9.0),
        ("Not charging", {"power_now": 9_000_000}, 9.0),
        ("Full", {"power_now": 0}, 0.0),
        ("Unknown", {"power_now": -9_000_000}, -9.0),
        ("Unknown", {"power_now": 9_000_000}, None),
        ("Unknown", {"power_now": 0}, 0.0),
        ("Charging", {"current_now": -2_000_000, "voltage_now": 5_000_000}, 10.0),
        ("Unknown", {"current_now": -2_000_000, "voltage_now": 5_000_000}, -10.0),
        ("Charging", {"current_now": 2_000_000, "voltage_now": 0}, None),
        ("Charging", {"current_now": 2_000_000, "voltage_min_design": 5_000_000}, None),
        ("Charging", {"power_now": "", "current_now": 1_000_000, "voltage_now": 5_000_000}, 5.0),
        ("Charging", {"power_now": 1_000_000_000}, 1000.0),
        ("Charging", {"power_now": 1_000_000_001}, None),
        ("Discharging", {"power_now": -(2**63)}, None),
        ("Discharging", {}, None),
    ],
)
def test_watts(
    backend: Backend, status: str, attributes: dict[str, object], watts: float | None
) -> None:
    check(power(backend, pack(status, **attributes)), {"battery_watts": watts})


@pytest.mark.parametrize(
    ("supplies", "seconds"),
    [
        ([pack(energy_now=30_000_000, power_now=10_000_000)], 10_800.0),
        ([pack(energy_now=30_000_000, power_now=10_000_000, time_to_empty_now=60)], 10_800.0),
        ([pack(energy_now=30_000_000, power_now=0, time_to_empty_now=60)], 60.0),
        ([pack(time_to_empty_now=60)], 60.0),
        ([pack(time_to_empty_now=0)], None),
        ([pack(time_to_empty_now=864_000)], 864_000.0),
        ([pack(time_to_empty_now=864_001)], None),
        # Ten days and more mean a draw that was not measured; no other figure mends that.
        ([pack(energy_now=30_000_000, power_now=1, time_to_empty_now=60)], None),
        ([pack("Charging", time_to_empty_now=60)], None),
        ([pack(time_to_empty_now=60), pack(time_to_empty_now=60)], None),
        ([pack(energy_now=0, power_now=10_000_000)], 0.0),
        (
            [
                pack(energy_now=30_000_000, power_now=10_000_000),
                pack("Unknown", energy_now=20_000_000, power_now=0),
            ],
            18_000.0,
        ),
    ],
)
def test_time_to_empty(backend: Backend, supplies: list[Supply], seconds: float | None) -> None:
    check(power(backend, *supplies), {"time_to_empty_s": seconds})


# Several packs


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        pytest.param(
            [
                pack(
                    "Discharging",
                    energy_now=10_000_000,
                    energy_full=20_000_000,
                    power_now=5_000_000,
                ),
                pack("Unknown", energy_now=80_000_000, energy_full=80_000_000, power_now=0),
            ],
            {
                "percent": 90.0,
                "state": "discharging",
                "energy_wh": 90.0,
                "energy_full_wh": 100.0,
                "battery_watts": -5.0,
                "time_to_empty_s": 64_800.0,
                "battery_count": 2,
            },
            id="weighed by energy",
        ),
        pytest.param([pack(capacity=20), pack(capacity=80)], {"percent": 50.0}, id="no energies"),
        pytest.param(
            [
                pack(energy_now=5, energy_full=10),
                pack(energy_now=30, energy_full=30),
                pack(capacity=0),
            ],
            {"percent": 58.333333333333336, "energy_wh": None, "energy_full_wh": None},
            id="the unweighed one has the mean weight",
        ),
        pytest.param([pack(capacity=20), pack()], {"percent": 20.0}, id="one says nothing"),
        pytest.param([pack(), pack()], {"percent": None}, id="both say nothing"),
        pytest.param([pack(power_now=5), pack()], {"battery_watts": None}, id="one without watts"),
        pytest.param([pack("Full"), pack("Charging")], {"state": "charging"}, id="charging first"),
        pytest.param(
            [pack("Charging"), pack("Discharging")], {"state": "charging"}, id="before discharging"
        ),
        pytest.param(
            [pack("Full"), pack("Not charging")], {"state": "not_charging"}, id="before full"
        ),
        pytest.param([pack("Unknown"), pack("FULL\0")], {"state": "full"}, id="before unknown"),
        pytest.param([pack("")], {"state": "unknown"}, id="unknown"),
    ],
)
def test_packs_together(backend: Backend, supplies: list[Supply], expected: dict[str, Any]) -> None:
    check(power(backend, *supplies), expected)


def test_percent_never_leaves_its_range_by_rounding(backend: Backend) -> None:
    for full in range(1, 3000):
        together = power(backend, pack(energy_now=full, energy_full=full))
        assert together.percent is not None
        assert together.percent <= 100.0
