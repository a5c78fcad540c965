"""What waits to be sent, and where it goes: the manager of sync and its targets.

    from deferpower.sync import HttpTarget

    target = HttpTarget("https://example.org/inbox", auth="token")

Names are loaded when they are first used: httpx2 (extra ``http``) and obstore (extra ``objects``)
only once a target needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deferpower.sync.adapters import CallableTarget as CallableTarget
    from deferpower.sync.adapters import as_target as as_target
    from deferpower.sync.delivery import deliver as deliver
    from deferpower.sync.delivery import deliver_async as deliver_async
    from deferpower.sync.http import HttpTarget as HttpTarget
    from deferpower.sync.manager import BackgroundSyncManager as BackgroundSyncManager
    from deferpower.sync.objects import ObjectTarget as ObjectTarget
    from deferpower.sync.records import SyncRecord as SyncRecord
    from deferpower.sync.records import SyncResult as SyncResult
    from deferpower.sync.records import SyncStats as SyncStats
    from deferpower.sync.target import BatchRefused as BatchRefused
    from deferpower.sync.target import ItemRefused as ItemRefused
    from deferpower.sync.target import Limits as Limits
    from deferpower.sync.target import Outcome as Outcome
    from deferpower.sync.target import SyncItem as SyncItem
    from deferpower.sync.target import Target as Target
    from deferpower.sync.target import TargetUnavailable as TargetUnavailable

_HOMES = {
    "CallableTarget": "adapters",
    "as_target": "adapters",
    "deliver": "delivery",
    "deliver_async": "delivery",
    "HttpTarget": "http",
    "BackgroundSyncManager": "manager",
    "ObjectTarget": "objects",
    "SyncRecord": "records",
    "SyncResult": "records",
    "SyncStats": "records",
    "BatchRefused": "target",
    "ItemRefused": "target",
    "Limits": "target",
    "Outcome": "target",
    "SyncItem": "target",
    "Target": "target",
    "TargetUnavailable": "target",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deferpower.sync' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"deferpower.sync.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
