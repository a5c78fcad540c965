"""``deferpower retry``: have tasks that did not succeed run again."""

from __future__ import annotations

from collections.abc import Iterator

from deferpower.cli import changing, parsing, queue_file, records
from deferpower.errors import ConfigError
from deferpower.tasks.manager import BackgroundTaskManager
from deferpower.tasks.record import TaskState

_SHARE = 1000

_EPILOG = f"""\
A task that failed, expired or was cancelled waits again, as if it had just been
submitted; its attempts are forgotten. What it comes after and failed waits
again with it. One that waits or runs is left as it is.

exit status:
  0, or 1 if there is no such task, or one that cannot run again, as one that
  has succeeded

{queue_file.HELP}

examples:
  deferpower retry 17
  deferpower retry --failed"""


def parser() -> parsing.Parser:
    """The options of ``retry``."""
    p = parsing.Parser(
        "retry",
        usage="deferpower retry ID...|--failed [--queue FILE] [--json]",
        summary="Have tasks that did not succeed run again.",
        epilog=_EPILOG,
    )
    records.add_ids(p, "*", "numbers of tasks")
    p.add_argument("--failed", action="store_true", help="all tasks that have failed")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Have the tasks wait again."""
    options = parser().parse(words)
    if bool(options.ids) == options.failed:
        raise ConfigError("which tasks? write their numbers, or --failed for all that have failed")
    with changing.Changes(options, may_be_missing=options.failed) as changes:
        for task_id in _failed(changes.manager) if options.failed else options.ids:
            changes.attempt(task_id, _retry)
        if options.failed and not changes.count:
            changes.note("no task has failed")
    return changes.exit_status


def _failed(manager: BackgroundTaskManager) -> Iterator[int]:
    before = None
    while found := manager.list([TaskState.FAILED], limit=_SHARE, before=before):
        before = found[-1].id
        yield from (record.id for record in found)


def _retry(manager: BackgroundTaskManager, task_id: int) -> changing.Answer:
    before = manager.get(task_id).state
    manager.retry(task_id)
    if before is TaskState.RUNNING:
        return changing.Answer(str(before), "left as it is: it runs")
    if not before.has_ended:
        return changing.Answer(str(before), "left as it is: it waits")
    return changing.Answer("enqueued", "waits again")
