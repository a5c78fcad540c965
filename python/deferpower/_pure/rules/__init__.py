"""The rules engine: which tasks may start, and what keeps the others waiting.

The table and all meaning stand in SEMANTICS.md, "Deciding".
"""

from __future__ import annotations

import math
import threading
from typing import ClassVar, NamedTuple

from deferpower._contract import (
    DEFER_TO_BACKGROUND,
    DEFER_TO_CHARGING,
    EXECUTE_NOW,
    EXPIRE,
    SOFT_SHIFT,
    ConstraintRow,
    FactsRow,
    OutcomeRow,
    RelaxationRow,
    RequirementRow,
    ThresholdsRow,
)
from deferpower._pure.cadence import Dues, Need, Seen
from deferpower._pure.rules import constraints, relaxation, watched
from deferpower._pure.rules.constraints import CHARGING, END, RESOURCES_OK, Asked
from deferpower._pure.rules.machine import Line, Machine
from deferpower.errors import ConfigError

_CRITICAL, _CHARGING_ONLY, _BACKGROUND, _NORMAL = range(4)

_SUSPENDED = END
_LEVEL = END << 1


class _Compiled(NamedTuple):
    """A requirement, ready to be judged."""

    task_class: int
    forced: int | None
    expires: bool
    hard: Asked
    soft: Asked
    is_settled: bool
    preferred: int
    flags: int


