"""Workers and submitters killed at random moments: the short form of ``benches/crash``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CAMPAIGN = "benches.crash.campaign"
PATIENCE_S = 100.0


def test_killed_workers_lose_no_task(backend_name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", CAMPAIGN, "--kills", "40", "--seed", "1", "--limit-s", "60"],
        cwd=ROOT,
        env={**os.environ, "DEFERPOWER_BACKEND": backend_name},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    killed = re.findall(r"workers killed +(\d+)", done.stdout)
    assert sum(map(int, killed)) >= 40
    assert re.findall(r"violations +(\d+)", done.stdout) == ["0", "0"]
