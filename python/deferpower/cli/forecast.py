"""``deferpower forecast``: when the device will probably be idle, charging, or both."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deferpower.cli import parsing, queue_file
from deferpower.cli.heatmap import DAYS, HourRow, Share, Style, next_hours, week
from deferpower.cli.text import moment
from deferpower.errors import ConfigError
from deferpower.policy import Policy
from deferpower.predictor import MAX_HOURS, MIN_EVIDENCE_H

if TYPE_CHECKING:
    from deferpower.predictor import HourForecast

_EPILOG = f"""\
It is learned from what workers of the queue have seen of the device while they
were awake (deferpower history), by hour of the week, and for the next hours by
what the device is like now. With less than {MIN_EVIDENCE_H:.0f} observed hours nothing is said
(?). Shown are maps of the coming week, for use, charging and both, then the
next hours one by one. SEMANTICS.md, "Predicting", has the rest.

{queue_file.HELP}

examples:
  deferpower forecast
  deferpower forecast --hours 48 --json | jq '.hours[].p_good'
  deferpower forecast --plot week.png"""


def parser() -> parsing.Parser:
    """The options of ``forecast``."""
    p = parsing.Parser(
        "forecast",
        usage="deferpower forecast [--hours N] [--plot FILE] [--queue FILE] [--json]",
        summary="Show when the device will probably be idle, charging, or both.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "--hours",
        type=parsing.whole_number,
        default=24,
        metavar="N",
        help=f"how many hours to tell one by one, up to {MAX_HOURS} (default 24)",
    )
    p.add_argument("--plot", metavar="FILE", help="draw the maps into this .png, .svg or .pdf")
    queue_file.add(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the forecast."""
    options = parser().parse(words)
    if options.hours > MAX_HOURS:
        raise ConfigError(f"--hours: {options.hours} is too many; {MAX_HOURS} is the most")
    if options.plot is not None:
        from deferpower.cli import timeline

        timeline.check(options.plot)
    manager = queue_file.open_queue(options, Policy(), may_be_missing=True)
    try:
        coming = manager.forecast(MAX_HOURS)
    finally:
        manager.close()
    if options.plot is not None:
        from deferpower.cli import weekmap

        weekmap.draw(options.plot, _MAPS, [cells(coming, place) for place in _PLACES])
    if options.json:
        print(json.dumps(_fields(coming, options.hours)))
    else:
        style = Style.of(sys.stdout)
        width = shutil.get_terminal_size((80, 24)).columns
        print("\n".join(_report(coming, options.hours, width, style)))
    return 0


_MAPS = ("probably used", "probably charging", "probably idle and charging")
_PLACES = ("used", "p_plugged", "p_good")


def cells(coming: Sequence[HourForecast], place: str) -> list[list[Share]]:
    """Shares of one kind by weekday and hour of the local clock."""
    found: list[list[Share]] = [[None] * 24 for _ in DAYS]
    # An hour that occurs twice is shown as it comes first.
    for hour in reversed(coming):
        local = time.localtime(hour.start_s)
        share = _used(hour) if place == "used" else getattr(hour, place)
        found[local.tm_wday][local.tm_hour] = share
    return found


def _used(hour: HourForecast) -> Share:
    return None if hour.p_idle is None else 1.0 - hour.p_idle


def _report(coming: Sequence[HourForecast], hours: int, width: int, style: Style) -> list[str]:
    if all(hour.p_idle is None and hour.p_plugged is None for hour in coming):
        seen_h = max(24.0 * hour.evidence for hour in coming)
        return [
            f"nothing can be said yet: of the {MIN_EVIDENCE_H:.0f} observed hours that it takes "
            f"there are {min(seen_h, MIN_EVIDENCE_H):.0f};",
            "a worker observes while it is awake, and deferpower history import adds a recording",
        ]
    lines = []
    for title, place in zip(_MAPS, _PLACES, strict=True):
        lines += [*week(title, cells(coming, place), width, style), ""]
    rows = [
        HourRow(time.strftime("%a %H:%M", time.localtime(hour.start_s)), *_shares(hour))
        for hour in coming[:hours]
    ]
    return [*lines, *next_hours(rows, width, style)]


def _shares(hour: HourForecast) -> tuple[Share, Share, Share]:
    return hour.p_good, hour.p_idle, hour.p_plugged


def _fields(coming: Sequence[HourForecast], hours: int) -> dict[str, Any]:
    return {
        "hours": [{**hour._asdict(), "start": moment(hour.start_s)} for hour in coming[:hours]],
        "week": {
            name: cells(coming, place)
            for name, place in zip(("used", "charging", "good"), _PLACES, strict=True)
        },
    }
