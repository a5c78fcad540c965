"""Run background work when the machine can spare it.

    from deferpower import Device

    reading = Device().read(max_age_s=0)
    print(reading.power.plugged, reading.cpu.count)

Names are loaded when they are first used; ``import deferpower`` itself costs next to nothing.
"""

from __future__ import annotations

import importlib

# Type checkers take it for typing.TYPE_CHECKING; to import typing would cost most of the import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deferpower.classifier import Classification as Classification
    from deferpower.classifier import TaskClassifier as TaskClassifier
    from deferpower.constraints import Constraints as Constraints
    from deferpower.constraints import Window as Window
    from deferpower.device import Device as Device
    from deferpower.errors import ConfigError as ConfigError
    from deferpower.errors import DeferpowerError as DeferpowerError
    from deferpower.errors import QueueFull as QueueFull
    from deferpower.errors import SensorError as SensorError
    from deferpower.errors import StoreError as StoreError
    from deferpower.errors import TargetError as TargetError
    from deferpower.errors import TaskError as TaskError
    from deferpower.policy import Policy as Policy
    from deferpower.predictor import HourForecast as HourForecast
    from deferpower.predictor import Learned as Learned
    from deferpower.predictor import PredictiveDeferredProcessor as PredictiveDeferredProcessor
    from deferpower.processing import BatteryAwareProcessor as BatteryAwareProcessor
    from deferpower.processing import Profile as Profile
    from deferpower.resources import ResourceConstrainedProcessor as ResourceConstrainedProcessor
    from deferpower.resources import Resources as Resources
    from deferpower.scheduler import IntelligentScheduler as IntelligentScheduler
    from deferpower.scheduler import decide as decide
    from deferpower.starting import StartAdvice as StartAdvice
    from deferpower.sync.manager import BackgroundSyncManager as BackgroundSyncManager
    from deferpower.sync.records import SyncRecord as SyncRecord
    from deferpower.sync.records import SyncResult as SyncResult
    from deferpower.sync.records import SyncStats as SyncStats
    from deferpower.task import Decision as Decision
    from deferpower.task import Reason as Reason
    from deferpower.task import Task as Task
    from deferpower.task import TaskClass as TaskClass
    from deferpower.task import Verdict as Verdict
    from deferpower.tasks.context import Context as Context
    from deferpower.tasks.context import Stopped as Stopped
    from deferpower.tasks.events import Event as Event
    from deferpower.tasks.function import TaskFunction as TaskFunction
    from deferpower.tasks.function import TaskOptions as TaskOptions
    from deferpower.tasks.handle import Handle as Handle
    from deferpower.tasks.manager import BackgroundTaskManager as BackgroundTaskManager
    from deferpower.tasks.overview import Overview as Overview
    from deferpower.tasks.overview import Waiting as Waiting
    from deferpower.tasks.record import Failure as Failure
    from deferpower.tasks.record import TaskFailed as TaskFailed
    from deferpower.tasks.record import TaskRecord as TaskRecord
    from deferpower.tasks.record import TaskState as TaskState
    from deferpower.tasks.why import Why as Why
    from deferpower.thresholds import SyncLines as SyncLines
    from deferpower.thresholds import Thresholds as Thresholds
    from deferpower.traces import Slot as Slot
    from deferpower.types import IdleRules as IdleRules
    from deferpower.types import Reading as Reading

_HOMES = {
    "Classification": "classifier",
    "TaskClassifier": "classifier",
    "Constraints": "constraints",
    "Window": "constraints",
    "Device": "device",
    "ConfigError": "errors",
    "DeferpowerError": "errors",
    "QueueFull": "errors",
    "SensorError": "errors",
    "StoreError": "errors",
    "TargetError": "errors",
    "TaskError": "errors",
    "Policy": "policy",
    "HourForecast": "predictor",
    "Learned": "predictor",
    "PredictiveDeferredProcessor": "predictor",
    "BatteryAwareProcessor": "processing",
    "Profile": "processing",
    "ResourceConstrainedProcessor": "resources",
    "Resources": "resources",
    "decide": "scheduler",
    "IntelligentScheduler": "scheduler",
    "StartAdvice": "starting",
    "BackgroundSyncManager": "sync.manager",
    "SyncRecord": "sync.records",
    "SyncResult": "sync.records",
    "SyncStats": "sync.records",
    "Decision": "task",
    "Reason": "task",
    "Task": "task",
    "TaskClass": "task",
    "Verdict": "task",
    "Context": "tasks.context",
    "Stopped": "tasks.context",
    "Event": "tasks.events",
    "TaskFunction": "tasks.function",
    "TaskOptions": "tasks.function",
    "Handle": "tasks.handle",
    "BackgroundTaskManager": "tasks.manager",
    "Overview": "tasks.overview",
    "Waiting": "tasks.overview",
    "Failure": "tasks.record",
    "TaskFailed": "tasks.record",
    "TaskRecord": "tasks.record",
    "TaskState": "tasks.record",
    "Why": "tasks.why",
    "SyncLines": "thresholds",
    "Thresholds": "thresholds",
    "Slot": "traces",
    "IdleRules": "types",
    "Reading": "types",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"deferpower.{_HOMES[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("deferpower")
    else:
        raise AttributeError(f"module 'deferpower' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
