"""One run of a task: calling its function, and what its end means."""

from __future__ import annotations

import json
import random
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deferpower.errors import DeferpowerError, TaskError
from deferpower.store.records import DamagedError, State, damaged
from deferpower.store.turns import Claimed, Ended
from deferpower.tasks.context import Context, Stopped
from deferpower.tasks.payload import to_json
from deferpower.tasks.spec import Spec

if TYPE_CHECKING:
    from deferpower.tasks.function import TaskFunction

_MOST_ERROR_TEXT = 8000


class Run:
    """A task that a worker has claimed.

    Attributes:
        id: its number.
        spec: how it is run.
        lane: what it asks of the machine at its present age,
        lane_until_s: and until when, seconds since the epoch; ``None`` for ever.
        function: what it calls; ``None`` for a command.
        context: what the task knows of itself.
        started_monotonic_s: when it began; ``None`` before.
        timed_out: whether it was told to stop for its time being over.
        cancelled: whether somebody wants it cancelled.
        pid: the process of a command; 0 for none.
        paused: whether the command is frozen.
        waits_for: the task whose end it waits for, having given its place away meanwhile.
        is_over: whether it has ended.
        damage: why it could not be called, if its row makes no sense.
    """

    __slots__ = (
        "cancelled",
        "claimed",
        "context",
        "damage",
        "function",
        "id",
        "is_over",
        "lane",
        "lane_until_s",
        "paused",
        "paused_s",
        "paused_since_s",
        "pid",
        "spec",
        "started_monotonic_s",
        "timed_out",
        "waits_for",
    )

    def __init__(
        self,
        claimed: Claimed,
        spec: Spec,
        lane: tuple[int, float | None],
        function: TaskFunction[..., Any] | None,
        context: Context,
    ) -> None:
        self.id = claimed.id
        self.claimed = claimed
        self.spec = spec
        self.lane, self.lane_until_s = lane
        self.function = function
        self.context = context
        self.started_monotonic_s: float | None = None
        self.timed_out = False
        self.cancelled = False
        self.pid = 0
        self.paused = False
        self.paused_s = 0.0
        self.paused_since_s = 0.0
        self.waits_for: int | None = None
        self.is_over = False
        self.damage: DamagedError | None = None

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine."""
        return self.function is not None and self.function.is_async

    @property
    def is_resting(self) -> bool:
        """Whether it takes no place from others: it is frozen, or waits for another one."""
        return self.paused or self.waits_for is not None

    @property
    def heeds_machine(self) -> bool:
        """Whether it stops when its conditions fall away, and goes on when they hold again."""
        return self.spec.pauses and not self.context.is_final

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with, its context included."""
        try:
            args, kwargs = json.loads(self.claimed.payload)
            if not isinstance(args, list) or not isinstance(kwargs, dict):
                raise ValueError("its arguments are none")
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(f"task {self.id}", str(error)) from error
        if self.function is not None and self.function.pass_context:
            args = [self.context, *args]
        return args, kwargs

    def begin(self, monotonic_s: float) -> None:
        """Note the beginning; the time limit counts from here."""
        self.started_monotonic_s = monotonic_s

    @property
    def times_out_s(self) -> float | None:
        """When its time is over, on the device's line; ``None`` for never, or while paused."""
        if self.started_monotonic_s is None or self.spec.timeout_s is None or self.timed_out:
            return None
        return (
            None if self.paused else self.started_monotonic_s + self.paused_s + self.spec.timeout_s
        )

    def pause(self, monotonic_s: float) -> None:
        """Note that it was frozen: from here its time limit stands still."""
        self.paused_since_s = monotonic_s
        self.paused = True

    def resume(self, monotonic_s: float) -> None:
        """Note that it goes on, if it was frozen."""
        if self.paused:
            self.paused_s += monotonic_s - self.paused_since_s
            self.paused = False

    def look_after(self, holds: bool, monotonic_s: float, reason: Callable[[], str]) -> None:
        """Tell the task what the machine means for it.

        Args:
            holds: whether it may run now.
            monotonic_s: now, on the device's line.
            reason: why it may not, in words.
        """
        limit_s = self.times_out_s
        if limit_s is not None and monotonic_s >= limit_s:
            self.timed_out = True
            self.context.ask_to_stop(f"it has run for {self.spec.timeout_s:g} s", final=True)
        if not self.heeds_machine:
            return
        if not holds and not self.context.should_stop:
            self.context.ask_to_stop(reason())
        elif holds:
            self.context.take_back_stop()

    def returned(self, value: Any, now_s: float) -> Ended:
        """What it means that the function returned."""
        return self.succeeded(*result_text(value), now_s)

    def raised(self, error: BaseException, now_s: float) -> Ended:
        """What it means that the function raised."""
        if type(error) is DamagedError:
            self.damage = error
        if issubclass(type(error), Stopped) and self.context.was_asked:
            return self.stopped(now_s)
        return self.failed(error_text(error), now_s)

    def stopped(self, now_s: float) -> Ended:
        """What it means that the task stopped since it was asked to."""
        if self.cancelled:
            return Ended(self.id, State.CANCELLED, now_s)
        if self.timed_out:
            return self.failed(f"stopped after its {self.spec.timeout_s:g} s", now_s)
        return self._again(now_s, now_s, self.claimed.attempts - 1)

    def failed(self, error: str, now_s: float, *, for_good: bool = False) -> Ended:
        """What it means that this run failed."""
        spec, attempts = self.spec, self.claimed.attempts
        if self.cancelled:
            ended = Ended(self.id, State.CANCELLED, now_s)
        elif not (for_good or spec.at_most_once or attempts >= spec.max_attempts):
            ended = self._again(now_s + backoff_s(spec, attempts), now_s, attempts)
        elif spec.every_s is not None and not for_good:
            ended = self._next_period(spec.every_s, now_s)
        else:
            ended = Ended(self.id, State.FAILED, now_s)
        return ended._replace(error=error, failed=True, attempt=attempts)

    def _again(self, due_s: float, now_s: float, attempts: int) -> Ended:
        row = self.claimed
        touch_s = self.spec.touch_s(due_s, row.created_s, row.life_s)
        return Ended(
            self.id, State.ENQUEUED, now_s, due_s=due_s, touch_s=touch_s, attempts=attempts
        )

    def succeeded(self, result: str | None, error: str | None, now_s: float) -> Ended:
        """What it means that the function returned this, as JSON; ``error`` says what was lost."""
        if self.spec.every_s is None:
            return Ended(self.id, State.SUCCEEDED, now_s, result=result, error=error)
        return self._next_period(self.spec.every_s, now_s)._replace(result=result, error=error)

    def _next_period(self, every_s: float, now_s: float) -> Ended:
        due_s = next_due_s(self.claimed.due_s, every_s, now_s)
        return Ended(self.id, State.ENQUEUED, now_s, due_s=due_s, created_s=due_s)


