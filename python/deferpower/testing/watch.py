"""The quiet wait on a device and a clock that are set by hand: `FakeWatch`."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deferpower._contract import ENDS_WAITING, EXECUTE_NOW, FILE, TIMER, VERDICT, WOKEN
from deferpower._facts import facts_row
from deferpower.errors import ConfigError
from deferpower.testing.clock import ManualClock
from deferpower.testing.machine import Machine, State

if TYPE_CHECKING:
    from deferpower._contract import FactsRow, Rules, ToldRow, WakeRow


_FILE_POLL_S = 0.01
# File times come from a clock that ticks every 10 ms at the slowest: until a write is older than
# that, another one may leave the same time behind.
_FILE_CLOCK_NS = 20_000_000


class FakeWatch:
    """A `_contract.Watch` that takes a look after each change of its device or clock, in order.

    Nothing is polled, but for a file that is followed, which is looked at every 10 ms of real time.
    What the device says of network and user counts, and not what the wait was told of them, since
    the device may have changed after that.
    """

    def __init__(self, machine: Machine, clock: ManualClock, rules: Rules) -> None:
        self._machine = machine
        self._clock = clock
        self._rules = rules
        self._files: dict[str, object] = {}
        # A signal handler may wake() amid anything: a flag and a queue take no lock that it could
        # find held. The flag keeps what comes between two waits, the queue ends one that sleeps.
        self._woken = False
        self._closed = False
        self._moments: queue.SimpleQueue[_Moment | None] = queue.SimpleQueue()
        self._occupied = threading.Lock()

    def follow(self, path: str, /) -> None:
        """Have writes to a file from now on end a wait."""
        self._files[path] = _signature(path)
        self._moments.put(None)  # who sleeps already must begin to look at it

    def wait(
        self,
        waiting: Sequence[int],
        running: Sequence[int],
        stopped: Sequence[int],
        told: ToldRow,
        until_wall_s: float | None,
        /,
    ) -> WakeRow:
        """Wait as the contract says, on the times of the clock.

        Raises:
            ConfigError: nothing observed yet, an unknown id, no moment, another thread waits here.
        """
        if until_wall_s is not None and math.isnan(until_wall_s):
            raise ConfigError("until_wall_s: nan is no moment; give seconds since the epoch")
        if not self._occupied.acquire(blocking=False):
            raise ConfigError("watch: another thread waits here; open one for each thread")
        try:
            return self._wait(_Watched(waiting, running, stopped), told, until_wall_s)
        finally:
            self._occupied.release()

    def _wait(self, watched: _Watched, told: ToldRow, until_wall_s: float | None) -> WakeRow:
        if not (self._closed or watched.agree(self._rules)):
            return self._wake(VERDICT, None)
        moments = self._moments = queue.SimpleQueue()
        last: _Moment | None = None
        with self._clock.listening(self._look):
            while not (self._woken or self._closed):
                try:
                    moment = moments.get(timeout=_FILE_POLL_S if self._files else None)
                except queue.Empty:
                    moment = None
                if moment is not None:
                    if watched.any:
                        last = moment
                        self._rules.observe(moment.facts(told))
                        if not watched.agree(self._rules):
                            return self._wake(VERDICT, last)
                    if until_wall_s is not None and moment.wall_s >= until_wall_s:
                        return self._wake(TIMER, last)
                if self._a_file_changed():
                    return self._wake(FILE, last)
        self._woken = False
        return self._wake(WOKEN, last)

    def wake(self) -> None:
        """End the wait of another thread, or the next one. A signal handler may call it."""
        self._woken = True
        self._moments.put(None)

    def close(self) -> None:
        """End this wait and all to come."""
        self._closed = True
        self._moments.put(None)

    def _look(self) -> None:
        clock = self._clock
        self._moments.put(_Moment(self._machine.state, clock.monotonic(), clock.time()))

    def _a_file_changed(self) -> bool:
        changed = False
        for path, known in tuple(self._files.items()):
            now = _signature(path)
            if now != known:
                self._files[path] = now
                changed = True
        return changed

    def _wake(self, why: int, last: _Moment | None) -> WakeRow:
        if last is None:
            return why, None, self._clock.monotonic(), self._clock.time()
        return why, last.state.sample(), last.monotonic_s, last.wall_s


class _Watched(NamedTuple):
    """Requirements, by how they were found."""

    waiting: Sequence[int]
    running: Sequence[int]
    stopped: Sequence[int]

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return any(self)

    def agree(self, rules: Rules) -> bool:
        """Whether each is as it was found.

        Raises:
            ConfigError: nothing observed yet, an unknown id.
        """
        return (
            all(verdict not in ENDS_WAITING for verdict in _verdicts(rules, self.waiting, False))
            and all(verdict == EXECUTE_NOW for verdict in _verdicts(rules, self.running, True))
            and all(verdict != EXECUTE_NOW for verdict in _verdicts(rules, self.stopped, True))
        )


def _verdicts(rules: Rules, set_ids: Sequence[int], running: bool) -> list[int]:
    outcomes = rules.evaluate(running) if set_ids else []
    for set_id in set_ids:
        if not 0 <= set_id < len(outcomes):
            raise ConfigError(f"requirement {set_id} is unknown; compile it first")
    return [outcomes[set_id][0] for set_id in set_ids]


class _Moment(NamedTuple):
    """A device and the time, as they were together."""

    state: State
    monotonic_s: float
    wall_s: float

    def facts(self, told: ToldRow) -> FactsRow:
        """The moment as rules see it."""
        minute, _, _, custom = told
        state = self.state
        power, cpu, memory, _, _, storage, _, _ = state.sample()
        return facts_row(
            power,
            cpu,
            memory,
            storage,
            state.idle and not state.user_present,
            (self.monotonic_s, self.wall_s, minute),
            (state.connected, state.metered),
            custom,
        )


def _signature(path: str) -> object:
    """Equal as long as a file is not written to, and equal to nothing while that cannot be told."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    if 0 <= time.time_ns() - status.st_mtime_ns < _FILE_CLOCK_NS:
        return object()
    return status.st_ino, status.st_size, status.st_mtime_ns
