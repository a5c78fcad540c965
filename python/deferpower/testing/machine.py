"""What a `FakeDevice` says, told the way sensors and a desktop tell theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from deferpower.desktop import Signals
from deferpower.errors import ConfigError
from deferpower.thresholds import is_number
from deferpower.types import NO_BATTERY, Power, Source, User

if TYPE_CHECKING:
    from deferpower._contract import PowerRow, SampleRow, SourceRow
    from deferpower.types import PowerState

_NAME = "FakeDevice"
_CPU_COUNT = 4
_MEMORY_TOTAL_BYTES = 8 << 30
_STORAGE_TOTAL_BYTES = 256 << 30
_BATTERY_STATES: dict[bool | None, PowerState] = {
    True: "charging",
    False: "discharging",
    None: "not_charging",
}


class State(NamedTuple):
    """Everything that a device says at one moment; `FakeDevice` says what each figure means.

    Attributes:
        quiet_since_s: since when it has been idle, on the clock's monotonic line.
    """

    plugged: bool | None
    percent: float | None
    cpu_percent: float | None
    memory_percent: float | None
    storage_percent: float | None
    idle: bool
    user_present: bool | None
    connected: bool | None
    metered: bool | None
    power_saver: bool | None
    quiet_since_s: float | None = None

    def check(self) -> None:
        """Nothing, if there can be such a machine.

        Raises:
            ConfigError: there cannot; the message names the figure.
        """
        for name in ("percent", "cpu_percent", "memory_percent", "storage_percent"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and 0 <= value <= 100):
                raise ConfigError(f"{name}: {value!r} is no percentage from 0 to 100, and not None")
        for name in ("plugged", "user_present", "connected", "metered", "power_saver"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ConfigError(f"{name}: {value!r} is not True, False or None")
        if not isinstance(self.idle, bool):
            raise ConfigError(f"idle: {self.idle!r} is not True or False")
        if self.percent is None and self.plugged is not True:
            raise ConfigError(
                f"plugged: {self.plugged!r} cannot be on a machine without a battery; "
                "name its level too, such as percent=50"
            )

    def sample(self) -> SampleRow:
        """The row that a backend's sampler gives for it."""
        cpu, memory, storage = self.cpu_percent, self.memory_percent, self.storage_percent
        return (
            self._power(),
            None if cpu is None else (float(cpu), _CPU_COUNT, None, 0.0),
            None
            if memory is None
            else (_MEMORY_TOTAL_BYTES, _left_bytes(_MEMORY_TOTAL_BYTES, memory), float(memory)),
            (0.0, 0.0),
            (0.0, 0.0),
            (
                None
                if storage is None
                else (float(storage), _left_bytes(_STORAGE_TOTAL_BYTES, storage)),
            ),
            self.quiet_since_s,
            self.quiet_since_s,
        )

    def signals(self) -> Signals:
        """What its desktop says."""
        present = self.user_present
        user = None if present is None else User(None, present, _NAME)
        return Signals(user, self.connected, self.metered, self.power_saver)

    def _power(self) -> PowerRow:
        if self.percent is None:
            return NO_BATTERY
        full = self.plugged and self.percent == 100
        state = "full" if full else _BATTERY_STATES[self.plugged]
        return Power(True, float(self.percent), self.plugged, state, battery_count=1)


class Machine:
    """Holds the state; a `_contract.Sampler` whose sensors are figures.

    Attributes:
        state: what it says now. Never changed, only replaced.
        own_work: what was last said to `set_own_work`.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.own_work: tuple[int, ...] | None = None

    def sample(self, monotonic_s: float, slow_max_age_s: float, /) -> SampleRow:  # noqa: ARG002
        """The figures now, whatever the time."""
        return self.state.sample()

    def set_own_work(self, pids: Sequence[int] | None, /) -> None:
        """Keep what the program says; figures here are those of others anyway."""
        self.own_work = None if pids is None else tuple(pids)

    def sources(self) -> list[SourceRow]:
        """That the test is where they come from."""
        state = self.state
        told = {
            "cpu": state.cpu_percent is not None,
            "disk": True,
            "memory": state.memory_percent is not None,
            "network": True,
            "power": True,
            "storage": state.storage_percent is not None,
        }
        return [(sensor, _NAME, *_found(told[sensor])) for sensor in told]


class FakeDesktop:
    """A `desktop.SignalSource`: the part of the state that a desktop tells."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def read(self, now_s: float, max_age_s: float, /) -> Signals:  # noqa: ARG002
        """The figures now."""
        return self._machine.state.signals()

    def sources(self) -> list[Source]:
        """That the test is where they come from."""
        user, connected, metered, power_saver = self._machine.state.signals()
        told = {
            "network": connected is not None or metered is not None,
            "power_saver": power_saver is not None,
            "user": user is not None,
        }
        return [Source(sensor, _NAME, *_found(told[sensor])) for sensor in told]


def _found(told: bool) -> tuple[Literal["ok", "absent"], str]:
    return ("ok", "set by the test") if told else ("absent", "None, as the test said")


def _left_bytes(total_bytes: int, used_percent: float) -> int:
    return round(total_bytes * (1 - used_percent / 100))
