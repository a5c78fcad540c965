"""Power supplies and USB-C ports in sysfs: which attributes are read, and that they stay open."""

# ruff: noqa: PTH118, PTH208 (names are bytes; pathlib is a slow import)

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from deferpower._contract import PowerRow, SourceRow
from deferpower._pure.parse.power import (
    HEAD,
    Supply,
    aggregate_power,
    attributes_beside,
    describe,
    is_empty_bay,
    is_online,
    kind,
    may_have_port,
)
from deferpower._pure.sys.held import ATTRIBUTE_BYTES, HeldFile

_UCSI_SOURCE = b"ucsi-source-psy-"


class Found(NamedTuple):
    """One entry of the directory, as last read.

    Attributes:
        name: of the entry.
        supply: its attributes.
        unreadable: attributes that are there, yet cannot be read.
        failure: why the whole entry cannot be read, as an error number.
    """

    name: bytes
    supply: Supply
    unreadable: list[str]
    failure: int | None


class Supplies:
    """All of ``sys/class/power_supply``."""

    def __init__(self, root: str, *, may_be_replaced: bool) -> None:
        self._where = os.path.join(root, "sys/class/power_supply")
        self._directory = os.fsencode(self._where)
        self._typec = os.fsencode(os.path.join(root, "sys/class/typec"))
        self._may_be_replaced = may_be_replaced
        self._held: dict[bytes, HeldFile] = {}
        self._asked: set[bytes] = set()
        self._found: list[Found] = []
        self._failure: int | None = None

    def read(self) -> PowerRow:
        """All supplies taken together, each attribute read now."""
        self._asked.clear()
        self._found, self._failure = [], None
        try:
            names = sorted(os.listdir(self._directory))
        except OSError as error:
            names, self._failure = [], error.errno
        for name in names:
            if not name.startswith(b"."):
                self._look_into(name)
        for path in self._held.keys() - self._asked:
            self._held.pop(path).close()
        return aggregate_power([found.supply for found in self._found if found.failure is None])

    def sources(self) -> list[SourceRow]:
        """The directory, and each supply."""
        if self._failure in (errno.ENOENT, errno.ENOTDIR):
            detail = "no such directory: a machine without a battery"
            return [("power", self._where, "absent", detail)]
        if self._failure is not None:
            detail = f"cannot be read: {os.strerror(self._failure)}"
            return [("power", self._where, "failing", detail)]
        count = len(self._found)
        detail = f"{count or 'no'} {'supplies' if count > 1 else 'supply'}"
        behind_ups = any(kind(found.supply) == "ups" for found in self._found)
        rows = [self._row(found, behind_ups) for found in self._found]
        return [("power", self._where, "ok", detail), *rows]

    def _row(self, found: Found, behind_ups: bool) -> SourceRow:
        where = os.path.join(self._where, found.name.decode("utf-8", "replace"))
        if found.failure is not None:
            return "power", where, "failing", f"cannot be read: {os.strerror(found.failure)}"
        detail = describe(found.supply, behind_ups)
        if not found.unreadable:
            return "power", where, "ok", detail
        names = ", ".join(found.unreadable)
        return "power", where, "failing", f"{detail}; cannot be read: {names}"

    def _look_into(self, name: bytes) -> None:
        directory = os.path.join(self._directory, name)
        try:
            os.close(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._found.append(Found(name, {}, [], error.errno))
            return
        supply: dict[str, bytes] = {}
        unreadable: list[str] = []
        for attribute in HEAD:
            self._ask(directory, attribute, supply, unreadable)
        for attribute in attributes_beside(supply):
            self._ask(directory, attribute, supply, unreadable)
            if attribute == "present" and "type" in supply and is_empty_bay(supply):
                break
        if kind(supply) == "adapter" and may_have_port(supply) and is_online(supply):
            role = self._power_role(name, directory)
            if role is not None:
                supply["power_role"] = role
        self._found.append(Found(name, supply, unreadable, None))

    def _ask(
        self, directory: bytes, attribute: str, supply: dict[str, bytes], unreadable: list[str]
    ) -> None:
        file = self._file(os.path.join(directory, attribute.encode()))
        text = file.read(ATTRIBUTE_BYTES)
        if text is not None:
            supply[attribute] = text
        elif not file.is_absent:
            unreadable.append(attribute)

    def _power_role(self, name: bytes, directory: bytes) -> bytes | None:
        """What the ports that belong to the supply say; ``None`` if there is none."""
        ports_in = os.path.join(directory, b"device/typec")
        ports = _ports(ports_in)
        if ports is None:
            ports_in = self._typec
            ports = _ports(ports_in) or []
        if name.startswith(_UCSI_SOURCE) and name[-1:] in b"123456789":
            own = b"port%d" % (int(name[-1:]) - 1)
            ports = [own] if own in ports else ports
        files = [self._file(os.path.join(ports_in, port, b"power_role")) for port in ports]
        roles = [role for file in files if (role := file.read(ATTRIBUTE_BYTES)) is not None]
        return b"\n".join(roles) if roles else None

    def _file(self, path: bytes) -> HeldFile:
        self._asked.add(path)
        file = self._held.get(path)
        if file is None:
            file = self._held[path] = HeldFile(path, may_be_replaced=self._may_be_replaced)
        file.look_again()
        return file


def _ports(directory: bytes) -> list[bytes] | None:
    """USB-C ports listed there, in order of name; ``None`` where there is no such directory."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        return None if error.errno in (errno.ENOENT, errno.ENOTDIR) else []
    return sorted(name for name in names if name.startswith(b"port") and name[4:].isdigit())
