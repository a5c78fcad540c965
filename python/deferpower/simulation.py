"""Replays a recorded life through the scheduler: when would jobs have run, and on what power?

SEMANTICS.md, "Simulating", says how the recording becomes readings and what the figures mean.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from deferpower.errors import ConfigError
from deferpower.life import Life, Scene, backend_name
from deferpower.planning import SETTLES_S
from deferpower.predictor import PredictiveDeferredProcessor
from deferpower.starting import PATIENCE_S
from deferpower.task import Decision, Task, Verdict
from deferpower.thresholds import Thresholds, is_number
from deferpower.types import Reading

_MOST_JOBS = 1_000_000
_MOMENTS_BETWEEN_REPORTS = 256


class Workload(NamedTuple):
    """Which jobs are submitted.

    Attributes:
        every_s: time from one job to the next; the first comes with the trace.
        duration_s: how long each has to run.
        deadline_s: how long after it was submitted it runs whatever holds.
    """

    every_s: float = 3600.0
    duration_s: float = 3600.0
    deadline_s: float = 86_400.0

    def submissions(self, life: Life) -> list[float]:
        """When jobs are submitted: where the trace has lines, and early enough to see their end.

        Raises:
            ConfigError: a length of time is not above 0, or no job fits into the life, or too many.
        """
        for name, value in self._asdict().items():
            if not is_number(value) or not 0 < value < math.inf:
                raise ConfigError(f"{name[:-2]}: {value!r} is no length of time above 0")
        room_s = life.end_s - life.start_s - self.deadline_s - self.duration_s
        if room_s < 0:
            raise ConfigError(
                f"deadline: a job may take {_hours(self.deadline_s + self.duration_s)} h from "
                f"submission to end, and the trace has but {_hours(life.end_s - life.start_s)} h; "
                "make it shorter"
            )
        if room_s / self.every_s > _MOST_JOBS:
            raise ConfigError(
                f"every: {self.every_s:g} s makes too many jobs; {_MOST_JOBS} is the most"
            )
        count = int(room_s // self.every_s) + 1
        moments = (life.start_s + number * self.every_s for number in range(count))
        return [at_s for at_s in moments if life.is_known(at_s)]


class JobRun(NamedTuple):
    """What became of one job.

    Attributes:
        created_s: when it was submitted, seconds since the epoch.
        spans: from when to when it ran; between two it was paused.
    """

    created_s: float
    spans: tuple[tuple[float, float], ...]

    @property
    def start_s(self) -> float:
        """When it started."""
        return self.spans[0][0]

    @property
    def end_s(self) -> float:
        """When it was done."""
        return self.spans[-1][1]


class Scheduler(Protocol):
    """What is tried out: an `IntelligentScheduler`, or whatever decides as it does."""

    thresholds: Thresholds

    def schedule_task(self, task: Task, reading: Reading, *, running: bool) -> Decision:
        """The decision for a task."""


def replay(
    life: Life,
    workload: Workload,
    scheduler: Scheduler,
    task: Task,
    progress: Callable[[float], None] = lambda _: None,
    *,
    see: Callable[[float], None] | None = None,
) -> list[JobRun]:
    """What becomes of each job of a workload, in order of submission.

    A job starts when the scheduler says so, is frozen when it no longer does, and goes on when it
    does again. Jobs do not get in each other's way.

    Args:
        life: the device.
        workload: which jobs are submitted.
        scheduler: decides; one that has seen nothing yet, and takes the local time from
            ``life.local_minute``.
        task: what each job is; each gets its own ``created_s`` and ``deadline_s``.
        progress: told now and then which part of the life has passed, 0-1.
        see: told each moment before it is decided about, such as `Learner.see`; then each hour is
            one, too, and each at which something has lasted for `SETTLES_S` or `PATIENCE_S`, since
            a forecast may change what is decided while nothing else does.

    Raises:
        ConfigError: the workload does not fit, a window is asked for and the trace does not tell
            the local time, or the task might never run.

    Cost: a reading for each moment at which something may change, and a decision for each job that
    waits or runs then: natively some 0.1 s for 30 days with a job an hour.
    """
    if task.on_deadline != "run" or task.override not in (None, Verdict.EXECUTE_NOW):
        raise ConfigError("task: it must run at its deadline, else it may never end")
    submissions = workload.submissions(life)
    to_come = [
        _Job(
            dataclasses.replace(task, created_s=created_s, deadline_s=workload.deadline_s),
            workload.duration_s,
        )
        for created_s in submissions
    ]
    thresholds = scheduler.thresholds
    # A trace does not tell load and input apart, so quiet must last as long as either has to.
    idle_after_s = max(thresholds.idle.dwell_s, thresholds.idle.user_idle_s)
    scenes = list(life.scenes(idle_after_s))
    # A charger may count only when it has been seen for the dwell time. That is rounded up: a
    # moment that floats put too early would see no change.
    dwell_s = math.ceil(thresholds.plug_dwell_s)
    moments = {
        *submissions,
        *(created_s + workload.deadline_s for created_s in submissions),
        *(scene.start_s for scene in scenes),
        *(seen_s + dwell_s for seen_s in (*submissions, *_first_plugged(scenes))),
        *_window_edges(life, task),
        *_drops(task, submissions, workload.deadline_s, thresholds),
    }
    if see is not None:
        moments.update(range(life.start_s - life.start_s % 3600, life.end_s, 3600))
        for lasting_s in (SETTLES_S, PATIENCE_S):
            moments.update(scene.start_s + lasting_s for scene in scenes)
    backend = backend_name()
    place, admitted = 0, 0
    active: list[_Job] = []
    for number, at_s in enumerate(sorted(moments)):
        if number % _MOMENTS_BETWEEN_REPORTS == 0:
            progress((at_s - life.start_s) / (life.end_s - life.start_s))
        active = [job for job in active if not job.ends_by(at_s)]
        while admitted < len(to_come) and submissions[admitted] <= at_s:
            active.append(to_come[admitted])
            admitted += 1
        # With nothing to decide nobody looks at the machine, just as nobody would have then.
        if not active:
            continue
        while place + 1 < len(scenes) and scenes[place + 1].start_s <= at_s:
            place += 1
        if see is not None:
            see(at_s)
        reading = scenes[place].reading(at_s, backend)
        for job in active:
            job.obey(scheduler.schedule_task(job.task, reading, running=bool(job.spans)), at_s)
    for job in active:
        job.ends_by(life.end_s)
    progress(1.0)
    return [JobRun(job.task.created_s, tuple(job.spans)) for job in to_come]


class Learner:
    """Learns a life as it goes on; never what is still to come."""

    def __init__(self, life: Life) -> None:
        """Know nothing yet."""
        self._slots = life.slots
        self._next = 0
        self._now_s = 0.0
        self.predictor = PredictiveDeferredProcessor(
            zone=life.utc_offset_s, clock=lambda: self._now_s
        )

    def see(self, now_s: float) -> None:
        """Take in all slots that have begun by then, as readings show them, too."""
        self._now_s = now_s
        first = self._next
        while self._next < len(self._slots) and self._slots[self._next].start_s <= now_s:
            self._next += 1
        if self._next > first:
            self.predictor.learn_many(
                (slot.start_s, slot.activity, slot.plugged)
                for slot in self._slots[first : self._next]
            )


class Spread(NamedTuple):
    """Three percentiles of a length of time, in s, each one that occurred (nearest rank)."""

    p50: float
    p90: float
    p99: float


class Figures(NamedTuple):
    """What a policy made of a workload.

    Attributes:
        jobs: jobs that were submitted.
        started_after_s: from submission to start.
        done_after_s: from submission to end, running and pauses included.
        on_battery_jobs_percent: share of jobs that ran on battery, be it for a moment; ``None``
            where the trace does not tell the charger.
        on_battery_time_percent: share of running time on battery, where the charger is told.
        power_not_told_percent: share of running time where it is not.
        missed_deadlines: jobs not done at their deadline, so that they ran on whatever held.
        starts: times that a job started.
        pauses: times that a job was frozen.
    """

    jobs: int
    started_after_s: Spread
    done_after_s: Spread
    on_battery_jobs_percent: float | None
    on_battery_time_percent: float | None
    power_not_told_percent: float
    missed_deadlines: int
    starts: int
    pauses: int


def figures(life: Life, workload: Workload, runs: Sequence[JobRun]) -> Figures:
    """The figures of a replay."""
    total_s = told_s = battery_s = 0.0
    on_battery_jobs = 0
    for run in runs:
        total_s += sum(end_s - start_s for start_s, end_s in run.spans)
        told_s += sum(life.power_known_s(*span) for span in run.spans)
        run_battery_s = sum(life.on_battery_s(*span) for span in run.spans)
        battery_s += run_battery_s
        on_battery_jobs += run_battery_s > 0
    return Figures(
        jobs=len(runs),
        started_after_s=_spread([run.start_s - run.created_s for run in runs]),
        done_after_s=_spread([run.end_s - run.created_s for run in runs]),
        on_battery_jobs_percent=100 * on_battery_jobs / len(runs) if told_s else None,
        on_battery_time_percent=100 * battery_s / told_s if told_s else None,
        power_not_told_percent=100 * max(total_s - told_s, 0.0) / total_s,
        missed_deadlines=sum(run.end_s > run.created_s + workload.deadline_s for run in runs),
        starts=len(runs),
        pauses=sum(len(run.spans) - 1 for run in runs),
    )


def _spread(lengths_s: list[float]) -> Spread:
    lengths_s.sort()
    count = len(lengths_s)
    return Spread(*(lengths_s[-(-percent * count // 100) - 1] for percent in (50, 90, 99)))


class _Job:
    """A job on its way; the last of its spans is open while it runs."""

    __slots__ = ("_ends_s", "_left_s", "spans", "task")

    def __init__(self, task: Task, duration_s: float) -> None:
        self.task = task
        self.spans: list[tuple[float, float]] = []
        self._left_s = duration_s
        self._ends_s: float | None = None

    def obey(self, decision: Decision, now_s: float) -> None:
        """Start, freeze or thaw it, or leave it as it is."""
        if self._ends_s is None:
            if decision.execute_now:
                self._ends_s = now_s + self._left_s
                self.spans.append((now_s, self._ends_s))
        elif not decision.execute_now:
            start_s, _ = self.spans[-1]
            self.spans[-1] = (start_s, now_s)
            self._left_s = self._ends_s - now_s
            self._ends_s = None

    def ends_by(self, now_s: float) -> bool:
        """Whether it is done."""
        return self._ends_s is not None and self._ends_s <= now_s


def _first_plugged(scenes: Sequence[Scene]) -> Iterator[float]:
    """When the charger comes."""
    was_plugged = True
    for scene in scenes:
        is_plugged = scene.power is None or scene.power.plugged is True
        if is_plugged and not was_plugged:
            yield scene.start_s
        was_plugged = is_plugged


def _drops(
    task: Task, submissions: Sequence[float], life_s: float, thresholds: Thresholds
) -> Iterator[float]:
    """When each job drops something that it only prefers."""
    if not task.prefer.codes():
        return
    *fractions, before_s, _ = thresholds.relaxation()
    for created_s in submissions:
        yield from (created_s + fraction * life_s for fraction in fractions)
        yield created_s + life_s - before_s


def _window_edges(life: Life, task: Task) -> Iterator[float]:
    """When the windows that a task asks for open and close."""
    if task.windows and not life.tells_local_time:
        raise ConfigError(
            "window: the trace does not tell local time; add the column local_utc_offset to it"
        )
    for window in task.windows:
        yield from life.clock_moments(window.start_minute)
        yield from life.clock_moments(window.end_minute)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g}"
