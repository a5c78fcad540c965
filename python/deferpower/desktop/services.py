"""The services that are asked, and what their answers mean."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

PROPERTIES = "org.freedesktop.DBus.Properties"

_CANNOT = frozenset(
    f"org.freedesktop.DBus.Error.{name}"
    for name in ("NotSupported", "UnknownInterface", "UnknownMethod", "UnknownObject")
)
_CONNECTED_SITE = 60  # NMState: a default route; CONNECTED_GLOBAL is 70
_METERED = {1: True, 2: False, 3: True, 4: False}  # NMMetered: yes, no, guess yes, guess no


class Place(NamedTuple):
    """Where a service is found on its bus."""

    name: str
    path: str
    interface: str


IDLE_MONITOR = Place(
    "org.gnome.Mutter.IdleMonitor",
    "/org/gnome/Mutter/IdleMonitor/Core",
    "org.gnome.Mutter.IdleMonitor",
)
SCREEN_SAVER = Place(
    "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver", "org.freedesktop.ScreenSaver"
)
LOGIND = Place(
    "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
)
NETWORK_MANAGER = Place(
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
)
POWER_PROFILES = (
    Place(
        "org.freedesktop.UPower.PowerProfiles",
        "/org/freedesktop/UPower/PowerProfiles",
        "org.freedesktop.UPower.PowerProfiles",
    ),
    Place("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles", "net.hadess.PowerProfiles"),
)


class Call(NamedTuple):
    """What to ask a service."""

    interface: str
    member: str
    signature: str | None = None
    body: tuple[str, ...] = ()


class Reply(NamedTuple):
    """What came back: a body, or the name and the text of an error."""

    body: Sequence[object]
    error: str = ""
    text: str = ""


class Service(abc.ABC):
    """One service on a bus: whether it is there, and what it last said.

    Attributes:
        owner: the connection that has the name; ``None`` while none has.
        fault: why what it says cannot be used, although it is there; empty when it can.
        serial: number of the call that it has not answered yet.
        asked_real_s: when that was sent, on ``time.monotonic()``'s line; ``None`` for no call.
        is_prompt: whether its last answer came in time.
        is_due: whether it is to be asked.
        told_s: when its last answer came, on the device's time line.
    """

    def __init__(self, place: Place) -> None:
        """Know nothing of it yet."""
        self.place = place
        self.vanished()

    def vanished(self) -> None:
        """Nothing has the name, or the bus is lost."""
        self.owner: str | None = None
        self.fault = ""
        self.serial = 0
        self.asked_real_s: float | None = None
        self.is_prompt = True
        self.is_due = False
        self.told_s = -math.inf
        self._cannot = False
        self.forget()

    def appeared(self, owner: str) -> None:
        """A connection has the name now."""
        self.vanished()
        self.owner = owner
        self.is_due = True

    def asked(self, serial: int) -> None:
        """A call is on its way."""
        self.is_due = False
        self.serial = serial
        self.asked_real_s = time.monotonic()

    def late(self) -> None:
        """The answer did not come in time."""
        self.is_prompt = False
        self.fault = self.fault or "does not answer"

    def answered(self, reply: Reply, now_s: float, *, in_time: bool) -> None:
        """The answer came."""
        self.asked_real_s = None
        self.told_s = now_s
        self.is_prompt = in_time
        self.fault = ""
        self._cannot = reply.error in _CANNOT
        if reply.error:
            self.fault = f"{reply.error}: {reply.text}" if reply.text else reply.error
        elif not self.take(reply.body):
            self.fault = "gives an answer of another kind"
        if self.fault:
            self.forget()

    @property
    def tells(self) -> bool:
        """Whether this machine has it, and it knows what it is asked; it may be at fault."""
        return self.owner is not None and not self._cannot

    @abc.abstractmethod
    def call(self) -> Call:
        """What to ask."""

    @abc.abstractmethod
    def take(self, body: Sequence[object]) -> bool:
        """Understand an answer; whether that was possible."""

    @abc.abstractmethod
    def forget(self) -> None:
        """What it said no longer holds."""

    @abc.abstractmethod
    def found(self) -> str:
        """What it says, in a phrase."""


class IdleMonitor(Service):
    """Milliseconds since the last input, by a method that has to be called.

    KDE's answers in milliseconds too, though its interface calls the figure seconds; on Wayland
    it says that it cannot. A service that really gave seconds would make the user seem present.

    Source: mutter, ``org.gnome.Mutter.IdleMonitor.xml``; kscreenlocker, ``interface.cpp``.
    """

    _idle_s: float | None

    def __init__(self, place: Place, member: str) -> None:
        """Know nothing of it yet.

        Args:
            place: where it is.
            member: its method.
        """
        super().__init__(place)
        self._member = member

    def want(self, now_s: float, max_age_s: float) -> None:
        """Have it asked again, where what it said is older than that."""
        if self.tells and not 0 <= now_s - self.told_s < max_age_s:
            self.is_due = True

    def idle_s(self, now_s: float) -> float | None:
        """Seconds since the last input that it told of."""
        if self._idle_s is None:
            return None
        return max(0.0, now_s - self.told_s + self._idle_s)

    @property
    def is_present(self) -> bool:
        """Somebody is, until it told otherwise."""
        return True

    def call(self) -> Call:
        """Its method."""
        return Call(self.place.interface, self._member)

    def take(self, body: Sequence[object]) -> bool:
        """A number of milliseconds."""
        idle_ms = _count(body[0] if body else None)
        if idle_ms is None:
            return False
        self._idle_s = idle_ms / 1000.0
        return True

    def forget(self) -> None:
        """It has not told yet."""
        self._idle_s = None

    def found(self) -> str:
        """What it is good for."""
        return "tells the time since the last input"


class PropertyService(Service):
    """A service that keeps properties, and announces when they change."""

    def call(self) -> Call:
        """All properties."""
        return Call(PROPERTIES, "GetAll", "s", (self.place.interface,))

    def take(self, body: Sequence[object]) -> bool:
        """The properties."""
        return self.changed(body[0] if body else None)

    def changed(self, properties: object) -> bool:
        """Take in properties as a ``a{sv}``; whether it was one."""
        if not isinstance(properties, dict):
            return False
        for name, variant in properties.items():
            if not isinstance(variant, tuple) or len(variant) != 2:
                return False
            self.values[name] = variant[1]
        return True

    def forget(self) -> None:
        """No properties."""
        self.values: dict[str, object] = {}


class LoginManager(PropertyService):
    """Whether all sessions are idle, as their desktops or terminals say.

    A desktop that never says so leaves the hint at no since the beginning of time, which is then
    no hint.

    Source: org.freedesktop.login1(5).
    """

    @property
    def tells(self) -> bool:
        """Whether it is there, and its hint is one."""
        if not super().tells:
            return False
        return bool(self.fault) or self._hint is True or self._since_us > 0

    @property
    def is_present(self) -> bool:
        """Whether a session is not idle."""
        return self._hint is not True

    def idle_s(self, _: float) -> float | None:
        """Seconds since the last session became idle: the last input is longer ago than that."""
        if self._hint is not True or not self._since_us:
            return None
        return max(0.0, time.monotonic() - self._since_us / 1e6)

    def found(self) -> str:
        """What it is good for."""
        return "tells whether all sessions are idle"

    @property
    def _hint(self) -> object:
        return self.values.get("IdleHint")

    @property
    def _since_us(self) -> int:
        return _count(self.values.get("IdleSinceHintMonotonic")) or 0


class NetworkManager(PropertyService):
    """The state of the machine's connection.

    Source: NetworkManager D-Bus reference, ``NMState`` and ``NMMetered``.
    """

    @property
    def is_connected(self) -> bool | None:
        """Whether there is a way out of the local link."""
        state = _count(self.values.get("State"))
        return state >= _CONNECTED_SITE if state else None

    @property
    def is_metered(self) -> bool | None:
        """Whether traffic costs, a guess included."""
        return _METERED.get(_count(self.values.get("Metered")) or 0)

    def found(self) -> str:
        """The connection in words."""
        connected = {True: "connected", False: "not connected", None: "not known if connected"}
        metered = {True: "metered", False: "not metered", None: "not known if metered"}
        return f"{connected[self.is_connected]}, {metered[self.is_metered]}"


class PowerProfiles(PropertyService):
    """The power profile that is chosen.

    Source: power-profiles-daemon, ``org.freedesktop.UPower.PowerProfiles``.
    """

    @property
    def is_saving(self) -> bool | None:
        """Whether it is the one that saves power."""
        profile = self.values.get("ActiveProfile")
        return profile == "power-saver" if profile and isinstance(profile, str) else None

    def found(self) -> str:
        """The profile in words."""
        return {True: "power saver on", False: "power saver off", None: "not known"}[self.is_saving]


def _count(value: object) -> int | None:
    """The value, where it is a whole number of at least 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None
