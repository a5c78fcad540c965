"""Every recorded machine, read by both backends; what a tree is stands in tests/data/README.md."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from deferpower._contract import Backend, SampleRow
from deferpower.types import Cpu, Disk, IdleRules, Memory, Network, Power

DATA = Path(__file__).parent.parent / "data"
MACHINES = sorted(path.name for path in (DATA / "linux").iterdir() if path.is_dir())
PARTS: tuple[tuple[str, type[Any]], ...] = (
    ("power", Power),
    ("cpu", Cpu),
    ("memory", Memory),
    ("disk", Disk),
    ("network", Network),
)
FIELDS = {part: set(kind._fields) for part, kind in PARTS}
DECISIVE = {"present", "percent", "plugged", "state"}
# What the desktop tells, and what depends on the process that reads.
NOT_IN_FILES = {"network.connected", "network.metered", "cpu.own_percent"}


def describe(machine: str) -> dict[str, Any]:
    text = (DATA / "linux" / machine / "expected.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def named(row: SampleRow) -> dict[str, dict[str, object] | None]:
    """The parts of a row by name, each a mapping from field to value."""
    return {
        part: None if values is None else kind(*values)._asdict()
        for (part, kind), values in zip(PARTS, cast(tuple[Any, ...], row), strict=False)
    }


def same(seen: object, wanted: object) -> bool:
    if isinstance(wanted, float):
        return isinstance(seen, float) and math.isclose(seen, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return type(seen) is type(wanted) and seen == wanted


def differences(
    seen: Mapping[str, Mapping[str, object] | None], wanted: Mapping[str, Any]
) -> Iterator[str]:
    """One line for every figure that is not what the tree says."""
    for part, figures in wanted.items():
        got = seen[part]
        if figures is None or got is None:
            if figures is not got:
                yield f"{part}: expected {figures}, read {got}"
            continue
        for name, value in figures.items():
            if not same(got[name], value):
                yield f"{part}.{name}: expected {value!r}, read {got[name]!r}"


def change(root: Path, removed: list[str]) -> None:
    """Let the time between the two samples pass: things go, then things come."""
    for name in removed:
        path = root / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path)
    if (root / "later").is_dir():
        shutil.copytree(root / "later", root, symlinks=True, dirs_exist_ok=True)


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_reads_as_expected(
    machine: str, backend: Backend, tree: Callable[[str], Path]
) -> None:
    wanted = describe(machine)
    root = tree(machine)
    sampler = backend.Sampler(str(root), [], IdleRules()[:4])
    problems = [
        f"first sample: {line}"
        for line in differences(named(sampler.sample(1000.0, 0.0)), wanted["expected"])
    ]
    later = wanted.get("later")
    if later is not None:
        change(root, later.get("removed", []))
        row = sampler.sample(1000.0 + later["after_s"], 0.0)
        problems += [f"later: {line}" for line in differences(named(row), later["expected"])]
    assert not problems, "\n  ".join(["", wanted["title"], *problems])


def test_there_are_machines_of_every_kind() -> None:
    assert len(MACHINES) >= 45


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_is_described(machine: str) -> None:
    described = describe(machine)
    assert set(described) <= {"title", "source", "notes", "expected", "later"}
    assert described["title"].strip(), "a title says what machine it is, in what condition"
    assert described["source"].startswith("https://"), "a source is the address of a report"
    power = set(described["expected"]["power"])
    assert power >= DECISIVE, "what deciding rests on is given of every machine"
    steps = [described["expected"]]
    if "later" in described:
        later = described["later"]
        assert set(later) <= {"after_s", "removed", "expected"}
        assert isinstance(later["after_s"], float)
        assert later["after_s"] > 0
        steps.append(later["expected"])
    for step in steps:
        assert step, "something is expected"
        for part, figures in step.items():
            assert figures is None or set(figures) <= FIELDS[part]
            assert figures != {}, f"{part} expects nothing"


def test_every_field_is_told_by_two_machines() -> None:
    """A figure that no tree has would be tested by nothing but itself."""
    told: dict[str, set[str]] = {}
    for machine in MACHINES:
        described = describe(machine)
        for step in (described["expected"], described.get("later", {}).get("expected", {})):
            for part, figures in step.items():
                for name, value in (figures or {}).items():
                    if value is not None:
                        told.setdefault(f"{part}.{name}", set()).add(machine)
    fields = {f"{part}.{name}" for part, names in FIELDS.items() for name in names} - NOT_IN_FILES
    assert {name for name in fields if len(told.get(name, ())) < 2} == set()


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_holds_nothing_that_is_not_used(machine: str) -> None:
    directory = DATA / "linux" / machine
    described = describe(machine)
    holds = {path.name for path in directory.iterdir()}
    assert "expected.json" in holds
    assert holds <= {"proc", "sys", "later", "expected.json"}
    if "later" in holds:
        assert "later" in described, "later/ is never laid over the tree"
        assert {path.name for path in (directory / "later").iterdir()} <= {"proc", "sys"}
    for name in described.get("later", {}).get("removed", []):
        assert (directory / name).exists(), f"{name} is removed but was never there"
    names = [str(path.relative_to(directory)) for path in directory.rglob("*")]
    assert not [name for name in names if ":" in name], "a colon cannot be checked out everywhere"


def test_readme_lists_every_machine_with_its_title() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8").split("## The machines")[1]
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): row[1] for row in cells}
    assert listed == {machine: describe(machine)["title"] for machine in MACHINES}
