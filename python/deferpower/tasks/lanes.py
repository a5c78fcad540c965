"""Lanes: what waiting tasks ask of the machine now, each distinct demand once.

A task's lane follows from its spec and its age. It changes when the task drops a preference or
reaches its deadline, so `Lanes.place` also says when to ask again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from deferpower._contract import ENDS_WAITING, EXECUTE_NOW
from deferpower.constraints import Constraints
from deferpower.errors import TaskError
from deferpower.localtime import HOUR_S
from deferpower.planning import Plan, plan_of, without_planned
from deferpower.store.records import damaged
from deferpower.store.texts import MOST_NOTED
from deferpower.task import Task, TaskClass, Verdict
from deferpower.tasks.spec import Spec, as_json, constraints_of

if TYPE_CHECKING:
    from deferpower.predictor import Need
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.starting import StartAdvice
    from deferpower.store.texts import Texts
    from deferpower.tasks.foresight import Foresight


class Planned(NamedTuple):
    """What a forecast is asked about the tasks of a lane.

    Attributes:
        need: as for `Plan`.
        last_hour: the hour of their deadline, counted from the epoch, modulo `_HOURS`, so that
            lanes are used again; ``None`` while it is further off than a forecast looks.
    """

    need: Need | None
    last_hour: int | None

    @classmethod
    def of(cls, plan: Plan, now_s: float) -> tuple[Planned, float | None]:
        """The plan of a task at a moment, and when to ask again; ``None`` for never."""
        last = plan.until_s // HOUR_S
        if last - now_s // HOUR_S > _LOOKS_AHEAD_H:
            return cls(plan.need, None), (last - _LOOKS_AHEAD_H) * HOUR_S
        return cls(plan.need, int(last % _HOURS)), None

    def at(self, now_s: float) -> Plan:
        """The plan as of a moment."""
        hour = now_s // HOUR_S
        ahead = _LOOKS_AHEAD_H if self.last_hour is None else (self.last_hour - hour) % _HOURS
        if ahead > _LOOKS_AHEAD_H:
            ahead -= _HOURS  # it has passed
        return Plan(self.need, (hour + ahead) * HOUR_S)


_LOOKS_AHEAD_H = 26
_HOURS = 48


class Lane(NamedTuple):
    """What its tasks ask.

    Attributes:
        name: the function that they call.
        task: stands for all of them; has no age.
        at_most_once: its tasks must not be claimed before they can start.
        set_id: what the scheduler compiled it to; ``None`` if it names a condition that this
            program does not know.
        bare_id: the same without the preferences that a forecast weighs.
        planned: how a forecast has a say about its tasks; ``None`` if it has none.
    """

    name: str
    task: Task
    at_most_once: bool
    set_id: int | None
    bare_id: int | None
    planned: Planned | None


class Outcome(NamedTuple):
    """What the last reading and the forecast mean for a lane.

    Attributes:
        may_run: whether its tasks may run now.
        set_id: what it was judged by.
        kept_by: what must be judged otherwise before its tasks may run: requirements that were
            found to keep them. Of a lane that waits, none once it is to expire.
    """

    may_run: bool
    set_id: int
    kept_by: tuple[int, ...]


class Lanes:
    """The lanes of one store, as one scheduler judges them."""

    def __init__(self, scheduler: IntelligentScheduler, texts: Texts, foresight: Foresight) -> None:
        self._foresight = foresight
        self._scheduler = scheduler
        self._better: tuple[int, int] | None = None
        self._texts = texts
        self._lanes: dict[int, Lane] = {}

    def place(
        self, spec: Spec, created_s: float, life_s: float | None, now_s: float
    ) -> tuple[int, float | None]:
        """The lane of a task at a moment, and when to ask again; ``None`` for never."""
        task = spec.task(created_s, life_s)
        asks, again_s = self._scheduler.relaxed(task, now_s)
        plan = plan_of(task, spec.task_class)
        planned = None
        if plan is not None and asks.override is None:
            planned, nearer_s = Planned.of(plan, now_s)
            if nearer_s is not None and (again_s is None or nearer_s < again_s):
                again_s = nearer_s
        return self._texts.id_of(_to_text(asks, spec, planned)), again_s

    def __getitem__(self, lane_id: int) -> Lane:
        lane = self._lanes.get(lane_id)
        if lane is None:
            text = self._texts.text_of(lane_id)
            try:
                name, task, at_most_once, planned = _from_text(text)
            except (TypeError, ValueError, LookupError, RecursionError, TaskError) as error:
                raise damaged(f"lanes {lane_id}", f"{error}: {text!a:.80}") from error
            set_id = bare_id = None
            with contextlib.suppress(TaskError):
                set_id = self._scheduler.compile(task)
                bare_id = self._scheduler.compile(without_planned(task))
            lane = Lane(name, task, at_most_once, set_id, bare_id, planned)
            self._lanes[lane_id] = lane
        return lane

    def advice(self, lane_id: int) -> StartAdvice | None:
        """What the forecast says about the tasks of a lane; ``None`` if it has no say."""
        planned = self[lane_id].planned
        if planned is None:
            return None
        return self._foresight.advise(planned.at(self._foresight.now_s))

    def set_id(self, lane_id: int) -> int | None:
        """What a lane is judged by now; ``None`` where it cannot be judged here."""
        return self._judged_by(lane_id, self.advice(lane_id))

    def _judged_by(self, lane_id: int, advice: StartAdvice | None) -> int | None:
        lane = self[lane_id]
        return lane.set_id if advice is None else lane.bare_id

    def starts(self, lane_ids: Iterable[int]) -> dict[int, Outcome]:
        """Whether the last reading and the forecast let the tasks of lanes start.

        Lanes that cannot be judged here are left out.
        """
        lane_ids = [*lane_ids]
        self._forget_others(lane_ids)
        asked = []
        for lane_id in lane_ids:
            advice = self.advice(lane_id)
            set_id = self._judged_by(lane_id, advice)
            if set_id is not None:
                held_back = advice is not None and not advice.start
                asked.append((lane_id, set_id, self._better_moments() if held_back else ()))
        if not asked:
            return {}
        rows = self._scheduler.evaluate(running=False)
        outcomes = {}
        for lane_id, set_id, better in asked:
            may_run = rows[set_id][0] == EXECUTE_NOW and not better
            kept_by = tuple(
                known for known in (set_id, *better) if rows[known][0] not in ENDS_WAITING
            )
            outcomes[lane_id] = Outcome(may_run, set_id, kept_by)
        return outcomes

    def goes_on(self, lane_ids: Iterable[int]) -> dict[int, Outcome]:
        """Whether the last reading lets the tasks of lanes run that have started.

        Lanes that cannot be judged here are left out.
        """
        set_ids = [(lane_id, self.set_id(lane_id)) for lane_id in lane_ids]
        if not set_ids:
            return {}
        rows = self._scheduler.evaluate(running=True)
        outcomes = {}
        for lane_id, set_id in set_ids:
            if set_id is not None:
                may_run = rows[set_id][0] == EXECUTE_NOW
                outcomes[lane_id] = Outcome(may_run, set_id, () if may_run else (set_id,))
        return outcomes

    def _forget_others(self, lane_ids: Iterable[int]) -> None:
        """Let go of lanes that are not waited in, if there are many.

        The others are kept however many they are: every turn asks for each of them.
        """
        if len(self._lanes) > MOST_NOTED:
            self._lanes = {known: self._lanes[known] for known in lane_ids if known in self._lanes}

    def _better_moments(self) -> tuple[int, int]:
        """External power, and idleness: what may make now better than later."""
        if self._better is None:
            self._better = (
                self._scheduler.compile(Task(task_class=TaskClass.CHARGING_ONLY, created_s=0.0)),
                self._scheduler.compile(
                    Task(
                        task_class=TaskClass.NORMAL,
                        constraints=Constraints(idle=True),
                        created_s=0.0,
                    )
                ),
            )
        return self._better

    def replanned_s(self, lane_ids: Iterable[int], now_s: float) -> float | None:
        """When to ask the forecast again about waiting lanes; ``None`` if it has no say."""
        if any(self.advice(lane_id) is not None for lane_id in lane_ids):
            return self._foresight.replanned_s(now_s)
        return None


_FIELDS = ("task_class", "constraints", "prefer", "override")


def _to_text(task: Task, spec: Spec, planned: Planned | None) -> str:
    values = {name: as_json(getattr(task, name)) for name in _FIELDS}
    values = {name: value for name, value in values.items() if value}
    values["name"] = spec.name
    if spec.at_most_once:
        values["at_most_once"] = True
    if planned is not None:
        values["planned"] = planned
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _from_text(text: str) -> tuple[str, Task, bool, Planned | None]:
    values = json.loads(text)
    task = Task(
        task_class=TaskClass(values["task_class"]),
        constraints=constraints_of(values.get("constraints", {})),
        prefer=constraints_of(values.get("prefer", {})),
        override=Verdict(values["override"]) if "override" in values else None,
        created_s=0.0,
    )
    planned = Planned(*values["planned"]) if "planned" in values else None
    return values["name"], task, values.get("at_most_once", False), planned
