"""Readings made by hand, for tests of what is decided from them."""

from __future__ import annotations

from deferpower.types import NO_BATTERY, Cpu, Disk, Memory, Network, Power, Reading, Storage, User

NOON_S = 1_700_000_000.0
"""A moment since the epoch; the local time is told apart from it."""


def on_battery(percent: float | None) -> Power:
    return Power(True, percent, False, "discharging", -8.0, battery_count=1)


def plugged_in(percent: float | None = 60.0) -> Power:
    return Power(True, percent, True, "charging", 20.0, battery_count=1)


def a_reading(
    power: Power | None = NO_BATTERY,
    *,
    idle: bool = False,
    quiet_for_s: float | None = None,
    cpu: float | None = 30.0,
    own_cpu: float | None = 0.0,
    memory: float | None = 40.0,
    storage: float | None = 50.0,
    disk: float | None = 0.0,
    connected: bool | None = None,
    metered: bool | None = None,
    user: User | None = None,
    at_s: float = 0.0,
) -> Reading:
    """A reading at ``at_s`` seconds after `NOON_S`; the machine is busy but has room."""
    monotonic_s = 1000.0 + at_s
    if idle and quiet_for_s is None:
        quiet_for_s = 90.0
    quiet_since_s = None if quiet_for_s is None else monotonic_s - quiet_for_s
    return Reading(
        power=power,
        cpu=Cpu(cpu, 4, None, own_cpu),
        memory=Memory(100, 60, memory),
        disk=Disk(disk, disk),
        network=Network(0.0, 0.0, connected, metered),
        user=user,
        power_saver=None,
        storage={"/": None if storage is None else Storage(storage, 1)},
        idle_since_s=quiet_since_s if idle else None,
        quiet_since_s=quiet_since_s,
        monotonic_s=monotonic_s,
        wall_s=NOON_S + at_s,
        backend="pure",
    )
