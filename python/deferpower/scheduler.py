"""Decides when a task runs: `IntelligentScheduler`, and the pure function `decide` under it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from deferpower._contract import (
    OutcomeRow,
    ToldRow,
    Watch,
)
from deferpower.deciding import Decider
from deferpower.device import Device
from deferpower.errors import ConfigError
from deferpower.localtime import renew_system_zone
from deferpower.store import forking
from deferpower.store.forking import Forkable
from deferpower.task import Decision, Task, TaskClass
from deferpower.thresholds import Thresholds
from deferpower.types import Reading

Predicate = Callable[[Reading], bool]


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
    decider = Decider(thresholds, tuple(holds or ()), backend)
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
        self._decider = Decider(
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


def _system_minute(wall_s: float) -> int:
    renew_system_zone()
    local = time.localtime(wall_s)
    return local.tm_hour * 60 + local.tm_min
