"""``deferpower sync``: send files when battery and network allow, and look after what waits."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deferpower.cli import parsing, queue_file
from deferpower.cli.progress import Bar
from deferpower.cli.text import counted, duration, in_columns, moment, one_line, size
from deferpower.errors import ConfigError
from deferpower.policy import Policy

if TYPE_CHECKING:
    from deferpower.sync.manager import BackgroundSyncManager
    from deferpower.sync.queue import SyncQueue

_EPILOG = f"""\
push     queue files, then send what may go now; each file is one item
flush    send what waits and may go now
status   show what waits, for which target, and why
dead     show what was refused, or has failed three times; --discard deletes it
replay   have dead items sent again

URL is https://..., file:///directory, s3://bucket/path, gs:// or az://. A user
and password in it are used and never kept, so flush needs the same URL as push.
On battery below 30 % only items of high priority go, below 50 % no low ones;
low ones also wait for a network that is not metered.

deferpower worker does not send what waits here: flush does, or the next push.
Let the queue of tasks call it, as in the last example.

exit status:
  0, or 1 if flush leaves something that waits or made an item dead, or if an
  item that was to be replayed or discarded is not dead

{queue_file.HELP}

examples:
  deferpower sync push --to file:///mnt/backup notes.txt photo.jpg
  deferpower sync push --to https://example.org/inbox --priority low *.log
  deferpower sync flush --to https://example.org/inbox
  deferpower sync dead --json | jq '.[].error'
  deferpower submit --every 30m --unique --network connected -- \\
      deferpower sync flush --to https://example.org/inbox"""


