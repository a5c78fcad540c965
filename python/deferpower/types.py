"""The vocabulary: value types that every room of the house speaks.

Units stand in the names: ``_percent`` is 0-100, ``_bytes``, ``_bytes_per_s``, ``_s``, ``_watts``,
``_wh``. ``None`` means "this machine does not say"; it is never replaced by a guess.
SEMANTICS.md holds source and formula of every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

__all__ = [
    "Cpu",
    "Disk",
    "IdleRules",
    "Memory",
    "Network",
    "Power",
    "Reading",
    "Source",
    "Storage",
    "User",
]

PowerState = Literal["charging", "discharging", "full", "not_charging", "unknown", "none"]
BackendName = Literal["native", "pure"]


class Power(NamedTuple):
    """External power and the machine's own batteries, all packs taken together.

    Attributes:
        present: whether the machine has a battery of its own (a mouse's does not count).
        percent: charge, 0-100; several packs are weighed by their energy.
        plugged: on external power. ``True`` on a machine without a battery; ``None`` when the
            hardware contradicts itself, which deciding treats as on battery.
        state: what the kernel says of the packs; ``"none"`` without a battery.
        battery_watts: power into the battery; negative while it drains.
        energy_wh: energy in the packs now.
        energy_full_wh: energy in the packs when full, as they are today.
        time_to_empty_s: seconds until empty at the present drain; ``None`` unless draining.
        battery_count: packs that are in and counted.
    """

    present: bool
    percent: float | None
    plugged: bool | None
    state: PowerState
    battery_watts: float | None = None
    energy_wh: float | None = None
    energy_full_wh: float | None = None
    time_to_empty_s: float | None = None
    battery_count: int = 0


NO_BATTERY = Power(present=False, percent=None, plugged=True, state="none")
"""A machine without a battery of its own."""


class Cpu(NamedTuple):
    """Processor load since the previous reading.

    Attributes:
        busy_percent: share of all processors' time that was not idle, 0-100; ``None`` in the
            first reading and over an interval in which a counter ran backwards.
        count: logical processors that are online.
        pressure_percent: share of the last 10 s in which some task waited for a processor (PSI).
        own_percent: the part of ``busy_percent`` that this process and its commands used.
    """

    busy_percent: float | None
    count: int  # type: ignore[assignment]  # the field stands in front of tuple.count()
    pressure_percent: float | None
    own_percent: float | None


class Memory(NamedTuple):
    """Main memory.

    Attributes:
        total_bytes: memory that the kernel manages.
        available_bytes: memory that programs could still get without swapping.
        used_percent: ``100 * (total - available) / total``.
    """

    total_bytes: int | None
    available_bytes: int | None
    used_percent: float | None


class Disk(NamedTuple):
    """Traffic of whole disks since the previous reading; ``None`` where no rate can be told.

    Attributes:
        read_bytes_per_s: read from all disks that count.
        write_bytes_per_s: written to them.
    """

    read_bytes_per_s: float | None
    write_bytes_per_s: float | None


class Network(NamedTuple):
    """Traffic of network interfaces, loopback left out, since the previous reading; the connection.

    Attributes:
        rx_bytes_per_s: received on all interfaces that count.
        tx_bytes_per_s: sent on them.
        connected: whether there is a way out of the local link; ``None`` where nothing tells.
        metered: whether traffic costs, as told or guessed by the system.
    """

    rx_bytes_per_s: float | None
    tx_bytes_per_s: float | None
    connected: bool | None = None
    metered: bool | None = None


class User(NamedTuple):
    """Whether somebody uses the machine, as its desktop tells.

    Attributes:
        idle_s: seconds since the last input; ``None`` where only presence is told.
        present: whether somebody is there: input within ``IdleRules.user_idle_s``, or a source that
            says so, or one that is there and fails.
        source: the service that tells.
    """

    idle_s: float | None
    present: bool
    source: str


class Storage(NamedTuple):
    """The file system under one path.

    Attributes:
        used_percent: used share of what an unprivileged user can use, as ``df`` counts it.
        free_bytes: bytes that an unprivileged user can still write.
    """

    used_percent: float
    free_bytes: int


class Reading(NamedTuple):
    """The machine at one moment. A part is ``None`` when the machine has no such sensor.

    Attributes:
        power: external power and batteries.
        cpu: processor load.
        memory: main memory.
        disk: traffic of disks.
        network: traffic of network interfaces, and the connection.
        user: ``None`` where no desktop tells of one.
        power_saver: whether the system's power-saver profile is chosen.
        storage: file systems by the path that the program named; ``None`` where it cannot be read.
        idle_since_s: since when (seconds on the line of ``monotonic_s``) the device has been
            idle, or ``None`` while it is not. Idle means: quiet, and no user present, for at
            least the dwell time.
        quiet_since_s: since when it has been quiet, the dwell not yet counted; ``None`` while busy.
        monotonic_s: when this was read, on ``time.monotonic()``'s line.
        wall_s: when this was read, seconds since the epoch.
        backend: which backend read it.
    """

    power: Power | None
    cpu: Cpu | None
    memory: Memory | None
    disk: Disk | None
    network: Network | None
    user: User | None
    power_saver: bool | None
    storage: Mapping[str, Storage | None]
    idle_since_s: float | None
    quiet_since_s: float | None
    monotonic_s: float
    wall_s: float
    backend: BackendName


class Source(NamedTuple):
    """Where one sensor is read, for ``deferpower doctor``.

    Attributes:
        sensor: ``power``, ``cpu``, ``pressure``, ``memory``, ``disk``, ``network``, ``storage``,
            ``user`` or ``power_saver``.
        where: the file, directory or system interface.
        status: ``ok``, ``absent`` (this machine has none) or ``failing`` (it is there, but cannot
            be read).
        detail: one phrase: what was found, or why not.
    """

    sensor: str
    where: str
    status: Literal["ok", "absent", "failing"]
    detail: str


class IdleRules(NamedTuple):
    """What counts as quiet, and for how long it must last to be idle.

    Attributes:
        cpu_percent: busy share of the processors, own work left out, below which they are
            quiet.
        disk_bytes_per_s: traffic of disks below which they are quiet.
        network_bytes_per_s: traffic of interfaces below which they are quiet.
        dwell_s: how long all must be quiet.
        user_idle_s: without input for this long, where a desktop tells, nobody is there.
    """

    cpu_percent: float = 10.0
    disk_bytes_per_s: float = 1024.0
    network_bytes_per_s: float = 1024.0
    dwell_s: float = 60.0
    user_idle_s: float = 60.0
