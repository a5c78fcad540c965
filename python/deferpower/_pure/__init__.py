"""The backend in Python: the reference for what the native one must mean, and its stand-in.

The files bear the names of those under ``rust/``; what each call does stands in ``_contract.py``.
"""

from __future__ import annotations

from deferpower._pure.classify import Matcher, words
from deferpower._pure.parse.diskstats import parse_diskstats
from deferpower._pure.parse.meminfo import parse_meminfo
from deferpower._pure.parse.netdev import parse_netdev
from deferpower._pure.parse.power import aggregate_power
from deferpower._pure.parse.pressure import parse_pressure
from deferpower._pure.parse.process_stat import parse_process_stat
from deferpower._pure.parse.stat import parse_stat
from deferpower._pure.rules import Rules
from deferpower._pure.sampler import Sampler
from deferpower._pure.usage import UsageTable
from deferpower._pure.watch import Watch
from deferpower.types import BackendName

NAME: BackendName = "pure"

__all__ = [
    "NAME",
    "Matcher",
    "Rules",
    "Sampler",
    "UsageTable",
    "Watch",
    "aggregate_power",
    "parse_diskstats",
    "parse_meminfo",
    "parse_netdev",
    "parse_pressure",
    "parse_process_stat",
    "parse_stat",
    "words",
]