def parser() -> parsing.Parser:
    """The options of ``sync``."""
    p = parsing.Parser(
        "sync",
        usage="deferpower sync push --to URL [--priority P] [--key KEY] FILE...\n"
        "       deferpower sync flush --to URL [--now]\n"
        "       deferpower sync status\n"
        "       deferpower sync dead [--discard] [ID...]\n"
        "       deferpower sync replay [ID...]",
        summary="Send files when battery and network allow, and look after what waits.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "what", nargs="*", metavar="FILE|ID", help="files to push (- is standard input), or items"
    )
    p.add_argument("--to", metavar="URL", help="where items go")
    p.add_argument(
        "--priority",
        choices=["high", "normal", "low"],
        default="normal",
        metavar="P",
        help="high, normal (default) or low",
    )
    p.add_argument(
        "--key",
        metavar="KEY",
        help="what the file is about: it takes the place of an older one that was not sent yet",
    )
    p.add_argument(
        "--now", action="store_true", help="do not wait as long as earlier failures would have it"
    )
    p.add_argument("--discard", action="store_true", help="delete dead items for good")
    parsing.add_policy(p)
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Do what the first word says."""
    if words and words[0] in ("-h", "--help"):
        parser().parse(words)
    if not words or words[0] not in _ACTIONS:
        found = f"{words[0]!r} is no action;" if words else "what of it?"
        raise ConfigError(f"sync: {found} write deferpower sync and one of {_NAMES}")
    options = parser().parse(words[1:])
    wanted = _OPTIONS[words[0]]
    for name, given in (
        ("to", options.to is not None),
        ("key", options.key is not None),
        ("now", options.now),
        ("discard", options.discard),
    ):
        if given and name not in wanted:
            raise ConfigError(f"sync {words[0]} takes no --{name}; see deferpower sync --help")
    return _ACTIONS[words[0]](options)


def _push(options: argparse.Namespace) -> int:
    if not options.what:
        raise ConfigError("sync push: which files? write them at the end, - for standard input")
    if options.key is not None and len(options.what) > 1:
        raise ConfigError("--key names one file; push the files one by one")
    for name in options.what:
        if name != "-":
            _check(name)  # all of them before the first is queued
    manager = _open(options, create=True)
    try:
        queued = []
        for name in options.what:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            queued.append(manager.queue_for_sync(data, options.priority, options.key))
        if not options.json:
            print(f"{counted(len(queued), 'item')} queued")
        _send(manager, options, queued)
    finally:
        manager.close()
    return 0


def _check(name: str) -> None:
    try:
        with Path(name).open("rb"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{name}: cannot be read: {reason}; nothing was queued") from None


def _flush(options: argparse.Namespace) -> int:
    if options.what:
        raise ConfigError("sync flush takes no files; deferpower sync push queues them")
    manager = _open(options)
    try:
        if options.now:
            manager.retry_now()
        counts = _send(manager, options, [])
        return 1 if manager.stats().pending or counts["dead"] else 0
    finally:
        manager.close()


def _send(
    manager: BackgroundSyncManager, options: argparse.Namespace, queued: list[int]
) -> Counter[str]:
    """Send what may go, and say what became of it."""
    from deferpower.sync.records import PRIORITIES

    total_bytes = manager.stats().pending_bytes
    counts: Counter[str] = Counter()
    sent_bytes = 0
    with Bar("sending") as bar:
        for result in manager.iter_sync():
            counts[result.status] += 1
            if result.status == "synced":
                sent_bytes += result.size_bytes
            # Others may queue more meanwhile.
            total_bytes = max(total_bytes, sent_bytes)
            figures = f"{size(sent_bytes)} of {size(total_bytes)}"
            bar.show(sent_bytes / total_bytes if total_bytes else 1.0, figures)
    stats = manager.stats()
    gate = manager.gate()
    kept_back = any(stats.waiting[priority] for priority in PRIORITIES[gate.lowest + 1 :])
    why = gate.why if kept_back else ""
    if options.json:
        print(
            json.dumps(
                {
                    "queued": queued,
                    "synced": counts["synced"],
                    "synced_bytes": sent_bytes,
                    "failed": counts["retrying"] + counts["dead"],
                    "why": why,
                    **_fields(stats),
                }
            )
        )
        return counts
    print(f"{counted(counts['synced'], 'item')} sent, {size(sent_bytes)}")
    if stats.pending:
        print(f"{counted(stats.pending, 'item')} left" + (f": {why}" if why else ""))
    if stats.paused_until_s is not None:
        print(f"{stats.target} is tried again in {duration(stats.paused_until_s - time.time())}")
    if stats.error:
        print(f"last error: {one_line(stats.error)}")
    if counts["dead"]:
        print(f"{counted(counts['dead'], 'item')} dead; deferpower sync dead shows them")
    return counts


def _status(options: argparse.Namespace) -> int:
    if options.what:
        raise ConfigError("sync status takes no files and no numbers")
    found = [queue.stats(time.time()) for queue in _queues(options)]
    if options.json:
        print(json.dumps([_fields(stats) for stats in found]))
        return 0
    if not found:
        print("nothing was ever queued")
        return 0
    head = ("target", "high", "normal", "low", "size", "dead", "last sent", "")
    rows = [
        (
            stats.target if stats.queue == "default" else stats.queue,
            *(str(number) for number in stats.waiting.values()),
            size(stats.pending_bytes),
            str(stats.dead),
            "never" if stats.last_sync_s is None else moment(stats.last_sync_s),
            one_line(stats.error or ""),
        )
        for stats in found
    ]
    print("\n".join(in_columns([head, *rows], right=(1, 2, 3, 4, 5))))
    return 0


def _dead(options: argparse.Namespace) -> int:
    ids = _ids(options)
    if options.discard:
        return _count(options, "discarded", lambda queue: queue.discard(ids))
    found = [
        record
        for queue in _queues(options)
        for record in queue.find(dead=True, priority=None, limit=1000)
        if ids is None or record.item_id in ids
    ]
    if options.json:
        print(json.dumps([record._asdict() for record in found]))
    elif not found:
        print("no item is dead")
    else:
        head = ("id", "queued", "size", "key", "error")
        rows = [
            (
                str(record.item_id),
                moment(record.queued_s),
                size(record.size_bytes),
                one_line(record.key or ""),
                one_line(record.error or ""),
            )
            for record in found
        ]
        print("\n".join(in_columns([head, *rows], right=(0, 2))))
    return 0


def _replay(options: argparse.Namespace) -> int:
    ids = _ids(options)
    return _count(options, "replayed", lambda queue: queue.replay(ids, time.time()))


def _count(options: argparse.Namespace, done: str, change: Callable[[SyncQueue], int]) -> int:
    number = sum(change(queue) for queue in _queues(options))
    print(json.dumps({done: number}) if options.json else f"{counted(number, 'item')} {done}")
    return int(number < len(set(options.what)))


def _open(options: argparse.Namespace, *, create: bool = False) -> BackgroundSyncManager:
    """The manager of the queue that goes to the URL."""
    # It brings the store along, which `--help` has no need of.
    from deferpower.sync.adapters import as_target
    from deferpower.sync.manager import BackgroundSyncManager

    if options.to is None:
        raise ConfigError("where to? write --to URL")
    # What went wrong is told at the end, in words of this command's own.
    logging.getLogger("deferpower.sync").addHandler(logging.NullHandler())
    target = as_target(options.to)
    path: Path | None = queue_file.path_of(options)
    if create:
        queue_file.make_default_directory(queue_file.path_of(options))
    elif not queue_file.is_there(options, _MAKER, may_be_missing=True):
        path = None
    name = target.name
    if name.endswith("…"):
        # Two places on one server differ in what the name leaves out. So little of a digest
        # gives nothing away.
        name += hashlib.sha256(options.to.encode()).hexdigest()[:6]
    return BackgroundSyncManager(target, path, name=name, policy=Policy.load(options.policy))


def _queues(options: argparse.Namespace) -> Iterator[SyncQueue]:
    """The queues of the file, one after the other."""
    from deferpower.sync.queue import SyncQueue, queue_names

    if not queue_file.is_there(options, _MAKER, may_be_missing=not options.what):
        return
    path = queue_file.path_of(options)
    for name in queue_names(path):
        queue = SyncQueue(path, name)
        try:
            yield queue
        finally:
            queue.database.close()


def _ids(options: argparse.Namespace) -> list[int] | None:
    for word in options.what:
        if not (word.isascii() and word.isdigit() and len(word) < 19):
            raise ConfigError(
                f"{word!r} is no number of an item; write one as deferpower sync dead prints it"
            )
    return [int(word) for word in options.what] or None


def _fields(stats: Any) -> dict[str, Any]:
    return {**stats._asdict(), "pending": stats.pending}


_MAKER = "deferpower sync push"
_ACTIONS = {"push": _push, "flush": _flush, "status": _status, "dead": _dead, "replay": _replay}
_NAMES = ", ".join(_ACTIONS)
_OPTIONS: dict[str, tuple[str, ...]] = {
    "push": ("to", "key"),
    "flush": ("to", "now"),
    "status": (),
    "dead": ("discard",),
    "replay": (),
}
