"""The evaluation on recorded lives: a made-up life whose right figures are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import deferpower

ROOT = Path(__file__).parent.parent
PACKAGES = Path(deferpower.__file__).parents[1]
START_S = 1_700_438_400  # a Monday, 0:00 UTC


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Sixteen days: on the charger and idle from 1 to 6 h, else in use on battery."""
    lines = ["device_id,timestamp_utc,local_utc_offset,battery_percent,plugged,active"]
    for slot in range(16 * 288):
        is_night = 1 <= slot // 12 % 24 < 6
        lines.append(f"clockwork,{START_S + slot * 300},0,,{is_night:d},{0 if is_night else 1}")
    (tmp_path / "trace.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_device_that_lives_by_the_clock(traces: Path, backend_name: str) -> None:
    command = [sys.executable, "-m", "benches.predict.evaluate", str(traces)]
    shown = subprocess.run(
        [*command, "--backend", backend_name],
        cwd=ROOT,
        env={"PYTHONPATH": f"{PACKAGES}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    rows = [line.split() for line in shown.splitlines() if line.startswith("clockwork")]
    jobs, battery, *skills = rows
    # Of 192 hours 40 are good at once; 03:00 always is, and nothing else is needed.
    assert jobs[1:] == ["192", "1.000", "0.208", "1.000", "1.000", "1.000", "1.000"]
    assert battery[2] == "0.000"
    for skill in skills:
        assert float(skill[2]) > 0.8
