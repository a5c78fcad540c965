"""The machine as the program sees it: `Device` gives a `Reading`."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from deferpower import _backend
from deferpower.desktop import Desktop, Signals, SignalSource
from deferpower.errors import ConfigError
from deferpower.types import (
    BackendName,
    Cpu,
    Disk,
    IdleRules,
    Memory,
    Network,
    Power,
    Reading,
    Source,
    Storage,
    User,
)

if TYPE_CHECKING:
    from deferpower._contract import (
        RateRow,
        Rules,
        Sampler,
        SampleRow,
        StorageRow,
        WakeRow,
        Watch,
    )

SLOW_MAX_AGE_S = 30.0
"""How old power and storage may be while only recent load is asked for: an embedded controller
can take milliseconds to tell the state of a battery."""

_SIGNALS_MAX_AGE_S = 1.0


class Device:
    """Sensors of one machine, held open, read when asked. Nothing runs in between.

    A device may be shared by threads and survives a fork (the child starts with no rates).
    """

    def __init__(
        self,
        *,
        root: str | os.PathLike[str] | None = None,
        backend: str | None = None,
        storage_paths: Iterable[str | os.PathLike[str]] = ("/",),
        idle_rules: IdleRules = IdleRules(),  # noqa: B008 (immutable)
        desktop: SignalSource | Literal[False] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the sensors.

        Args:
            root: directory whose ``proc`` and ``sys`` are read (Linux); ``None`` takes
                ``DEFERPOWER_ROOT``, else the machine's own.
            backend: ``"auto"``, ``"native"`` or ``"pure"``; ``None`` takes
                ``DEFERPOWER_BACKEND``, else auto.
            storage_paths: paths whose file systems are watched, taken as they are.
            idle_rules: what counts as idle.
            desktop: where user, connection and power profile come from; ``None`` asks the message
                buses of this machine, unless the root is another; ``False`` asks nothing.
            clock: seconds on the line that rates and idleness are measured on.
            wall_clock: seconds since the epoch.

        Raises:
            ConfigError: the root is no directory, the backend unknown or not installed, or an
                idle rule is negative or no number.
        """
        module, self.backend_reason = _backend.choose(backend)
        self.backend_name: BackendName = module.NAME
        origin, given = "root", root
        if given is None:
            origin, given = "DEFERPOWER_ROOT", os.environ.get("DEFERPOWER_ROOT") or "/"
        # Absolute, so that a program that changes its directory goes on reading the same machine.
        self.root = os.path.abspath(given)  # noqa: PTH100 (pathlib is a slow import)
        if not os.path.isdir(self.root):  # noqa: PTH112
            raise ConfigError(
                f"{origin}: {os.fspath(given)!r} is no directory; name one that holds proc and sys"
            )
        for name, value in zip(idle_rules._fields, idle_rules, strict=True):
            if not value >= 0:
                raise ConfigError(f"idle_rules.{name}: {value!r} is no number of at least 0")
        if isinstance(storage_paths, (str, bytes)):
            raise ConfigError(f"storage_paths: {storage_paths!r} is one path; put it in a list")
        self._paths = tuple(os.fspath(path) for path in storage_paths)
        self._idle_rules = idle_rules
        self._module = module
        self._asked_desktop = desktop
        self._clock = clock
        self._wall_clock = wall_clock
        self._own_pids: Sequence[int] | None = None
        self._storage_rows: tuple[StorageRow | None, ...] | None = None
        self._storage: Mapping[str, Storage | None] = MappingProxyType({})
        self._start()
        _devices.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._sampler = self._open_sampler()
        self._latest: Reading | None = None
        self._desktop = self._open_desktop()
        if self._own_pids is not None:
            self._sampler.set_own_work(self._own_pids)

    def _open_sampler(self) -> Sampler:
        return self._module.Sampler(self.root, self._paths, self._idle_rules[:4])

    def _open_desktop(self) -> SignalSource | None:
        if self._asked_desktop is None:
            return Desktop(self._idle_rules.user_idle_s) if self.root == "/" else None
        return self._asked_desktop or None

    @property
    def clock(self) -> Callable[[], float]:
        """Tells seconds on the line that rates and idleness are measured on."""
        return self._clock

    @property
    def wall_clock(self) -> Callable[[], float]:
        """Tells seconds since the epoch."""
        return self._wall_clock

    @property
    def latest(self) -> Reading | None:
        """The last reading, ``None`` before the first. Cost: no system call."""
        return self._latest

    def read(self, max_age_s: float = 1.0) -> Reading:
        """A reading that is at most ``max_age_s`` seconds old.

        Args:
            max_age_s: 0 reads everything afresh. Above 0, power and storage may be up to
                `SLOW_MAX_AGE_S` old, or ``max_age_s`` where that is more.

        Returns:
            The reading. Rates cover the time since the reading before; the first has none.

        Raises:
            ConfigError: ``max_age_s`` is negative or no number.

        Cost: some ten system calls, 20-100 us natively; none when the last reading is young
        enough. The GIL is released while files are read. Where a desktop tells of the user, it is
        asked once a second at most, or with a ``max_age_s`` of 0 now, in a fraction of a
        millisecond; a service that hangs takes 0.2 s once.
        """
        if not (isinstance(max_age_s, (int, float)) and max_age_s >= 0):
            raise ConfigError(f"max_age_s: {max_age_s!r} is no number of at least 0")
        latest = self._latest
        if latest is not None and 0 <= self._clock() - latest.monotonic_s < max_age_s:
            return latest
        with self._lock:
            now = self._clock()
            latest = self._latest  # another thread may have read meanwhile
            if latest is not None and 0 <= now - latest.monotonic_s < max_age_s:
                return latest
            slow_max_age_s = max(max_age_s, SLOW_MAX_AGE_S) if max_age_s > 0 else 0.0
            sample = self._sampler.sample(now, slow_max_age_s)
            self._latest = reading = self._reading(sample, now, self._wall_clock(), max_age_s)
            return reading

    def open_watch(self, rules: Rules) -> Watch:
        """A quiet wait on this device's sensors, to be closed by whoever opened it.

        Args:
            rules: an engine of the same backend, which judges and remembers each sample.

        Raises:
            ConfigError: this device has a clock of its own; a watch waits in real time.
            SensorError: no file can be opened any more.
        """
        if self._clock is not time.monotonic:
            raise ConfigError("clock: a device with a clock of its own cannot be waited for")
        return self._module.Watch(self._sampler, rules)

    def take(self, wake: WakeRow) -> Reading | None:
        """The reading made of a wait's last sample: no further sample cuts its rates short.

        Args:
            wake: what `Watch.wait` on a watch of this device returned.

        Returns:
            The reading, from now on the latest unless a younger one is there; ``None`` when the
            wait took no sample.
        """
        _, sample, monotonic_s, wall_s = wake
        if sample is None:
            return None
        with self._lock:
            reading = self._reading(sample, monotonic_s, wall_s, _SIGNALS_MAX_AGE_S)
            latest = self._latest
            if latest is None or latest.monotonic_s <= monotonic_s:
                self._latest = reading
            return reading

    def _reading(
        self, sample: SampleRow, now: float, wall_s: float, signals_max_age_s: float
    ) -> Reading:
        """A sample with what the desktop tells beside it; whoever calls holds the lock."""
        power, cpu, memory, disk, network, storage, idle_since_s, quiet_since_s = sample
        if storage != self._storage_rows:
            self._storage_rows = storage
            self._storage = MappingProxyType(
                {
                    path: None if row is None else Storage._make(row)
                    for path, row in zip(self._paths, storage, strict=True)
                }
            )
        desktop = self._desktop
        signals = _NO_SIGNALS if desktop is None else desktop.read(now, signals_max_age_s)
        user, connected, metered, power_saver = signals
        if idle_since_s is not None and user is not None:
            idle_since_s = self._idle_with(user, idle_since_s, now)
        return Reading(
            None if power is None else Power._make(power),
            None if cpu is None else Cpu._make(cpu),
            None if memory is None else Memory._make(memory),
            None if disk is None else Disk._make(disk),
            _network(network, connected, metered),
            user,
            power_saver,
            self._storage,
            idle_since_s,
            quiet_since_s,
            now,
            wall_s,
            self.backend_name,
        )

    def _idle_with(self, user: User, quiet_since_s: float, now: float) -> float | None:
        """Since when the quiet machine has been idle, seeing its user."""
        if user.present:
            return None
        if user.idle_s is None:
            return quiet_since_s
        since_s = max(quiet_since_s, now - user.idle_s)
        return since_s if now - since_s >= self._idle_rules.dwell_s else None

    def set_own_work(self, pids: Sequence[int] | None) -> None:
        """Say what runs by the program's own deferring, so that it does not end the idleness.

        Args:
            pids: process ids of commands started; empty when work runs in this process alone;
                ``None`` when none runs any more.
        """
        own_pids = None if pids is None else tuple(pids)
        self._sampler.set_own_work(own_pids)
        self._own_pids = own_pids  # only now: what the sampler refuses must not reach a child

    def sources(self) -> list[Source]:
        """Where each sensor is read, or why it is not."""
        if self._latest is None:
            self.read(max_age_s=0)
        sources = [Source._make(row) for row in self._sampler.sources()]
        if self._desktop is not None:
            with self._lock:
                sources += self._desktop.sources()
        return sorted(sources)


_NO_SIGNALS = Signals()


def _network(rates: RateRow | None, connected: bool | None, metered: bool | None) -> Network | None:
    if connected is None and metered is None:
        return None if rates is None else Network(*rates)
    received, sent = rates or (None, None)
    return Network(received, sent, connected, metered)


_devices: weakref.WeakSet[Device] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    # Another thread may have held a lock at the moment of the fork; in the child it never lets go.
    for device in list(_devices):
        device._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
