"""Waits, without a busy loop, until there is something to do."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deferpower._contract import (
    ENDS_WAITING,
    EXECUTE_NOW,
    FILE,
    TIMER,
    VERDICT,
    WOKEN,
    SampleRow,
    ToldRow,
    WakeRow,
)
from deferpower._facts import facts_row
from deferpower._pure.cadence import Dues, Need, next_dues
from deferpower._pure.rules import Rules
from deferpower._pure.sampler import Sampler
from deferpower.errors import ConfigError

if TYPE_CHECKING:
    from deferpower._pure.sys.bells import Bells, Rung


class _Watched:
    """Requirements, by how they were found."""

    def __init__(
        self, waiting: Sequence[int], running: Sequence[int], stopped: Sequence[int]
    ) -> None:
        self._found: tuple[tuple[Sequence[int], bool, Callable[[int], bool]], ...] = (
            (waiting, False, lambda verdict: verdict not in ENDS_WAITING),
            (running, True, lambda verdict: verdict == EXECUTE_NOW),
            (stopped, True, lambda verdict: verdict != EXECUTE_NOW),
        )

    def need(self, rules: Rules, dues: Dues) -> Need | None:
        """What all of them need; ``None`` if a verdict is another one than was found."""
        due_s, power = math.inf, False
        for set_ids, running, agrees in self._found:
            for set_id in set_ids:
                verdict, need = rules.need(set_id, running, dues)
                if not agrees(verdict):
                    return None
                due_s = min(due_s, need.due_s)
                power = power or need.power
        return Need(due_s, power)


class Watch:
    """See the contract."""

    def __init__(self, sampler: Sampler, rules: Rules, /) -> None:
        # Late, since it loads the sockets, which nothing else here needs.
        from deferpower._pure.sys.bells import Bells

        self._sampler = sampler
        self._rules = rules
        self._bells: Bells | None = Bells()
        self._power_event_s: float | None = None
        self._is_waiting = False
        self._lock = threading.RLock()  # a signal handler may close while its thread waits

    def follow(self, path: str, /) -> None:
        bells = self._bells
        if bells is not None:
            bells.follow(path)

    def wake(self) -> None:
        bells = self._bells
        if bells is not None:
            bells.ring()

    def close(self) -> None:
        bells, self._bells = self._bells, None
        if bells is not None:
            bells.ring()  # its files are closed once nobody waits by it any more

    def wait(
        self,
        waiting: Sequence[int],
        running: Sequence[int],
        stopped: Sequence[int],
        told: ToldRow,
        until_wall_s: float | None,
        /,
    ) -> WakeRow:
        if until_wall_s is not None and math.isnan(until_wall_s):
            raise ConfigError("until_wall_s is not a number; give seconds since the epoch")
        with self._lock:
            if self._is_waiting:
                raise ConfigError(
                    "watch: another thread waits here; give each thread a watch of its own"
                )
            self._is_waiting = True
        try:
            watched = _Watched(waiting, running, stopped)
            return self._wait(self._bells, watched, told, until_wall_s)
        finally:
            self._is_waiting = False

    def _wait(
        self,
        bells: Bells | None,
        watched: _Watched,
        told: ToldRow,
        until_wall_s: float | None,
    ) -> WakeRow:
        last: tuple[SampleRow, float, float] | None = None
        why = WOKEN if bells is None else None
        while why is None:
            assert bells is not None
            dues = self._dues(bells.hears_power, told)
            need = watched.need(self._rules, dues)
            if need is None:
                why = VERDICT
                break
            timeout_s = None
            if need.due_s < math.inf:
                timeout_s = max(0.0, need.due_s - time.monotonic())
            rung = bells.sleep(until_wall_s, timeout_s, need.power)
            now_s = time.monotonic()
            if rung.power:
                self._power_event_s = now_s
            why = _why(rung)
            if why is None and need.due_s <= now_s:
                last = self._sample(dues.is_slow_due(now_s, need.power), now_s, told)
        if last is None:
            return why, None, time.monotonic(), time.time()
        return (why, *last)

    def _dues(self, hears_power: bool, told: ToldRow) -> Dues:
        """When each thing that could be watched is due."""
        sensed = self._sampler.sensed()
        if not hears_power:
            sensed = sensed._replace(has_power_events=False)
        *_, user_present, _ = told
        return next_dues(self._rules.seen(), sensed, self._power_event_s, user_present)

    def _sample(
        self, is_slow_due: bool, now_s: float, told: ToldRow
    ) -> tuple[SampleRow, float, float]:
        """Look at the machine, and let the rules judge."""
        sample = self._sampler.sample(now_s, 0.0 if is_slow_due else math.inf)
        wall_s = time.time()
        power, cpu, memory, _, _, storage, idle, _ = sample
        minute, network, user_present, custom = told
        is_idle = idle is not None and not user_present
        moment = (now_s, wall_s, minute)
        self._rules.observe(
            facts_row(power, cpu, memory, storage, is_idle, moment, network, custom)
        )
        return sample, now_s, wall_s


def _why(rung: Rung) -> int | None:
    if rung.woken:
        return WOKEN
    if rung.file:
        return FILE
    return TIMER if rung.timer else None
