"""The rules engine: which tasks may start, and what keeps the others waiting.

The table and all meaning stand in SEMANTICS.md, "Deciding".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from deferpower._contract import (
    ConstraintRow,
    FactsRow,
    OutcomeRow,
    RelaxationRow,
    RequirementRow,
    ThresholdsRow,
    WaitingRow,
)
from deferpower._pure.rules import constraints, parked, relaxation
from deferpower._pure.rules.constraints import CHARGING, END, RESOURCES_OK, Asked
from deferpower._pure.rules.machine import Line, Machine
from deferpower.errors import ConfigError

_CRITICAL, _CHARGING_ONLY, _BACKGROUND, _NORMAL = range(4)
_EXECUTE_NOW, _DEFER_TO_BACKGROUND, _DEFER_TO_CHARGING, _EXPIRE = range(4)

_SUSPENDED = END
_LEVEL = END << 1
_SOFT_SHIFT = 16


class _Compiled(NamedTuple):
    """A requirement, ready to be judged."""

    task_class: int
    forced: int | None
    expires: bool
    hard: Asked
    soft: Asked
    is_settled: bool
    preferred: int


class Rules:
    """See the contract."""

    CONSTRAINTS: ClassVar[tuple[str, ...]] = tuple(entry.code for entry in constraints.CONSTRAINTS)

    def __init__(self, thresholds: ThresholdsRow, relaxation: RelaxationRow, /) -> None:
        self._thresholds = thresholds
        self._relaxation = relaxation
        self._machine = Machine()
        suspend, background, normal, normal_idle, self._hysteresis, low, well, *_ = thresholds
        self._suspend = self._line(suspend)
        self._background = self._line(background)
        self._normal = self._line(normal)
        self._normal_idle = self._line(normal_idle)
        self._low = self._machine.line(low, well)
        self._compiled: list[_Compiled] = []
        self._ids: dict[RequirementRow, int] = {}
        self._parked: dict[int, WaitingRow] = {}

    def _line(self, line: float) -> Line:
        return self._machine.line(line, min(line + self._hysteresis, 100.0))

    def compile(self, requirement: RequirementRow, /) -> int:
        known = self._ids.get(requirement)
        if known is not None:
            return known
        task_class, forced, expires, hard, soft = requirement
        if task_class > _NORMAL or (forced is not None and forced > _EXPIRE):
            raise ConfigError("requirement: no such class or verdict")
        constraints.check(hard)
        constraints.check(soft)
        soft_asked = self._asked(soft)
        self._compiled.append(
            _Compiled(
                task_class,
                forced,
                expires,
                self._asked(hard),
                soft_asked,
                bool(hard[0] & constraints.POWER),
                soft_asked.dropping_steps(),
            )
        )
        self._ids[requirement] = len(self._compiled) - 1
        return len(self._compiled) - 1

    def _asked(self, row: ConstraintRow) -> Asked:
        flags, battery_above, *_ = row
        asks = flags & constraints.BATTERY_ABOVE
        return Asked(row, self._line(battery_above) if asks else None, self._low)

    def observe(self, facts: FactsRow, /) -> None:
        self._machine.observe(facts, self._thresholds)

    def decide(
        self, set_id: int, created_s: float, life_s: float | None, running: bool, /
    ) -> OutcomeRow:
        compiled = self._checked(set_id, created_s, life_s)
        self._check_observed()
        step = relaxation.step(
            self._relaxation, compiled.preferred, created_s, life_s, self._machine.wall_s
        )
        return self._outcome(compiled, step, running)

    def evaluate(self, running: bool, /) -> list[OutcomeRow]:
        self._check_observed()
        return [self._outcome(compiled, 0, running) for compiled in self._compiled]

    def next_step_s(self, set_id: int, created_s: float, life_s: float | None, /) -> float | None:
        compiled = self._checked(set_id, created_s, life_s)
        self._check_observed()
        return relaxation.next_s(
            self._relaxation, compiled.preferred, created_s, life_s, self._machine.wall_s
        )

    def park(self, tasks: Sequence[WaitingRow], /) -> None:
        for _, set_id, _, created_s, life_s in tasks:
            self._checked(set_id, created_s, life_s)
        for task in tasks:
            self._parked[task[0]] = task

    def unpark(self, task_id: int, /) -> bool:
        return self._parked.pop(task_id, None) is not None

    def take(self, limit: int, charging_only: int, /) -> tuple[list[int], list[int]]:
        self._check_observed()
        start, expired = parked.choose(
            self._parked.values(),
            self._fate,
            [compiled.preferred for compiled in self._compiled],
            self._relaxation,
            self._machine.wall_s,
            limit,
            charging_only,
        )
        for task_id in (*start, *expired):
            del self._parked[task_id]
        return start, expired

    def _fate(self, set_id: int, step: int) -> int:
        compiled = self._compiled[set_id]
        verdict, row, _, _ = self._outcome(compiled, step, running=False)
        if verdict == _EXPIRE:
            return parked.EXPIRES
        if verdict != _EXECUTE_NOW:
            return parked.WAITS
        if compiled.task_class == _CHARGING_ONLY and row > 2:
            return parked.STARTS_ALONE
        return parked.STARTS

    def _checked(self, set_id: int, created_s: float, life_s: float | None) -> _Compiled:
        if not math.isfinite(created_s) or (life_s is not None and not 0.0 <= life_s < math.inf):
            raise ConfigError("created_s, life_s: no moment and duration")
        if set_id >= len(self._compiled):
            raise ConfigError(f"set {set_id}: no such set was compiled")
        return self._compiled[set_id]

    def _check_observed(self) -> None:
        if not self._machine.observed:
            raise ConfigError("nothing observed yet; give the rules a reading first")

    def _outcome(self, compiled: _Compiled, step: int, running: bool) -> OutcomeRow:
        """The table, row by row."""
        task_class, forced, expires, hard, soft, is_settled, _ = compiled
        machine = self._machine
        if forced is not None:
            return forced, 0, 0, 0
        if task_class == _CRITICAL:
            return _EXECUTE_NOW, 1, 0, 0
        if step == relaxation.DEADLINE:
            return _EXPIRE if expires else _EXECUTE_NOW, 2, 0, 0
        hard_unmet = hard.unmet(machine, 0)
        soft_unmet = soft.unmet(machine, step)
        unmet = hard_unmet | soft_unmet << _SOFT_SHIFT
        row = 3 if unmet else 0
        external = machine.external
        charging_only = task_class == _CHARGING_ONLY
        power_is_enough = charging_only or external or is_settled
        if charging_only and not external:
            unmet |= CHARGING
            row = row or 4
        if not external and not self._suspend.passes:
            unmet |= _SUSPENDED
            row = row or 5
        if not running and not machine.resources_ok:
            unmet |= RESOURCES_OK
            row = row or 6
        if power_is_enough:
            row = row or 7
        else:
            row = row or (8 if task_class == _BACKGROUND else 9)
            if not self._level_ok(task_class):
                unmet |= _LEVEL
        if not unmet:
            return _EXECUTE_NOW, row, 0, 0
        waits_for_charger = unmet & (CHARGING | CHARGING << _SOFT_SHIFT)
        verdict = _DEFER_TO_CHARGING if waits_for_charger else _DEFER_TO_BACKGROUND
        custom = hard.unmet_custom(hard_unmet, machine) | soft.unmet_custom(soft_unmet, machine)
        return verdict, row, unmet, custom

    def _level_ok(self, task_class: int) -> bool:
        if task_class == _BACKGROUND:
            return self._background.passes or self._machine.idle
        return self._normal.passes or (self._normal_idle.passes and self._machine.idle)
