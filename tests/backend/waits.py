"""What tests of the quiet wait share: a laptop in a directory, its rules, threads that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.machine import Machine
from deferpower._contract import (
    Backend,
    ConstraintRow,
    FactsRow,
    RequirementRow,
    Rules,
    Sampler,
    ToldRow,
    WakeRow,
    Watch,
)
from deferpower.thresholds import Thresholds
from deferpower.types import IdleRules

TIMER, WOKEN, FILE, VERDICT = range(4)
NOTHING: ConstraintRow = (0, 0.0, 0, 0, 0)
TOLD: ToldRow = (720, (None, None), False, 0)
LONG_S = 60.0


def asking(*, hard: ConstraintRow = NOTHING, task_class: int = 3) -> RequirementRow:
    """A requirement of normal work, with these constraints."""
    return (task_class, None, False, hard, NOTHING)


CHARGING = asking(hard=(1, 0.0, 0, 0, 0))
IDLE = asking(hard=(1 << 3, 0.0, 0, 0, 0))
CONNECTED = asking(hard=(1 << 4, 0.0, 0, 0, 0))
STORAGE = asking(hard=(1 << 6, 0.0, 0, 0, 0))


class Laptop:
    """A machine on battery at 60 %, seen by one backend."""

    def __init__(self, backend: Backend, machine: Machine, rules: IdleRules) -> None:
        self.machine = machine
        machine.supply("AC", type="Mains", online=0)
        machine.pack()
        machine.cpu(100, 1000)
        self.sampler: Sampler = backend.Sampler(str(machine.root), [], rules[:4])
        thresholds = Thresholds()
        self.rules: Rules = backend.Rules(thresholds.lines(), thresholds.relaxation())
        self.watch: Watch = backend.Watch(self.sampler, self.rules)

    def plug(self, online: bool) -> None:
        """Plug the charger in, or pull it."""
        self.machine.supply("AC", online=int(online))
        self.machine.supply("BAT0", status="Charging" if online else "Discharging")

    def look(self, told: ToldRow = TOLD, at_s: float | None = None) -> None:
        """Sample, and let the rules know, as a program does before it waits."""
        now_s = time.monotonic() if at_s is None else at_s
        power, _, _, _, _, _, idle, _ = self.sampler.sample(now_s, 0.0)
        assert power is not None
        minute, network, present, custom = told
        facts: FactsRow = (
            (now_s, time.time(), minute),
            power[:3],
            (None, None, None),
            idle is not None and not present,
            network,
            custom,
        )
        self.rules.observe(facts)

    def wait(
        self,
        *,
        waiting: RequirementRow | None = None,
        running: RequirementRow | None = None,
        stopped: RequirementRow | None = None,
        told: ToldRow = TOLD,
        for_s: float | None = LONG_S,
    ) -> WakeRow:
        """Wait with one task or none, and no longer than that."""
        return self.watch.wait(
            [] if waiting is None else [self.rules.compile(waiting)],
            [] if running is None else [self.rules.compile(running)],
            [] if stopped is None else [self.rules.compile(stopped)],
            told,
            None if for_s is None else time.time() + for_s,
        )


class Waiting:
    """A call in another thread, and what became of it."""

    def __init__(self, call: Callable[[], WakeRow]) -> None:
        self._call = call
        self._wake: WakeRow | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self._wake = self._call()

    def until_asleep(self) -> None:
        """Return once the thread sleeps in the kernel, at two looks that are a moment apart."""
        switches = -1
        while switches != (switches := self.wake_ups()) or self.state() != "S":
            time.sleep(0.05)

    def state(self) -> str:
        """What the kernel says the thread does: ``S`` is asleep."""
        return self._status("State:")[0]

    def wake_ups(self) -> int:
        """How often the thread has gone to sleep so far."""
        return int(self._status("voluntary_ctxt_switches:"))

    def _status(self, name: str) -> str:
        status = Path(f"/proc/self/task/{self.thread.native_id}/status").read_text()
        return status.split(name)[1].split("\n")[0].strip()

    def result(self) -> WakeRow:
        """What the call returned, once it has."""
        self.thread.join(LONG_S)
        assert self._wake is not None, "it did not return"
        return self._wake


@contextmanager
def waiting(call: Callable[[], WakeRow]) -> Iterator[Waiting]:
    """The call in another thread, from when it sleeps on."""
    started = Waiting(call)
    started.until_asleep()
    yield started
    started.thread.join(LONG_S)
    assert not started.thread.is_alive()
