"""Buses, mocked services and a device, each of one test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from deferpower import Device
from deferpower.desktop import Desktop
from desktop.buses import MessageBus, Mock, Process, Template, missing_tools

_M = TypeVar("_M", bound=Process)

MUTTER = (
    "org.gnome.Mutter.IdleMonitor",
    "/org/gnome/Mutter/IdleMonitor/Core",
    "org.gnome.Mutter.IdleMonitor",
)
SCREEN_SAVER = (
    "org.freedesktop.ScreenSaver",
    "/org/freedesktop/ScreenSaver",
    "org.freedesktop.ScreenSaver",
)
LOGIND = (
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
)
NETWORK_MANAGER = (
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
)
PROFILES = (
    "org.freedesktop.UPower.PowerProfiles",
    "/org/freedesktop/UPower/PowerProfiles",
    "org.freedesktop.UPower.PowerProfiles",
)
OLD_PROFILES = (
    "net.hadess.PowerProfiles",
    "/net/hadess/PowerProfiles",
    "net.hadess.PowerProfiles",
)


class Clock:
    """The device's time, which passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Buses:
    """A session bus and a system bus, and the mocks on them."""

    def __init__(self, directory: Path) -> None:
        self.session = MessageBus(directory, "session")
        self.system = MessageBus(directory, "system")
        self._mocks: list[Process] = []

    def mutter(self, idle_ms: int) -> Mock:
        """GNOME's monitor of input."""
        mock = self._keep(Mock(self.session, *MUTTER))
        mock.answer("GetIdletime", f"ret = {idle_ms}")
        return mock

    def screen_saver(self, code: str) -> Mock:
        """The freedesktop screen saver, as KDE's."""
        mock = self._keep(Mock(self.session, *SCREEN_SAVER))
        mock.answer("GetSessionIdleTime", code, "u")
        return mock

    def logind(self, **properties: object) -> Template:
        """The login manager, by dbusmock's template."""
        return self._keep(Template(self.system, "logind", LOGIND, **properties))

    def network_manager(self, state: int, metered: str | None) -> Template:
        """NetworkManager, by dbusmock's template, which lacks the property Metered."""
        mock = Template(self.system, "networkmanager", NETWORK_MANAGER, State=state)
        self._mocks.append(mock)
        if metered is not None:
            mock.tell("AddProperty", mock.interface, "Metered", metered)
        return mock

    def old_profiles(self, profile: str) -> Template:
        """power-profiles-daemon under its first name, by dbusmock's template."""
        return self._keep(
            Template(self.system, "power_profiles_daemon", OLD_PROFILES, ActiveProfile=profile)
        )

    def profiles(self, value: str) -> Mock:
        """power-profiles-daemon under its present name."""
        mock = self._keep(Mock(self.system, *PROFILES))
        mock.tell("AddProperty", mock.interface, "ActiveProfile", value)
        return mock

    def end(self) -> None:
        """End all that runs."""
        for process in (*self._mocks, self.session, self.system):
            process.end()

    def _keep(self, mock: _M) -> _M:
        self._mocks.append(mock)
        return mock


@pytest.fixture(scope="session")
def tools() -> None:
    """On a machine of one's own the tools may be missing; where changes are checked, never."""
    missing = missing_tools()
    if missing and os.environ.get("CI"):
        pytest.fail(f"the desktop's tests cannot run: {missing}")
    if missing:
        pytest.skip(f"mocked services are needed: {missing}")


@pytest.fixture
def buses(tools: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buses]:
    made = Buses(tmp_path)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", made.session.address)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", made.system.address)
    yield made
    made.end()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_device(clock: Clock) -> Callable[[], Device]:
    """Opens a device of this machine, with the desktop that the environment tells of."""
    return lambda: Device(clock=clock)


class QuietMachine:
    """A device tree without load, read with the desktop of the environment."""

    def __init__(self, root: Path, backend: str, clock: Clock) -> None:
        self._stat = root / "proc/stat"
        self._stat.parent.mkdir(parents=True)
        self._clock = clock
        self._live()
        self.device = Device(root=root, backend=backend, desktop=Desktop(60.0), clock=clock)

    def _live(self) -> None:
        idle_ticks = int(self._clock.now * 100)
        self._stat.write_text(f"cpu  0 0 0 {idle_ticks} 0 0 0 0 0 0\ncpu0 1 1 1 1\n")

    def pass_quietly(self, seconds: float) -> None:
        """Let time pass in which nothing happens, with readings every 10 s."""
        end = self._clock.now + seconds
        while self._clock.now < end:
            self._clock.now += 10.0
            self._live()
            self.device.read(max_age_s=0)


@pytest.fixture
def quiet_machine(buses: Buses, tmp_path: Path, backend_name: str, clock: Clock) -> QuietMachine:
    return QuietMachine(tmp_path / "machine", backend_name, clock)
