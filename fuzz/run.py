"""Run the fuzz targets one after the other, each for a while; print what they have done.

    python fuzz/run.py [--seconds 60] [TARGET ...]

Needs cargo-fuzz (``cargo install cargo-fuzz``) and a C++ compiler; any toolchain will do. What a
target finds it leaves in ``fuzz/artifacts``; exit status 1 says so.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import seeds

HERE = Path(__file__).parent
# The crate denies unsafe code, so no sanitizer is needed, and with it no nightly toolchain.
OPTIONS = ["--sanitizer", "none"]
LIMITS = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1"]
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """Build, run, report; 1 if anything was found."""
    targets = [binary["name"] for binary in tomllib.loads(_manifest())["bin"]]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(targets)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    asked = parser.parse_args()
    unknown = sorted({*asked.targets} - {*targets})
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(targets)}")
    if shutil.which("cargo-fuzz") is None:
        print("cargo-fuzz is missing; get it with: cargo install cargo-fuzz", file=sys.stderr)
        return 2
    print(f"{seeds.plant(HERE / 'corpus')} first inputs from the recorded device trees")
    subprocess.run(["cargo", "fuzz", "build", *OPTIONS], cwd=HERE, check=True)
    print(f"{'target':14}{'executions':>14}{'per second':>12}{'edges':>8}  found")
    found = [target for target in asked.targets or targets if not _run(target, asked.seconds)]
    return 1 if found else 0


def _manifest() -> str:
    return (HERE / "Cargo.toml").read_text()


def _run(target: str, seconds: int) -> bool:
    """Whether a target ran its time without finding anything."""
    command = ["cargo", "fuzz", "run", *OPTIONS, target, "--"]
    done = subprocess.run(
        [*command, f"-max_total_time={seconds}", *LIMITS],
        cwd=HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    executed = int((_EXECUTED.findall(done.stderr) or ["0"])[-1])
    covered = (_COVERED.findall(done.stderr) or ["?"])[-1]
    found = "nothing" if done.returncode == 0 else "see below"
    print(f"{target:14}{executed:14,}{executed // seconds:12,}{covered:>8}  {found}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
