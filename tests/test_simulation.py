"""Replays of hand-made lives, whose outcomes were worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import BACKENDS
from deferpower.constraints import Constraints
from deferpower.errors import ConfigError
from deferpower.life import Life
from deferpower.planning import ForecastingScheduler
from deferpower.scheduler import IntelligentScheduler
from deferpower.simulation import (
    Figures,
    JobRun,
    Learner,
    Spread,
    Workload,
    figures,
    replay,
)
from deferpower.task import Decision, Task, TaskClass, Verdict
from deferpower.thresholds import Thresholds
from deferpower.traces import Slot
from deferpower.types import Reading
from lives import HOUR_S, MIDNIGHT_S, Part, a_life, slots_of

ONCE = Workload(every_s=100 * HOUR_S, duration_s=HOUR_S, deadline_s=6 * HOUR_S)
BUSY, QUIET = 1.0, 0.0


def a_task(**asked: Any) -> Task:
    return Task(task_class="background", constraints=Constraints(**asked), created_s=0.0)  # type: ignore[arg-type]


@pytest.fixture
def backend(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend that decides and stands in the readings."""
    monkeypatch.setenv("DEFERPOWER_BACKEND", backend_name)
    return backend_name


def runs_of(
    life: Life, workload: Workload = ONCE, task: Task | None = None, **thresholds: float
) -> list[JobRun]:
    scheduler = IntelligentScheduler(
        thresholds=Thresholds(**thresholds),  # type: ignore[arg-type]
        local_minute=life.local_minute,
    )
    return replay(life, workload, scheduler, task or a_task())


def minutes(run: JobRun) -> list[tuple[float, float]]:
    """When a job ran, in minutes after the first midnight."""
    return [((start - MIDNIGHT_S) / 60, (end - MIDNIGHT_S) / 60) for start, end in run.spans]


def test_a_job_waits_for_the_charger_and_is_paused_without(backend: str) -> None:
    life = a_life(
        (120, 60, False, BUSY), (30, 60, True, BUSY), (60, 70, False, BUSY), (240, 70, True, BUSY)
    )
    (run,) = runs_of(life, ONCE, a_task(charging=True))
    assert minutes(run) == [(120, 150), (210, 240)]
    assert (run.start_s, run.end_s) == (MIDNIGHT_S + 7200, MIDNIGHT_S + 14_400)
    assert figures(life, ONCE, [run]) == Figures(
        jobs=1,
        started_after_s=Spread(7200, 7200, 7200),
        done_after_s=Spread(14_400, 14_400, 14_400),
        on_battery_jobs_percent=0.0,
        on_battery_time_percent=0.0,
        power_not_told_percent=0.0,
        missed_deadlines=0,
        starts=1,
        pauses=1,
    )


def test_at_its_deadline_a_job_runs_whatever_holds(backend: str) -> None:
    life = a_life((600, 60, False, BUSY))
    (run,) = runs_of(life, ONCE, a_task(charging=True))
    assert minutes(run) == [(360, 420)]
    told = figures(life, ONCE, [run])
    assert told.missed_deadlines == 1
    assert told.on_battery_jobs_percent == told.on_battery_time_percent == 100.0


def test_a_job_starts_as_soon_as_a_preference_is_dropped(backend: str) -> None:
    life = a_life((600, 60, False, BUSY))
    prefers = Task(task_class="background", prefer=Constraints(charging=True), created_s=0.0)  # type: ignore[arg-type]
    (run,) = runs_of(life, ONCE, prefers)
    assert minutes(run) == [(288, 348)]


def test_a_job_that_its_deadline_finds_paused_goes_on(backend: str) -> None:
    life = a_life((40, 60, True, BUSY), (600, 60, False, BUSY))
    (run,) = runs_of(life, ONCE, a_task(charging=True))
    assert minutes(run) == [(0, 40), (360, 380)]


def test_a_job_that_is_done_at_its_deadline_is_not_late(backend: str) -> None:
    life = a_life((300, 60, False, BUSY), (600, 60, True, BUSY))
    runs = runs_of(life, ONCE, a_task(charging=True))
    assert minutes(runs[0]) == [(300, 360)]
    assert figures(life, ONCE, runs).missed_deadlines == 0


def test_the_scheduler_remembers_a_level_that_was_too_low(backend: str) -> None:
    levels = (51, 50, 52, 53)
    life = a_life(*((20, level, False, BUSY) for level in levels), (600, 60, False, BUSY))
    (run,) = runs_of(life)
    assert minutes(run) == [(0, 20), (60, 100)]


