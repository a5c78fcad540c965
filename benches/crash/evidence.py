"""What must hold after a round: read from the queue, the lines that tasks wrote, and the kills."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import apsw
from benches.crash.programs import Place

from deferpower.store.records import ENDED, State

QUARANTINED = "quarantined"
_ONCE = "at most once"


class Line(NamedTuple):
    """A run of a task, as the task wrote it down.

    Attributes:
        process: the number of the process that it ran in; never used again.
        at_ns: when, on the monotonic clock that all processes share.
    """

    task: int
    key: str
    attempt: int
    process: int
    at_ns: int


class Held(NamedTuple):
    """What a process held in the queue at the moment at which it was killed.

    Attributes:
        tasks: those that it had claimed and not written the end of; ``None`` if it kept everybody
            from reading, as whoever finds the log half written does until it is restored.
        registered: whether it had a place among the workers.
    """

    at_ns: int
    tasks: frozenset[int] | None
    registered: bool = True


class Retried(NamedTuple):
    """A quarantined task that was sent to run again: attempts and deaths count anew."""

    task: int
    at_ns: int
    attempts: int
    crashes: int


class Task(NamedTuple):
    id: int
    state: State
    attempts: int
    crashes: int
    worker: int | None
    error: str


class Verdict(NamedTuple):
    """What came out.

    Attributes:
        violations: a sentence for each thing that must not be.
        figures: counts for the table.
    """

    violations: list[str]
    figures: dict[str, int]


def lines(place: Place) -> list[Line]:
    """The runs of tasks, in order, but for those that gave way when their worker was told to end.

    These start over; the attempt does not count.
    """
    found: list[Line] = []
    gave_way: set[tuple[int, int, int]] = set()
    for text in reversed(place.runs.read_text().splitlines()):
        task, key, attempt, process, at_ns, gives_way = text.split()
        line = Line(int(task), key, int(attempt), int(process), int(at_ns))
        run = line.process, line.task, line.attempt
        if int(gives_way):
            gave_way.add(run)
        elif run in gave_way:
            gave_way.remove(run)
        else:
            found.append(line)
    return found[::-1]


def tasks(connection: apsw.Connection) -> dict[int, Task]:
    """All tasks of the queue."""
    rows = connection.execute(
        "SELECT id, state, attempts, crashes, worker, coalesce(error, '') FROM tasks"
    )
    return {row[0]: Task(row[0], State(row[1]), *row[2:]) for row in rows}


def examine(place: Place, killed: Mapping[int, Held], retried: list[Retried]) -> Verdict:
    """Look for anything that must not be, when all is over and nobody has the queue open."""
    connection = apsw.Connection(str(place.queue), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        known = tasks(connection)
        violations = list(_file(connection))
    finally:
        connection.close()
    ran = lines(place)
    promised = [int(text) for text in place.promises.read_text().splitlines()]
    by_task: dict[int, list[Line]] = collections.defaultdict(list)
    for line in ran:
        by_task[line.task].append(line)
    violations += _ends(known, by_task, promised)
    violations += _keys(by_task)
    violations += _duplicates(by_task, killed)
    violations += _attempts(known, by_task, retried)
    violations += _log(place)
    figures = {
        "submits that had returned": len(promised),
        "tasks in the queue": len(known),
        "runs": len(ran),
        "runs of what was in flight at a kill": sum(len(found) - 1 for found in by_task.values()),
        "quarantined, then retried": len(retried),
        "ended at their only attempt (at most once)": sum(
            _ONCE in task.error for task in known.values()
        ),
    }
    return Verdict(violations, figures)


def _file(connection: apsw.Connection) -> Iterator[str]:
    for (found,) in connection.execute("PRAGMA integrity_check"):
        if found != "ok":
            yield f"the file is damaged: {found}"
    for row in connection.execute("PRAGMA foreign_key_check"):
        yield f"a row of {row[0]} refers to one of {row[2]} that is not there"
    for (worker,) in connection.execute("SELECT id FROM workers"):
        yield f"worker {worker} still has its place"


def _ends(
    known: Mapping[int, Task], by_task: Mapping[int, list[Line]], promised: list[int]
) -> Iterator[str]:
    """None lost, none stuck."""
    for task_id in promised:
        if task_id not in known:
            yield f"task {task_id} is lost: its submit had returned"
    for task in known.values():
        if task.state not in ENDED or task.worker is not None:
            yield f"task {task.id} is stuck: {task.state.name.lower()}, worker {task.worker}"
        elif task.state is State.SUCCEEDED and task.id not in by_task:
            yield f"task {task.id} is said to have succeeded, and never ran"
        elif task.state is not State.SUCCEEDED and _ONCE not in task.error:
            yield f"task {task.id} {task.state.name.lower()}: {task.error}"
    for task_id in by_task.keys() - known.keys():
        yield f"task {task_id} ran, and is not in the queue"


def _keys(by_task: Mapping[int, list[Line]]) -> Iterator[str]:
    owner: dict[str, int] = {}
    for task_id, found in by_task.items():
        keys = {line.key for line in found}
        if len(keys) > 1:
            yield f"task {task_id} ran with several idempotency keys: {sorted(keys)}"
        for key in keys:
            if owner.setdefault(key, task_id) != task_id:
                yield f"idempotency key {key} is that of tasks {owner[key]} and {task_id}"


def _duplicates(by_task: Mapping[int, list[Line]], killed: Mapping[int, Held]) -> Iterator[str]:
    """A task runs again only if it was in flight in a process that was killed before."""
    for task_id, found in by_task.items():
        for line, later in itertools.pairwise(found):
            held = killed.get(line.process)
            again = f"task {task_id} ran in process {line.process} and again in {later.process}"
            if held is None:
                yield f"{again}, and the first was not killed"
            elif held.tasks is not None and task_id not in held.tasks:
                yield f"{again}, and was not in flight when the first was killed"
            elif later.at_ns < held.at_ns:
                yield f"{again}, before the first was killed"


def _attempts(
    known: Mapping[int, Task], by_task: Mapping[int, list[Line]], retried: list[Retried]
) -> Iterator[str]:
    """Each run is an attempt of its own, and each attempt but the last one ended by a death."""
    lives: dict[int, list[Retried]] = collections.defaultdict(list)
    for life in retried:
        lives[life.task].append(life)
        if life.attempts != life.crashes:
            counts = f"{life.attempts} attempts, {life.crashes} deaths"
            yield f"task {life.task} was quarantined after {counts}"
    for task in known.values():
        if _ONCE in task.error:
            if len(by_task.get(task.id, ())) > 1:
                yield f"task {task.id} may run at most once, and ran more often"
            continue
        if task.state is State.SUCCEEDED and task.attempts != task.crashes + 1:
            yield f"task {task.id} had {task.attempts} attempts, and {task.crashes} deaths"
        began = [life.at_ns for life in lives[task.id]]
        runs = collections.Counter(
            (sum(line.at_ns > at_ns for at_ns in began), line.attempt)
            for line in by_task.get(task.id, ())
        )
        for (_, attempt), times in runs.items():
            if times > 1:
                yield f"attempt {attempt} of task {task.id} ran {times} times"


def _log(place: Place) -> Iterator[str]:
    text = place.log.read_text()
    for sign in ("Traceback", "worker: "):
        if sign in text:
            at = text.index(sign)
            yield f"{text.count(sign)} times {sign!r} in the log, first: {text[at : at + 2000]}"
