"""``deferpower decide``: what would be done with a task on this machine as it is now, and why."""

from __future__ import annotations

import json
from typing import Any

from deferpower.cli import parsing
from deferpower.cli.facts import as_fields, idle_remark, settled_reading
from deferpower.policy import Policy
from deferpower.task import Task

_EPILOG = """\
The answer names the class of the task and the rule that gave it, every
condition that is not met, and how hard to work on it now (the processing
profile). Two looks at the machine, 0.3 s apart, tell its load; idleness takes a
minute to be seen, so here the machine never counts as idle.

examples:
  deferpower decide --type sync
  deferpower decide --description "rebuild the search index" --json"""


def parser() -> parsing.Parser:
    """The options of ``decide``."""
    p = parsing.Parser(
        "decide",
        usage="deferpower decide [--type T] [--description D] [--policy FILE] [--json]",
        summary="Decide about a task for the machine as it is now.",
        epilog=_EPILOG,
    )
    p.add_argument("--type", default="", metavar="T", help="kind of work, such as sync")
    p.add_argument("--description", default="", metavar="D", help="one line in plain words")
    parsing.add_policy(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the decision."""
    options = parser().parse(words)
    policy = Policy.load(options.policy)
    task = Task(type=options.type, description=options.description)
    scheduler = policy.scheduler()
    reading = settled_reading(scheduler.device)
    decision = scheduler.schedule_task(task, reading)
    classifier = policy.classifier()
    found = classifier.classify_task(task)
    power = reading.power
    profile = policy.processor(classifier).adjust_processing_for_battery(
        task,
        None if power is None else power.percent,
        True if power is None else power.plugged,
    )
    if options.json:
        fields: dict[str, Any] = {
            **as_fields(decision),
            "task_class": str(found.task_class),
            "rule": found.rule,
            "scheduled_time": decision.scheduled_time,
            "profile": profile._asdict(),
        }
        print(json.dumps(fields))
        return 0
    print(f"verdict  {str(decision.verdict).replace('_', ' ')}")
    print(f"class    {found.task_class} ({found.rule})")
    for number, reason in enumerate(decision.reasons):
        print(f"{'' if number else 'reasons':7}  {reason.sentence}")
    if remark := idle_remark(decision):
        print(f"note     {remark}")
    told = ", ".join(f"{name} {_text(value)}" for name, value in profile._asdict().items())
    print(f"profile  {told}")
    return 0


def _text(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
