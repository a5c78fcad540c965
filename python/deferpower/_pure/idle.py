"""Since when the machine has been quiet."""

from __future__ import annotations

from deferpower._contract import IdleRulesRow
from deferpower._pure.reading import Counters, Traffic, busy_percent, own_percent, rates

_WINDOW_S = 1.0  # shorter ones would be judged by a handful of processor ticks
_WRITEBACK_S = 35.0  # dirty_expire_centisecs (30 s) and one round of the flusher (5 s)


class IdleTracker:
    """Judges window after window; SEMANTICS.md, "Idle"."""

    def __init__(self, rules: IdleRulesRow) -> None:
        self._cpu_percent, self._disk_bytes_per_s, self._network_bytes_per_s, self.dwell_s = rules
        self._start: Counters | None = None
        self._work_seen_s: float | None = None
        self.quiet_since_s: float | None = None

    def update(self, now: Counters, working: bool) -> float | None:
        """Take in a reading.

        Args:
            now: the reading.
            working: whether deferpower's own work runs, or ran since the last reading.

        Returns:
            Since when the machine has been idle, or ``None``.
        """
        if working:
            self._work_seen_s = now.at_s
        start = self._start
        if start is None or now.at_s < start.at_s:
            self._start = now
        elif now.at_s - start.at_s >= _WINDOW_S:
            self._judge(start, now)
            self._start = now
        since = self.quiet_since_s
        return since if since is not None and now.at_s - since >= self.dwell_s else None

    def _judge(self, start: Counters, end: Counters) -> None:
        busy = busy_percent(start, end)
        if busy is None:
            return
        own = own_percent(start, end, busy) or 0.0
        quiet = busy - own < self._cpu_percent
        if quiet and not self._holds_own_traffic(start.at_s):
            seconds = end.at_s - start.at_s
            quiet = _is_below(start.disk, end.disk, seconds, self._disk_bytes_per_s) and _is_below(
                start.network, end.network, seconds, self._network_bytes_per_s
            )
        if not quiet:
            self.quiet_since_s = None
        elif self.quiet_since_s is None:
            self.quiet_since_s = start.at_s

    def _holds_own_traffic(self, window_start_s: float) -> bool:
        return self._work_seen_s is not None and window_start_s < self._work_seen_s + _WRITEBACK_S


def _is_below(
    before: Traffic | None, after: Traffic | None, seconds: float, limit_bytes_per_s: float
) -> bool:
    rate_in, rate_out = rates(before, after, seconds) or (None, None)
    return rate_in is None or rate_out is None or rate_in + rate_out < limit_bytes_per_s
