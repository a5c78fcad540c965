"""What waits for what, as people and programs at a shell are told."""

from __future__ import annotations

from typing import Any

from deferpower.cli.text import counted, duration
from deferpower.tasks.overview import Overview, Waiting
from deferpower.tasks.record import TaskState
from deferpower.tasks.spec import COMMAND

_LATER = {"not_due", "backoff", "periodic"}
_MOST_NAMES = 4


def waiting_count(overview: Overview) -> int:
    """How many tasks wait for anything."""
    return overview.counts[TaskState.ENQUEUED] + overview.counts[TaskState.BLOCKED]


def headline(overview: Overview) -> str:
    """How many wait, and who runs them."""
    waiting = waiting_count(overview)
    what = f"{counted(waiting, 'task')} {'waits' if waiting == 1 else 'wait'}"
    if not waiting:
        what = "nothing waits"
    if not overview.workers:
        return what + ("; no worker runs, start one with deferpower worker" if waiting else "")
    pids = ", ".join(map(str, overview.workers))
    return f"{what}; a worker runs (process {pids})"


def rows(overview: Overview, now_s: float) -> list[tuple[str, str]]:
    """A row for each group: how many, and for what they wait."""
    return [(str(group.size), _sentence(group, overview, now_s)) for group in overview.waiting]


def _sentence(group: Waiting, overview: Overview, now_s: float) -> str:
    """For what a group waits, and who they are."""
    text = group.sentence
    if not group.reasons and overview.counts[TaskState.RUNNING]:
        text = "may run once a place is free"
    if group.next_s is not None and _is_later(group):
        text += f"; the first in {duration(max(group.next_s - now_s, 0.0))} (task {group.first})"
    functions = [name for name in group.names if name != COMMAND]
    if functions:
        more = ", ..." if len(functions) > _MOST_NAMES else ""
        text += f" ({', '.join(functions[:_MOST_NAMES])}{more})"
    return text


def _is_later(group: Waiting) -> bool:
    """Whether time alone keeps it."""
    return {reason.code for reason in group.reasons} <= _LATER and bool(group.reasons)


def group_fields(group: Waiting) -> dict[str, Any]:
    """A group, for JSON."""
    return {
        "size": group.size,
        "names": list(group.names),
        "first": group.first,
        "next_s": group.next_s,
        "reasons": [reason._asdict() for reason in group.reasons],
    }


def overview_fields(overview: Overview) -> dict[str, Any]:
    """What waits for what, for JSON."""
    return {
        "counts": {str(state): number for state, number in overview.counts.items()},
        "workers": list(overview.workers),
        "waiting": [group_fields(group) for group in overview.waiting],
    }
