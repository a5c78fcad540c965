"""How hard to work: batch size, quality and priorities that fit the battery."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from deferpower.classifier import AnyTask, TaskClassifier, checked_level
from deferpower.errors import ConfigError
from deferpower.task import Task, TaskClass
from deferpower.thresholds import is_number

if TYPE_CHECKING:
    from deferpower.types import Reading

Quality: TypeAlias = Literal["high", "medium", "low", "minimal"]
IoClass: TypeAlias = Literal["best-effort", "idle"]
SchedulingPolicy: TypeAlias = Literal["other", "batch", "idle"]

BATTERY_THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "full_performance": 80,
        "reduced_performance": 50,
        "minimal_performance": 30,
        "suspend_non_critical": 20,
    }
)


class Profile(NamedTuple):
    """How to process a task now.

    Attributes:
        batch_size: items to take at once.
        priority: the task's own.
        can_parallel: whether several workers may run at once.
        processing_quality: how much care the result is worth, where the program can choose.
        suspend_non_critical: whether only critical work should run at all.
        max_workers: workers that may run at once; 1 unless ``can_parallel``.
        nice: how much nicer than this program the work should be, 0-19.
        io_class: in what class its disk traffic should queue.
        scheduling_policy: how the kernel should schedule it; ``"idle"`` yields to everything.
    """

    batch_size: int
    priority: str
    can_parallel: bool
    processing_quality: Quality
    suspend_non_critical: bool
    max_workers: int
    nice: int
    io_class: IoClass
    scheduling_policy: SchedulingPolicy

    def apply_to(self, pid: int) -> tuple[str, ...]:
        """Give a process this profile's niceness, class of disk traffic and scheduling policy.

        Threads and children that it starts from then on inherit them, so apply it early. Without
        privileges a process can be slowed down, but not sped up again.

        Args:
            pid: the process; it must belong to this user.

        Returns:
            A sentence for each that could not be applied, and why; empty if all were.

        Raises:
            ConfigError: ``pid`` is no process id.
        """
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
            raise ConfigError(f"pid: {pid!r} is no process id")
        refused = []
        steps: tuple[tuple[str, Callable[[int, Profile], None]], ...] = (
            (f"scheduling policy {self.scheduling_policy!r}", _set_scheduling_policy),
            (f"nice {self.nice:+}", _set_nice),
            (f"io class {self.io_class!r}", _set_io_class),
        )
        for name, apply in steps:
            try:
                apply(pid, self)
            except OSError as error:
                refused.append(f"{name}: {(error.strerror or str(error)).lower()} (process {pid})")
        return tuple(refused)


class _Step(NamedTuple):
    """What a stretch of the battery's charge allows."""

    batch_size: int
    can_parallel: bool
    quality: Quality
    share_of_processors: float
    nice: int
    io_class: IoClass
    scheduling_policy: SchedulingPolicy


_STEPS: Final = (
    _Step(32, True, "high", 1.0, 0, "best-effort", "other"),
    _Step(16, True, "medium", 0.5, 5, "best-effort", "batch"),
    _Step(8, False, "low", 0.0, 10, "idle", "batch"),
    _Step(4, False, "minimal", 0.0, 19, "idle", "idle"),
)
"""From the fullest battery to the emptiest."""
_FULL: Final = 0


