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

And a whole queue, in the thread of the test:

    >>> from deferpower import BackgroundTaskManager
    >>> from deferpower.testing import run_until_idle
    >>> tasks = BackgroundTaskManager(device=FakeDevice(plugged=False, percent=90))
    >>> backup = tasks.task(lambda: "done", name="backup", constraints=Constraints(charging=True))
    >>> handle = backup.defer()
    >>> len(run_until_idle(tasks))
    0
    >>> tasks.device.plug_in()
    >>> [task.result for task in run_until_idle(tasks)]
    ['done']
"""

from __future__ import annotations

from deferpower.testing.clock import ManualClock
from deferpower.testing.device import FakeDevice
from deferpower.testing.running import run_until_idle

__all__ = ["FakeDevice", "ManualClock", "run_until_idle"]
