"""Where there is no desktop: no bus, no jeepney, another root, or nobody who wants it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import deferpower
from deferpower import Device
from deferpower.desktop import Signals
from deferpower.types import Network, Reading, Source, User
from desktop.conftest import Clock

PACKAGES = str(Path(deferpower.__file__).parents[1])
DESKTOP = {"network", "power_saver", "user"}


def run(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": PACKAGES}
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_without_a_bus_nothing_is_imported(backend_name: str) -> None:
    program = (
        "import sys; from deferpower import Device\n"
        f"device = Device(backend={backend_name!r})\n"
        "reading = device.read(0)\n"
        "print(reading.user, reading.power_saver)\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('jeepney', 'deferpower.desktop'))))"
    )
    assert run(program).splitlines() == [
        "None None",
        "deferpower.desktop deferpower.desktop.services",
    ]


def test_without_jeepney_doctor_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bus"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={path}")
    out = run(
        "import sys; sys.modules['jeepney'] = None\n"
        "from deferpower import Device\n"
        "device = Device()\n"
        "print(device.read(0).user)\n"
        "print(*(s.detail for s in device.sources() if s.sensor == 'user'))"
    )
    listener.close()
    nobody, detail = out.splitlines()
    assert nobody == "None"
    assert "pip install 'deferpower[desktop]'" in detail
    assert "load alone tells" in detail


@pytest.mark.parametrize(
    "address",
    [
        "unix:path=",
        "tcp:host=localhost,port=1",
        "nonsense",
        ";;",
        "unix:path=%zz",
        "unix:abstract=x",
    ],
)
def test_an_address_that_leads_nowhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    device = Device()
    assert device.read(0).user is None
    assert all(s.status == "absent" for s in device.sources() if s.sensor in DESKTOP - {"network"})


def test_a_bus_that_talks_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a bus"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    monkeypatch.setenv(
        "DBUS_SESSION_BUS_ADDRESS", f"tcp:port=1;unix:path={tmp_path}/a%20bus,guid=1"
    )
    program = "import sys; exec(sys.stdin.read())"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PACKAGES},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            "from deferpower import Device\n"
            "device = Device()\n"
            "print(device.read(0).user)\n"
            "print(*(s.detail for s in device.sources() if s.sensor == 'user'))\n"
        )
        process.stdin.close()
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            connection.recv(1024)
            connection.sendall(b"OK 1234deadbeef\r\n")
            connection.sendall(b"\xff" * 4096)
            out = process.stdout.read()
        assert process.wait(30) == 0
    listener.close()
    nobody, detail = out.splitlines()
    assert nobody == "None"
    assert "load alone tells" in detail


class Told:
    """A desktop that says what a test wants."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def read(self, now_s: float, max_age_s: float, /) -> Signals:
        return self.signals

    def sources(self) -> list[Source]:
        return [Source("user", "a test", "ok", "as told")]


def read(root: Path, signals: Signals, clock: Clock) -> Reading:
    return Device(root=root, desktop=Told(signals), clock=clock).read(0)


def test_a_program_may_bring_its_own(tmp_path: Path, clock: Clock) -> None:
    user = User(5.0, True, "a test")
    reading = read(tmp_path, Signals(user, True, False, True), clock)
    assert (reading.user, reading.power_saver) == (user, True)
    assert reading.network == Network(None, None, True, False)
    assert read(tmp_path, Signals(), clock).network is None


def test_another_root_has_no_desktop(tmp_path: Path) -> None:
    device = Device(root=tmp_path)
    assert (device.read(0).user, device.read(0).power_saver) == (None, None)
    assert not DESKTOP - {"network"} & {source.sensor for source in device.sources()}


def test_it_can_be_left_out() -> None:
    sensors = {source.sensor for source in Device(desktop=False).sources()}
    assert not (DESKTOP - {"network"}) & sensors
    assert sensors >= {"cpu", "memory"}
