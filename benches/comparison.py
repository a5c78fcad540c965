"""What one thing costs each contender, with ratios and targets, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

OURS = "deferpower"


class Target(NamedTuple):
    """Whose it is, what is aimed at and what was seen, and whether that is enough."""

    who: str
    text: str
    met: bool


@dataclass(frozen=True)
class Comparison:
    """What one thing costs each contender.

    Attributes:
        what: the thing.
        costs: for each contender a figure per round; lower is better.
        show: a figure in words, with its unit.
        targets: what is aimed at, and whether it is met.
        floors: contenders that are no peers, but what lies beneath.
        remarks: by contender, how it does the thing.
    """

    what: str
    costs: Mapping[str, Sequence[float]]
    show: Callable[[float], str]
    targets: Sequence[Target] = ()
    floors: frozenset[str] = frozenset()
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def peers(self) -> list[str]:
        return [name for name in self.costs if not is_ours(name) and name not in self.floors]

    @property
    def winners(self) -> list[str]:
        """Peers that do better than deferpower."""
        if OURS not in self.costs:
            return []
        return [name for name in self.peers if self._is_cheaper(name)]

    def _is_cheaper(self, name: str) -> bool:
        multiple = ratio(self.costs[name], self.costs[OURS])
        return multiple is not None and multiple < 1

    def beside_ours(self, name: str) -> str:
        """Its cost as a multiple of deferpower's."""
        if name == OURS or OURS not in self.costs:
            return ""
        multiple = ratio(self.costs[name], self.costs[OURS])
        if multiple is None:
            return ""
        return f"{multiple:.2f}x" if multiple < 10 else f"{multiple:,.0f}x"


def is_ours(name: str) -> bool:
    return name.startswith(OURS)


def ratio(costs: Sequence[float], others: Sequence[float]) -> float | None:
    """How many times as much; by rounds where both were there, since they took turns."""
    if len(costs) == len(others) and all(others):
        return statistics.median(cost / other for cost, other in zip(costs, others, strict=True))
    other = statistics.median(others)
    return statistics.median(costs) / other if other else None


def more(costs: Sequence[float], others: Sequence[float]) -> float:
    """How much more, by rounds."""
    return statistics.median(cost - other for cost, other in zip(costs, others, strict=True))


def at_most(costs: Mapping[str, Sequence[float]], name: str, other: str, times: float) -> Target:
    """Aims at so many times the other's cost."""
    seen = ratio(costs[name], costs[other])
    assert seen is not None
    return Target(name, f"at most {times:g}x {other}: {seen:.2f}x", seen <= times)


def times_cheaper(
    costs: Mapping[str, Sequence[float]], others: Sequence[str], times: float
) -> Target:
    """Aims at a fraction of the cost of whoever is the cheapest of the others."""
    best = min(others, key=lambda name: statistics.median(costs[name]))
    seen = ratio(costs[best], costs[OURS])
    assert seen is not None
    return Target(OURS, f"{times:g}x cheaper than {best}: {seen:.1f}x", seen >= times)


def below(
    costs: Mapping[str, Sequence[float]], name: str, limit: float, show: Callable[[float], str]
) -> Target:
    return Target(name, f"under {show(limit)}", statistics.median(costs[name]) < limit)


def duration(seconds: float) -> str:
    if abs(seconds) < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    if abs(seconds) < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.1f} ms"


def mebibytes(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


def count(number: float) -> str:
    return f"{number:,.0f}"


def in_brief(comparisons: Sequence[Comparison]) -> str:
    """A line for each: deferpower's figure, the others as multiples of it, the target."""
    lines = [("what", "deferpower", "others, as multiples of it", "target", "met")]
    for one in comparisons:
        if OURS not in one.costs:
            continue
        others = []
        for name, costs in one.costs.items():
            if name != OURS:
                beside = one.beside_ours(name) or one.show(statistics.median(costs))
                emphasis = "**" if name in one.winners else ""
                others.append(f"{name} {emphasis}{beside}{emphasis}")
        targets = "; ".join(target.text for target in one.targets)
        met = ", ".join(map(_met, one.targets))
        ours = one.show(statistics.median(one.costs[OURS]))
        lines.append((one.what, ours, ", ".join(others), targets, met))
    return _table(lines)


def in_full(comparisons: Sequence[Comparison]) -> str:
    """A line for each contender: median, quartiles, multiple of deferpower's, target."""
    lines = [("what", "who", "median", "quartiles", "beside deferpower", "target", "met")]
    for one in comparisons:
        for name, costs in one.costs.items():
            median = one.show(statistics.median(costs))
            targets = [target for target in one.targets if target.who == name]
            aim = "; ".join(target.text for target in targets), ", ".join(map(_met, targets))
            spread = _quartiles(one, costs)
            lines.append((one.what, name, median, spread, one.beside_ours(name), *aim))
    remarks = {f"- {who}: {how}" for one in comparisons for who, how in one.remarks.items()}
    return "\n".join([_table(lines), "", *sorted(remarks)]).rstrip()


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Which targets are missed, and where a peer does better."""
    targets = [
        (f"{one.what}, {target.who}", target) for one in comparisons for target in one.targets
    ]
    missed = [f"- {what}: {target.text}" for what, target in targets if not target.met]
    lines = [f"{len(targets) - len(missed)} of {len(targets)} targets are met."]
    if missed:
        lines += ["", "Missed:", "", *missed]
    lost = [
        f"- {one.what}: {name}, {one.beside_ours(name)}"
        for one in comparisons
        for name in one.winners
    ]
    if lost:
        lines += ["", "Where a peer does better:", "", *lost]
    return "\n".join(lines)


def _met(target: Target) -> str:
    return "yes" if target.met else "**no**"


def _quartiles(one: Comparison, costs: Sequence[float]) -> str:
    if len(costs) < 2:
        return ""
    low, _, high = statistics.quantiles(costs, n=4, method="inclusive")
    return f"{one.show(low)} to {one.show(high)}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    head, *body = lines
    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, body)])
