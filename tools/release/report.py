"""Prints what each wheel weighs, and what importing it costs.

    python -m tools.release.report [dist]

Times are the least of many rounds in which the bare interpreter takes its turn too: what else the
machine does only adds to them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.release.environment import Environment

ROUNDS = 31
BARE = ("-c", "pass")
PROGRAMS = {
    "import deferpower": ("-c", "import deferpower"),
    "Device().read()": ("-c", "import deferpower; deferpower.Device().read()"),
    "deferpower --help": ("-m", "deferpower", "--help"),
}
SIZES = """
import importlib.metadata, json
def size(distribution):
    files = [f for f in distribution.files if f.suffix != ".pyc" and ".." not in f.parts]
    return sum(f.locate().stat().st_size for f in files)
installed = {d.name: size(d) for d in importlib.metadata.distributions()}
print(json.dumps([installed["deferpower"], sum(installed.values())]))
"""


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    print(f"{'':20}{'file':>10}{'installed':>11}{'with what it needs':>20}", end="")
    print("".join(f"{name:>20}" for name in PROGRAMS))
    (sdist,) = folder.glob("*.tar.gz")
    print(f"{'source distribution':20}{kib(sdist.stat().st_size):>10}")
    for name, pattern in (("pure wheel", "*-none-any.whl"), ("native wheel", "*-abi3-*.whl")):
        (wheel,) = folder.glob(pattern)
        with tempfile.TemporaryDirectory() as scratch:
            environment = Environment(Path(scratch))
            environment.install(str(wheel))
            own, whole = json.loads(environment.output("python", "-c", SIZES))
            times = "".join(f"{1000 * t:17.1f} ms" for t in above_bare_s(environment))
        print(f"{name:20}{kib(wheel.stat().st_size):>10}{kib(own):>11}{kib(whole):>20}{times}")
    print("times: more than the bare interpreter takes, the least of", ROUNDS)


def kib(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1024:,.0f} KiB"


def above_bare_s(environment: Environment) -> list[float]:
    """Seconds that each of the programs takes more than the bare interpreter."""
    rounds = [
        [seconds(environment, arguments) for arguments in (BARE, *PROGRAMS.values())]
        for _ in range(ROUNDS)
    ]
    bare, *times = (min(column) for column in zip(*rounds, strict=True))
    return [time_s - bare for time_s in times]


def seconds(environment: Environment, arguments: tuple[str, ...]) -> float:
    """Seconds that a run of the environment's interpreter takes."""
    before_s = time.perf_counter()
    subprocess.run(
        [environment.bin / "python", *arguments],
        env=environment.variables(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - before_s


if __name__ == "__main__":
    main()
