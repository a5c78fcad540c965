"""Maps and bars in characters, for every kind of terminal."""

from __future__ import annotations

import io
import re

import pytest

from deferpower.cli.heatmap import DAYS, NARROWEST, HourRow, Share, Style, next_hours, week

PLAIN = Style("none", unicode=False)
SHADES = Style("none", unicode=True)
RGB = Style("rgb", unicode=True)
STYLES = [PLAIN, SHADES, Style("256", unicode=True), RGB]

WORKDAY: list[Share] = [hour / 23 for hour in range(24)]
RISING: list[list[Share]] = [*([WORKDAY] * 6), [None] * 24]


def shown(line: str) -> str:
    """A line without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


class Screen(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("environment", "colors"),
    [
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "rgb"),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, "rgb"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "vt100"}, "none"),
        ({}, "none"),
    ],
)
def test_what_a_terminal_can_show(environment: dict[str, str], colors: str) -> None:
    assert Style.of(Screen(), environment) == (colors, True)
    assert Style.of(Screen("ascii"), environment) == (colors, False)
    assert Style.of(Screen(is_terminal=False), environment) == ("none", True)


def test_a_week_in_shades() -> None:
    assert week("charging", RISING, 40, SHADES) == [
        "charging",
        "    0     6     12    18",
        *(f"{day}    ░░░░░░▒▒▒▒▒▒▓▓▓▓▓▓███" for day in DAYS[:6]),
        "Sun ························",
        "    0 %   ░░▒▒▓▓██ 100 %  · not known",
    ]


def test_a_week_in_digits() -> None:
    lines = week("charging", RISING, 52, PLAIN)
    assert lines[1] == "    0     3     6     9     12    15    18    21"
    assert lines[2] == "Mon 0 0 0 1 1 2 2 3 3 3 4 4 5 5 6 6 6 7 7 8 8 9 9 9"
    assert lines[8] == "Sun . . . . . . . . . . . . . . . . . . . . . . . ."
    assert lines[9] == "    0 % 0123456789 100 %  . not known"
    assert all(line.isascii() for line in lines)


def test_a_week_in_colours() -> None:
    monday = week("charging", RISING, 40, RGB)[2]
    assert monday.startswith("Mon \x1b[48;2;24;24;56m \x1b[0m")
    assert monday.endswith("\x1b[48;2;214;210;60m \x1b[0m")
    assert monday.count("\x1b[48;2;") == 24
    monday = week("charging", RISING, 40, Style("256", unicode=True))[2]
    assert monday.startswith("Mon \x1b[48;5;234m \x1b[0m")
    assert monday.endswith("\x1b[48;5;227m \x1b[0m")
    assert "\x1b" not in week("charging", RISING, 40, RGB)[8]


def test_the_hours_to_come() -> None:
    rows = [
        HourRow("14:00", 0.5, 0.9, 0.55),
        HourRow("15:00", 1.0, 1.0, 1.0),
        HourRow("16:00", None, 0.25, None),
        HourRow("17:00", 0.0, 0.0, 0.0),
    ]
    assert next_hours(rows, 40, SHADES) == [
        "                   both   idle  charging",
        "14:00 █████▌       50 %   90 %      55 %",
        "15:00 ███████████ 100 %  100 %     100 %",
        "16:00                 ?   25 %         ?",
        "17:00               0 %    0 %       0 %",
    ]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("width", [1, 40, 51, 52, 79, 80, 200])
def test_nothing_is_wider_than_the_terminal(width: int, style: Style) -> None:
    rows = [HourRow("14:00", share, 1.0, 1.0) for share in (None, 0.0, 0.031, 0.5, 0.999, 1.0)]
    lines = [shown(line) for line in week("both", RISING, width, style)]
    bars = [shown(line) for line in next_hours(rows, width, style)]
    assert max(map(len, (*lines, *bars))) <= max(width, NARROWEST)
    assert len({len(line) for line in bars}) == 1
    assert len(lines) == 10
