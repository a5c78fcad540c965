"""A contender in a process of its own, which does as it is told.

Commands come as JSON lines on standard input: ``[method, argument, ...]`` calls a method of the
contender, and is answered in the same way with what that took and what it returned.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benches.peers.contenders import CONTENDERS
from benches.peers.contenders.functions import say


def serve(name: str, directory: str, durability: str) -> None:
    contender = CONTENDERS[name].load()(Path(directory), durability)
    say({"ready": True})
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        cpu_s, started_s = time.process_time(), time.monotonic()
        returned = getattr(contender, method)(*arguments)
        wall_s = time.monotonic() - started_s
        cpu_s = time.process_time() - cpu_s
        say({"at_s": started_s, "wall_s": wall_s, "cpu_s": cpu_s, "returned": returned})


if __name__ == "__main__":
    serve(*sys.argv[1:])
