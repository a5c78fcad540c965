"""A picture of a replay: the life on top, below it the jobs of each policy."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deferpower.errors import ConfigError
from deferpower.life import Life
from deferpower.simulation import JobRun
from deferpower.traces import SLOT_S, Slot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = (".png", ".svg", ".pdf")
_DAY_S = 86_400

Span = tuple[float, float]
"""From when to when, seconds since the epoch."""
_GREEN, _BLUE, _ORANGE, _RED = "#9fd89f", "#20639b", "#e08e3c", "#b5302a"
_GREY, _DARK = "#8a8a8a", "#404040"


def check(path: str) -> None:
    """Make sure that a picture can be drawn.

    Raises:
        ConfigError: it is of no kind that can be drawn, its directory is not there, or matplotlib
            is not installed.
    """
    if Path(path).suffix.lower() not in _KINDS:
        raise ConfigError(f"--plot: {path!r} is no picture; name a file in {', '.join(_KINDS)}")
    if not Path(path).parent.is_dir():
        raise ConfigError(
            f"--plot: there is no directory {str(Path(path).parent)!r}; make it first"
        )
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError(
            "--plot needs matplotlib, which is not installed; pip install 'deferpower[plot]'"
        ) from None


def draw(path: str, title: str, life: Life, runs: Mapping[str, Sequence[JobRun]]) -> None:
    """Draw what became of the jobs under each policy, by its name.

    Raises:
        ConfigError: the file cannot be written.
    """
    # The class and not pyplot: that looks for a display and keeps every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lanes = {name: _lanes(jobs) for name, jobs in runs.items()}
    heights = [1.6, *(min(max(0.13 * len(rows), 0.8), 4.0) for rows in lanes.values())]
    days = (life.end_s - life.start_s) / _DAY_S
    figure = Figure(
        figsize=(min(max(0.9 * days, 10.0), 40.0), sum(heights) + 0.45 * len(heights) + 0.9),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left")
    top, *below = figure.subplots(
        len(heights), 1, sharex=True, squeeze=True, gridspec_kw={"height_ratios": heights}
    )
    _draw_life(top, life)
    for axes, (name, rows) in zip(below, lanes.items(), strict=True):
        _shade_power(axes, life)
        _draw_jobs(axes, life, rows)
        axes.set_title(name, loc="left", fontsize="medium")
    _mark_days(below[-1], life)
    _explain(figure, life)
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise ConfigError(f"--plot: cannot write {path!r}: {error.strerror}") from None


def _draw_life(axes: Axes, life: Life) -> None:
    _shade_power(axes, life)
    for slots in _unbroken(life):
        edges = [*(slot.start_s for slot in slots), slots[-1].start_s + SLOT_S]
        shares = [100 * _or_nan(slot.activity) for slot in slots]
        axes.stairs(shares, edges, fill=True, color=_ORANGE, alpha=0.75, linewidth=0)
    edges = [*(stretch.start_s for stretch in life.stretches), life.end_s]
    levels = [_or_nan(stretch.percent) for stretch in life.stretches]
    axes.stairs(levels, edges, baseline=None, color="black", linewidth=1.2)
    axes.set_ylim(0, 104)
    axes.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    axes.set_title("the device", loc="left", fontsize="medium")


def _shade_power(axes: Axes, life: Life) -> None:
    plugged = [(s.start_s, s.end_s - s.start_s) for s in life.stretches if s.plugged]
    holes = [(s.start_s, s.end_s - s.start_s) for s in life.stretches if not s.is_known]
    whole = axes.get_xaxis_transform()
    axes.broken_barh(plugged, (0, 1), color=_GREEN, alpha=0.45, linewidth=0, transform=whole)
    axes.broken_barh(holes, (0, 1), color=_GREY, alpha=0.5, linewidth=0, transform=whole)


def _draw_jobs(axes: Axes, life: Life, lanes: Sequence[Sequence[JobRun]]) -> None:
    for lane, jobs in enumerate(lanes):
        waits = [(run.created_s, run.start_s) for run in jobs if run.start_s > run.created_s]
        axes.hlines([lane] * len(waits), *_ends(waits), color=_GREY, linewidth=0.8)
        spans = [span for run in jobs for span in run.spans]
        pauses = [
            (before[1], after[0]) for run in jobs for before, after in itertools.pairwise(run.spans)
        ]
        battery = [part for span in spans for part in _parts(life, span, plugged=False)]
        not_told = [part for span in spans for part in _parts(life, span, plugged=None)]
        whole = (lane - 0.4, 0.8)
        axes.broken_barh(_widths(spans), whole, color=_BLUE, linewidth=0)
        axes.broken_barh(_widths(battery), whole, color=_RED, linewidth=0)
        if life.tells_power:
            axes.broken_barh(_widths(not_told), whole, color=_DARK, linewidth=0)
        axes.broken_barh(
            _widths(pauses),
            whole,
            facecolor="white",
            edgecolor=_BLUE,
            hatch="//////",
            linewidth=0.4,
        )
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_yticks([])


def _mark_days(axes: Axes, life: Life) -> None:
    """Local midnights as lines on all panels, and the days by name below."""
    midnights = [at_s for at_s in life.clock_moments(0) if life.local_minute(at_s) == 0]
    step = max(round(len(midnights) / 40), 1)
    axes.set_xlim(life.start_s, life.end_s)
    axes.set_xticks(
        midnights[::step], [_day(life, at_s) for at_s in midnights[::step]], ha="left", fontsize=8
    )
    for panel in axes.figure.axes:
        panel.grid(axis="x", color="black", linewidth=0.5, alpha=0.3)


def _day(life: Life, at_s: float) -> str:
    zone = datetime.timezone(datetime.timedelta(seconds=life.utc_offset_s(at_s)))
    return f"{datetime.datetime.fromtimestamp(at_s, zone):%a %d %b}"


def _explain(figure: Figure, life: Life) -> None:
    """Say what the colours stand for, as far as the trace has it."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        (life.tells_percent, Line2D([], [], color="black", label="battery level")),
        (life.tells_activity, Patch(color=_ORANGE, label="activity")),
        (life.tells_plugged, Patch(color=_GREEN, alpha=0.45, label="on external power")),
        (life.has_holes, Patch(color=_GREY, alpha=0.5, label="not in the trace")),
        (True, Line2D([], [], color=_GREY, linewidth=0.8, label="job waits")),
        (True, Patch(color=_BLUE, label="job runs")),
        (life.tells_plugged, Patch(color=_RED, label="job runs on battery")),
        (life.tells_power, Patch(color=_DARK, label="job runs, power not told")),
        (True, Patch(facecolor="white", edgecolor=_BLUE, hatch="//////", label="job is paused")),
    ]
    figure.legend(
        handles=[handle for is_there, handle in entries if is_there],
        loc="outside lower left",
        ncols=5,
        frameon=False,
        fontsize="small",
    )