class BatteryAwareProcessor:
    """Fits the processing of tasks to the battery. SEMANTICS.md, "Processing profile", says how.

    Remembers how low the battery was, so that a level that wavers about a threshold does not make
    the profile waver. May be shared by threads.
    """

    def __init__(
        self,
        *,
        battery_thresholds: Mapping[str, float] = BATTERY_THRESHOLDS,
        hysteresis_points: float = 3,
        cpu_count: int | None = None,
        classifier: TaskClassifier | None = None,
    ) -> None:
        """A processor that has not seen a battery yet.

        Args:
            battery_thresholds: percentages by name, as in `BATTERY_THRESHOLDS`; what is left out
                keeps its default.
            hysteresis_points: how far above a threshold a level must rise that fell below it.
            cpu_count: processors to count on; ``None`` for those that this process may use.
            classifier: tells which tasks are critical; ``None`` for a `TaskClassifier` of defaults.

        Raises:
            ConfigError: a value has the wrong type, is out of range, or the thresholds are out of
                order; the message names it.
        """
        self.battery_thresholds: Mapping[str, float] = MappingProxyType(
            _checked_thresholds(battery_thresholds)
        )
        if not is_number(hysteresis_points) or not 0 <= hysteresis_points <= 100:
            raise ConfigError(
                f"hysteresis_points: {hysteresis_points!r} is no number from 0 to 100"
            )
        if cpu_count is None:
            cpu_count = _usable_cpu_count()
        elif not isinstance(cpu_count, int) or isinstance(cpu_count, bool) or cpu_count < 1:
            raise ConfigError(f"cpu_count: {cpu_count!r} is no whole number of at least 1")
        self._cpu_count = cpu_count
        self._classifier = classifier or TaskClassifier()
        full, reduced, minimal, suspend = self.battery_thresholds.values()
        self._lines = tuple(_Line(at, hysteresis_points) for at in (full, reduced, minimal))
        self._suspend = _Line(suspend, hysteresis_points, inclusive=True)

    def profile(self, task: AnyTask, reading: Reading | None) -> Profile:
        """The profile for a task on the machine as it was read.

        Args:
            task: as for `adjust_processing_for_battery`.
            reading: one without power, or none at all, counts as one without a battery.

        Raises:
            TaskError: the task is described wrongly; the message names the field.
        """
        power = None if reading is None else reading.power
        if power is None or not power.present:
            return self.adjust_processing_for_battery(task, None, plugged=True)
        return self.adjust_processing_for_battery(task, power.percent, power.plugged)

    def adjust_processing_for_battery(
        self, task: AnyTask, battery_percent: float | None, plugged: bool | None = None
    ) -> Profile:
        """The profile for a task.

        Args:
            task: the task; a critical one is not slowed down, whatever the level.
            battery_percent: 0-100; ``None`` for unknown, which counts as 0.
            plugged: on external power, or there is no battery: then full performance. Unknown
                counts as on battery.

        Raises:
            ConfigError: the level is no percentage, or ``plugged`` neither a bool nor ``None``.
            TaskError: the task is described wrongly; the message names the field.
        """
        level = checked_level(battery_percent, plugged)
        known = Task.of(task)
        critical = self._classifier.classify_task(task).task_class is TaskClass.CRITICAL
        if plugged:
            # What the battery had fallen to before does not count once it is unplugged again.
            for line in (*self._lines, self._suspend):
                line.fallen = False
            fallen, suspend = _FULL, False
        else:
            fallen = sum([line.falls(level) for line in self._lines])
            suspend = self._suspend.falls(level)
        step = _STEPS[fallen]
        manner = _STEPS[_FULL] if critical else step
        return Profile(
            step.batch_size,
            known.priority,
            step.can_parallel,
            step.quality,
            suspend,
            max(1, int(self._cpu_count * step.share_of_processors)),
            manner.nice,
            manner.io_class,
            manner.scheduling_policy,
        )


class _Line:
    """A threshold that remembers whether the level has fallen below it."""

    __slots__ = ("_at", "_hysteresis", "_inclusive", "fallen")

    def __init__(self, at: float, hysteresis: float, *, inclusive: bool = False) -> None:
        self._at = at
        self._hysteresis = hysteresis
        self._inclusive = inclusive
        self.fallen = False

    def falls(self, level: float) -> bool:
        """Whether a level is too low, which a level right at an ``inclusive`` line is too."""
        if self.fallen:
            self.fallen = level < min(self._at + self._hysteresis, 100)
        if not self.fallen:
            self.fallen = level <= self._at if self._inclusive else level < self._at
        return self.fallen


def _checked_thresholds(given: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"battery_thresholds: {given!r} is no mapping from name to percentage")
    thresholds = dict(BATTERY_THRESHOLDS)
    for name, value in given.items():
        if name not in thresholds:
            raise ConfigError(
                f"battery_thresholds: unknown name {name!r}; known are {', '.join(thresholds)}"
            )
        if not is_number(value) or not 0 <= value <= 100:
            raise ConfigError(
                f"battery_thresholds.{name}: {value!r} is no percentage from 0 to 100"
            )
        thresholds[name] = value
    for higher, lower in pairwise(thresholds):
        if thresholds[higher] < thresholds[lower]:
            raise ConfigError(
                f"battery_thresholds.{lower}: {thresholds[lower]!r} is above {higher} "
                f"({thresholds[higher]!r}); it must not be"
            )
    return thresholds


def _usable_cpu_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _set_scheduling_policy(pid: int, profile: Profile) -> None:
    if not hasattr(os, "sched_setscheduler"):
        raise _unsupported()
    policy = {"other": os.SCHED_OTHER, "batch": os.SCHED_BATCH, "idle": os.SCHED_IDLE}[
        profile.scheduling_policy
    ]
    if os.sched_getscheduler(pid) != policy:
        os.sched_setscheduler(pid, policy, os.sched_param(0))


def _set_nice(pid: int, profile: Profile) -> None:
    if not hasattr(os, "setpriority"):
        raise _unsupported()
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + profile.nice)
    if os.getpriority(os.PRIO_PROCESS, pid) != nice:
        os.setpriority(os.PRIO_PROCESS, pid, nice)


def _set_io_class(pid: int, profile: Profile) -> None:
    # Python has no call of its own for this; who never applies a profile never loads psutil.
    import psutil

    if not hasattr(psutil, "IOPRIO_CLASS_IDLE"):
        raise _unsupported()
    io_class = {
        "best-effort": psutil.IOPRIO_CLASS_BE,
        "idle": psutil.IOPRIO_CLASS_IDLE,
    }[profile.io_class]
    try:
        psutil.Process(pid).ionice(io_class)
    except psutil.NoSuchProcess:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
    except psutil.AccessDenied:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None


def _unsupported() -> OSError:
    return OSError(errno.ENOSYS, "this system has no such setting")
