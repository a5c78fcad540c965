"""A script that leaves its slow work for a better moment.

    python examples/script.py [QUEUE_FILE]

What is deferred stays in the file, pictures.db unless another is named, also when the script ends
before the moment has come: run it again and it goes on. Delete the file to start anew.
"""

from __future__ import annotations

import sys

from deferpower import BackgroundTaskManager, Constraints

tasks = BackgroundTaskManager(sys.argv[1] if len(sys.argv) > 1 else "pictures.db")


@tasks.task(constraints=Constraints(charging=True))
def shrink(name: str) -> str:
    """Compress a picture."""
    return f"{name} is smaller now"


@tasks.task(max_attempts=3, backoff_s=1)
def tell(name: str) -> str:
    """Send a message that all is done."""
    return f"told of {name}"


# Durable when defer() returns; of all tasks with one key only one waits or runs.
pictures = [
    shrink.options(key=name).defer(name) for name in ("beach.jpg", "dog.jpg", "mountain.jpg")
]
last = tell.options(after=pictures).defer("the pictures")

for handle in [*pictures, last]:
    print(f"{handle.id} {handle.why()}")

with tasks:  # a quiet thread runs what may run, as soon as it may
    try:
        print(last.result(timeout_s=20))
    except TimeoutError:
        print("not now; it stays in the queue:", tasks.why(pictures[0].id))