def test_idle_is_quiet_that_has_lasted_a_minute(backend: str) -> None:
    # The level falls while it is quiet: that must not begin the minute anew.
    life = a_life(
        (30, 40, False, BUSY),
        (20, 40, False, QUIET),
        (10, 39, False, QUIET),
        (5, 39, False, 0.01),
        (600, 39, False, QUIET),
    )
    (run,) = runs_of(life)
    assert minutes(run) == [(31, 60), (66, 97)]
    (run,) = runs_of(
        life,
        idle=Thresholds().idle._replace(user_idle_s=900),  # type: ignore[arg-type]
    )
    assert minutes(run) == [(45, 60), (80, 125)]


def test_activity_that_is_not_told_is_not_idle(backend: str) -> None:
    life = a_life((30, 40, False, QUIET), (60, 40, False, None), (600, 40, False, QUIET))
    (run,) = runs_of(life)
    assert minutes(run) == [(1, 30), (91, 122)]


def test_in_a_hole_nothing_is_known(backend: str) -> None:
    life = a_life((30, 90, True, QUIET), 60, (600, 90, True, QUIET))
    runs = runs_of(life, Workload(HOUR_S / 2, HOUR_S, 6 * HOUR_S))
    assert minutes(runs[0]) == [(0, 30), (90, 120)]
    # None is submitted at 30 and 60 minutes.
    assert [(run.created_s - MIDNIGHT_S) / 60 for run in runs[:3]] == [0, 90, 120]


def test_what_runs_in_a_hole_ran_on_unknown_power(backend: str) -> None:
    life = a_life((30, 90, False, QUIET), 420, (300, 90, True, QUIET))
    (run,) = runs_of(life, ONCE, a_task(charging=True))
    assert minutes(run) == [(360, 420)]
    told = figures(life, ONCE, [run])
    assert told.power_not_told_percent == 100.0
    assert told.on_battery_jobs_percent is None
    assert told.on_battery_time_percent is None


def test_without_power_in_the_trace_there_is_no_battery(backend: str) -> None:
    life = a_life((600, None, None, BUSY))
    runs = runs_of(life)
    assert minutes(runs[0]) == [(0, 60)]
    assert figures(life, ONCE, runs).on_battery_jobs_percent is None
    assert minutes(runs_of(life, ONCE, a_task(idle=True))[0]) == [(360, 420)]


@pytest.mark.parametrize("part", [(60, None, False, QUIET), (60, 90, None, QUIET)])
def test_what_is_not_told_of_power_counts_against(backend: str, part: Part) -> None:
    """A level that is not told is 0; a charger that is not told is not there."""
    life = a_life(part, (600, 90, True, QUIET))
    assert minutes(runs_of(life, ONCE, a_task(charging=True))[0]) == [(60, 120)]
    assert minutes(runs_of(life)[0]) == ([(60, 120)] if part[1] is None else [(0, 60)])


def test_windows_are_local(backend: str) -> None:
    # The clock is set from 01:30 to 02:30 at 30 minutes, into the window.
    life = Life(
        [
            *slots_of((30, 90, True, BUSY), offset_s=3600),
            *slots_of((600, 90, True, BUSY), offset_s=7200, start_s=1800),
        ]
    )
    workload = ONCE._replace(duration_s=2 * HOUR_S)
    (run,) = runs_of(life, workload, a_task(window="02:10-03:31"))
    assert minutes(run) == [(30, 91), (360, 419)]
    (run,) = runs_of(life, workload, a_task(window="02:37-02:00"))
    assert minutes(run) == [(0, 30), (37, 127)]


def test_a_window_needs_local_time(backend: str) -> None:
    life = a_life((600, 90, True, BUSY), offset_s=None)
    with pytest.raises(ConfigError, match="window: the trace does not tell local time; add"):
        runs_of(life, ONCE, a_task(window="02:10-03:31"))
    assert minutes(runs_of(life)[0]) == [(0, 60)]


def test_a_charger_counts_after_its_dwell(backend: str) -> None:
    life = a_life((30, 40, True, BUSY), (5, 40, False, BUSY), (600, 40, True, BUSY))
    task = a_task(charging=True)
    assert minutes(runs_of(life, ONCE, task)[0]) == [(0, 30), (35, 65)]
    assert minutes(runs_of(life, ONCE, task, plug_dwell_s=419.5)[0]) == [(0, 30), (42, 72)]


