"""Decides when a task runs: `IntelligentScheduler`, and the pure function `decide` under it."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

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
    Watch,
)
from deferpower._facts import facts_row
from deferpower.constraints import Constraints
from deferpower.device import Device
from deferpower.errors import ConfigError, TaskError
from deferpower.localtime import renew_system_zone
from deferpower.reasons import Case, row_reasons, unmet_reasons
from deferpower.store import forking
from deferpower.store.forking import Forkable
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.thresholds import Thresholds
from deferpower.types import Reading

Predicate = Callable[[Reading], bool]

_CLASS_CODES = {task_class: code for code, task_class in enumerate(TaskClass)}
_VERDICTS = tuple(Verdict)
_ENDS = (Verdict.EXECUTE_NOW, Verdict.EXPIRE)
_BIT = {code: 1 << bit for bit, code in enumerate(CONSTRAINTS)}
_WINDOW_BITS = _BIT["window"] | _BIT["window"] << SOFT_SHIFT
_MAX_PREDICATES = 64
_NOT_COMPILED = (None, None, 0)


class Classifier(Protocol):
    """Tells the class of a task, as `TaskClassifier` does."""

    def classify_task(self, task: Any, /) -> Any:
        """An answer whose ``task_class`` is the class.

        Args:
            task: a `Task`, or a mapping with the names of its attributes.
        """


def decide(
    task: Task | Mapping[str, Any],
    reading: Reading,
    *,
    local_minute: int,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (immutable)
    running: bool = False,
    holds: Mapping[str, bool] | None = None,
    classifier: Classifier | None = None,
    backend: str | None = None,
) -> Decision:
    """The decision for one task from one reading, with no history. No clock and no I/O.

    Args:
        task: a `Task`, or a mapping with the names of its attributes.
        reading: the machine; its moments are the only time there is.
        local_minute: minute of the local day at the time of the reading, 0-1439.
        thresholds: where the lines are drawn.
        running: whether the task runs already.
        holds: which of the custom conditions hold, by name.
        classifier: tells the class of a task that has none by hand; ``None`` takes a
            `TaskClassifier` as it comes.
        backend: which rules engine to use, as for `Device`.

    Raises:
        TaskError: the task is described wrongly, or names a custom condition that ``holds`` does
            not tell.
        ConfigError: the reading holds a number that cannot be.
    """
    known = Task.of(task)
    decider = _Decider(thresholds, tuple(holds or ()), backend)
    decider.observe(reading, local_minute, holds or {})
    return decider.decide(known, _class_of(task, known, classifier, backend), running)


class IntelligentScheduler(Forkable):
    """Says of each task whether it runs now, and why not. Remembers what hysteresis needs.

    May be shared by threads.

    Attributes:
        thresholds: where it draws its lines.
    """

    def __init__(
        self,
        device: Device | None = None,
        backend: str | None = None,
        scheduling_rules: Mapping[str, object] | None = None,
        *,
        thresholds: Thresholds = Thresholds(),  # noqa: B008 (immutable)
        classifier: Classifier | None = None,
        predicates: Mapping[str, Predicate] | None = None,
        local_minute: Callable[[float], int] | None = None,
    ) -> None:
        """Make a scheduler with no history.

        Args:
            device: where readings come from; ``None`` makes one when it is first needed.
            backend: rules engine, as for `Device`; ``None`` takes the device's.
            scheduling_rules: thresholds to replace, by name: ``battery_threshold`` (50),
                ``idle_check_interval`` (60 s), ``max_background_batch`` (5),
                ``charging_only_threshold`` (80), or any other of `Thresholds`.
            thresholds: where all lines are drawn.
            classifier: tells the class of a task that has none by hand; ``None`` takes a
                `TaskClassifier` as it comes.
            predicates: the program's own conditions by name, for ``Constraints(custom=...)``.
                They are asked once per reading. One that raises does not hold.
            local_minute: minute of the local day at a moment since the epoch; ``None`` takes the
                system's time zone.

        Raises:
            ConfigError: a rule is unknown or cannot be used, a predicate cannot be called, or there
                are too many.
        """
        self.thresholds = thresholds.with_rules(scheduling_rules or {})
        self._device = device
        self._backend = device.backend_name if backend is None and device is not None else backend
        self._classifier = classifier
        self._predicates = _checked_predicates(predicates or {})
        self._failing: set[str] = set()
        self._local_minute = local_minute or _system_minute
        self._decider = _Decider(
            self.thresholds, tuple(self._predicates), self._backend, self._local_minute
        )
        # Reentrant: a condition, or a signal handler, may ask while its thread decides.
        self._lock = threading.RLock()
        self._is_observing = False
        forking.remember(self)

    def after_fork_in_child(self) -> None:
        """Go on without history: another thread may have been deciding at the fork."""
        self._lock = threading.RLock()
        self._is_observing = False
        self._decider.start_anew()

    @property
    def scheduling_rules(self) -> Mapping[str, float]:
        """The four rules by which this class is known; `thresholds` holds all."""
        thresholds = self.thresholds
        return MappingProxyType(
            {
                "battery_threshold": thresholds.battery_threshold,
                "idle_check_interval": thresholds.idle_check_interval_s,
                "max_background_batch": thresholds.max_background_batch,
                "charging_only_threshold": thresholds.charging_only_threshold,
            }
        )

    @property
    def device(self) -> Device:
        """The device that is read where no reading is given."""
        if self._device is None:
            self._device = Device(backend=self._backend, idle_rules=self.thresholds.idle)
        return self._device

    def schedule_task(
        self,
        task: Task | Mapping[str, Any],
        reading: Reading | None = None,
        *,
        running: bool = False,
    ) -> Decision:
        """Decide about one task.

        Args:
            task: a `Task`, or a mapping with the names of its attributes.
            reading: the machine; ``None`` reads it. Readings must come in the order of time.
            running: whether the task runs already: then short resources do not stop it, unless
                its constraints name them.

        Returns:
            The verdict, with a reason for each condition that keeps the task.

        Raises:
            TaskError: the task is described wrongly; the message names the field.
            ConfigError: the reading holds a number that cannot be.

        Cost: about 1 us natively, for a `Task` whose class is set and with a reading in hand that
        other tasks were decided by before; some 10 us for the first task of a reading.
        """
        known = task if isinstance(task, Task) else Task.of(task)
        task_class = known.task_class or _class_of(task, known, self._classifier, self._backend)
        if reading is None:
            reading = self.device.read()
        with self._lock:
            if reading is not self._decider.reading:
                self._observe(reading)
            return self._decider.decide(known, task_class, running)

    def held(self) -> dict[str, bool]:
        """Which of the program's own conditions hold, by name, as of the last reading."""
        with self._lock:
            return self._decider.holds()

    def unknown_conditions(self, task: Task) -> list[str]:
        """The custom conditions that a task asks for and this scheduler was not given, sorted.

        Args:
            task: whose constraints and preferences are looked at.
        """
        asked = {*task.constraints.custom, *task.prefer.custom}
        return sorted(asked.difference(self._predicates))

    def suppose(
        self, task: Task, reading: Reading, local_minute: int, holds: Mapping[str, bool]
    ) -> Decision:
        """The decision for a task if the machine were like this, with nothing before it.

        Args:
            task: what is asked.
            reading: the machine as it would be.
            local_minute: minute of the local day, 0-1439.
            holds: which of the program's own conditions would hold, by name.
        """
        return decide(
            task,
            reading,
            local_minute=local_minute,
            thresholds=self.thresholds,
            holds=holds,
            classifier=self._classifier,
            backend=self._backend,
        )

    def charging_batch(self, reading: Reading) -> int:
        """How many charging-only tasks may run together.

        One while the battery is below ``charging_only_threshold``, so that it still fills;
        ``max_background_batch`` from there on, and without a battery.

        Args:
            reading: the machine.
        """
        power = reading.power
        if power is None or not power.present:
            return self.thresholds.max_background_batch
        if (power.percent or 0.0) < self.thresholds.charging_only_threshold:
            return 1
        return self.thresholds.max_background_batch

    def compile(self, task: Task) -> int:
        """The number under which `evaluate` judges all tasks that ask what this one asks.

        Args:
            task: its class must be set; its age does not matter.

        Raises:
            TaskError: it names a custom condition that this scheduler does not know.
        """
        assert task.task_class is not None
        with self._lock:
            return self._decider.compile(task, task.task_class)

    def relaxed(self, task: Task, now_s: float) -> tuple[Task, float | None]:
        """What a task asks at a moment, as a task without an age; and when that changes next.

        Preferences that it has dropped by then are left out; from its deadline on it is forced to
        run, or to expire.
        """
        return self._decider.relaxed(task, now_s)

    def observe(self, reading: Reading) -> None:
        """Take in a reading; `evaluate` is about it, until the next."""
        with self._lock:
            if reading is not self._decider.reading:
                self._observe(reading)

    def open_watch(self) -> Watch:
        """A watch on the device that judges what was compiled here."""
        return self.device.open_watch(self._decider.rules)

    def told(self, reading: Reading) -> ToldRow:
        """What a watch cannot see by itself, as of a reading that was observed."""
        return self._decider.told(reading, self._local_minute(reading.wall_s))

    def local_minute(self, wall_s: float) -> int:
        """The minute of the local day, 0-1439, at a moment since the epoch.

        Args:
            wall_s: seconds since the epoch.
        """
        return self._local_minute(wall_s)

    def evaluate(self, *, running: bool) -> list[OutcomeRow]:
        """What the last reading means for everything that was compiled, by its number."""
        with self._lock:
            return self._decider.evaluate(running)

    def _observe(self, reading: Reading) -> None:
        if self._is_observing:
            raise ConfigError(
                "predicates: a condition asks the scheduler that is asking it; "
                "let it look at the reading that it is given"
            )
        self._is_observing = True
        try:
            holds = {name: self._holds(name, reading) for name in self._predicates}
            self._decider.observe(reading, self._local_minute(reading.wall_s), holds)
        finally:
            self._is_observing = False

    def _holds(self, name: str, reading: Reading) -> bool:
        try:
            holds = bool(self._predicates[name](reading))
        except Exception:
            if name not in self._failing:  # told once: it is asked many times a second
                import logging  # costs milliseconds, and is hardly ever needed

                self._failing.add(name)
                logging.getLogger(__name__).exception(
                    "condition %r failed; it is taken as not holding as long as it does", name
                )
            return False
        self._failing.discard(name)
        return holds