def result_text(value: Any) -> tuple[str | None, str | None]:
    """What a function returned as JSON, and why it could not be kept."""
    if value is None:
        return None, None
    try:
        return to_json(f"the result, a {type(value).__name__},", value), None
    except TaskError as error:
        # The work is done: running it again would not make its result any better.
        return None, f"{error}, so it was not kept"


def error_text(error: BaseException) -> str:
    """What is kept of an exception: what it says, and where it came from."""
    try:
        text = _said_by(error)
    except Exception:  # it is the program's own, and may fail at being asked
        text = f"{type(error).__name__}, which could not say what was wrong"
    # What is no character cannot be kept, and must not keep all else from being kept.
    text = text[-_MOST_ERROR_TEXT:].encode(errors="backslashreplace").decode()
    return text[-_MOST_ERROR_TEXT:]


def _said_by(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    if isinstance(error, DeferpowerError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()


def is_interrupt(error: BaseException) -> bool:
    """Whether it came to the task from outside, as Ctrl-C does: to the main thread alone."""
    # By its type, since it may fail at being asked for its class.
    is_its_own = issubclass(type(error), (Exception, SystemExit, GeneratorExit))
    return not is_its_own and threading.current_thread() is threading.main_thread()


def backoff_s(spec: Spec, attempts: int) -> float:
    """How long to wait after this many failed attempts: exponential, with full jitter.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    longest = min(spec.backoff_cap_s, spec.backoff_s * 2.0 ** min(attempts - 1, 60))
    return random.uniform(0.0, longest)


def next_due_s(due_s: float, every_s: float, now_s: float) -> float:
    """When a periodic task is due again: on its own beat, and after now, however long it slept."""
    next_s = due_s + ((now_s - due_s) // every_s + 1) * every_s
    # Rounding may bring it to this very moment.
    return next_s if next_s > now_s else next_s + every_s
