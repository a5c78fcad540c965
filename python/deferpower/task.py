"""What is asked and what is answered: tasks, verdicts, reasons, decisions."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from deferpower.constraints import ANYTIME, Constraints, Window
from deferpower.errors import TaskError
from deferpower.thresholds import is_number


class TaskClass(enum.StrEnum):
    """How a task is treated when power is scarce.

    Attributes:
        CRITICAL: runs at once, always.
        CHARGING_ONLY: runs on external power only.
        BACKGROUND: runs on external power, well charged, or when the device is idle.
        NORMAL: likewise, with other lines.
    """

    CRITICAL = "critical"
    CHARGING_ONLY = "charging_only"
    BACKGROUND = "background"
    NORMAL = "normal"


class Verdict(enum.StrEnum):
    """What to do with a task now.

    Attributes:
        EXECUTE_NOW: run it.
        DEFER_TO_BACKGROUND: wait for a better moment.
        DEFER_TO_CHARGING: wait for external power.
        EXPIRE: give it up: its deadline has come.
    """

    EXECUTE_NOW = "execute_now"
    DEFER_TO_BACKGROUND = "defer_to_background"
    DEFER_TO_CHARGING = "defer_to_charging"
    EXPIRE = "expire"


class _Noted:
    """Room for what a scheduler notes on a task; no part of its value."""

    __slots__ = ("_compiled",)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task(_Noted):
    """A piece of work, as far as deciding needs to know it.

    Attributes:
        type: kind of work, such as ``"sync"`` or ``"realtime"``; may decide the class.
        description: one line in plain words.
        priority: ``"high"``, ``"normal"`` or ``"low"``.
        requires_charging: run on external power only.
        can_background: may wait for a good moment.
        task_class: the class, set by hand; ``None`` leaves it to the classifier.
        constraints: conditions that must hold.
        prefer: conditions that are waited for, but not for ever: they are dropped one by one as
            the task's life passes.
        created_s: when it was asked for, seconds since the epoch.
        deadline_s: its life: seconds after ``created_s`` when it must run; ``None`` for no end.
        on_deadline: run then whatever holds, or give up (``"expire"``).
        override: a verdict that always wins.

    Raises:
        TaskError: a value has the wrong type or is out of range; the message names the field.
    """

    type: str = ""
    description: str = ""
    priority: Literal["high", "normal", "low"] = "normal"
    requires_charging: bool = False
    can_background: bool = False
    task_class: TaskClass | None = None
    constraints: Constraints = ANYTIME
    prefer: Constraints = ANYTIME
    created_s: float = dataclasses.field(default_factory=time.time)
    deadline_s: float | None = None
    on_deadline: Literal["run", "expire"] = "run"
    override: Verdict | None = None

    def __post_init__(self) -> None:
        for name, kind, wanted in (
            ("type", str, "text"),
            ("description", str, "text"),
            ("requires_charging", bool, "True or False"),
            ("can_background", bool, "True or False"),
            ("constraints", Constraints, "Constraints(...)"),
            ("prefer", Constraints, "Constraints(...)"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise _wrong(name, getattr(self, name), wanted)
        for name, choices in (
            ("priority", ("high", "normal", "low")),
            ("on_deadline", ("run", "expire")),
        ):
            if getattr(self, name) not in choices:
                raise _wrong(name, getattr(self, name), "one of " + ", ".join(choices))
        for name, enumeration in (("task_class", TaskClass), ("override", Verdict)):
            value = getattr(self, name)
            if value is not None:
                try:
                    object.__setattr__(self, name, enumeration(value))
                except ValueError:
                    raise _wrong(name, value, "one of " + ", ".join(enumeration)) from None
        if not is_number(self.created_s) or abs(self.created_s) > 1e15:
            raise _wrong("created_s", self.created_s, "a moment in seconds since the epoch")
        if self.deadline_s is not None and not (
            is_number(self.deadline_s) and 0 <= self.deadline_s <= 1e15
        ):
            raise _wrong("deadline_s", self.deadline_s, "a number of seconds of at least 0")

    @property
    def windows(self) -> tuple[Window, ...]:
        """The local hours that it asks for."""
        asked = (self.constraints.window, self.prefer.window)
        return tuple(window for window in asked if window is not None)

    @property
    def asks_of_desktop(self) -> bool:
        """Whether it asks for what only a desktop may tell: the user, the network."""
        hard = self.constraints
        # A hard constraint on power settles what power must be like, so idleness does not count.
        is_settled = hard.charging or hard.battery_above is not None or hard.battery_not_low
        by_class = not is_settled and self.task_class in (TaskClass.BACKGROUND, TaskClass.NORMAL)
        return self.override is None and (
            by_class
            or any(asked.idle or asked.network is not None for asked in (hard, self.prefer))
        )

    @property
    def asks_of_program(self) -> bool:
        """Whether it asks for conditions of the program's own."""
        return self.override is None and bool(self.constraints.custom or self.prefer.custom)

    @classmethod
    def of(cls, task: Task | Mapping[str, Any]) -> Task:
        """The task itself, or the one that a mapping describes.

        Args:
            task: a mapping holds any of the attributes by name; its other keys are the program's
                own and are left alone.

        Raises:
            TaskError: a value cannot be used, or a deadline or a preference stands without
                ``created_s``: each asking would start its life anew.
        """
        if isinstance(task, cls):
            return task
        if not isinstance(task, Mapping):
            raise TaskError(f"task: {task!r} is neither a Task nor a mapping")
        for name in ("deadline_s", "prefer"):
            if task.get(name) is not None and "created_s" not in task:
                raise TaskError(
                    f"task: {name} counts from created_s, which is missing; "
                    "add created_s, or make a Task once and ask with that"
                )
        return cls(**{name: task[name] for name in _FIELDS if name in task})


_FIELDS = tuple(field.name for field in dataclasses.fields(Task))


def _wrong(name: str, value: object, wanted: str) -> TaskError:
    return TaskError(f"task: {name} is {value!r}; it must be {wanted}")


class Reason(NamedTuple):
    """One condition, met or unmet, that a decision rests on.

    Attributes:
        code: which condition, such as ``"charging"``; stable, for programs.
        wanted: what it asks for, in words.
        seen: what the machine said, in words.
        sentence: both for people, in one line.
    """

    code: str
    wanted: str
    seen: str
    sentence: str


class Decision(NamedTuple):
    """The answer for one task at one moment.

    Attributes:
        verdict: what to do.
        task_class: the class that the task was treated as.
        reasons: every unmet condition; for a task that runs, what let it.
        scheduled_time: when to run it or to ask again, seconds since the epoch: the moment of the
            reading if it runs now, else the next moment at which time alone may change the answer;
            where a forecast has a say, the hour at which it will probably start.
    """

    verdict: Verdict
    task_class: TaskClass
    reasons: tuple[Reason, ...]
    scheduled_time: float

    @property
    def execute_now(self) -> bool:
        """Whether to run it now."""
        return self.verdict is Verdict.EXECUTE_NOW

    @property
    def defer_to_background(self) -> bool:
        """Whether it waits for a better moment."""
        return self.verdict is Verdict.DEFER_TO_BACKGROUND

    @property
    def defer_to_charging(self) -> bool:
        """Whether it waits for external power."""
        return self.verdict is Verdict.DEFER_TO_CHARGING