def _check(requirement: RequirementRow) -> None:
    task_class, forced, _, hard, soft = requirement
    if task_class > _NORMAL or (forced is not None and forced > EXPIRE):
        raise ConfigError("requirement: no such class or verdict")
    constraints.check(hard)
    constraints.check(soft)


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
        # Reentrant, since a signal handler may ask while the same thread does.
        self._lock = threading.RLock()

    def _line(self, line: float) -> Line:
        return self._machine.line(line, min(line + self._hysteresis, 100.0))

    def compile(self, requirement: RequirementRow, /) -> int:
        with self._lock:
            known = self._ids.get(requirement)
            if known is not None:
                return known
            _check(requirement)
            task_class, forced, expires, hard, soft = requirement
            self._compiled.append(
                _Compiled(
                    task_class,
                    forced,
                    expires,
                    self._asked(hard),
                    self._asked(soft),
                    bool(hard[0] & constraints.POWER),
                    constraints.dropping_steps(soft[0]),
                    hard[0] | soft[0],
                )
            )
            self._ids[requirement] = len(self._compiled) - 1
            return len(self._compiled) - 1

    def _asked(self, row: ConstraintRow) -> Asked:
        flags, battery_above, *_ = row
        asks = flags & constraints.BATTERY_ABOVE
        return Asked(row, self._line(battery_above) if asks else None, self._low)

    def observe(self, facts: FactsRow, /) -> None:
        with self._lock:
            self._machine.observe(facts, self._thresholds)

    def decide(
        self, set_id: int, created_s: float, life_s: float | None, running: bool, /
    ) -> OutcomeRow:
        with self._lock:
            compiled = self._checked(set_id, created_s, life_s)
            self._check_observed()
            step = relaxation.step(
                self._relaxation, compiled.preferred, created_s, life_s, self._machine.wall_s
            )
            return self._outcome(compiled, step, running)

    def evaluate(self, running: bool, /) -> list[OutcomeRow]:
        with self._lock:
            self._check_observed()
            return [self._outcome(compiled, 0, running) for compiled in self._compiled]

    def next_step_s(self, set_id: int, created_s: float, life_s: float | None, /) -> float | None:
        with self._lock:
            compiled = self._checked(set_id, created_s, life_s)
            self._check_observed()
            return relaxation.next_s(
                self._relaxation, compiled.preferred, created_s, life_s, self._machine.wall_s
            )

    def relaxed(
        self,
        requirement: RequirementRow,
        created_s: float,
        life_s: float | None,
        now_s: float,
        /,
    ) -> tuple[RequirementRow, float | None]:
        _check(requirement)
        relaxation.check(created_s, life_s)
        if not math.isfinite(now_s):
            raise ConfigError("now_s: it must be a finite number")
        task_class, forced, expires, hard, soft = requirement
        if forced is not None or task_class == _CRITICAL:
            return requirement, None
        preferred = constraints.dropping_steps(soft[0])
        step = relaxation.step(self._relaxation, preferred, created_s, life_s, now_s)
        if step == relaxation.DEADLINE:
            forced = EXPIRE if expires else EXECUTE_NOW
        soft = constraints.left_at(soft, step)
        next_s = relaxation.next_s(
            self._relaxation, constraints.dropping_steps(soft[0]), created_s, life_s, now_s
        )
        return (task_class, forced, expires, hard, soft), next_s

    def seen(self) -> Seen:
        """What of the cadence the rules know: the last facts, and the history about them."""
        with self._lock:
            machine = self._machine
            return Seen(
                machine.monotonic_s,
                machine.plug_counts_s(self._thresholds[-1]),
                machine.points_to_line(),
            )

    def need(self, set_id: int, running: bool, dues: Dues) -> tuple[int, Need]:
        """The verdict of a requirement with nothing relaxed, and what it needs to see another one.

        Args:
            set_id: the requirement.
            running: whether it is that of tasks that run.
            dues: when each thing is due.

        Raises:
            ConfigError: nothing observed yet, an unknown id.
        """
        with self._lock:
            compiled = self._known(set_id)
            self._check_observed()
            verdict, row, unmet, _ = self._outcome(compiled, 0, running)
            if row < 2 or (verdict == EXECUTE_NOW and not running):
                return verdict, watched.NOTHING
            # Whether idleness makes up for a level that is too low for the class.
            by_idle = compiled.task_class == _BACKGROUND or self._normal_idle.passes
            if verdict != EXECUTE_NOW:
                either = unmet | unmet >> SOFT_SHIFT
                return verdict, watched.need_to_start(either, by_idle, dues)
            external = self._machine.external
            line = self._background if compiled.task_class == _BACKGROUND else self._normal
            runs_by_idle = not external and by_idle and not line.passes
            need = watched.need_to_stop(compiled.flags, external, runs_by_idle, dues)
            return verdict, need

    def _checked(self, set_id: int, created_s: float, life_s: float | None) -> _Compiled:
        relaxation.check(created_s, life_s)
        return self._known(set_id)

    def _known(self, set_id: int) -> _Compiled:
        if set_id >= len(self._compiled):
            raise ConfigError(f"set {set_id}: no such set was compiled")
        return self._compiled[set_id]

    def _check_observed(self) -> None:
        if not self._machine.observed:
            raise ConfigError("nothing observed yet; give the rules a reading first")

    def _outcome(self, compiled: _Compiled, step: int, running: bool) -> OutcomeRow:
        """The table, row by row."""
        task_class, forced, expires, hard, soft, is_settled, *_ = compiled
        machine = self._machine
        if forced is not None:
            return forced, 0, 0, 0
        if task_class == _CRITICAL:
            return EXECUTE_NOW, 1, 0, 0
        if step == relaxation.DEADLINE:
            return EXPIRE if expires else EXECUTE_NOW, 2, 0, 0
        hard_unmet = hard.unmet(machine, 0)
        soft_unmet = soft.unmet(machine, step)
        unmet = hard_unmet | soft_unmet << SOFT_SHIFT
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
            return EXECUTE_NOW, row, 0, 0
        waits_for_charger = unmet & (CHARGING | CHARGING << SOFT_SHIFT)
        verdict = DEFER_TO_CHARGING if waits_for_charger else DEFER_TO_BACKGROUND
        custom = hard.unmet_custom(hard_unmet, machine) | soft.unmet_custom(soft_unmet, machine)
        return verdict, row, unmet, custom

    def _level_ok(self, task_class: int) -> bool:
        if task_class == _BACKGROUND:
            return self._background.passes or self._machine.idle
        return self._normal.passes or (self._normal_idle.passes and self._machine.idle)
