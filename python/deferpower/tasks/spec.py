"""What is to be done and how: `Spec`, the part that all calls of one function share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from deferpower.constraints import ANYTIME, Constraints, Window
from deferpower.errors import TaskError
from deferpower.task import Task, TaskClass, Verdict
from deferpower.thresholds import is_number

Priority = Literal["high", "normal", "low"]
COMMAND = "command"
"""The name under which commands of a shell are kept; no function can have it."""

MOST_CRASHES = 3
"""A task that was running when its worker died so many times is not run again."""

# Critical work goes before all other.
_PRIORITIES = {"high": 1, "normal": 0, "low": -1}
_CRITICAL_RAISE = 10


class _Noted:
    """Room for what a queue notes on a spec; no part of its value."""

    __slots__ = ("_known",)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec(_Noted):
    """How a task is to be run; kept once for all tasks that share it.

    Attributes:
        name: the name that its function is registered by.
        task_class: how it is treated when power is scarce.
        type: kind of work.
        description: one line in plain words.
        priority: which of several goes first.
        constraints: what must hold.
        prefer: what is waited for, but not for ever.
        on_deadline: run at the deadline whatever holds, or give up.
        override: a verdict that always wins.
        max_attempts: runs that may fail before it has failed for good.
        backoff_s: longest wait before the second attempt; doubled for each further one,
        backoff_cap_s: up to this.
        timeout_s: seconds after which a run is told to stop and counts as failed.
        at_most_once: never run a second time, not even if the first one's end is unknown.
        every_s: runs again in each period of this length.
        flex_s: the last part of each period, in which it may start.
        pauses: whether it is told to stop when its conditions fall away; a command is frozen.

    Raises:
        TaskError: a value has the wrong type or is out of range; the message names it.
    """

    name: str
    task_class: TaskClass = TaskClass.NORMAL
    type: str = ""
    description: str = ""
    priority: Priority = "normal"
    constraints: Constraints = ANYTIME
    prefer: Constraints = ANYTIME
    on_deadline: Literal["run", "expire"] = "run"
    override: Verdict | None = None
    max_attempts: int = 5
    backoff_s: float = 30.0
    backoff_cap_s: float = 18_000.0
    timeout_s: float | None = None
    at_most_once: bool = False
    every_s: float | None = None
    flex_s: float | None = None
    pauses: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TaskError(f"task: {self.name!r} is no name; give a text that is not empty")
        checked = self.task(0.0, None)  # checks what deciding needs
        for name in ("task_class", "override"):
            object.__setattr__(self, name, getattr(checked, name))
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise self._wrong("max_attempts", "a whole number of at least 1")
        for name in ("backoff_s", "backoff_cap_s"):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= 1e9:
                raise self._wrong(name, "a number of seconds of at least 0")
        for name in ("timeout_s", "every_s", "flex_s"):
            value = getattr(self, name)
            if value is not None and (not is_number(value) or not 0 < value <= 1e9):
                raise self._wrong(name, "a number of seconds above 0")
        for name in ("at_most_once", "pauses"):
            if not isinstance(getattr(self, name), bool):
                raise self._wrong(name, "True or False")
        if self.flex_s is not None and (self.every_s is None or self.flex_s > self.every_s):
            raise self._wrong("flex_s", "a part of every_s")
        if self.at_most_once and self.every_s is not None:
            raise TaskError(f"task {self.name}: at_most_once and every_s exclude each other")

    def _wrong(self, name: str, wanted: str) -> TaskError:
        return TaskError(
            f"task {self.name}: {name} is {getattr(self, name)!r}; it must be {wanted}"
        )

    @property
    def rank(self) -> int:
        """Its place among waiting tasks; higher goes first."""
        raised = _CRITICAL_RAISE if self.task_class is TaskClass.CRITICAL else 0
        return _PRIORITIES[self.priority] + raised

    @property
    def first_rest_s(self) -> float:
        """How long a new periodic task waits for the part of its period in which it may start."""
        if self.every_s is None or self.flex_s is None:
            return 0.0
        return self.every_s - self.flex_s

    @property
    def expires(self) -> bool:
        """Whether its tasks are given up at their deadline: rows 0 and 1 of the table go first."""
        never = self.override is not None or self.task_class is TaskClass.CRITICAL
        return self.on_deadline == "expire" and not never

    def without_period(self) -> Spec:
        """The same for a task that runs once."""
        return dataclasses.replace(self, every_s=None, flex_s=None)

    def touch_s(self, due_s: float, created_s: float, life_s: float | None) -> float:
        """When to look at one of its tasks that is not due yet: then, or at an earlier deadline."""
        if life_s is None or not self.expires:
            return due_s
        return min(due_s, created_s + life_s)

    def task(self, created_s: float, life_s: float | None) -> Task:
        """One of its tasks, as deciding sees it."""
        return Task(
            type=self.type,
            description=self.description,
            priority=self.priority,
            task_class=self.task_class,
            constraints=self.constraints,
            prefer=self.prefer,
            created_s=created_s,
            deadline_s=life_s,
            on_deadline=self.on_deadline,
            override=self.override,
        )

    def to_text(self) -> str:
        """JSON that holds what differs from the defaults; equal specs give equal texts."""
        return _dumps(
            {
                field.name: as_json(getattr(self, field.name))
                for field in dataclasses.fields(self)
                if getattr(self, field.name) != field.default
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Spec:
        """The spec that `to_text` wrote.

        Raises:
            TaskError: it was not.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if "task_class" in values:
                values["task_class"] = TaskClass(values["task_class"])
            for name in ("constraints", "prefer"):
                if name in values:
                    values[name] = constraints_of(values[name])
            if "override" in values:
                values["override"] = Verdict(values["override"])
            return cls(**values)
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(f"spec: cannot be understood ({error}): {text[:200]}") from None


def as_json(value: Any) -> Any:
    """A value of a spec, in what JSON can say."""
    if isinstance(value, Constraints):
        return {
            field.name: str(found) if isinstance(found, Window) else found
            for field in dataclasses.fields(value)
            if (found := getattr(value, field.name)) != field.default
        }
    return value


def constraints_of(values: Mapping[str, Any]) -> Constraints:
    """The constraints that `as_json` wrote."""
    return Constraints(**values)


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
