"""A worker's shift: from the start of a manager to its end, by signal or since all is done."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from deferpower.cli import systemd
from deferpower.cli.narration import Narrator
from deferpower.cli.signals import SignalQueue
from deferpower.tasks.events import Event
from deferpower.tasks.manager import BackgroundTaskManager
from deferpower.tasks.overview import Overview, Waiting
from deferpower.tasks.record import TaskState

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LOOK_AGAIN_S = 1.0
"""So often where no event tells of news: other workers, durations on the terminal."""
_CALM_S = 0.1
"""Between two looks, however many events come."""
_SHARE_OF_LOOKS = 20
"""Looking at a long queue takes a while; at most one part in so many of the time goes into it."""
_QUIET_S = 3600.0
_NOT_OURS = {"unknown_function", "unknown_condition"}


def is_done(overview: Overview) -> bool:
    """Whether nothing may run now, and what this worker began has ended."""
    return not overview.held and all(group.reasons for group in overview.waiting)


def is_drained(overview: Overview) -> bool:
    """Whether nothing is left but what recurs, or what no worker like this one can run."""
    if overview.counts[TaskState.RUNNING]:
        return False
    return all(_is_left(group) for group in overview.waiting)


def _is_left(group: Waiting) -> bool:
    # Those that come after others wait for one of the other groups, or for ever.
    codes = {reason.code for reason in group.reasons}
    return bool(codes & _NOT_OURS) or (bool(codes) and codes <= {"periodic", "after"})


class Shift:
    """One manager at work, and somebody who is told of it."""

    def __init__(
        self,
        manager: BackgroundTaskManager,
        narrator: Narrator,
        ends: Callable[[Overview], bool] | None,
    ) -> None:
        """Nothing runs yet.

        Args:
            manager: what runs the tasks.
            narrator: is told what happens.
            ends: when the shift is over; ``None`` for at a signal alone.
        """
        self._manager = manager
        self._narrator = narrator
        self._ends = ends
        self._failed = False
        self._ended = 0
        self._signals = SignalQueue([*_STOPPING, signal.SIGWINCH])
        self._has_news = True
        self._looked_s = -math.inf
        self._calm_s = _CALM_S

    def run(self) -> int:
        """Run tasks; the exit status."""
        with self._signals:
            self._manager.on_event(self._take)
            self._narrator.begin(self._manager)
            self._manager.start()
            systemd.notify("READY=1")
            signum = self._attend()
            systemd.notify("STOPPING=1")
            if signum:
                self._narrator.stopping(signum)
            self._stop()
            self._narrator.end(self._manager.overview())
            if self._ends is None:
                return 0
            return 128 + signum if signum else int(self._failed)

    def _take(self, event: Event) -> None:
        """Note an event, in the thread in which it happens."""
        if event.kind in ("failed", "expired"):
            self._failed = True
        if event.kind in ("succeeded", "failed", "cancelled", "expired"):
            self._ended += 1
        self._narrator.event(event)
        if self._looks:
            self._has_news = True
            self._signals.wake()

    @property
    def _looks(self) -> bool:
        """Whether anybody wants to know how the queue stands; else this thread sleeps."""
        return self._ends is not None or self._narrator.is_live

    def _attend(self) -> int:
        """Wait until the shift is over; the signal that ended it, or 0."""
        while True:
            rest_s = self._rest_s()
            if rest_s <= 0:
                if self._look():
                    return 0
                continue
            for signum in self._signals.wait(rest_s):
                if signum in _STOPPING:
                    return signum
                self._looked_s = -math.inf  # the terminal has another size

    def _rest_s(self) -> float:
        """How long to wait for an event or a signal before the next look."""
        if not self._looks:
            return _QUIET_S
        pause_s = self._calm_s if self._has_news else max(self._calm_s, _LOOK_AGAIN_S)
        return self._looked_s + pause_s - time.monotonic()

    def _look(self) -> bool:
        began_s = time.monotonic()
        self._has_news = False
        overview = self._manager.overview()
        self._narrator.look(overview, self._manager.device.latest, self._progress(overview))
        self._looked_s = time.monotonic()
        self._calm_s = max(_CALM_S, (self._looked_s - began_s) * _SHARE_OF_LOOKS)
        return self._ends is not None and self._ends(overview)

    def _progress(self, overview: Overview) -> tuple[int, int]:
        """How many have ended, of how many that can."""
        left = sum(group.size for group in overview.waiting if not _is_left(group))
        left += overview.counts[TaskState.RUNNING]
        return self._ended, self._ended + left

    def _stop(self) -> None:
        """Stop, however long tasks take to; a second signal ends this process at once."""
        errors: list[BaseException] = []
        has_stopped = threading.Event()

        def stop() -> None:
            try:
                self._manager.stop(timeout_s=None)
            except BaseException as error:
                errors.append(error)
            has_stopped.set()
            self._signals.wake()

        threading.Thread(target=stop, name="deferpower-stop", daemon=True).start()
        while not has_stopped.is_set():
            for signum in self._signals.wait(_QUIET_S):
                if signum in _STOPPING:
                    self._leave(signum)
        if errors:
            raise errors[0]

    def _leave(self, signum: int) -> None:
        self._narrator.note("ended at once; what ran is left as it is and runs again")
        self._narrator.close()
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: that waits for the threads in which tasks run.
        os._exit(128 + signum)
