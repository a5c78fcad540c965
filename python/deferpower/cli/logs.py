"""``deferpower logs``: what a command of the queue has written."""

from __future__ import annotations

import base64
import json
import sys

from deferpower.cli import parsing, queue_file
from deferpower.errors import ConfigError, TaskError
from deferpower.policy import Policy
from deferpower.tasks.spec import COMMAND

_EPILOG = f"""\
Standard output and standard error stand there together, as they came, a second
later at most. Of a long output the beginning (256 KiB) and the end (768 KiB)
are kept; a line in between says how much was left out. It is forgotten with the
task, a day after that has ended unless the worker says otherwise.

--json prints an object for each piece of output: id, text and, where the bytes
are not UTF-8, base64 (else null).

{queue_file.HELP}

examples:
  deferpower logs 7
  deferpower logs 7 --follow"""


def parser() -> parsing.Parser:
    """The options of ``logs``."""
    p = parsing.Parser(
        "logs",
        usage="deferpower logs ID [OPTION...]",
        summary="Show what a command of the queue has written.",
        epilog=_EPILOG,
    )
    p.add_argument("id", type=parsing.task_id, metavar="ID", help="number of the task")
    p.add_argument("--follow", action="store_true", help="go on until the command has ended")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON lines")
    return p


def execute(words: list[str]) -> int:
    """Print the output of a command."""
    if not words:
        raise ConfigError("logs: of which task? write deferpower logs ID")
    options = parser().parse(words)
    queue = queue_file.open_queue(options, Policy())
    try:
        record = queue.get(options.id)
        if record.name != COMMAND:
            raise TaskError(f"task {record.id}: a function, which has no output of its own")
        pieces = queue.follow_logs(record.id) if options.follow else [queue.logs(record.id)]
        if record.started_s is None:
            print(f"task {record.id} has not begun yet", file=sys.stderr)
        for data in pieces:
            _print(record.id, data, as_json=options.json)
    finally:
        queue.close()
    return 0


def _print(task_id: int, data: bytes, *, as_json: bool) -> None:
    if not as_json:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        text, encoded = data.decode(), None
    except UnicodeDecodeError:
        text, encoded = data.decode(errors="replace"), base64.b64encode(data).decode()
    print(json.dumps({"id": task_id, "text": text, "base64": encoded}), flush=True)
