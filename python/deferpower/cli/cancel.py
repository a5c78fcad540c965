"""``deferpower cancel``: take tasks out of the queue, or have running ones stop."""

from __future__ import annotations

from deferpower.cli import changing, parsing, queue_file, records
from deferpower.tasks.manager import BackgroundTaskManager
from deferpower.tasks.record import TaskState

_EPILOG = f"""\
A waiting task is cancelled at once, and with it fail those that come after it.
A running one is asked to stop, and is cancelled when it has: a command gets
SIGTERM, and 10 s later SIGKILL.

exit status:
  0 if each task is or will be cancelled; 1 if there is no such task, or it had
  ended otherwise before

{queue_file.HELP}

examples:
  deferpower cancel 17
  deferpower cancel 17 18 --json"""


def parser() -> parsing.Parser:
    """The options of ``cancel``."""
    p = parsing.Parser(
        "cancel",
        usage="deferpower cancel ID... [--queue FILE] [--json]",
        summary="Take tasks out of the queue, or have running ones stop.",
        epilog=_EPILOG,
    )
    records.add_ids(p, "+", "numbers of tasks")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Cancel the tasks."""
    options = parser().parse(words)
    with changing.Changes(options) as changes:
        for task_id in options.ids:
            changes.attempt(task_id, _cancel)
    return changes.exit_status


def _cancel(manager: BackgroundTaskManager, task_id: int) -> changing.Answer:
    before = manager.cancel(task_id)
    if before is TaskState.RUNNING:
        return changing.Answer("stopping", "it runs and was asked to stop")
    if not before.has_ended or before is TaskState.CANCELLED:
        return changing.Answer("cancelled", "cancelled")
    return changing.Answer(str(before), f"not cancelled: it has {_ENDED[before]}", done=False)


_ENDED = {
    TaskState.SUCCEEDED: "succeeded",
    TaskState.FAILED: "failed",
    TaskState.EXPIRED: "expired",
}
