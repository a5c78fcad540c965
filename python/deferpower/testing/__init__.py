"""Test what defers without waiting for it: a clock moved by hand, and a device set by hand.

Does a task wait for the charger?

    >>> from deferpower import Constraints, IntelligentScheduler, Task
    >>> from deferpower.testing import FakeDevice
    >>> device = FakeDevice(plugged=False, percent=90)
    >>> scheduler = IntelligentScheduler(device)
    >>> backup = Task(constraints=Constraints(charging=True))
    >>> scheduler.schedule_task(backup).execute_now
    False
    >>> device.plug_in()
    >>> scheduler.schedule_task(backup).execute_now
    True

Nothing but the device and its time is made up: sentences, hysteresis and dwell are those of
production. A charger that was pulled only just now counts again once it has held for 5 s:

    >>> device.unplug()
    >>> scheduler.schedule_task(backup).execute_now
    False
    >>> device.plug_in()
    >>> scheduler.schedule_task(backup).execute_now
    False
    >>> device.clock.advance(5)
    >>> scheduler.schedule_task(backup).execute_now
    True
"""

from __future__ import annotations

from deferpower.testing.clock import ManualClock
from deferpower.testing.device import FakeDevice

__all__ = ["FakeDevice", "ManualClock"]
