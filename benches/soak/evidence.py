"""What must hold of tasks and items, read from what was promised, what ran, and what was done."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benches.soak.faults import Death, looking
from benches.soak.place import Place
from benches.soak.server import Receipt

from deferpower.store.owner import is_dead
from deferpower.store.records import ENDED, State
from deferpower.store.workers import Owner

_ENDED = ", ".join(str(int(state)) for state in sorted(ENDED))
_CLOSE_NS = 8_000_000_000
"""How long a request may be under way: what happens then explains that it is sent again."""


class Line(NamedTuple):
    """The beginning or the end of a run, as the task wrote it down.

    Attributes:
        what: ``begins``, ``returned``, ``raised`` or ``stopped``.
    """

    task: int
    name: str
    attempt: int
    process: str
    at_ns: int
    what: str


class End(NamedTuple):
    """How a task was seen to have ended."""

    state: State
    error: str
    attempts: int


class Done(NamedTuple):
    """What was done to the soak, in time.

    Attributes:
        deaths: of processes, by their names.
        full: when the disk was full: from, to.
        retried: when tasks were sent to run again.
    """

    deaths: Mapping[str, Death]
    full: Sequence[tuple[int, int]]
    retried: Mapping[int, list[int]]


class Book:
    """How tasks ended, kept since they are forgotten by the queue in time.

    Attributes:
        ends: by id.
        open: how many tasks had not ended when it was last looked.
        places_of_dead: how many dead workers no living one had noticed by then.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.ends: dict[int, End] = {}
        self.open = 0
        self.places_of_dead = 0

    def look(self) -> None:
        """Note what has ended."""
        with looking(self._place.queue) as connection:
            rows: list[Any] = connection.execute(
                "SELECT id, state, coalesce(error, ''), attempts FROM tasks"
                f" WHERE state IN ({_ENDED})"
            ).fetchall()
            self.ends.update((row[0], End(State(row[1]), row[2], row[3])) for row in rows)
            self.open = connection.execute(
                f"SELECT count(*) FROM tasks WHERE state NOT IN ({_ENDED})"
                " AND coalesce(unique_key, '') != 'every beat'"
            ).get
            workers = connection.execute("SELECT boot_id, pid, pid_namespace, started FROM workers")
            self.places_of_dead = sum(is_dead(Owner(*row)) for row in workers)


def tasks(place: Place, book: Book, done: Done) -> tuple[list[str], dict[str, int]]:
    """Violations, and figures, of tasks."""
    promised = _promised(place, "task")
    by_task = _runs(place)
    commands = _commands(place)
    numbers = {words[1]: int(words[0]) for words in promised if words[1] != "-"}
    ids = {int(words[0]) for words in promised}
    violations = [
        *_lost(ids, book),
        *_stuck(place),
        *_again(by_task, done),
        *_commands_again(commands, numbers, done),
        *_untrue(book, by_task),
    ]
    states: defaultdict[str, int] = defaultdict(int)
    for task_id in ids & book.ends.keys():
        states[f"  {book.ends[task_id].state.name.lower()}"] += 1
    begun = [line for found in by_task.values() for line in found if line.what == "begins"]
    again = sum(
        sum(line.what == "begins" for line in found) - 1
        for found in by_task.values()
        if found[0].name != "beat"
    )
    return violations, {
        "tasks promised": len(ids),
        **dict(sorted(states.items())),
        "runs of functions": len(begun),
        "  runs after the first, each explained": again,
        "  of the periodic one": sum(line.name == "beat" for line in begun),
        "runs of commands": sum(whats.count("begins") for whats, _ in commands.values()),
        "tasks sent to run again": len(done.retried),
    }


def _lost(ids: set[int], book: Book) -> Iterator[str]:
    for task_id in sorted(ids - book.ends.keys()):
        yield f"task {task_id} is lost or stuck: its submit had returned, and it did not end"


def _stuck(place: Place) -> Iterator[str]:
    with looking(place.queue) as connection:
        for row in connection.execute(
            f"SELECT id, state, worker FROM tasks WHERE state NOT IN ({_ENDED})"
            " AND coalesce(unique_key, '') != 'every beat' OR worker IS NOT NULL"
        ):
            yield f"task {row[0]} is stuck: {State(row[1]).name.lower()}, worker {row[2]}"
        for (worker,) in connection.execute("SELECT id FROM workers"):
            yield f"worker {worker} still has its place"
        if (found := connection.execute("PRAGMA integrity_check").get) != "ok":
            yield f"the queue's file is damaged: {found}"


