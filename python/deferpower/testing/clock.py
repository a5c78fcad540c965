"""Time that stands still until a test moves it: `ManualClock`."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator

from deferpower.errors import ConfigError
from deferpower.thresholds import is_number


class ManualClock:
    """The time of a test: it stands still until it is moved.

    It is called like ``time.monotonic``, so it may be given to `deferpower.Device` as ``clock``,
    and its `time` as ``wall_clock``. May be shared by threads and by devices.
    """

    def __init__(
        self, start_wall_s: float = 1_704_110_400.0, start_monotonic_s: float = 1000.0
    ) -> None:
        """A clock that stands still.

        Args:
            start_wall_s: seconds since the epoch; noon of 1 January 2024 (UTC) unless given.
            start_monotonic_s: seconds on the line that never goes back.

        Raises:
            ConfigError: a time is no finite number.
        """
        self._wall_s = _number("start_wall_s", start_wall_s)
        self._monotonic_s = _number("start_monotonic_s", start_monotonic_s)
        self._lock = threading.RLock()  # a signal handler may move the clock in amid a move
        self._moves = 0
        self._listeners: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds on the line that never goes back, as of ``time.monotonic``."""
        return self._monotonic_s

    __call__ = monotonic

    def time(self) -> float:
        """Seconds since the epoch, as of ``time.time``."""
        return self._wall_s

    def advance(self, seconds: float) -> None:
        """Let time pass: both times move on.

        Args:
            seconds: how many, at least 0.
        """
        seconds = _duration("advance", seconds)
        with self.change():
            self._monotonic_s += seconds
            self._wall_s += seconds

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: the wall clock goes on, the other stands still.

        Args:
            seconds: how many, at least 0.
        """
        seconds = _duration("suspend", seconds)
        with self.change():
            self._wall_s += seconds

    def jump(self, seconds: float) -> None:
        """Let somebody set the wall clock forward or back.

        Args:
            seconds: how many; below 0, back.
        """
        seconds = _number("jump", seconds)
        with self.change():
            self._wall_s += seconds

    def set_wall(self, wall_s: float) -> None:
        """Let somebody set the wall clock.

        Args:
            wall_s: seconds since the epoch.
        """
        wall_s = _number("set_wall", wall_s)
        with self.change():
            self._wall_s = wall_s

    @property
    def moves(self) -> int:
        """How many changes there were; equal numbers mean that nothing happened between."""
        return self._moves

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Change something that happens on this clock's time; whoever listens is told after it.

        Changes come one at a time, so that all who listen see them in one order.

        Returns:
            A context manager: the change is made inside.
        """
        with self._lock:
            yield
            self._moves += 1
            for listener in tuple(self._listeners):
                listener()

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have somebody called now and after each change, in the thread that makes it.

        Args:
            listener: who.

        Returns:
            A context manager: it is called until the end of that.
        """
        with self._lock:
            self._listeners.append(listener)
            listener()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


def _number(name: str, value: float) -> float:
    if not (is_number(value) and math.isfinite(value)):
        raise ConfigError(f"{name}: {value!r} is no finite number of seconds")
    return float(value)


def _duration(name: str, value: float) -> float:
    seconds = _number(name, value)
    if seconds < 0:
        raise ConfigError(
            f"{name}: {value!r} is below 0, and time never goes back; jump() sets the wall clock"
        )
    return seconds
