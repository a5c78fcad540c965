"""``deferpower simulate``: a recorded life replayed under one policy or several, side by side."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any, NamedTuple

from deferpower.cli import conditions, parsing
from deferpower.cli.progress import Bar
from deferpower.cli.text import duration, one_line, percent
from deferpower.constraints import Constraints
from deferpower.life import Life
from deferpower.planning import ForecastingScheduler
from deferpower.policy import Policy
from deferpower.scheduler import IntelligentScheduler
from deferpower.simulation import Figures, JobRun, Learner, Workload, figures, replay
from deferpower.task import Task, TaskClass, Verdict
from deferpower.traces import COLUMNS, one_device, read_trace

_EPILOG = f"""\
A job is submitted every so often, from the first line of the trace on; each is
a background task with the conditions above, as in deferpower run. It starts
when the policy lets it, is frozen while it does not, and runs on whatever holds
from its deadline on. Jobs do not get in each other's way. None is submitted
where the trace has no line, nor so late that its end would not be seen.

Without --policy four are compared: the policy that deferpower run would take,
"run now", which waits for nothing, "charging only", which waits for external
power besides, and "forecast", which is the first one with what it learns of the
device as the life goes on, as a worker does. With it there is one column for
each file.

The trace is CSV with a header; a line stands for 5 minutes of one device:
  {",".join(COLUMNS)}
Columns may be left out, and cells be empty, where something is not known.
SEMANTICS.md, "Traces" and "Simulating", has the rest.

figures:
  started after       from submission to start
  done after          from submission to end, pauses included
  jobs on battery     share of the jobs that ran on battery, be it for a moment
  time on battery     share of the running time, as far as the charger is told
  time not known      share of the running time for which it is not, if any
  missed deadlines    jobs that were not done at their deadline

