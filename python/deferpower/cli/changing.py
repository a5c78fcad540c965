"""Changing several tasks, one after the other: what became of each, in words or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from deferpower.cli import queue_file
from deferpower.cli.text import one_line
from deferpower.errors import TaskError
from deferpower.policy import Policy
from deferpower.tasks.manager import BackgroundTaskManager


class Answer(NamedTuple):
    """What became of a task.

    Attributes:
        state: where it stands now, for programs.
        words: the same for people.
        done: whether it is what was wanted.
    """

    state: str
    words: str
    done: bool = True


class Changes:
    """The queue, open for changes of single tasks.

    Attributes:
        manager: the queue.
        count: how many tasks were tried.
        exit_status: 0, or 1 once one could not be changed.
    """

    def __init__(self, options: argparse.Namespace, *, may_be_missing: bool = False) -> None:
        """Open the queue that the options name; they say ``json``, too.

        Args:
            options: the command line.
            may_be_missing: as for `queue_file.open_queue`.
        """
        self.manager = queue_file.open_queue(options, Policy(), may_be_missing=may_be_missing)
        self.count = 0
        self.exit_status = 0
        self._json = options.json
        self._told: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        """The queue."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, and print what is told all at once."""
        self.manager.close()
        if self._json:
            print(json.dumps(self._told))

    def attempt(self, task_id: int, change: Callable[[BackgroundTaskManager, int], Answer]) -> None:
        """Change a task, and tell what came of it; one that cannot be changed stops no other."""
        self.count += 1
        try:
            answer = change(self.manager, task_id)
        except TaskError as error:
            self.exit_status = 1
            self._told.append({"id": task_id, "error": str(error)})
            print(f"deferpower: {one_line(str(error))}", file=sys.stderr)
            return
        self.exit_status |= not answer.done
        self._told.append({"id": task_id, "state": answer.state, "done": answer.done})
        if not self._json:
            print(f"task {task_id}: {answer.words}")

    def note(self, text: str) -> None:
        """Say something to people."""
        if not self._json:
            print(text)
