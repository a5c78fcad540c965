"""What is counted rather than timed: system calls of a sample, and modules that an import pulls in.

The calls are those that strace saw in a process with N samples, taken from those in one with 2N,
so that starting up cancels out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import deferpower
from conftest import BACKENDS, TreeCopier

pytestmark = pytest.mark.skipif(
    "native" not in BACKENDS, reason="an install without cargo has no native backend to count"
)

SAMPLES = 20
LAPTOP = "laptop-on-battery"
SUPPLIES = "/sys/class/power_supply"
MOUNT = f'mount --bind "$0" {SUPPLIES} && exec "$@"'

PROGRAM = """
import json, os, stat, sys
from deferpower import Device

def held():
    files = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            pass
    return files

root, max_age_s, samples, *storage_paths = sys.argv[1:]
before = held()
device = Device(root=root, backend="native", storage_paths=storage_paths)
device.read(max_age_s=0)
for _ in range(int(samples)):
    device.read(max_age_s=float(max_age_s))
files = held()
for path in before:
    files.remove(path)
json.dump(files, sys.stdout)
"""
AFRESH = "0"
POWER_CACHED = "1e-9"
"""No reading is ever that young, so load is read anew, and power comes from the reading before."""

# The clock is read without a system call where the machine's clock source allows it, and memory
# is the interpreter's affair.
NOT_COUNTED = {"clock_gettime", "gettimeofday", "brk", "mmap", "munmap", "mremap", "madvise"}


class Cost(NamedTuple):
    """System calls of one sample by name, and the files that the device holds open."""

    calls: dict[str, int]
    files: list[str]

    def load_files(self) -> list[str]:
        """Those of processor, memory, pressure, disk and network."""
        return [path for path in self.files if "/power_supply/" not in path]


def traced(
    directory: Path, samples: int, arguments: Sequence[str], prefix: Sequence[str]
) -> tuple[Counter[str], list[str]]:
    root, max_age_s, *storage_paths = arguments
    trace = directory / f"trace-{samples}"
    program = [sys.executable, "-c", PROGRAM, root, max_age_s, str(samples), *storage_paths]
    packages = str(Path(deferpower.__file__).parents[1])
    done = subprocess.run(
        [*prefix, "strace", "-f", "-qq", "-o", str(trace), *program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": packages},
        check=True,
    )
    # "PID name(arguments) = result"; a line that goes on with an interrupted call is no call.
    calls = (line.split(None, 1)[1] for line in trace.read_text(errors="replace").splitlines())
    return Counter(call.partition("(")[0] for call in calls if call[0].isalpha()), json.loads(
        done.stdout
    )


def cost_of_a_sample(
    directory: Path, root: str, max_age_s: str, *storage_paths: str, prefix: Sequence[str] = ()
) -> Cost:
    if shutil.which("strace") is None:
        missing = "strace counts the system calls: install it (apt-get install strace)"
        # `make test` promises to need no more than Python, cargo and a C compiler.
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    arguments = [root, max_age_s, *storage_paths]
    once, files = traced(directory, SAMPLES, arguments, prefix)
    twice, _ = traced(directory, 2 * SAMPLES, arguments, prefix)
    more = {name: twice[name] - once[name] for name in twice if name not in NOT_COUNTED}
    assert not any(count % SAMPLES for count in more.values()), f"not alike in each sample: {more}"
    return Cost({name: count // SAMPLES for name, count in more.items() if count}, files)


@pytest.fixture
def battery_at_root() -> list[str]:
    """What to put before a command for the laptop's battery to stand at ``/`` itself.

    Empty where this user may not mount: then ``/`` has whatever batteries this machine has.
    """
    supplies = str(Path(__file__).parent / "data" / "linux" / LAPTOP / SUPPLIES.lstrip("/"))
    if shutil.which("unshare") is None:
        return []
    for flags in (["-m"], ["-r", "-m"]):
        prefix = ["unshare", *flags, "sh", "-c", MOUNT, supplies]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return []


def test_a_sample_reads_each_held_file_of_load_once(
    tmp_path: Path, battery_at_root: list[str]
) -> None:
    cost = cost_of_a_sample(tmp_path, "/", POWER_CACHED, "/", prefix=battery_at_root)
    assert len(cost.load_files()) >= 4
    # The processor time of this process, and of its children.
    assert cost.calls == {"pread64": len(cost.load_files()), "getrusage": 2}


def test_a_sample_with_power_afresh_reads_each_held_file_once(
    tmp_path: Path, battery_at_root: list[str]
) -> None:
    cost = cost_of_a_sample(tmp_path, "/", AFRESH, "/", prefix=battery_at_root)
    if battery_at_root:
        assert {Path(path).name for path in cost.files} >= {"energy_now", "status", "online"}
    calls = dict(cost.calls)
    assert calls.pop("pread64") == len(cost.files)
    assert calls.pop("statfs") == 1
    # Supplies come and go: their one directory is listed, from its start to its end.
    assert calls.pop("lseek") == 1
    assert calls.pop("getdents64") <= 2
    assert calls == {"getrusage": 2}


def test_below_another_root_each_file_is_also_looked_up_once(
    tmp_path: Path, tree: TreeCopier
) -> None:
    cost = cost_of_a_sample(tmp_path, str(tree(LAPTOP)), POWER_CACHED)
    files = len(cost.load_files())
    assert files == 5
    assert cost.calls == {"pread64": files, "newfstatat": files}


def test_below_another_root_power_afresh_reads_each_held_file_once(
    tmp_path: Path, tree: TreeCopier
) -> None:
    cost = cost_of_a_sample(tmp_path, str(tree(LAPTOP)), AFRESH)
    assert len(cost.files) > len(cost.load_files())
    assert cost.calls["pread64"] == len(cost.files)


HEAVY = {
    "argparse",
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "datetime",
    "decimal",
    "email",
    "inspect",
    "json",
    "logging",
    "multiprocessing",
    "pathlib",
    "psutil",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "unittest",
    "zoneinfo",
}


def imported_by(statement: str) -> set[str]:
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*(set(sys.modules) - before), sep='\\n')"
    )
    packages = str(Path(deferpower.__file__).parents[1])
    # Without site, whose own imports depend on what else is installed.
    command = [sys.executable, "-S", "-c", program]
    environment = {**os.environ, "PYTHONPATH": packages}
    return set(subprocess.check_output(command, env=environment, text=True).split())


def test_import_pulls_in_nothing_heavy() -> None:
    assert not imported_by("import deferpower") & HEAVY


def test_a_native_device_pulls_in_neither_psutil_nor_anything_else_heavy() -> None:
    seen = imported_by("from deferpower import Device; Device(backend='native').read(max_age_s=0)")
    assert "deferpower._native" in seen
    assert not seen & HEAVY
    assert not {name for name in seen if name.startswith("deferpower._pure")}