def test_jobs_do_not_get_in_each_others_way(backend: str) -> None:
    life = a_life((180, 40, False, BUSY), (600, 40, True, BUSY))
    runs = runs_of(life, Workload(HOUR_S, HOUR_S, 5 * HOUR_S), a_task(charging=True))
    assert [minutes(run) for run in runs[:4]] == [[(180, 240)]] * 4
    # The last is submitted six hours before the end, so that its end is seen whatever happens.
    assert [run.created_s - MIDNIGHT_S for run in runs] == [n * HOUR_S for n in range(8)]


def test_a_forecast_never_looks_ahead(backend: str) -> None:
    night: Part = (480, 90, True, 0.0)
    day: Part = (960, 80, False, 1.0)
    known = [night, day] * 5
    lives = [a_life(*known, *([night, day] * 4)), a_life(*known, *([day, night] * 4))]
    starts = []
    for life in lives:
        learner = Learner(life)
        scheduler = ForecastingScheduler(
            IntelligentScheduler(local_minute=life.local_minute), learner.predictor
        )
        task = Task(task_class=TaskClass.BACKGROUND, created_s=0.0)
        runs = replay(life, Workload(every_s=7200.0), scheduler, task, see=learner.see)
        starts.append([run.start_s for run in runs])
    turn_s = MIDNIGHT_S + 5 * 86_400
    before = [[start_s for start_s in found if start_s < turn_s] for found in starts]
    assert before[0] == before[1]
    assert len(before[0]) > 40
    assert starts[0] != starts[1]
    # From the second day on it waits for the night.
    assert all((at_s - MIDNIGHT_S) % 86_400 < 28_800 for at_s in starts[0][12:])


def test_an_override_runs_at_once(backend: str) -> None:
    life = a_life((600, 5, False, BUSY))
    runs = runs_of(life, ONCE, dataclasses.replace(a_task(), override="execute_now"))  # type: ignore[arg-type]
    assert minutes(runs[0]) == [(0, 60)]


def test_any_scheduler_can_be_tried_out_and_knows_what_runs() -> None:
    class OnAndOff:
        thresholds = Thresholds()

        def __init__(self) -> None:
            self.asked: list[bool] = []

        def schedule_task(self, task: Task, reading: Reading, *, running: bool) -> Decision:
            self.asked.append(running)
            verdict = Verdict.EXECUTE_NOW if len(self.asked) % 2 else Verdict.DEFER_TO_BACKGROUND
            return Decision(verdict, TaskClass.BACKGROUND, (), reading.wall_s)

    scheduler = OnAndOff()
    life = a_life(*((20, level, True, BUSY) for level in range(30)))
    (run,) = replay(life, ONCE, scheduler, a_task())
    # The charger's dwell ends 5 s after the submission.
    assert run.spans[0] == (MIDNIGHT_S, MIDNIGHT_S + 5)
    assert scheduler.asked[:4] == [False, True, True, True]


def test_figures_of_several_jobs() -> None:
    life = a_life((60, 50, False, BUSY), (60, 50, True, BUSY), (60, None, None, BUSY))
    spans = [
        [(0, 10)],  # on battery
        [(55, 65)],  # half of it on battery
        [(70, 75), (80, 85)],  # paused once, on the charger
        [(115, 120), (130, 132), (140, 143)],  # paused twice, then not told
    ]
    runs = [
        JobRun(
            MIDNIGHT_S,
            tuple((MIDNIGHT_S + 60 * start, MIDNIGHT_S + 60 * end) for start, end in one),
        )
        for one in spans
    ]
    assert figures(life, Workload(1, 600, 84 * 60), runs) == Figures(
        jobs=4,
        started_after_s=Spread(55 * 60, 115 * 60, 115 * 60),
        done_after_s=Spread(65 * 60, 143 * 60, 143 * 60),
        on_battery_jobs_percent=50.0,
        on_battery_time_percent=100 * 15 / 35,
        power_not_told_percent=12.5,
        missed_deadlines=2,
        starts=4,
        pauses=3,
    )


def test_percentiles_are_lengths_that_occurred() -> None:
    life = a_life((60, 50, True, BUSY))
    runs = [JobRun(0, ((number, number + 1),)) for number in range(1, 201)]
    assert figures(life, ONCE, runs).started_after_s == Spread(100, 180, 198)


def test_progress_goes_from_nothing_to_all() -> None:
    life = a_life((60_000, 50, True, BUSY))
    shown: list[float] = []
    replay(
        life,
        Workload(),
        IntelligentScheduler(local_minute=life.local_minute),
        a_task(),
        shown.append,
    )
    assert shown[0] == 0.0
    assert shown[-1] == 1.0
    assert shown == sorted(shown)
    assert len(shown) > 3


