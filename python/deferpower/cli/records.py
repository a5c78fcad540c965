"""Tasks of the queue as people and programs are shown them."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from deferpower.cli import parsing
from deferpower.cli.text import duration, one_line
from deferpower.tasks.record import TaskRecord, TaskState
from deferpower.tasks.spec import COMMAND


def add_ids(parser: argparse._ActionsContainer, nargs: str | None, summary: str) -> None:
    """Add the ids of tasks, which follow the options."""
    parser.add_argument("ids", nargs=nargs, type=parsing.task_id, metavar="ID", help=summary)


def fields(record: TaskRecord) -> dict[str, Any]:
    """A task with the names of `deferpower.TaskRecord`, for JSON."""
    return {
        **record._asdict(),
        "state": str(record.state),
        "spec": json.loads(record.spec.to_text()),
    }


def title(record: TaskRecord) -> str:
    """What is run: a command line, or a function with its arguments."""
    if record.name == COMMAND:
        return one_line(shlex.join(record.kwargs.get("argv", ())))
    given = [json.dumps(value, ensure_ascii=False) for value in record.args]
    given += [f"{name}={json.dumps(v, ensure_ascii=False)}" for name, v in record.kwargs.items()]
    return one_line(f"{record.name}({', '.join(given)})")


def since_s(record: TaskRecord) -> float:
    """Since when it stands where it stands, seconds since the epoch."""
    if record.state is TaskState.RUNNING and record.started_s is not None:
        return record.started_s
    return record.finished_s or record.created_s


def remark(record: TaskRecord, now_s: float) -> str:
    """What else there is to say about it, in a few words; may be empty."""
    if record.state is TaskState.RUNNING:
        return one_line(record.note or "")
    if record.state is TaskState.BLOCKED:
        return "after other tasks"
    last = one_line(record.error.splitlines()[-1]) if record.error else ""
    if record.state is TaskState.ENQUEUED:
        due = f"due in {duration(record.due_s - now_s)}" if record.due_s > now_s else ""
        failed = f"attempt {record.attempts} failed: {last}" if last else ""
        return ", ".join(filter(None, (due, failed)))
    return last
