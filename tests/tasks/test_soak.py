"""All that goes wrong at once, for seconds: the short form of ``benches/soak``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 110.0


def test_a_short_soak_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches.soak.soak", "--minutes", "0.1", "--seed", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    figures = {
        name: int(figure)
        for name, figure in re.findall(r"^  (\S.*?) +(\d+)$", done.stdout, re.MULTILINE)
    }
    assert figures["violations"] == 0
    assert figures["tasks promised"] > 10
    assert sum(count for name, count in figures.items() if name.startswith("killed")) > 1
