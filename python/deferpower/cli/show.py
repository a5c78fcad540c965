"""``deferpower show``: everything about one task."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deferpower.cli import parsing, queue_file, records
from deferpower.cli.facts import settled_reading
from deferpower.cli.text import duration, moment, one_line
from deferpower.policy import Policy
from deferpower.tasks.record import Failure, TaskRecord
from deferpower.tasks.why import Why

_EPILOG = f"""\
--json prints the task with the names of deferpower.TaskRecord, its failed
attempts, and why it stands where it stands; moments are seconds since the
epoch.

exit status:
  0, or 1 if there is no such task

{queue_file.HELP}

examples:
  deferpower show 17
  deferpower show 17 --json | jq .error"""


def parser() -> parsing.Parser:
    """The options of ``show``."""
    p = parsing.Parser(
        "show",
        usage="deferpower show ID [--policy FILE] [--queue FILE] [--json]",
        summary="Show everything about one task.",
        epilog=_EPILOG,
    )
    records.add_ids(p, None, "number of the task")
    parsing.add_policy(p)
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the task."""
    options = parser().parse(words)
    manager = queue_file.open_queue(options, Policy.load(options.policy))
    try:
        record = manager.get(options.ids)
        failures = manager.failures(record.id)
        settled_reading(manager.device)
        why = manager.why(record.id, for_others=True)
    finally:
        manager.close()
    if options.json:
        told = {
            **records.fields(record),
            "failures": [failure._asdict() for failure in failures],
            "reasons": [reason._asdict() for reason in why.reasons],
        }
        print(json.dumps(told, indent=2))
        return 0
    rows = [row for row in _rows(record, why, failures) if row[1]]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        first, *rest = map(one_line, value.splitlines())
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")
    return 0


def _rows(record: TaskRecord, why: Why, failures: tuple[Failure, ...]) -> Iterator[tuple[str, str]]:
    spec = record.spec
    yield "task", str(record.id)
    yield "runs", records.title(record)
    yield "about", one_line(spec.description)
    yield "state", str(record.state)
    if not record.error or not record.state.has_ended:
        yield "why", "\n".join(one_line(reason.sentence) for reason in why.reasons)
    yield "class", f"{spec.task_class.value.replace('_', ' ')}, priority {spec.priority}"
    yield "submitted", moment(record.created_s)
    yield "due", moment(record.due_s) if record.due_s > record.created_s else ""
    yield "deadline", "" if record.deadline_s is None else moment(record.deadline_s)
    yield "every", "" if spec.every_s is None else duration(spec.every_s)
    yield "started", "" if record.started_s is None else moment(record.started_s)
    yield "ended", "" if record.finished_s is None else moment(record.finished_s)
    yield "attempts", f"{record.attempts} of {spec.max_attempts}"
    yield "crashes", str(record.crashes) if record.crashes else ""
    yield "key", one_line(record.key or "")
    yield "checkpoint", _text(record.checkpoint)
    yield "result", _text(record.result)
    yield "metadata", _text(record.metadata)
    yield "error", record.error or ""
    if len(failures) > 1 or not record.error:
        for failure in failures:
            last = one_line(failure.error.splitlines()[-1]) if failure.error else "no message"
            yield f"attempt {failure.attempt}", f"failed at {moment(failure.ended_s)}: {last}"


def _text(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)
