"""An agent that makes a folder of texts searchable, but only while the device is charging.

    python examples/agent.py FOLDER STATE_DIRECTORY
    python examples/agent.py FOLDER STATE_DIRECTORY --search "quiet wait"

Its event loop stays free for its user: here it only ticks, and counts. The indexing runs beside
it when the charger is plugged in, stops when it is pulled, and goes on where it stopped, also after
the agent was killed. When everything is indexed, the agent ends.

A loop that must not be late by a millisecond: see control_loop.py.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import contextlib
import sqlite3
from pathlib import Path

from deferpower import BackgroundTaskManager, Constraints, Context, Event

SUFFIXES = {".md", ".py", ".rs", ".toml", ".txt"}
FILES_AT_ONCE = 20


def open_index(state: Path) -> sqlite3.Connection:
    """The full-text index, made if it is not there."""
    index = sqlite3.connect(state / "index.db")
    index.execute("CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (path, text)")
    return index


def texts_in(folder: Path) -> list[str]:
    """All texts of a folder, by name; what is hidden is left out."""
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def make_manager(state: Path) -> BackgroundTaskManager:
    """The queue of the agent, and what may be in it."""
    tasks = BackgroundTaskManager(state / "queue.db")

    @tasks.task(constraints=Constraints(charging=True), pass_context=True)
    def index_folder(context: Context, folder: str, rest_s: float) -> int:
        """Index all texts of a folder; how many there are."""
        names = texts_in(Path(folder))
        # Files come and go between two runs, so the last checkpoint is a name, and no number.
        done = bisect.bisect(names, context.resumed_from or "")
        with contextlib.closing(open_index(state)) as index:
            while done < len(names):
                context.stop_if_asked()  # the charger was pulled: give way, and come back later
                share = names[done : done + FILES_AT_ONCE]
                for name in share:
                    text = Path(name).read_text(errors="replace")
                    # After a crash it may be here already: what runs again must do no harm.
                    index.execute("DELETE FROM texts WHERE path = ?", (name,))
                    index.execute("INSERT INTO texts VALUES (?, ?)", (name, text))
                index.commit()
                context.checkpoint(share[-1])
                done += len(share)
                print(f"indexed {done} of {len(names)}", flush=True)
                context.wait_for_stop(rest_s)
        return done

    return tasks


def tell(event: Event) -> None:
    """Say what becomes of the task."""
    if event.kind in ("started", "stopping", "stopped", "failed"):
        print(f"{event.kind}: {event.detail}" if event.detail else event.kind, flush=True)


async def run_agent(folder: Path, state: Path, rest_s: float) -> None:
    """Live until the folder is indexed."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:  # what the agent is really there for
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    tasks = make_manager(state)
    tasks.on_event(tell)
    async with tasks:
        # The key: if the agent was killed, its task still waits in the queue, and this is that one.
        handle = await tasks.submit_async("index_folder", [str(folder), rest_s], key=str(folder))
        print(tasks.why(handle.id), flush=True)
        count = await handle.result_async()
    ticking.cancel()
    print(f"done: {count} texts are indexed, and the loop has ticked {ticks} times", flush=True)


def search(state: Path, words: str) -> None:
    """Print the three texts that fit best."""
    query = "SELECT path, snippet(texts, 1, '[', ']', '...', 8) FROM texts(?) ORDER BY rank LIMIT 3"
    with contextlib.closing(open_index(state)) as index:
        for path, snippet in index.execute(query, (words,)):
            print(f"{path}: {' '.join(snippet.split())}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make a folder of texts searchable.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("state", type=Path, help="directory for index and queue")
    parser.add_argument("--search", metavar="WORDS", help="search instead of indexing")
    parser.add_argument("--rest", type=float, default=0.0, metavar="S", help="pause after 20 files")
    options = parser.parse_args()
    if options.search:
        search(options.state, options.search)
    else:
        options.state.mkdir(parents=True, exist_ok=True)
        asyncio.run(run_agent(options.folder.resolve(), options.state, options.rest))


if __name__ == "__main__":
    main()