examples:
  deferpower simulate phone.csv
  deferpower simulate phone.csv --idle --policy bold.toml --policy meek.toml
  deferpower simulate desks.csv --device desk-3 --duration 10m --plot desk.png"""


def parser() -> parsing.Parser:
    """The options of ``simulate``."""
    p = parsing.Parser(
        "simulate",
        usage="deferpower simulate TRACE.csv [CONDITION...] [OPTION...]",
        summary="Replay a recorded life: when would jobs have run, and on what power?",
        epilog=_EPILOG,
    )
    p.add_argument("trace", metavar="TRACE.csv", help="what was seen of a device")
    conditions.add(p)
    option = p.add_argument_group("jobs").add_argument
    for name, default, what in (
        ("--every", "1h", "from one job to the next"),
        ("--duration", "1h", "how long each has to run"),
        ("--deadline", "24h", "after this long a job runs whatever holds"),
    ):
        option(
            name,
            type=parsing.time_span,
            default=default,
            metavar="TIME",
            help=f"{what} (default {default})",
        )
    option = p.add_argument_group("what is replayed, and how it is shown").add_argument
    option("--device", metavar="ID", help="which device, if the trace has several")
    option(
        "--policy",
        metavar="FILE",
        action="append",
        default=[],
        help="TOML file with thresholds; may be given several times",
    )
    option("--plot", metavar="FILE", help="draw a timeline into this .png, .svg or .pdf")
    option("--json", action="store_true", help="print JSON")
    return p


class Contender(NamedTuple):
    """One column of the table: a policy, and what it makes of each job."""

    name: str
    policy: Policy
    task: Task
    forecasts: bool = False


class Result(NamedTuple):
    """What became of the jobs under one contender."""

    name: str
    runs: list[JobRun]
    figures: Figures


def execute(words: list[str]) -> int:
    """Print the comparison."""
    options = parser().parse(words)
    if options.plot is not None:
        # Before the work, so that nobody waits for a picture that cannot be drawn.
        from deferpower.cli import timeline

        timeline.check(options.plot)
    contenders = _contenders(options.policy, conditions.asked(options))
    workload = Workload(options.every, options.duration, options.deadline)
    life = Life(one_device(read_trace(options.trace), options.trace, options.device))
    results = _replay_all(life, workload, contenders)
    if options.plot is not None:
        runs = {result.name: result.runs for result in results}
        timeline.draw(options.plot, _title(options.trace, life), life, runs)
    if options.json:
        print(json.dumps(_fields(life, workload, results)))
    else:
        print("\n".join(_report(options.trace, life, workload, results)))
    return 0


def _contenders(paths: list[str], asked: Constraints) -> list[Contender]:
    task = Task(task_class=TaskClass.BACKGROUND, constraints=asked, created_s=0.0)
    if paths:
        return [Contender(path, Policy.load(path), task) for path in paths]
    policy = Policy.load()
    charging = dataclasses.replace(asked, charging=True)
    return [
        Contender("default policy" if policy.path is None else str(policy.path), policy, task),
        Contender("run now", policy, dataclasses.replace(task, override=Verdict.EXECUTE_NOW)),
        Contender("charging only", policy, dataclasses.replace(task, constraints=charging)),
        Contender("forecast", policy, task, forecasts=True),
    ]


def _replay_all(life: Life, workload: Workload, contenders: list[Contender]) -> list[Result]:
    results = []
    with Bar("replaying") as bar:
        for number, (name, policy, task, forecasts) in enumerate(contenders):
            scheduler = IntelligentScheduler(
                thresholds=policy.thresholds, local_minute=life.local_minute
            )

            def show(part: float, done: int = number) -> None:
                bar.show((done + part) / len(contenders))

            if forecasts:
                learner = Learner(life)
                planned = ForecastingScheduler(scheduler, learner.predictor)
                runs = replay(life, workload, planned, task, show, see=learner.see)
            else:
                runs = replay(life, workload, scheduler, task, show)
            results.append(Result(name, runs, figures(life, workload, runs)))
    return results


def _report(path: str, life: Life, workload: Workload, results: list[Result]) -> list[str]:
    jobs = results[0].figures.jobs
    lines = [
        f"life  {_title(path, life)}",
        f"jobs  {jobs}, one every {duration(workload.every_s)}, each runs "
        f"{duration(workload.duration_s)}, deadline after {duration(workload.deadline_s)}",
        *(f"note  {note}" for note in _notes(life)),
        "",
    ]
    rows = [["", *(one_line(result.name) for result in results)]]
    some_not_told = life.tells_power and any(r.figures.power_not_told_percent for r in results)
    columns = [_column(result.figures, some_not_told) for result in results]
    rows += [[name, *(column[name] for column in columns)] for name in columns[0]]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for first, *cells in rows:
        told = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((f"{first:<{widths[0]}}", *told)))
    return lines


def _column(told: Figures, some_not_told: bool) -> dict[str, str]:
    missed_percent = 100 * told.missed_deadlines / told.jobs
    not_told = {"time not known": percent(told.power_not_told_percent)} if some_not_told else {}
    return {
        "started after, p50": duration(told.started_after_s.p50),
        "               p90": duration(told.started_after_s.p90),
        "               p99": duration(told.started_after_s.p99),
        "done after, p50": duration(told.done_after_s.p50),
        "            p90": duration(told.done_after_s.p90),
        "            p99": duration(told.done_after_s.p99),
        "jobs on battery": percent(told.on_battery_jobs_percent),
        "time on battery": percent(told.on_battery_time_percent),
        **not_told,
        "missed deadlines": f"{told.missed_deadlines} ({percent(missed_percent)})",
        "starts": str(told.starts),
        "pauses": str(told.pauses),
    }


def _title(path: str, life: Life) -> str:
    device = life.slots[0].device_id
    name = one_line(f"{path}, {device}" if device else path)
    return (
        f"{name}: {_day(life, life.start_s)} to {_day(life, life.end_s)}"
        f"{' local time' if life.tells_local_time else ' UTC'}, "
        f"{duration(life.end_s - life.start_s)}"
    )


def _day(life: Life, at_s: float) -> str:
    zone = datetime.timezone(datetime.timedelta(seconds=life.utc_offset_s(at_s)))
    return f"{datetime.datetime.fromtimestamp(at_s, zone):%Y-%m-%d %H:%M}"


def _notes(life: Life) -> list[str]:
    """What the trace does not tell, and what that means here."""
    notes = []
    if not life.tells_power:
        notes.append("neither charger nor battery are told: a device without a battery")
    elif not life.tells_plugged:
        notes.append("the charger is not told (column plugged): it counts as on battery")
    elif not life.tells_percent:
        notes.append("the level is not told (column battery_percent): on battery it counts as 0")
    if not life.tells_activity:
        notes.append("activity is not told (column active): the device never counts as idle")
    if life.has_holes:
        holes_s = life.end_s - life.start_s - life.known_s
        notes.append(f"{duration(holes_s)} are not in the trace: there nothing is known")
    return notes


def _fields(life: Life, workload: Workload, results: list[Result]) -> dict[str, Any]:
    return {
        "device_id": life.slots[0].device_id,
        "start_s": life.start_s,
        "end_s": life.end_s,
        "known_s": life.known_s,
        "tells": {
            "plugged": life.tells_plugged,
            "percent": life.tells_percent,
            "activity": life.tells_activity,
            "local_time": life.tells_local_time,
        },
        "workload": workload._asdict(),
        "policies": [
            {
                "name": result.name,
                **result.figures._asdict(),
                "started_after_s": result.figures.started_after_s._asdict(),
                "done_after_s": result.figures.done_after_s._asdict(),
            }
            for result in results
        ],
    }
