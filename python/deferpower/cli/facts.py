"""What several commands tell: versions, readings and decisions as JSON, the settled reading."""

from __future__ import annotations

import time
from typing import Any

from deferpower.device import Device
from deferpower.task import Decision
from deferpower.types import Reading

FIRST_LOOK_S = 0.3
"""Loads are rates between two readings; this long after the first they mean something."""


def version() -> str:
    """The version that is installed."""
    import deferpower

    try:
        return str(deferpower.__version__)
    except ImportError:  # its metadata is missing: run from a source tree
        return "not installed"


def settled_reading(device: Device) -> Reading:
    """A reading with loads and rates, taken over `FIRST_LOOK_S`."""
    device.read(max_age_s=0)
    time.sleep(FIRST_LOOK_S)
    return device.read(max_age_s=0)


def idle_remark(decision: Decision) -> str:
    """What to know of a decision upon one look, if an idle machine might change it; else empty."""
    if not any(reason.code in ("idle", "level") for reason in decision.reasons):
        return ""
    return "one look never sees an idle machine: that takes a minute of quiet"


def as_fields(decision: Decision) -> dict[str, Any]:
    """A decision: verdict, and the reasons with code, wanted, seen and sentence."""
    return {
        "verdict": str(decision.verdict),
        "reasons": [reason._asdict() for reason in decision.reasons],
    }


def reading_fields(reading: Reading) -> dict[str, Any]:
    """A reading, with the names of `deferpower.types`; an absent part is ``None``."""
    fields = reading._asdict()
    for name in ("power", "cpu", "memory", "disk", "network", "user"):
        fields[name] = None if fields[name] is None else fields[name]._asdict()
    fields["storage"] = {
        path: None if part is None else part._asdict() for path, part in reading.storage.items()
    }
    return fields
