"""Where each sensor is read, or why it is not, in words for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.machine import SUPPLIES, Machine, Watch
from deferpower._contract import Backend

PROC = {
    "cpu": "proc/stat",
    "pressure": "proc/pressure/cpu",
    "memory": "proc/meminfo",
    "disk": "proc/diskstats",
    "network": "proc/net/dev",
}


def said(backend: Backend, machine: Machine, sensor: str) -> tuple[str, str]:
    source = Watch(backend, machine).sources()[str(machine.root / PROC[sensor])]
    assert source.sensor == sensor
    return source.status, source.detail


@pytest.mark.parametrize(
    ("sensor", "text", "status", "detail"),
    [
        ("cpu", "cpu 1 1 1 1\ncpu0 1\n", "ok", "1 processor"),
        ("cpu", "cpu 1 1 1 1\n" + "cpu0 1\n" * 16, "ok", "16 processors"),
        ("cpu", "cpu 1 1 1\n", "failing", "no line cpu with four counters"),
        ("pressure", "some avg10=1.00\n", "ok", "some avg10"),
        ("pressure", "full avg10=1.00\n", "failing", "no figure some avg10"),
        ("memory", "MemTotal: 2 kB\nMemAvailable: 1 kB\n", "ok", "MemTotal and MemAvailable"),
        ("memory", "MemTotal: 2 kB\n", "ok", "MemTotal alone"),
        ("memory", "MemAvailable: 1 kB\n", "ok", "MemAvailable alone"),
        ("memory", "", "failing", "neither MemTotal nor MemAvailable"),
        ("disk", "8 0 sdb 1 1 1 1 1 1 1\n8 1 sda 1 1 1 1 1 1 1\n", "ok", "sdb, sda"),
        ("disk", "7 0 loop0 1 1 1 1 1 1 1\n", "absent", "no disk that counts"),
        ("disk", "", "absent", "no disk that counts"),
        ("network", "lo: 1 1 1 1 1 1 1 1 1\nwlan0: 1 1 1 1 1 1 1 1 1\n", "ok", "wlan0"),
        ("network", "lo: 1 1 1 1 1 1 1 1 1\n", "absent", "no interface that counts"),
    ],
)
def test_a_file_that_can_be_read(
    backend: Backend, machine: Machine, sensor: str, text: str, status: str, detail: str
) -> None:
    machine.write(PROC[sensor], text)
    assert said(backend, machine, sensor) == (status, detail)


@pytest.mark.parametrize("sensor", PROC)
def test_a_file_that_cannot_be_read(backend: Backend, machine: Machine, sensor: str) -> None:
    assert said(backend, machine, sensor) == (
        "absent",
        "no such file: this kernel offers no pressure figures"
        if sensor == "pressure"
        else "no such file",
    )
    machine.break_(PROC[sensor])
    assert said(backend, machine, sensor) == ("failing", "cannot be read: Is a directory")


def test_a_name_that_is_no_text(backend: Backend, machine: Machine) -> None:
    machine.write("proc/diskstats", b"8 0 s\xffa\xe2\x82 1 1 1 1 1 1 1\n")
    assert said(backend, machine, "disk") == ("ok", "s\ufffda\ufffd")


@pytest.mark.parametrize(
    ("attributes", "detail"),
    [
        ({"type": "Battery", "scope": "Device", "capacity": 1}, "peripheral, not counted"),
        ({"type": "Battery", "present": 0}, "empty bay"),
        ({"type": "UPS", "present": 0}, "empty bay"),
        ({"type": "Battery", "present": 1}, "pack"),
        ({"capacity": 1}, "pack"),
        ({"capacity": 1, "present": 0}, "empty bay"),
        ({"type": "UPS"}, "UPS"),
        ({"type": "Mains", "online": 1}, "adapter, online"),
        ({"type": "Mains", "online": 0}, "adapter, offline"),
        ({"type": "Mains", "online": -1}, "adapter, offline"),
        ({"type": "Mains", "online": ""}, "adapter, does not say whether it is online"),
        ({"type": "USB"}, "adapter, does not say whether it is online"),
        ({"online": 1}, "adapter, online"),
        ({"type": "USB", "online": 1, "status": "Discharging"}, "adapter, USB-C port is a source"),
        ({"type": "Unknown", "online": 1}, "of another kind, not counted"),
        ({"voltage_now": 1}, "of another kind, not counted"),
    ],
)
def test_a_supply(
    backend: Backend, machine: Machine, attributes: dict[str, str | int], detail: str
) -> None:
    machine.supply("X1", **attributes)
    sources = Watch(backend, machine).sources()
    directory = str(machine.root / SUPPLIES)
    assert sources[directory] == ("power", directory, "ok", "1 supply")
    assert sources[f"{directory}/X1"] == ("power", f"{directory}/X1", "ok", detail)


def test_supplies_beside_each_other(backend: Backend, machine: Machine) -> None:
    machine.pack("BAT0")
    machine.supply("UPS0", type="UPS")
    machine.supply("usb", type="USB", online=1)
    machine.write("sys/class/typec/port0/power_role", "[source] sink")
    machine.write(f"{SUPPLIES}/.keep", "")
    directory = str(machine.root / SUPPLIES)
    sources = Watch(backend, machine).sources()
    assert [
        (source.where.removeprefix(directory), source.detail)
        for source in sources.values()
        if source.sensor == "power"
    ] == [
        ("", "3 supplies"),
        ("/BAT0", "pack behind a UPS, not counted"),
        ("/UPS0", "UPS"),
        ("/usb", "adapter, USB-C port is a source"),
    ]


def test_no_supplies(backend: Backend, machine: Machine) -> None:
    directory = str(machine.root / SUPPLIES)
    source = Watch(backend, machine).sources()[directory]
    assert (source.status, source.detail) == (
        "absent",
        "no such directory: a machine without a battery",
    )
    (machine.root / SUPPLIES).mkdir(parents=True)
    source = Watch(backend, machine).sources()[directory]
    assert (source.status, source.detail) == ("ok", "no supply")


def test_attributes_that_cannot_be_read_are_named(backend: Backend, machine: Machine) -> None:
    machine.pack()
    machine.break_(f"{SUPPLIES}/BAT0/power_now")
    machine.break_(f"{SUPPLIES}/BAT0/capacity")
    machine.break_(f"{SUPPLIES}/BAT0/online")
    machine.supply("AC", type="Mains")
    machine.break_(f"{SUPPLIES}/AC/online")
    sources = Watch(backend, machine).sources()
    pack, adapter = (sources[str(machine.root / SUPPLIES / name)] for name in ("BAT0", "AC"))
    assert (pack.status, pack.detail) == ("failing", "pack; cannot be read: capacity, power_now")
    assert (adapter.status, adapter.detail) == (
        "failing",
        "adapter, does not say whether it is online; cannot be read: online",
    )


def test_attributes_of_an_empty_bay_are_not_asked_for(backend: Backend, machine: Machine) -> None:
    machine.supply("BAT1", type="Battery", present=0)
    machine.break_(f"{SUPPLIES}/BAT1/status")
    source = Watch(backend, machine).sources()[str(machine.root / SUPPLIES / "BAT1")]
    assert (source.status, source.detail) == ("ok", "empty bay")


def test_attributes_that_are_no_longer_asked_for_are_not_named(
    backend: Backend, machine: Machine
) -> None:
    machine.pack("X1")
    machine.break_(f"{SUPPLIES}/X1/capacity")
    watch = Watch(backend, machine)
    watch.at(1.0)
    machine.supply("X1", type="Mains", online=1)
    watch.at(2.0)
    source = watch.sources()[str(machine.root / SUPPLIES / "X1")]
    assert (source.status, source.detail) == ("ok", "adapter, online")


def test_storage(backend: Backend, machine: Machine, tmp_path: Path) -> None:
    missing, under_a_file = str(tmp_path / "missing"), str(tmp_path / "file/missing")
    (tmp_path / "file").write_text("")
    watch = Watch(backend, machine, [str(tmp_path), missing, under_a_file, "with\0nul", "/proc"])
    storage = watch.at(1.0).storage
    sources = watch.sources()
    assert storage[0] is not None
    assert sources[str(tmp_path)][2:] == ("ok", f"{storage[0][1]} bytes free")
    assert sources["/proc"][2:] == ("ok", "0 bytes free")
    assert sources[missing][2:] == sources[under_a_file][2:] == ("absent", "no such path")
    assert sources["with\0nul"][2:] == ("failing", "cannot be asked: Invalid argument")


def test_they_are_sorted_and_those_of_the_last_sample(backend: Backend, machine: Machine) -> None:
    machine.pack()
    watch = Watch(backend, machine, ["/"])
    watch.at(1.0)
    machine.cpu(busy=1, idle=1)
    machine.remove(f"{SUPPLIES}/BAT0")
    where = str(machine.root / "proc/stat")
    assert watch.sources()[where].status == "absent"
    assert str(machine.root / SUPPLIES / "BAT0") in watch.sources()
    watch.at(2.0)
    assert watch.sources()[where].status == "ok"
    assert str(machine.root / SUPPLIES / "BAT0") not in watch.sources()
    rows = watch.sampler.sources()
    assert rows == sorted(rows)


def test_to_ask_first_leaves_no_trace(backend: Backend, machine: Machine) -> None:
    machine.cpu(busy=10, idle=90)
    watch = Watch(backend, machine)
    assert watch.sources()[str(machine.root / "proc/stat")].status == "ok"
    machine.cpu(busy=20, idle=180)
    machine.pack()
    sample = watch.at(1.0, slow_max_age_s=1e9)
    assert sample.cpu is not None
    assert sample.cpu.busy_percent is None
    assert sample.power is not None
    assert sample.power.present
