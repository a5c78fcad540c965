"""What a task asks of the machine before it may run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable
from typing import Literal

from deferpower._contract import CONSTRAINTS
from deferpower.errors import ConfigError
from deferpower.thresholds import is_number

Network = Literal["connected", "unmetered"]
_NETWORKS = ("connected", "unmetered")

_MINUTES_OF_DAY = 24 * 60
_WINDOW = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """Hours of the day in local time, to the minute; may pass midnight.

    Attributes:
        start_minute: first minute inside, counted from midnight, 0-1439.
        end_minute: first minute outside again, 0-1440.

    Raises:
        ConfigError: a minute is out of range, or both are the same.
    """

    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        for name, last in (("start_minute", _MINUTES_OF_DAY - 1), ("end_minute", _MINUTES_OF_DAY)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= last:
                raise ConfigError(f"window: {name} {value!r} is no whole number from 0 to {last}")
        if self.start_minute == self.end_minute:
            raise ConfigError(
                f"window: {self} begins and ends at the same minute, so it is empty; "
                "write 00:00-24:00 for the whole day"
            )

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window that ``"22:00-06:00"`` says.

        Args:
            text: two times of the day, to the minute.

        Raises:
            ConfigError: the text is no such window.
        """
        match = _WINDOW.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"window: {text!r} is no window; write it like 22:00-06:00")
        start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
        start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
        if (
            start_minute > 59
            or end_minute > 59
            or start >= _MINUTES_OF_DAY
            or end > _MINUTES_OF_DAY
        ):
            raise ConfigError(
                f"window: {text!r} is out of range; hours go from 00:00 to 23:59 (24:00 as the end)"
            )
        return cls(start, end)

    def contains(self, minute: int) -> bool:
        """Whether a local minute of the day lies inside.

        Args:
            minute: minute of the local day, 0-1439.
        """
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute

    def minutes_until_open(self, minute: int) -> int:
        """Minutes from this minute of the day to the next one inside; 0 when inside.

        Args:
            minute: minute of the local day, 0-1439.
        """
        return 0 if self.contains(minute) else (self.start_minute - minute) % _MINUTES_OF_DAY

    def minutes_until_change(self, minute: int) -> int:
        """Minutes from this minute of the day until it opens or closes next; at least 1.

        Args:
            minute: minute of the local day, 0-1439.
        """
        edge = self.end_minute if self.contains(minute) else self.start_minute
        return (edge - minute - 1) % _MINUTES_OF_DAY + 1

    def __str__(self) -> str:
        return f"{clock_text(self.start_minute)}-{clock_text(self.end_minute)}"


def clock_text(minute: int) -> str:
    """A minute of the day as ``"HH:MM"``."""
    return f"{minute // 60:02}:{minute % 60:02}"


@dataclasses.dataclass(frozen=True, slots=True)
class Constraints:
    """Conditions, all of which must hold. SEMANTICS.md, "Deciding", says when each does.

    Attributes:
        charging: on external power.
        battery_above: battery level above this percentage, 0 to below 100.
        battery_not_low: battery not low: low at 15 %, well again at 20 %.
        idle: the device is idle.
        network: ``"connected"`` or ``"unmetered"``.
        storage_not_low: room on every watched file system.
        resources_ok: memory, processor and storage below their thresholds.
        window: local hours, a `Window` or text like ``"22:00-06:00"``.
        custom: names of predicates that the program gave the scheduler.

    Raises:
        ConfigError: a value has the wrong type or is out of range; the message names the field.
    """

    charging: bool = False
    battery_above: float | None = None
    battery_not_low: bool = False
    idle: bool = False
    network: Network | None = None
    storage_not_low: bool = False
    resources_ok: bool = False
    window: Window | None = None
    custom: tuple[str, ...] = ()

    def __init__(
        self,
        charging: bool = False,
        battery_above: float | None = None,
        battery_not_low: bool = False,
        idle: bool = False,
        network: Network | None = None,
        storage_not_low: bool = False,
        resources_ok: bool = False,
        window: Window | str | None = None,
        custom: str | Iterable[str] = (),
    ) -> None:
        put = object.__setattr__  # the class is frozen
        for name, value in (
            ("charging", charging),
            ("battery_not_low", battery_not_low),
            ("idle", idle),
            ("storage_not_low", storage_not_low),
            ("resources_ok", resources_ok),
        ):
            if not isinstance(value, bool):
                raise ConfigError(f"{name}: {value!r} is neither True nor False")
            put(self, name, value)
        if battery_above is not None and not (
            is_number(battery_above) and 0 <= battery_above < 100
        ):
            raise ConfigError(
                f"battery_above: {battery_above!r} is no percentage from 0 to below 100"
            )
        put(self, "battery_above", battery_above)
        if network is not None and network not in _NETWORKS:
            raise ConfigError(f"network: {network!r} is neither 'connected' nor 'unmetered'")
        put(self, "network", network)
        if isinstance(window, str):
            window = Window.parse(window)
        elif window is not None and not isinstance(window, Window):
            raise ConfigError(f"window: {window!r} is no window; write it like '22:00-06:00'")
        put(self, "window", window)
        if isinstance(custom, str) or not isinstance(custom, Iterable):
            custom = (custom,)
        names = tuple(custom)
        for name in names:
            if not isinstance(name, str) or not name:
                raise ConfigError(f"custom: {name!r} is no name of a predicate")
        put(self, "custom", names)

    def codes(self) -> tuple[str, ...]:
        """The reason codes of what is asked."""
        return tuple(code for code in CONSTRAINTS if self._asks(code))

    def _asks(self, code: str) -> bool:
        if code in _NETWORKS:
            return self.network == code
        value = getattr(self, code)
        return value is not None and value is not False and value != ()

    def only(self, codes: Collection[str]) -> Constraints:
        """Those of these conditions that have one of the codes.

        Args:
            codes: reason codes, as `codes` gives them.
        """
        kept = {"network" if code in _NETWORKS else code for code in self.codes() if code in codes}
        return Constraints(**{name: getattr(self, name) for name in kept})


ANYTIME = Constraints()
"""Nothing asked."""
