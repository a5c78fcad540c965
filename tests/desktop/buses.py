"""A session bus and a system bus of the tests' own, with mocked services on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from waiting import PATIENCE_S, until

SYSTEM_PYTHON = "/usr/bin/python3"
"""The interpreter that Debian's python3-dbusmock is installed for."""

_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
_MOCK = "org.freedesktop.DBus.Mock"


def missing_tools() -> str:
    """What these tests need and this machine lacks, and how to get it; empty when all is there."""
    if shutil.which("dbus-daemon") is None or shutil.which("gdbus") is None:
        return "no dbus-daemon or gdbus (apt-get install dbus libglib2.0-bin)"
    probe = [SYSTEM_PYTHON, "-c", "import dbusmock"]
    try:
        done = subprocess.run(probe, capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        return f"no {SYSTEM_PYTHON}"
    return "" if done.returncode == 0 else "no dbusmock (apt-get install python3-dbusmock)"


class Process:
    """A process that ends with the test."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        """Kill it, frozen or not, if it runs."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def freeze(self) -> None:
        """Stop it in its tracks, and return once it stands."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "frozen")

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


class MessageBus(Process):
    """A message bus."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.kind = kind
        self.socket = directory / f"{kind}_bus"
        self.address = f"unix:path={self.socket}"
        self._configuration = directory / f"{kind}.conf"
        self._configuration.write_text(_CONFIGURATION.format(socket=self.socket))
        self.start()

    def start(self) -> None:
        """Start it; also again, after it was ended."""
        self.socket.unlink(missing_ok=True)
        super().__init__(
            ["dbus-daemon", f"--config-file={self._configuration}", "--nofork", "--nopidfile"], {}
        )
        until(self._listens, f"the {self.kind} bus")

    def _listens(self) -> bool:
        # The file is there a moment before it takes calls.
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(self.socket)) == 0

    def connections(self) -> list[str]:
        """The names of all connections."""
        target = ["--dest", "org.freedesktop.DBus", "--object-path", "/org/freedesktop/DBus"]
        said = self._gdbus("call", *target, "--method", "org.freedesktop.DBus.ListNames")
        return re.findall(r":\d+\.\d+", said)

    def announce(self, to: str, path: str, interface: str, properties: str) -> None:
        """Tell one connection alone of changed properties, as who has no right to."""
        signal_name = "org.freedesktop.DBus.Properties.PropertiesChanged"
        target = ["--dest", to, "--object-path", path, "--signal", signal_name]
        self._gdbus("emit", *target, interface, properties, "@as []")

    def _gdbus(self, action: str, *words: str) -> str:
        command = ["gdbus", action, "--address", self.address, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Service(Process):
    """A mocked service; there when this returns."""

    def __init__(self, bus: MessageBus, *words: str) -> None:
        variable = f"DBUS_{bus.kind.upper()}_BUS_ADDRESS"
        super().__init__(
            [SYSTEM_PYTHON, "-m", "dbusmock", f"--{bus.kind}", *words],
            {variable: bus.address, "PYTHONWARNINGS": "ignore"},
        )
        self.bus = bus
        self.name, self.path, self.interface = words[-3:] if len(words) >= 3 else ("", "", "")


class Mock(Service):
    """A service made of methods and properties.

    Args of its methods are GVariant texts, as ``gdbus call`` takes them.
    """

    def __init__(self, bus: MessageBus, name: str, path: str, interface: str) -> None:
        super().__init__(bus, name, path, interface)
        self._wait_until_there()

    def _wait_until_there(self) -> None:
        command = ["gdbus", "wait", "--address", self.bus.address, "--timeout", "30", self.name]
        subprocess.run(command, check=True, timeout=PATIENCE_S + 5)

    def tell(self, method: str, *arguments: str) -> None:
        """Call a method of the mock's own interface."""
        call_mock(self.bus, self.name, self.path, method, *arguments)

    def answer(self, method: str, code: str, signature: str = "t") -> None:
        """Have a method answer by running code that sets ``ret``."""
        self.tell("AddMethod", self.interface, method, "", signature, code)


class Template(Mock):
    """A service by one of dbusmock's templates."""

    def __init__(
        self, bus: MessageBus, template: str, place: tuple[str, str, str], **parameters: object
    ) -> None:
        Service.__init__(self, bus, "--template", template, "--parameters", json.dumps(parameters))
        self.name, self.path, self.interface = place
        self._wait_until_there()

    def set(self, name: str, value: str) -> None:
        """Change properties, or add one that the template lacks, and announce it."""
        self.tell("UpdateProperties", self.interface, f"{{'{name}': {value}}}")


def call_mock(bus: MessageBus, name: str, path: str, method: str, *arguments: str) -> None:
    command = ["gdbus", "call", "--address", bus.address, "--dest", name, "--object-path", path]
    command += ["--method", f"{_MOCK}.{method}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
