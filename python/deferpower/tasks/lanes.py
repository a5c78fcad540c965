"""Lanes: what waiting tasks ask of the machine now, each distinct demand once.

A task's lane follows from its spec and its age. It changes when the task drops a preference or
reaches its deadline, so `Lanes.place` also says when to ask again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from deferpower.errors import TaskError
from deferpower.task import Task, TaskClass, Verdict
from deferpower.tasks.spec import Spec, as_json, constraints_of

if TYPE_CHECKING:
    from deferpower._contract import OutcomeRow
    from deferpower.scheduler import IntelligentScheduler
    from deferpower.store.texts import Texts


class Lane(NamedTuple):
    """What its tasks ask.

    Attributes:
        name: the function that they call.
        task: stands for all of them; has no age.
        at_most_once: its tasks must not be claimed before they can start.
        set_id: what the scheduler compiled it to; ``None`` if it names a condition that this
            program does not know.
    """

    name: str
    task: Task
    at_most_once: bool
    set_id: int | None


class Lanes:
    """The lanes of one store, as one scheduler judges them."""

    def __init__(self, scheduler: IntelligentScheduler, texts: Texts) -> None:
        self._scheduler = scheduler
        self._texts = texts
        self._lanes: dict[int, Lane] = {}

    def place(
        self, spec: Spec, created_s: float, life_s: float | None, now_s: float
    ) -> tuple[int, float | None]:
        """The lane of a task at a moment, and when to ask again; ``None`` for never."""
        asks, again_s = self._scheduler.relaxed(spec.task(created_s, life_s), now_s)
        return self._texts.id_of(_to_text(asks, spec)), again_s

    def __getitem__(self, lane_id: int) -> Lane:
        lane = self._lanes.get(lane_id)
        if lane is None:
            name, task, at_most_once = _from_text(self._texts.text_of(lane_id))
            try:
                set_id = self._scheduler.compile(task)
            except TaskError:
                set_id = None
            lane = self._lanes[lane_id] = Lane(name, task, at_most_once, set_id)
        return lane

    def outcomes(self, lane_ids: Iterable[int], *, running: bool) -> dict[int, OutcomeRow]:
        """What the last reading means for lanes; those that cannot be judged here are left out."""
        wanted = {lane_id: self[lane_id].set_id for lane_id in lane_ids}
        if not wanted:
            return {}
        rows = self._scheduler.evaluate(running=running)
        return {lane_id: rows[set_id] for lane_id, set_id in wanted.items() if set_id is not None}


_FIELDS = ("task_class", "constraints", "prefer", "override")


def _to_text(task: Task, spec: Spec) -> str:
    values = {name: as_json(getattr(task, name)) for name in _FIELDS}
    values = {name: value for name, value in values.items() if value}
    values["name"] = spec.name
    if spec.at_most_once:
        values["at_most_once"] = True
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _from_text(text: str) -> tuple[str, Task, bool]:
    values = json.loads(text)
    task = Task(
        task_class=TaskClass(values["task_class"]),
        constraints=constraints_of(values.get("constraints", {})),
        prefer=constraints_of(values.get("prefer", {})),
        override=Verdict(values["override"]) if "override" in values else None,
        created_s=0.0,
    )
    return values["name"], task, values.get("at_most_once", False)
