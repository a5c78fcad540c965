"""How many tasks may run at once, and how hard to work on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferpower.task import Task, TaskClass

if TYPE_CHECKING:
    from deferpower.device import Device
    from deferpower.processing import BatteryAwareProcessor, Profile
    from deferpower.types import Reading

_ANY = Task(task_class=TaskClass.NORMAL, created_s=0.0)


class Pace:
    """What the battery leaves to tasks, as of the device's latest reading."""

    def __init__(
        self, device: Device, processor: BatteryAwareProcessor, max_workers: int | None
    ) -> None:
        """Nothing is read before it is asked for.

        Args:
            device: the machine.
            processor: knows how hard to work at which level.
            max_workers: how many tasks may run at once; ``None`` leaves it to the battery.
        """
        self._device = device
        self._processor = processor
        self._max_workers = max_workers
        self._known: tuple[Reading | None, int] | None = None

    def slots(self) -> int:
        """How many tasks may run at once now."""
        if self._max_workers is not None:
            return self._max_workers
        reading, known = self._device.latest, self._known
        if known is None or known[0] is not reading:
            known = self._known = reading, self.profile(_ANY).max_workers
        return known[1]

    def profile(self, task: Task) -> Profile:
        """How hard to work on a task now."""
        return self._processor.profile(task, self._device.latest)