def _again(by_task: Mapping[int, list[Line]], done: Done) -> Iterator[str]:
    """Each run after the first follows on a failure, on giving way, on a death, or on a retry."""
    for task_id, found in by_task.items():
        if found[0].name == "beat":
            continue
        for line, later in itertools.pairwise(_lives(found)):
            between = done.retried.get(task_id, [])
            if any(line.at_ns < at_ns <= later.at_ns for at_ns in between):
                continue
            again = (
                f"task {task_id} ({line.name}) ran in {line.process} and again in {later.process}"
            )
            if line.what == "raised":
                if later.attempt <= line.attempt:
                    yield f"{again}, not as a new attempt, though it had failed"
            elif line.what == "stopped":
                continue
            elif not _was_held(task_id, line.process, done):
                yield f"{again}, and the first had {line.what}, and was not killed with it"


def _lives(found: list[Line]) -> list[Line]:
    """One line for each run: its last."""
    last: dict[tuple[str, int, int], Line] = {}
    run = 0
    for line in found:
        run += line.what == "begins"
        if line.what == "begins":
            last[line.process, line.attempt, run] = line
        else:
            # Its beginning is the latest of that process.
            begun = [key for key in last if key[:2] == (line.process, line.attempt)]
            last[begun[-1]] = line._replace(at_ns=last[begun[-1]].at_ns)
    return list(last.values())


def _was_held(task_id: int, process: str, done: Done) -> bool:
    death = done.deaths.get(process)
    return death is not None and (death.held is None or task_id in death.held)


def _commands_again(
    commands: Mapping[str, tuple[list[str], list[str]]], numbers: Mapping[str, int], done: Done
) -> Iterator[str]:
    for number, (whats, processes) in commands.items():
        begun = [
            process for what, process in zip(whats, processes, strict=True) if what == "begins"
        ]
        task_id = numbers.get(number)
        if task_id is None or task_id in done.retried:
            continue
        for process, later in itertools.pairwise(begun):
            # One that is told to end ends its commands, and gives them back.
            if process not in done.deaths:
                yield f"command {number} ran in {process} and again in {later}; the first lives on"


def _untrue(book: Book, by_task: Mapping[int, list[Line]]) -> Iterator[str]:
    for task_id, end in book.ends.items():
        found = by_task.get(task_id)
        if found is None:
            continue
        whats = {line.what for line in found}
        if end.state is State.SUCCEEDED and "returned" not in whats:
            yield f"task {task_id} is said to have succeeded, and never returned"
        if end.error.startswith("quarantined") and end.state is not State.FAILED:
            yield f"task {task_id} is quarantined, and {end.state.name.lower()}"


def items(
    place: Place, receipts: Mapping[str, list[Receipt]], dead: set[str], done: Done
) -> tuple[list[str], dict[str, int]]:
    """Violations, and figures, of what was sent."""
    promised = [(words[0], " ".join(words[1:])) for words in _promised(place, "item")]
    newest = {key: number for number, key in promised if key != "-"}
    violations = [
        f"item {number} is lost: it was queued, and neither arrived nor is dead"
        for number, key in promised
        if number not in receipts and number not in dead and newest.get(key, number) == number
    ]
    moments = sorted(
        [death.at_ns for death in done.deaths.values()]
        + [moment for window in done.full for moment in window]
    )
    again = 0
    for number, found in receipts.items():
        for first, later in itertools.pairwise(found):
            again += 1
            if first.is_clean and not _any_between(moments, first.at_ns - _CLOSE_NS, later.at_ns):
                violations.append(
                    f"item {number} arrived again {(later.at_ns - first.at_ns) / 1e9:.1f} s after "
                    "it was taken, and nothing had happened"
                )
    return violations, {
        "items promised": len(promised),
        "  arrived": sum(number in receipts for number, _ in promised),
        "  arrivals after the first, each explained": again,
        "  dead letters": len(dead),
    }


def _any_between(moments: Sequence[int], start: int, end: int) -> bool:
    return bisect.bisect_left(moments, start) < bisect.bisect_right(moments, end)


def _promised(place: Place, kind: str) -> list[list[str]]:
    lines = place.promises.read_text().splitlines() if place.promises.exists() else []
    return [words[1:] for words in map(str.split, lines) if words[0] == kind]


def _runs(place: Place) -> dict[int, list[Line]]:
    found: dict[int, list[Line]] = defaultdict(list)
    for text in place.runs.read_text().splitlines():
        task_id, name, attempt, process, at_ns, what = text.split()
        line = Line(int(task_id), name, int(attempt), process, int(at_ns), what)
        found[line.task].append(line)
    return found


def _commands(place: Place) -> dict[str, tuple[list[str], list[str]]]:
    found: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    lines = place.commands.read_text().splitlines() if place.commands.exists() else []
    for number, what, process in map(str.split, lines):
        found[number][0].append(what)
        found[number][1].append(process)
    return found