def _lanes(runs: Sequence[JobRun]) -> list[list[JobRun]]:
    """The jobs in as few rows as they fit in, one after the other in each."""
    lanes: list[list[JobRun]] = []
    for run in runs:
        for lane in lanes:
            if lane[-1].end_s <= run.created_s:
                lane.append(run)
                break
        else:
            lanes.append([run])
    return lanes


def _parts(life: Life, span: Span, *, plugged: bool | None) -> Iterator[Span]:
    """The parts of a span in which the charger was in, out, or not told."""
    start_s, end_s = span
    for stretch in life.stretches_within(start_s, end_s):
        if stretch.plugged is plugged:
            yield max(start_s, stretch.start_s), min(end_s, stretch.end_s)


def _unbroken(life: Life) -> Iterator[list[Slot]]:
    """The slots, in runs without a hole."""
    slots: list[Slot] = []
    for slot in life.slots:
        if slots and slot.start_s > slots[-1].start_s + SLOT_S:
            yield slots
            slots = []
        slots.append(slot)
    yield slots


def _widths(spans: Sequence[Span]) -> list[Span]:
    return [(start_s, end_s - start_s) for start_s, end_s in spans]


def _ends(spans: Sequence[Span]) -> tuple[list[float], list[float]]:
    return [start_s for start_s, _ in spans], [end_s for _, end_s in spans]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
