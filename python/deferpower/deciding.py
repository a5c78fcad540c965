"""What decides: the rules engine, spoken to in tasks and readings instead of rows of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from deferpower import _backend
from deferpower._contract import (
    CONSTRAINTS,
    SOFT_SHIFT,
    ConstraintRow,
    FactsRow,
    OutcomeRow,
    RequirementRow,
    Rules,
    ToldRow,
)
from deferpower._facts import facts_row
from deferpower.constraints import Constraints
from deferpower.errors import ConfigError, TaskError
from deferpower.reasons import Case, row_reasons, unmet_reasons
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.thresholds import Thresholds
from deferpower.types import Reading

_CLASS_CODES = {task_class: code for code, task_class in enumerate(TaskClass)}
_VERDICTS = tuple(Verdict)
_ENDS = (Verdict.EXECUTE_NOW, Verdict.EXPIRE)
_BIT = {code: 1 << bit for bit, code in enumerate(CONSTRAINTS)}
_WINDOW_BITS = _BIT["window"] | _BIT["window"] << SOFT_SHIFT
_MAX_PREDICATES = 64
_NOT_COMPILED = (None, None, 0)


class Decider:
    """A rules engine, and what it takes to speak with it in tasks and readings.

    Not locked: whoever shares it sees to that.

    Attributes:
        reading: the last one that it took note of.
    """

    def __init__(
        self,
        thresholds: Thresholds,
        predicates: tuple[str, ...],
        backend: str | None,
        minute_at: Callable[[float], int] | None = None,
    ) -> None:
        if len(predicates) > _MAX_PREDICATES:
            raise ConfigError(
                f"predicates: {len(predicates)} are too many; {_MAX_PREDICATES} is the most"
            )
        self.reading: Reading | None = None
        self._thresholds = thresholds
        self._predicates = {name: 1 << bit for bit, name in enumerate(predicates)}
        self._local_minute = 0
        self._held = 0
        self._minute_at = minute_at
        self._token = object()
        self._decisions: dict[tuple[int, OutcomeRow], Decision] = {}
        self._engine = _backend.choose(backend).module.Rules
        self._compiled: dict[RequirementRow, int] = {}
        self._rules = self._open_rules()

    def _open_rules(self) -> Rules:
        return self._engine(self._thresholds.lines(), self._thresholds.relaxation())

    def start_anew(self) -> None:
        """Another engine, without history, that knows all requirements by the same numbers."""
        self.reading = None
        self._decisions = {}
        self._rules = self._open_rules()
        for row in self._compiled:
            self._rules.compile(row)

    def observe(self, reading: Reading, local_minute: int, holds: Mapping[str, bool]) -> None:
        """Take note of a reading and of which of the program's own conditions hold."""
        if type(local_minute) is not int or not 0 <= local_minute < 1440:
            raise ConfigError(f"local_minute: {local_minute!r} is no minute of the day, 0 to 1439")
        mask = sum(bit for name, bit in self._predicates.items() if holds[name])
        self._rules.observe(_facts(reading, local_minute, mask))
        self._held = mask
        self._local_minute = local_minute
        self._decisions.clear()
        self.reading = reading

    def holds(self) -> dict[str, bool]:
        """Which of the program's own conditions held at the last reading."""
        return {name: bool(self._held & bit) for name, bit in self._predicates.items()}

    def decide(self, task: Task, task_class: TaskClass, running: bool) -> Decision:
        """What the last reading means for a task."""
        assert self.reading is not None
        # A task never changes, so what it requires is noted on it.
        token, compiled_class, set_id = getattr(task, "_compiled", _NOT_COMPILED)
        if token is not self._token or compiled_class is not task_class:
            set_id = self.compile(task, task_class)
            object.__setattr__(task, "_compiled", (self._token, task_class, set_id))
        outcome = self._rules.decide(set_id, task.created_s, task.deadline_s, running)
        decision = self._decisions.get((set_id, outcome))
        if decision is None:
            decision = self._explain(task, task_class, outcome)
            self._decisions[set_id, outcome] = decision
        if decision.verdict in _ENDS:
            return decision
        step_s = self._rules.next_step_s(set_id, task.created_s, task.deadline_s)
        if step_s is None or step_s >= decision.scheduled_time:
            return decision
        return decision._replace(scheduled_time=step_s)

    @property
    def rules(self) -> Rules:
        """The engine."""
        return self._rules

    def told(self, reading: Reading, local_minute: int) -> ToldRow:
        """What the engine is told, beside what it measures, while it waits."""
        network, user = reading.network, reading.user
        return (
            local_minute,
            (None, None) if network is None else (network.connected, network.metered),
            user is not None and user.present,
            self._held,
        )

    def compile(self, task: Task, task_class: TaskClass) -> int:
        """The number by which the engine knows what a task requires."""
        row = self._requirement(task, task_class)
        set_id = self._compiled.get(row)
        if set_id is None:
            self._compiled[row] = set_id = self._rules.compile(row)
        return set_id

    def evaluate(self, running: bool) -> list[OutcomeRow]:
        """What the last reading means for everything that was compiled, by its number."""
        return self._rules.evaluate(running)

    def relaxed(self, task: Task, now_s: float) -> tuple[Task, float | None]:
        """What is left of a task's wishes at an age, and when to ask again."""
        assert task.task_class is not None
        known = dataclasses.replace(
            task,
            constraints=dataclasses.replace(task.constraints, custom=()),
            prefer=dataclasses.replace(task.prefer, custom=()),
        )
        flags = _BIT["custom"] if task.prefer.custom else 0
        class_code, forced, expires, hard, soft = self._requirement(known, task.task_class)
        soft = (soft[0] | flags, *soft[1:])
        row, again_s = self._rules.relaxed(
            (class_code, forced, expires, hard, soft), task.created_s, task.deadline_s, now_s
        )
        left = tuple(code for code, bit in _BIT.items() if row[4][0] & bit)
        asks = dataclasses.replace(
            task,
            type="",
            description="",
            priority="normal",
            prefer=task.prefer.only(left),
            created_s=0.0,
            deadline_s=None,
            on_deadline="run",
            override=None if row[1] is None else _VERDICTS[row[1]],
        )
        return asks, again_s

    def _explain(self, task: Task, task_class: TaskClass, outcome: OutcomeRow) -> Decision:
        """The decision that all tasks share which require the same and came as far."""
        assert self.reading is not None
        code, row, unmet, custom = outcome
        verdict = _VERDICTS[code]
        failed = tuple(name for name, bit in self._predicates.items() if custom & bit)
        case = Case(task, task_class, self.reading, self._local_minute, self._thresholds, failed)
        reasons = unmet_reasons(case, unmet) if unmet else row_reasons(case, row)
        again_s = self.reading.wall_s
        if verdict not in _ENDS:
            again_s += self._thresholds.idle_check_interval_s
        if unmet & _WINDOW_BITS:
            again_s = max(again_s, self._opens_s(task, unmet))
        return Decision(verdict, task_class, reasons, again_s)

    def _opens_s(self, task: Task, unmet: int) -> float:
        """When the windows that are closed open; till then only its age can let a task run."""
        assert self.reading is not None
        closed = [
            asked.window
            for shift, asked in ((0, task.constraints), (SOFT_SHIFT, task.prefer))
            if asked.window is not None and unmet >> shift & _BIT["window"]
        ]
        minutes = max(window.minutes_until_open(self._local_minute) for window in closed)
        opens_s = self.reading.wall_s // 60 * 60 + minutes * 60
        if self._minute_at is not None:
            # If the clocks change before, it opens an hour earlier or later than it seems now.
            for moment_s in (opens_s - 3600, opens_s, opens_s + 3600):
                minute = self._minute_at(moment_s)
                is_open = all(window.contains(minute) for window in closed)
                if is_open and moment_s > self.reading.wall_s:
                    return moment_s
        return opens_s

    def _requirement(self, task: Task, task_class: TaskClass) -> RequirementRow:
        return (
            _CLASS_CODES[task_class],
            None if task.override is None else _VERDICTS.index(task.override),
            task.on_deadline == "expire",
            self._constraint_row(task.constraints),
            self._constraint_row(task.prefer),
        )

    def _constraint_row(self, asked: Constraints) -> ConstraintRow:
        mask = 0
        for name in asked.custom:
            if name not in self._predicates:
                raise TaskError(
                    f"task: custom condition {name!r} is unknown; "
                    "give the scheduler a predicate of that name"
                )
            mask |= self._predicates[name]
        window = asked.window
        return (
            sum(_BIT[code] for code in asked.codes()),
            float(asked.battery_above or 0.0),
            0 if window is None else window.start_minute,
            0 if window is None else window.end_minute,
            mask,
        )


def _facts(reading: Reading, local_minute: int, custom: int) -> FactsRow:
    network = reading.network
    return facts_row(
        reading.power,
        reading.cpu,
        reading.memory,
        reading.storage.values(),
        reading.idle_since_s is not None,
        (reading.monotonic_s, reading.wall_s, local_minute),
        (None, None) if network is None else (network.connected, network.metered),
        custom,
    )
