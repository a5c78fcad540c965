"""``deferpower doctor``: where each sensor is read, and why one is not."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from deferpower.cli import parsing
from deferpower.cli.facts import version
from deferpower.device import Device
from deferpower.types import Source

_REQUIREMENT = re.compile(r"""([\w.-]+).*?(?:extra\s*==\s*["']([\w.-]+)["'])?$""", re.ASCII)

_EPILOG = """\
exit status:
  0, or 1 when a sensor is there but cannot be read ("failing"). A sensor that
  this machine does not have is "absent" and no fault

examples:
  deferpower doctor
  DEFERPOWER_ROOT=fixtures/laptop deferpower doctor --json"""


def parser() -> parsing.Parser:
    """The options of ``doctor``."""
    p = parsing.Parser(
        "doctor",
        usage="deferpower doctor [--json]",
        summary="Show which backend reads the sensors, where each is read, and why one is not.",
        epilog=_EPILOG,
    )
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print what is there; the exit status tells of a failing sensor."""
    options = parser().parse(words)
    device = Device()
    sources = device.sources()
    facts = _facts(device)
    if options.json:
        fields = {**facts, "sensors": [source._asdict() for source in sources]}
        print(json.dumps(fields, indent=2))
    else:
        _print(facts, sources)
    return int(any(source.status == "failing" for source in sources))


class Package(NamedTuple):
    """Another distribution that deferpower uses.

    Attributes:
        extra: the extra that asks for it, ``None`` where it is always needed.
        version: the installed version, ``None`` when it is not installed.
    """

    name: str
    extra: str | None
    version: str | None


def _facts(device: Device) -> dict[str, Any]:
    return {
        "deferpower": version(),
        "backend": device.backend_name,
        "backend_reason": device.backend_reason,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "root": device.root,
        "packages": [package._asdict() for package in _packages()],
    }


def _packages() -> Iterator[Package]:
    try:
        requirements = metadata.requires("deferpower") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        name, extra = match.groups()
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = None
        yield Package(name, extra, installed)


def _print(facts: dict[str, Any], sources: list[Source]) -> None:
    rows = [
        ("deferpower", facts["deferpower"]),
        ("backend", f"{facts['backend']} ({facts['backend_reason']})"),
        ("python", facts["python"]),
        ("platform", facts["platform"]),
        ("root", facts["root"]),
    ]
    for package in facts["packages"]:
        extra = f" (extra {package['extra']})" if package["extra"] else ""
        rows.append((package["name"], (package["version"] or "not installed") + extra))
    for name, value in rows:
        print(f"{name}: {value}")
    print("\nsensors")
    _print_columns([(f"  {s.sensor}", s.status, s.where, s.detail) for s in sources])


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
