"""What the desktop tells over D-Bus: user input, network connection, power-saver profile.

SEMANTICS.md, "Desktop", holds the meaning. Where no bus is there, nothing is imported and nothing
asked; jeepney (extra ``desktop``) is imported once a bus is.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from deferpower.desktop.services import (
    IDLE_MONITOR,
    LOGIND,
    NETWORK_MANAGER,
    POWER_PROFILES,
    SCREEN_SAVER,
    IdleMonitor,
    LoginManager,
    NetworkManager,
    PowerProfiles,
    Service,
)
from deferpower.types import Source, User

if TYPE_CHECKING:
    from deferpower.desktop.bus import Connection

_CALL_TIMEOUT_S = 0.2  # a service on the same machine answers in a millisecond
_SLOW_CALL_TIMEOUT_S = 0.01  # one that once took longer is given this much
_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 60.0
_INPUT_MAX_AGE_S = 1.0

LOAD_ALONE = "load alone tells whether the machine is idle"


class Signals(NamedTuple):
    """What the desktop says now; ``None`` where nothing tells.

    Attributes:
        user: whether somebody uses the machine.
        connected: whether there is a way out of the local link.
        metered: whether traffic costs.
        power_saver: whether the power-saver profile is chosen.
    """

    user: User | None = None
    connected: bool | None = None
    metered: bool | None = None
    power_saver: bool | None = None


class SignalSource(Protocol):
    """What a `Device` asks: the message buses of this machine, or a stand-in."""

    def read(self, now_s: float, max_age_s: float, /) -> Signals:
        """What the desktop says; never raises, never waits for long.

        Args:
            now_s: now, on the device's time line.
            max_age_s: 0 asks for the time of the last input now.
        """

    def sources(self) -> list[Source]:
        """Where each signal comes from, as of the last `read`."""


class Desktop:
    """The services of this machine's message buses. For one thread at a time, in one process.

    What a bus announces is kept up to date from its signals, which are taken in at each `read`.
    """

    def __init__(self, user_idle_s: float) -> None:
        """Ask nothing yet.

        Args:
            user_idle_s: without input for this long, the user is away.
        """
        self._user_idle_s = user_idle_s
        self._inputs = (
            IdleMonitor(IDLE_MONITOR, "GetIdletime"),
            IdleMonitor(SCREEN_SAVER, "GetSessionIdleTime"),
        )
        self._login = LoginManager(LOGIND)
        self._network = NetworkManager(NETWORK_MANAGER)
        self._profiles = tuple(PowerProfiles(place) for place in POWER_PROFILES)
        self._buses = (
            _Bus("session", session_addresses(), self._inputs),
            _Bus("system", system_addresses(), (self._login, self._network, *self._profiles)),
        )
        self._user_seen = ""

    def read(self, now_s: float, max_age_s: float, /) -> Signals:
        """What the desktop says. Cost: two system calls per bus; none where there is no bus.

        The time of the last input is asked for once a second at most, which takes a fraction of
        a millisecond. A service that does not answer holds this up for 0.2 s once, then for
        0.01 s at most.
        """
        session, system = self._buses
        if not (session.is_there(now_s) | system.is_there(now_s)) and not self._user_seen:
            return _NOTHING
        for service in self._inputs:
            if not service.tells:
                continue
            service.want(now_s, _INPUT_MAX_AGE_S if max_age_s > 0 else 0.0)
            break
        for bus in self._buses:
            bus.take_in(now_s)
        profile = next((p.is_saving for p in self._profiles if p.tells), None)
        return Signals(
            self._user(now_s), self._network.is_connected, self._network.is_metered, profile
        )

    def _user(self, now_s: float) -> User | None:
        for service in (*self._inputs, self._login):
            if service.tells:
                self._user_seen = service.place.name
                if service.fault:
                    return User(None, True, service.place.name)
                idle_s = service.idle_s(now_s)
                present = service.is_present if idle_s is None else idle_s < self._user_idle_s
                return User(idle_s, present, service.place.name)
        # One that was there and is gone cannot tell that the user is away.
        return User(None, True, self._user_seen) if self._user_seen else None

    def sources(self) -> list[Source]:
        """Where each signal comes from, or why it does not."""
        return [
            self._source("user", (*self._inputs, self._login), LOAD_ALONE),
            self._source("network", (self._network,), "not known whether connected or metered"),
            self._source("power_saver", self._profiles, "no power profiles"),
        ]

    def _source(self, sensor: str, services: tuple[Service, ...], otherwise: str) -> Source:
        for service in services:
            if service.tells:
                name, fault = service.place.name, service.fault
                if fault:
                    return Source(sensor, name, "failing", fault)
                return Source(sensor, name, "ok", service.found())
        names = ", ".join(service.place.name for service in services)
        if sensor == "user" and self._user_seen:
            detail = f"{self._user_seen} is gone; the user counts as present"
            return Source(sensor, self._user_seen, "failing", detail)
        reasons = {
            bus.why_not: None
            for bus in self._buses
            if bus.why_not and any(service in bus.services for service in services)
        }
        return Source(sensor, names, "absent", "; ".join([*reasons, otherwise]))


_NOTHING = Signals()


class _Bus:
    """One message bus: looked for, connected to, lost, found again.

    Attributes:
        why_not: why there is no connection; empty while there is one.
    """

    def __init__(
        self, name: str, addresses: tuple[str, ...], services: tuple[Service, ...]
    ) -> None:
        self.services = services
        self.why_not = f"no {name} bus"
        self._name = name
        self._addresses = addresses
        self._connection: Connection | None = None
        self._retry_s = _RETRY_MOST_S
        self._next_try_s = -math.inf

    def is_there(self, now_s: float) -> bool:
        """Whether there is a connection, after a try to make one where that is due."""
        if self._connection is not None:
            return True
        if now_s < self._next_try_s:
            return False
        self._next_try_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, _RETRY_MOST_S)
        address = next(filter(_may_listen, self._addresses), None)
        if address is None:
            self.why_not = f"no {self._name} bus"
            return False
        self._connect(address)
        return self._connection is not None

    def _connect(self, address: str) -> None:
        try:
            from deferpower.desktop.bus import Connection
        except ImportError:
            self.why_not = "jeepney is not installed (pip install 'deferpower[desktop]')"
            self._next_try_s = math.inf
            return
        try:
            self._connection = Connection(address, _CALL_TIMEOUT_S)
            for service in self.services:
                self._connection.watch(service)
        except Exception as error:  # what comes out of a socket may fail in any way
            self._lose(f"the {self._name} bus does not answer: {error}")
            return
        self.why_not = ""
        self._retry_s = _RETRY_FIRST_S

    def take_in(self, now_s: float) -> None:
        """Hear what was announced, ask what is due, and wait a little for the answers."""
        connection = self._connection
        if connection is None:
            return
        try:
            while True:
                connection.receive(now_s)
                for service in self.services:
                    connection.ask_if_due(service)
                wait_s = self._patience_s(time.monotonic())
                if wait_s <= 0:
                    break
                connection.wait(wait_s)
        except Exception as error:  # see above
            self._lose(f"the {self._name} bus is lost: {error}")

    def _patience_s(self, real_s: float) -> float:
        """How much longer to wait: until each service has answered or had its time."""
        longest_s = 0.0
        for service in self.services:
            if service.asked_real_s is None:
                continue
            waited_s = real_s - service.asked_real_s
            allowed_s = _CALL_TIMEOUT_S if service.is_prompt else _SLOW_CALL_TIMEOUT_S
            longest_s = max(longest_s, allowed_s - waited_s)
            if waited_s >= _CALL_TIMEOUT_S:
                service.late()
        return longest_s

    def _lose(self, why: str) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.why_not = why
        for service in self.services:
            service.vanished()


def session_addresses() -> tuple[str, ...]:
    """Where the session bus may listen, as addresses of sockets."""
    given = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if given or os.name != "posix":
        return _sockets(given or "")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return (f"{runtime}/bus",)


def system_addresses() -> tuple[str, ...]:
    """Where the system bus may listen, as addresses of sockets."""
    given = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    if given or os.name != "posix":
        return _sockets(given or "")
    return ("/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket")


def _sockets(addresses: str) -> tuple[str, ...]:
    """The Unix sockets among D-Bus addresses; an abstract one begins with NUL.

    Source: D-Bus specification, "Server Addresses".
    """
    found = []
    for address in addresses.split(";"):
        transport, _, rest = address.partition(":")
        if transport.strip() != "unix":
            continue
        for pair in rest.split(","):
            key, _, value = pair.partition("=")
            if key in ("path", "abstract") and value:
                found.append("\0" * (key == "abstract") + _unescaped(value))
    return tuple(found)


def _unescaped(text: str) -> str:
    head, *parts = text.split("%")
    data = head.encode()
    for part in parts:
        try:
            data += bytes.fromhex(part[:2]) + part[2:].encode()
        except ValueError:
            data += b"%" + part.encode()
    return os.fsdecode(data)


def _may_listen(address: str) -> bool:
    return address.startswith("\0") or os.path.exists(address)  # noqa: PTH110 (slow import)
