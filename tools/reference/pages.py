"""What is public, and on which page it stands.

Public is what a name in ``__all__`` of one of `MODULES` leads to, and what is `MET` in the
signatures of those; less `HOUSEHOLD`.
"""

from __future__ import annotations

from typing import NamedTuple

MODULES = ("deferpower", "deferpower.sync", "deferpower.testing", "deferpower.types")

MET = (
    "deferpower.classifier.Negation",
    "deferpower.classifier.UserWait",
    "deferpower.desktop.SignalSource",
    "deferpower.desktop.Signals",
    "deferpower.scheduler.Classifier",
    "deferpower.sync.conditions.Gate",
    "deferpower.tasks.spec.Spec",
    "deferpower.traces.read_trace",
)
"""Types that public calls take or give, and that few programs ever name."""


class Page(NamedTuple):
    """One page of the reference.

    Attributes:
        file: its name without the suffix.
        title: what it is about.
        about: a sentence or two above everything else.
        names: what it documents, in this order, by the name that programs import.
    """

    file: str
    title: str
    about: str
    names: tuple[str, ...]


def _of(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names)


PAGES = (
    Page(
        "tasks",
        "Deferring work",
        "The durable queue: functions and commands that run when the machine can spare it.",
        _of(
            "deferpower",
            "BackgroundTaskManager",
            "TaskOptions",
            "TaskFunction",
            "Handle",
            "Context",
            "Stopped",
            "TaskState",
            "TaskRecord",
            "TaskFailed",
            "Failure",
            "Why",
            "Overview",
            "Waiting",
            "Event",
            "tasks.spec.Spec",
        ),
    ),
    Page(
        "deciding",
        "Deciding",
        "What a task asks of the machine, and whether it may run now. What each condition means "
        "stands in [SEMANTICS.md](../../SEMANTICS.md).",
        _of(
            "deferpower",
            "Constraints",
            "Window",
            "Task",
            "TaskClass",
            "IntelligentScheduler",
            "decide",
            "Decision",
            "Verdict",
            "Reason",
            "TaskClassifier",
            "Classification",
            "classifier.Negation",
            "classifier.UserWait",
            "scheduler.Classifier",
        ),
    ),
    Page(
        "device",
        "The machine",
        "What the sensors say. Every figure has its unit in its name, and is `None` where the "
        "machine does not give it; source and formula of each stand in "
        "[SEMANTICS.md](../../SEMANTICS.md).",
        (
            *_of("deferpower", "Device", "IdleRules", "Reading"),
            *_of(
                "deferpower.types",
                "Power",
                "Cpu",
                "Memory",
                "Disk",
                "Network",
                "User",
                "Storage",
                "Source",
            ),
            *_of("deferpower.desktop", "SignalSource", "Signals"),
        ),
    ),
    Page(
        "processing",
        "How hard to work",
        "What battery and load leave for work that runs now.",
        _of(
            "deferpower",
            "BatteryAwareProcessor",
            "Profile",
            "ResourceConstrainedProcessor",
            "Resources",
        ),
    ),
    Page(
        "predicting",
        "Predicting",
        "When this device will probably be idle, charging, or both, learned from what it did.",
        _of(
            "deferpower",
            "PredictiveDeferredProcessor",
            "HourForecast",
            "StartAdvice",
            "Learned",
            "Slot",
            "traces.read_trace",
        ),
    ),
    Page(
        "policy",
        "Tuning",
        "Every threshold and keyword, as one value and as a TOML file.",
        _of("deferpower", "Policy", "Thresholds", "SyncLines"),
    ),
    Page(
        "sync",
        "Sync",
        "A durable queue of what is to be sent, and the targets that it is sent to.",
        _of(
            "deferpower.sync",
            "BackgroundSyncManager",
            "SyncRecord",
            "SyncResult",
            "SyncStats",
            "conditions.Gate",
            "HttpTarget",
            "ObjectTarget",
            "CallableTarget",
            "as_target",
            "Target",
            "Limits",
            "SyncItem",
            "Outcome",
            "ItemRefused",
            "BatchRefused",
            "TargetUnavailable",
            "deliver",
            "deliver_async",
        ),
    ),
    Page(
        "testing",
        "Testing your own code",
        "A device and a clock that are set by hand.",
        _of("deferpower.testing", "FakeDevice", "ManualClock", "run_until_idle"),
    ),
    Page(
        "errors",
        "Errors",
        "One tree: whoever catches `DeferpowerError` has caught everything that is raised on "
        "purpose. Messages say what is wrong, where, and what to do about it.",
        _of(
            "deferpower",
            "DeferpowerError",
            "ConfigError",
            "SensorError",
            "TaskError",
            "StoreError",
            "QueueFull",
            "TargetError",
        ),
    ),
)

UNPAGED = frozenset({"deferpower.__version__"})
"""Text, and no more to be said of it than the front page does."""

HOUSEHOLD = frozenset(
    {
        "Context.ask_to_stop",
        "Context.detach",
        "Context.take_back_stop",
        "Context.changed",
        "Context.was_asked",
        "TaskFunction.once",
        "TaskState.of",
        "TaskState.stored",
        "TaskRecord.of",
        "SyncRecord.of",
        "Spec.from_text",
        "Spec.task",
        "Spec.to_text",
        "Spec.touch_s",
        "Spec.without_period",
        # What waits and decides for many tasks at once: rows of `_contract` go in and out.
        "Device.open_watch",
        "Device.take",
        "FakeDevice.open_watch",
        "IntelligentScheduler.compile",
        "IntelligentScheduler.evaluate",
        "IntelligentScheduler.observe",
        "IntelligentScheduler.open_watch",
        "IntelligentScheduler.relaxed",
        "IntelligentScheduler.told",
    }
)
"""Members that the rooms of the package call on each other; not for programs."""
