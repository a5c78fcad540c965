"""A device that says what a test tells it: `FakeDevice`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from deferpower.device import Device
from deferpower.testing.clock import ManualClock
from deferpower.testing.machine import FakeDesktop, Machine, State
from deferpower.testing.watch import FakeWatch
from deferpower.types import IdleRules, Reading

if TYPE_CHECKING:
    from deferpower._contract import Rules, Sampler, Watch


class Changes(TypedDict, total=False):
    """What `FakeDevice.set` takes."""

    plugged: bool | None
    percent: float | None
    cpu_percent: float | None
    memory_percent: float | None
    storage_percent: float | None
    idle: bool
    user_present: bool | None
    connected: bool | None
    metered: bool | None
    power_saver: bool | None


class FakeDevice(Device):
    """A `deferpower.Device` that says what it is told. Goes wherever a device goes.

    A change is in the next reading, whatever its ``max_age_s``, and ends a wait whose outcome it
    changes. What follows from a reading is not made up: after a plug was pulled, plugging in
    counts once the one or the other has held for 5 s (``device.clock.advance(5)``), and a level
    that fell below a line has to rise 3 points above it.
    """

    def __init__(
        self,
        *,
        plugged: bool | None = True,
        percent: float | None = None,
        cpu_percent: float | None = 0.0,
        memory_percent: float | None = 30.0,
        storage_percent: float | None = 50.0,
        idle: bool = False,
        user_present: bool | None = None,
        connected: bool | None = None,
        metered: bool | None = None,
        power_saver: bool | None = None,
        clock: ManualClock | None = None,
        backend: str | None = None,
    ) -> None:
        """A machine without a battery that has room for everything, unless told otherwise.

        A figure that is ``None`` is one that the machine does not say.

        Args:
            plugged: on external power; ``None`` when the hardware contradicts itself.
            percent: charge of the battery, 0-100; ``None`` for a machine without one.
            cpu_percent: load by other programs, 0-100. It does not touch ``idle``.
            memory_percent: used share of main memory, 0-100.
            storage_percent: used share of the file system ``/``, 0-100.
            idle: true says that it has just been quiet for long enough to be idle.
            user_present: whether the desktop sees somebody; then the machine is not idle.
            connected: whether there is a network.
            metered: whether its traffic costs.
            power_saver: whether the power-saver profile is chosen.
            clock: the time that it lives in; ``None`` makes one.
            backend: whose rules decide about it, as for `deferpower.Device`.

        Raises:
            ConfigError: a figure that cannot be, such as a machine on no power at all.
        """
        self._manual_clock = clock or ManualClock()
        state = State(
            plugged,
            percent,
            cpu_percent,
            memory_percent,
            storage_percent,
            idle,
            user_present,
            connected,
            metered,
            power_saver,
            self._long_enough_ago_s() if idle else None,
        )
        state.check()
        self._machine = Machine(state)
        self._fresh: tuple[Reading | None, int] = (None, 0)
        super().__init__(
            root="/",
            backend=backend,
            desktop=FakeDesktop(self._machine),
            clock=self._manual_clock,
            wall_clock=self._manual_clock.time,
        )

    def _open_sampler(self) -> Sampler:
        return self._machine

    @property
    def clock(self) -> ManualClock:
        """The time that the device lives in."""
        return self._manual_clock

    @property
    def own_work(self) -> tuple[int, ...] | None:
        """The process ids that `set_own_work` was last told; ``None`` when no work runs."""
        return self._machine.own_work

    def set(self, **changes: Unpack[Changes]) -> None:
        """Change figures, all at one moment. What is not named stays as it is.

        Args:
            **changes: figures by the names that they have when a device is made.

        Raises:
            ConfigError: a figure that cannot be; then nothing has changed.
            TypeError: there is no figure of this name.
        """
        for name in changes:
            if name not in Changes.__annotations__:
                raise TypeError(f"FakeDevice.set() got an unexpected keyword argument {name!r}")
        with self.clock.change():
            before = self._machine.state
            state = before._replace(**changes)
            state.check()
            if state.idle != before.idle:
                since_s = self._long_enough_ago_s() if state.idle else None
                state = state._replace(quiet_since_s=since_s)
            self._machine.state = state

    def plug_in(self) -> None:
        """Connect the charger."""
        self.set(plugged=True)

    def unplug(self, percent: float | None = None) -> None:
        """Pull the charger.

        Args:
            percent: charge of the battery from now on, 0-100; ``None`` leaves it as it is.

        Raises:
            ConfigError: the machine has no battery to run on, and no ``percent`` gives it one.
        """
        if percent is None:
            self.set(plugged=False)
        else:
            self.set(plugged=False, percent=percent)

    def read(self, max_age_s: float = 1.0) -> Reading:
        """The machine now. Never older than the last change of the device or of its clock.

        Args:
            max_age_s: makes no difference.
        """
        moves = self.clock.moves
        reading = super().read(max_age_s)
        if self._fresh[0] is not reading or self._fresh[1] != moves:
            reading = super().read(0)
            self._fresh = (reading, moves)
        return reading

    def open_watch(self, rules: Rules) -> Watch:
        """A wait that ends when this device changes or its clock is moved; see `FakeWatch`."""
        return FakeWatch(self._machine, self.clock, rules)

    def _long_enough_ago_s(self) -> float:
        return self._manual_clock.monotonic() - IdleRules().dwell_s
