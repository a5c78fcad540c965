"""How well starts and forecasts turn out on recorded devices, learning from the past alone.

    python -m benches.predict.evaluate DIRECTORY [--device NAME] [--backend pure]

DIRECTORY holds CSV files; benches/README.md says what is in them and what the figures mean.
"""

from __future__ import annotations

import argparse
import zoneinfo
from pathlib import Path
from typing import NamedTuple

from benches.predict.baselines import Climatology, HourOfWeekTable, Markov, PlainTable
from benches.predict.jobs import POLICIES, Jobs, Results
from benches.predict.traces import HOUR_SLOTS, SLOT_S, Trace, read_traces
from deferpower.localtime import offset_of
from deferpower.predictor import PredictiveDeferredProcessor

FORECASTS = ("deferpower", "table", "plain table", "markov")
BINS = 10


class Brier:
    """Squared errors of every forecaster on the same hours."""

    def __init__(self) -> None:
        self._errors = dict.fromkeys((*FORECASTS, "past"), 0.0)
        self._held = self._count = 0
        self.calibration = [[0, 0.0, 0] for _ in range(BINS)]  # hours, sum of p, held

    def add(self, told: dict[str, list[float]], outcomes: list[bool | None]) -> None:
        for ahead, held in enumerate(outcomes):
            if held is None:
                continue
            for name, probabilities in told.items():
                self._errors[name] += (probabilities[ahead] - held) ** 2
            self._held += held
            self._count += 1
            p = told["deferpower"][ahead]
            cell = self.calibration[min(int(p * BINS), BINS - 1)]
            cell[0] += 1
            cell[1] += p
            cell[2] += held

    def skill(self, name: str, climatology: str = "past") -> float:
        """1 - error / error of the climatology: of the past, or of the whole life in hindsight."""
        if climatology == "past":
            reference = self._errors["past"]
        else:
            reference = self._held * (1.0 - self._held / self._count)
        return 1.0 - self._errors[name] / reference if reference else 0.0


class Replay(NamedTuple):
    """What one device's life gave."""

    trace: Trace
    jobs: Results
    skill: dict[str, Brier]


def replay(trace: Trace, backend: str | None = None) -> Replay:
    """Live through a trace slot by slot; nothing after the present is ever looked at."""
    now_s = float(trace.start_s)
    zone = zone_of(trace)
    predictor = PredictiveDeferredProcessor(zone=zone, backend=backend, clock=lambda: now_s)
    needs = trace.needs()
    brier = {need: Brier() for need in needs}
    table = {need: HourOfWeekTable() for need in needs}
    plain = {need: PlainTable() for need in needs}
    markov = {need: Markov() for need in needs}
    past = {need: Climatology() for need in needs}
    jobs = Jobs(trace)
    for slot in range(len(trace.slots)):
        now_s = float(trace.start_s + slot * SLOT_S)
        hour, into = divmod(slot, HOUR_SLOTS)
        if into == 0 and hour > 0:
            for need in needs:
                held = trace.outcome(slot - HOUR_SLOTS, need, known=6)
                markov[need].learn(held)
                if held is not None:
                    table[need].learn(trace.hour_of_week(hour - 1), held)
                    plain[need].learn(trace.hour_of_week(hour - 1), held)
                    past[need].learn(held)
            if hour >= trace.warm_up_hours() and trace.slots[slot - 1] is not None:
                foreseen = predictor.forecast(24, now_s=now_s)
                for place, need in enumerate(("idle", "plugged", "good")):
                    state = trace.holds(slot - 1, need) if need in needs else None
                    if state is None:
                        continue
                    p_past = past[need].forecast()
                    own = [
                        p_past[0] if row[place + 1] is None else float(row[place + 1] or 0.0)
                        for row in foreseen
                    ]
                    told = {
                        "deferpower": own,
                        "table": table[need].forecast(trace.hour_of_week(hour)),
                        "plain table": plain[need].forecast(trace.hour_of_week(hour)),
                        "markov": markov[need].forecast(state),
                        "past": p_past,
                    }
                    ahead = range(slot, min(slot + 24 * HOUR_SLOTS, len(trace.slots)), HOUR_SLOTS)
                    brier[need].add(told, [trace.outcome(s, need, known=6) for s in ahead])
        jobs.tick(slot, predictor, now_s)
        seen = trace.slots[slot]
        if seen is not None:
            now_s += (
                1.0  # the slot's figures are known when it has passed; it stands from its begin
            )
            predictor.learn_usage_pattern(now_s - 1.0, seen.active, seen.plugged)
    return Replay(trace, jobs.results(), brier)