@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        (Workload(deadline_s=10 * HOUR_S), "deadline: a job may take 11 h from submission to end"),
        (Workload(every_s=0.0), "every: 0.0 is no length of time above 0"),
        (Workload(duration_s=float("nan")), "duration: nan is no length of time above 0"),
        (ONCE._replace(every_s=1e-300), "every: 1e-300 s makes too many jobs"),
    ],
)
def test_a_workload_that_does_not_fit(workload: Workload, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        runs_of(a_life((600, 50, True, BUSY)), workload)


def test_a_life_just_long_enough() -> None:
    assert len(runs_of(a_life((420, 50, True, BUSY)))) == 1
    with pytest.raises(ConfigError, match=r"the trace has but 6\.91667 h; make it shorter"):
        runs_of(a_life((415, 50, True, BUSY)))


@pytest.mark.parametrize("changes", [{"on_deadline": "expire"}, {"override": "defer_to_charging"}])
def test_a_task_that_might_never_run(changes: dict[str, Any]) -> None:
    task = dataclasses.replace(a_task(), **changes)
    with pytest.raises(ConfigError, match="task: it must run at its deadline"):
        runs_of(a_life((600, 50, True, BUSY)), ONCE, task)


@pytest.mark.parametrize(
    ("slots", "complaint"),
    [
        ([], "trace: it has no lines beside its header"),
        (slots_of((60, None, None, None)), "plugged, battery_percent and active are all empty"),
    ],
)
def test_no_life_in_it(slots: list[Slot], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Life(slots)


parts = st.one_of(
    st.integers(1, 4).map(lambda slots: 5 * slots),
    st.tuples(
        st.integers(1, 8).map(lambda slots: 5 * slots),
        st.sampled_from([None, 10.0, 21.0, 30.0, 50.0, 51.0, 53.0, 90.0]),
        st.sampled_from([None, False, True]),
        st.sampled_from([None, 0.0, 0.0, 0.5]),
    ),
)


def minute_by_minute(
    life: Life, workload: Workload, scheduler: IntelligentScheduler, task: Task
) -> list[JobRun]:
    """The same as `replay`, with no thought of when something may change."""
    jobs = [
        (dataclasses.replace(task, created_s=at_s, deadline_s=workload.deadline_s), set[int]())
        for at_s in workload.submissions(life)
    ]
    scenes = list(life.scenes(60.0))
    for at_s in range(life.start_s, life.end_s, 60):
        scene = [scene for scene in scenes if scene.start_s <= at_s][-1]
        reading = scene.reading(at_s, "pure")
        for task, ran in jobs:
            if not task.created_s <= at_s or len(ran) * 60 >= workload.duration_s:
                continue
            if scheduler.schedule_task(task, reading, running=bool(ran)).execute_now:
                ran.add(at_s)
    return [JobRun(task.created_s, tuple(_spans(sorted(ran)))) for task, ran in jobs]


def _spans(ran: list[int]) -> Iterator[tuple[float, float]]:
    start_s = ran[0]
    for at_s, next_s in zip(ran, [*ran[1:], None], strict=True):
        if next_s != at_s + 60:
            yield start_s, at_s + 60
            start_s = next_s or 0


@pytest.mark.parametrize("backend_name", BACKENDS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    life_parts=st.lists(parts, min_size=1, max_size=12),
    task=st.sampled_from(
        [
            a_task(),
            a_task(charging=True),
            a_task(idle=True, battery_above=20.0),
            a_task(window="00:33-02:07"),
        ]
    ),
    plug_dwell_s=st.sampled_from([5.0, 420.0]),
)
def test_nothing_is_missed_between_the_moments(
    backend_name: str,
    life_parts: list[Part | int],
    task: Task,
    plug_dwell_s: float,
) -> None:
    life = a_life((5, 40.0, False, 0.5), *life_parts, (130, 60.0, True, 0.5))
    workload = Workload(every_s=40 * 60, duration_s=20 * 60, deadline_s=90 * 60)

    def scheduler() -> IntelligentScheduler:
        return IntelligentScheduler(
            backend=backend_name,
            thresholds=Thresholds(plug_dwell_s=plug_dwell_s),
            local_minute=life.local_minute,
        )

    assert replay(life, workload, scheduler(), task) == minute_by_minute(
        life, workload, scheduler(), task
    )
