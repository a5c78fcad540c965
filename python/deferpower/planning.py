"""Which moment before its deadline a task should take: the forecast's say in deciding."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from deferpower.localtime import HOUR_S
from deferpower.task import Decision, Reason, Task, TaskClass, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferpower.predictor import HourForecast, Need, PredictiveDeferredProcessor
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.starting import StartAdvice
    from deferpower.thresholds import Thresholds
    from deferpower.types import Reading

SETTLES_S = 60.0
"""A forecast reckons with a state of the device once it has lasted so long."""

_PLANNED = ("charging", "idle")
"""Preferences that the forecast weighs, instead of the share of its life that a task has spent."""


class Plan(NamedTuple):
    """What the forecast is asked about a task.

    Attributes:
        need: what it should run with; ``None`` for whatever is usual on this device.
        until_s: latest moment to start, seconds since the epoch.
    """

    need: Need | None
    until_s: float


def plan_of(task: Task, task_class: TaskClass) -> Plan | None:
    """How the forecast has a say about a task; ``None`` if it has none.

    It has one for a task with a deadline and no verdict set by hand that is of class background or
    charging-only, or has preferences.
    """
    if task.deadline_s is None or task.override is not None:
        return None
    soft = bool(task.prefer.codes())
    if task_class not in (TaskClass.BACKGROUND, TaskClass.CHARGING_ONLY) and not (
        soft and task_class is TaskClass.NORMAL
    ):
        return None
    return Plan(need_of(task, task_class), task.created_s + task.deadline_s)


def need_of(task: Task, task_class: TaskClass) -> Need | None:
    """What a task asks for that a forecast tells of; ``None`` for nothing."""
    charging = (
        task_class is TaskClass.CHARGING_ONLY or task.constraints.charging or task.prefer.charging
    )
    idle = task.constraints.idle or task.prefer.idle
    if charging and idle:
        return "good"
    return "plugged" if charging else "idle" if idle else None


def without_planned(task: Task) -> Task:
    """The task without the preferences that the forecast weighs; itself if it has none."""
    left = [code for code in task.prefer.codes() if code not in _PLANNED]
    if len(left) == len(task.prefer.codes()):
        return task
    return dataclasses.replace(task, prefer=task.prefer.only(left))


class Planner:
    """Asks a predictor about plans; many of one moment cost little more than one."""

    def __init__(self, predictor: PredictiveDeferredProcessor) -> None:
        self._predictor = predictor
        self._asked_s: float | None = None
        self._advice: dict[Plan, StartAdvice | None] = {}
        self._starts: dict[Plan, float] = {}
        self._coming: tuple[float, list[HourForecast]] = (-1.0, [])

    def advise(self, plan: Plan, now_s: float) -> StartAdvice | None:
        """Whether to start now, if the machine agrees, or wait.

        Returns:
            ``None`` if too little was observed to say.
        """
        if self._asked_s != now_s:
            self._advice.clear()
            self._asked_s = now_s
        # To the hour, as the rule counts: tasks of one hour are asked about once.
        plan = plan._replace(until_s=plan.until_s // HOUR_S * HOUR_S)
        if plan not in self._advice:
            predictor = self._predictor
            need = plan.need or predictor.usual_need()
            self._advice[plan] = (
                predictor.advise_start(plan.until_s, now_s=now_s, need=need)
                if predictor.tells(need)
                else None
            )
        return self._advice[plan]

    def probable_start_s(self, plan: Plan, now_s: float) -> float:
        """The full hour by the deadline that is likeliest to be as needed; else the deadline."""
        hour = now_s // HOUR_S
        if self._coming[0] != hour:
            self._coming = (hour, self._predictor.forecast(25, now_s))
            self._starts.clear()
        if plan not in self._starts:
            place = _PLACES[plan.need or self._predictor.usual_need()]
            hours = [hour for hour in self._coming[1] if now_s < hour.start_s <= plan.until_s]
            self._starts[plan] = _likeliest_s(hours, place, plan.until_s)
        return self._starts[plan]

    def chance(self, plan: Plan) -> float | None:
        """Probability that what is needed comes by the deadline, within a day at most.

        Returns:
            ``None`` if too little was observed to say.
        """
        if not self._predictor.tells(plan.need or self._predictor.usual_need()):
            return None
        return self._predictor.chance_by(plan.until_s, plan.need)


_PLACES = {"idle": 1, "plugged": 2, "good": 3}


def _likeliest_s(hours: Sequence[HourForecast], place: int, otherwise_s: float) -> float:
    best_s, best = otherwise_s, 0.0
    for hour in hours:
        chance = hour[place]
        if chance is not None and chance > best:
            best_s, best = hour.start_s, chance
    return best_s


class ForecastingScheduler:
    """An `IntelligentScheduler` whose answers about tasks with a deadline a forecast weighs.

    The predictor must be told what is observed by whoever asks.

    Attributes:
        thresholds: those of the scheduler.
    """

    def __init__(
        self, scheduler: IntelligentScheduler, predictor: PredictiveDeferredProcessor
    ) -> None:
        """Decide by both."""
        self.thresholds: Thresholds = scheduler.thresholds
        self._scheduler = scheduler
        self._planner = Planner(predictor)
        self._bare: dict[int, tuple[Task, Task]] = {}

    def schedule_task(self, task: Task, reading: Reading, *, running: bool = False) -> Decision:
        """Decide about one task, as `IntelligentScheduler.schedule_task`."""
        decision = self._scheduler.schedule_task(task, reading, running=running)
        plan = plan_of(task, decision.task_class)
        now_s = reading.wall_s
        if plan is None or now_s >= plan.until_s:
            return decision
        advice = self._planner.advise(plan, now_s)
        if advice is None:
            return decision
        bare = self._without_planned(task)
        if bare is not task:
            decision = self._scheduler.schedule_task(bare, reading, running=running)
        if running or (decision.execute_now and advice.start):
            return decision
        if decision.execute_now:
            decision = Decision(
                Verdict.DEFER_TO_BACKGROUND, decision.task_class, (HELD_BACK,), now_s
            )
        start_s = self._planner.probable_start_s(plan, now_s)
        return decision._replace(scheduled_time=start_s)

    def _without_planned(self, task: Task) -> Task:
        """Noted, since a task that is new to the scheduler has to be compiled."""
        if not task.prefer.codes():
            return task
        known = self._bare.get(id(task))
        if known is None or known[0] is not task:
            if len(self._bare) > _MOST_NOTED:
                self._bare.clear()
            known = self._bare[id(task)] = (task, without_planned(task))
        return known[1]


_MOST_NOTED = 1000


HELD_BACK = Reason(
    "forecast",
    "a moment at least as good as those to come",
    "a better one is likely",
    "a better moment is likely before its deadline",
)
"""Why a task waits that the machine would let run."""