class _Decider:
    """A rules engine, and what it takes to speak with it in tasks and readings."""

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
        if type(local_minute) is not int or not 0 <= local_minute < 1440:
            raise ConfigError(f"local_minute: {local_minute!r} is no minute of the day, 0 to 1439")
        mask = sum(bit for name, bit in self._predicates.items() if holds[name])
        self._rules.observe(_facts(reading, local_minute, mask))
        self._held = mask
        self._local_minute = local_minute
        self._decisions.clear()
        self.reading = reading

    def holds(self) -> dict[str, bool]:
        return {name: bool(self._held & bit) for name, bit in self._predicates.items()}

    def decide(self, task: Task, task_class: TaskClass, running: bool) -> Decision:
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
        return self._rules

    def told(self, reading: Reading, local_minute: int) -> ToldRow:
        network, user = reading.network, reading.user
        return (
            local_minute,
            (None, None) if network is None else (network.connected, network.metered),
            user is not None and user.present,
            self._held,
        )

    def compile(self, task: Task, task_class: TaskClass) -> int:
        row = self._requirement(task, task_class)
        set_id = self._compiled.get(row)
        if set_id is None:
            self._compiled[row] = set_id = self._rules.compile(row)
        return set_id

    def evaluate(self, running: bool) -> list[OutcomeRow]:
        return self._rules.evaluate(running)

    def relaxed(self, task: Task, now_s: float) -> tuple[Task, float | None]:
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


def _class_of(
    asked: Task | Mapping[str, Any], task: Task, classifier: Classifier | None, backend: str | None
) -> TaskClass:
    """The class of a task, which the classifier sees as it was given."""
    if task.task_class is not None:
        return task.task_class
    found = (classifier or _default_classifier(backend)).classify_task(asked).task_class
    return TaskClass(found)


@functools.cache
def _default_classifier(backend: str | None) -> Classifier:
    # Most tasks have their class set, and then its vocabulary need not be loaded.
    from deferpower.classifier import TaskClassifier

    return TaskClassifier(backend=backend)


def _checked_predicates(predicates: Mapping[str, Predicate]) -> dict[str, Predicate]:
    if not isinstance(predicates, Mapping):
        raise ConfigError(f"predicates: {predicates!r} is no mapping from name to predicate")
    for name, predicate in predicates.items():
        if not callable(predicate):
            raise ConfigError(f"predicates[{name!r}]: {predicate!r} cannot be called")
    return dict(predicates)


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


def _system_minute(wall_s: float) -> int:
    renew_system_zone()
    local = time.localtime(wall_s)
    return local.tm_hour * 60 + local.tm_min