def zone_of(trace: Trace) -> str:
    """A zone whose clock runs as the trace's, else the fixed one of its first hour."""
    for zone in sorted(zoneinfo.available_timezones()):
        offset = offset_of(zone)
        hours = range(0, len(trace.offset_s), 24)
        if all(offset(trace.start_s + hour * 3600) == trace.offset_s[hour] for hour in hours):
            return zone
    return f"Etc/GMT{-trace.offset_s[0] // 3600:+d}"


def print_jobs(replays: list[Replay]) -> None:
    print("one-hour jobs, each to be started within 24 h: share that succeeded")
    print(f"{'device':20} {'jobs':>5} " + " ".join(f"{name:>13}" for name in POLICIES))
    for trace, jobs, _ in replays:
        shares = " ".join(f"{jobs.success[name]:13.3f}" for name in POLICIES)
        print(f"{trace.device:20} {jobs.count:5} {shares}")
    print("\nshare of jobs that ran on battery for some of their hour")
    for trace, jobs, _ in replays:
        if trace.need != "idle":
            shares = " ".join(f"{jobs.battery[name]:13.3f}" for name in POLICIES)
            print(f"{trace.device:20} {jobs.count:5} {shares}")


def print_skill(replays: list[Replay]) -> None:
    print("\nBrier skill, 1-24 h ahead, beside the device's share so far; in hindsight (h) beside")
    print("its share over all hours forecast")
    heads = [*FORECASTS, "deferpower h"]
    print(f"{'device':20} {'need':8} " + " ".join(f"{name:>13}" for name in heads))
    for trace, _, brier in replays:
        for need, result in brier.items():
            skills = [result.skill(name) for name in FORECASTS]
            skills.append(result.skill("deferpower", "hindsight"))
            best = max(skills[1], skills[2], skills[3])
            mark = "" if skills[0] >= best else "  below the best"
            row = " ".join(f"{skill:13.3f}" for skill in skills)
            print(f"{trace.device:20} {need:8} {row}{mark}")


def print_calibration(replays: list[Replay]) -> None:
    print("\ncalibration: hours forecast in each tenth, mean forecast, share that came true")
    for need in ("idle", "plugged", "good"):
        cells = [[0, 0.0, 0] for _ in range(BINS)]
        for _, _, brier in replays:
            if need in brier:
                for total, cell in zip(cells, brier[need].calibration, strict=True):
                    for place in range(3):
                        total[place] += cell[place]
        print(f"{need:8} " + " ".join(f"{cell[0]:8}" for cell in cells))
        for place, name in ((1, "forecast"), (2, "came")):
            shares = " ".join(f"{cell[place] / max(cell[0], 1):8.3f}" for cell in cells)
            print(f"{name:8} {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="CSV files of recorded devices")
    parser.add_argument("--device", default="", help="only devices whose name holds this")
    parser.add_argument("--backend", help="native or pure")
    arguments = parser.parse_args()
    traces = [t for t in read_traces(arguments.directory) if arguments.device in t.device]
    replays = [replay(trace, arguments.backend) for trace in traces]
    print_jobs(replays)
    print_skill(replays)
    print_calibration(replays)


if __name__ == "__main__":
    main()
