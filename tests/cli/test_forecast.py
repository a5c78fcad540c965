"""``deferpower forecast`` and ``deferpower history``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferpower.cli import main
from deferpower.traces import SLOT_S, Slot, read_trace, write_trace

DAY_S = 86_400


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory and a queue of this test's own; hours of the clock are those of UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEFERPOWER_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "80")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def nights() -> str:
    """Two weeks until now: charging and idle from 0 to 8 o'clock, else in use on battery."""
    end_s = int(time.time()) // SLOT_S * SLOT_S
    slots = [
        Slot("laptop", at_s, 0, 50.0, at_s % DAY_S < 28_800, float(at_s % DAY_S >= 28_800))
        for at_s in range(end_s - 14 * DAY_S, end_s, SLOT_S)
    ]
    with Path("nights.csv").open("w") as file:
        write_trace(slots, file)
    return "nights.csv"


def test_what_was_imported_is_forecast(nights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "import", nights]) == 0
    assert capsys.readouterr().out == f"{14 * 288} lines imported\n"
    assert main(["forecast", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["hours"]) == 24
    for hour in told["hours"][3:]:
        is_night = hour["start_s"] % DAY_S < 28_800
        assert (hour["p_good"] > 0.9) is is_night
        assert (hour["p_good"] < 0.1) is not is_night
    assert [len(day) for day in told["week"]["used"]] == [24] * 7
    assert told["week"]["charging"][2][3] > 0.9
    assert told["week"]["used"][2][3] < 0.1


def test_the_map_and_the_hours(nights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "import", nights]) == 0
    capsys.readouterr()
    assert main(["forecast", "--hours", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("probably")] == [
        "probably used",
        "probably charging",
        "probably idle and charging",
    ]
    # Two days on, where the present state has no say: dark for the night, light for the day.
    day = time.strftime("%a", time.gmtime(time.time() + 2 * DAY_S))
    charging = lines[lines.index("probably charging") :]
    row = next(line for line in charging if line.startswith(day))
    assert row == f"{day} {'█' * 24}"
    assert len([line for line in lines if line.endswith(" %")]) == 30


def test_nothing_is_said_of_a_device_that_was_not_observed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["submit", "--", "true"]) == 0
    capsys.readouterr()
    assert main(["forecast"]) == 0
    assert capsys.readouterr().out.startswith("nothing can be said yet: of the 24 observed hours")


def test_a_picture(nights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "import", nights]) == 0
    assert main(["forecast", "--plot", "week.png"]) == 0
    assert Path("week.png").read_bytes().startswith(b"\x89PNG")
    assert main(["forecast", "--plot", "week.txt"]) == 2
    assert "--plot: 'week.txt' is no picture" in capsys.readouterr().err


def test_what_is_exported_is_what_was_imported(
    nights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "import", nights]) == 0
    assert main(["history", "export", "out.csv"]) == 0
    expected = [slot._replace(device_id="") for slot in read_trace(nights)]
    assert list(read_trace("out.csv")) == expected
    capsys.readouterr()
    assert main(["history", "export"]) == 0
    assert capsys.readouterr().out == Path("out.csv").read_text()
    assert main(["history", "import", nights, "--queue", "other.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lines": 14 * 288, "imported": 14 * 288}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["history"], "history: what of it? write deferpower history import or export"),
        (["history", "show"], "history: 'show' is no action; write deferpower history import or"),
        (["history", "import"], "history import needs a file"),
        (["history", "import", "absent.csv"], "cannot read 'absent.csv'"),
        (["history", "import", "bad.csv"], "bad.csv: line 2: active: '7' is no number from 0 to 1"),
        (["history", "export", "absent/out.csv"], "cannot write 'absent/out.csv'"),
        (["history", "export", "--device", "x"], "--device: export has but one device"),
        (["forecast", "--hours", "169"], "--hours: 169 is too many; 168 is the most"),
    ],
)
def test_what_cannot_be(
    words: list[str], complaint: str, nights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "import", nights]) == 0
    Path("bad.csv").write_text("timestamp_utc,active\n300,7\n")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1
