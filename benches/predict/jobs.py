"""One-hour jobs, one at every known hour, and when each policy starts them."""

from __future__ import annotations

from typing import NamedTuple

from benches.predict.traces import HOUR_SLOTS, SLOT_S, Trace
from deferpower.predictor import PredictiveDeferredProcessor

DAY_SLOTS = 24 * HOUR_SLOTS
POLICIES = ("deferpower", "now", "03:00", "least active", "opportunistic", "oracle")


class Results(NamedTuple):
    """Shares of jobs, by policy.

    Attributes:
        success: the hour was as needed; a start into an unknown hour is none.
        battery: some of the hour ran on battery, of those whose hour is known.
    """

    count: int  # type: ignore[assignment]  # the field stands in front of tuple.count()
    success: dict[str, float]
    battery: dict[str, float]


class Jobs:
    """Jobs of one device, all policies side by side."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._need = trace.need
        self._submitted: list[int] = []
        self._waiting: list[int] = []
        self._started: dict[int, int] = {}
        self._activity = [[0.0, 0.0] for _ in range(24)]
        self._least_active: dict[int, int] = {}

    def tick(self, slot: int, predictor: PredictiveDeferredProcessor, now_s: float) -> None:
        """The moment at which a slot begins; the predictor knows the slots before."""
        trace = self._trace
        hour = slot // HOUR_SLOTS
        if slot > 0 and (seen := trace.slots[slot - 1]) is not None and seen.active is not None:
            cell = self._activity[trace.hour_of_week((slot - 1) // HOUR_SLOTS) % 24]
            cell[0] += seen.active
            cell[1] += 1
        if (
            slot % HOUR_SLOTS == 0
            and hour >= trace.warm_up_hours()
            and slot + DAY_SLOTS + HOUR_SLOTS <= len(trace.slots)
            and trace.outcome(slot, self._need) is not None
        ):
            self._submitted.append(slot)
            self._waiting.append(slot)
            self._least_active[slot] = self._next(slot, self._quietest_hour())
        # Jobs wait in order of their deadlines; if one waits, so do those with more time.
        while self._waiting:
            deadline_s = trace.start_s + (self._waiting[0] + DAY_SLOTS) * SLOT_S
            if not predictor.advise_start(deadline_s, 3600, now_s=now_s).start:
                break
            self._started[self._waiting.pop(0)] = slot

    def _quietest_hour(self) -> int:
        means = [total / count if count else 2.0 for total, count in self._activity]
        return means.index(min(means))

    def _next(self, slot: int, hour_of_day: int) -> int:
        trace = self._trace
        while trace.hour_of_week(slot // HOUR_SLOTS) % 24 != hour_of_day:
            slot += HOUR_SLOTS
        return slot

    def _opportunistic(self, slot: int) -> int:
        signal = "idle" if self._need == "idle" else "plugged"
        for later in range(slot, slot + DAY_SLOTS):
            if self._trace.holds(later, signal):
                return later
        return slot + DAY_SLOTS

    def results(self) -> Results:
        """What became of all jobs."""
        trace, need = self._trace, self._need
        last = len(trace.slots) - HOUR_SLOTS + 1
        success = [trace.outcome(slot, need) for slot in range(last)]
        plugged = [
            None if need == "idle" else self._plugged_throughout(slot) for slot in range(last)
        ]
        done = [slot for slot in self._submitted if slot in self._started]
        starts = {
            "deferpower": [self._started[slot] for slot in done],
            "now": done,
            "03:00": [self._next(slot, 3) for slot in done],
            "least active": [self._least_active[slot] for slot in done],
            "opportunistic": [self._opportunistic(slot) for slot in done],
            "oracle": [
                max(
                    range(slot, slot + DAY_SLOTS + 1),
                    key=lambda later: (success[later] or 0, plugged[later] or 0),
                )
                for slot in done
            ],
        }
        return Results(
            len(done),
            {
                name: _share([success[at] or False for at in at_all])
                for name, at_all in starts.items()
            },
            {
                name: 1.0 - _share([p for at in at_all if (p := plugged[at]) is not None])
                for name, at_all in starts.items()
            },
        )

    def _plugged_throughout(self, slot: int) -> bool | None:
        seen = [s for s in self._trace.slots[slot : slot + HOUR_SLOTS] if s is not None]
        return None if len(seen) < HOUR_SLOTS else all(s.plugged for s in seen)


def _share(held: list[bool]) -> float:
    return sum(held) / len(held) if held else 0.0
