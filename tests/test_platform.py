"""docs/PLATFORM.md lists every touch of the environment, and nothing that is none."""

from __future__ import annotations

import ast
import glob
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import deferpower

ROOT = Path(__file__).parent.parent
PACKAGE = Path(deferpower.__file__).parent
PAGE = (ROOT / "docs" / "PLATFORM.md").read_text()
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
TREES |= {path: ast.parse(path.read_text()) for path in (ROOT / "build_backend").glob("*.py")}


def rows(title: str) -> list[list[str]]:
    """The rows of the tables under a heading of the page, below their heads."""
    part = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    assert len(found) > 2, title
    return [[cell.strip() for cell in row] for row in found[2:]]


def names(title: str) -> set[str]:
    """What stands in backticks in the first column."""
    return {name for row in rows(title) for name in re.findall(r"`([^`]+)`", row[0])}


def constants(tree: ast.Module) -> dict[str, str]:
    """Texts that a module names."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def variables() -> set[str]:
    """Environment variables that the package reads or sets by name."""
    known: dict[str, str] = {}
    for tree in TREES.values():
        known |= constants(tree)
    found = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            asked: ast.expr | None = None
            if isinstance(node, ast.Subscript):
                whole, asked = ast.unparse(node.value), node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                whole, asked = ast.unparse(node.func.value), node.args[0]
            if asked is None or not re.search(r"\b_?env(iron(ment)?)?$", whole):
                continue
            if isinstance(asked, ast.Constant):
                found.add(str(asked.value))
            elif isinstance(asked, ast.Name) and asked.id in known:
                found.add(known[asked.id])
    return found


# Read by libraries at the package's asking: expanduser, get_terminal_size, posix_spawn, localtime;
# and those that submit keeps.
FOR_US = {"HOME", "COLUMNS", "LINES", "PATH", "TZ", "LANG", "LC_*"}


def test_environment_variables_are_listed() -> None:
    found = variables()
    assert {"DEFERPOWER_BACKEND", "DEFERPOWER_RUN_ID", "NOTIFY_SOCKET"} <= found
    assert names("Environment variables") == found | FOR_US
    submit = (PACKAGE / "cli" / "submit.py").read_text()
    assert '("PATH", "HOME", "LANG") or name.startswith("LC_")' in submit


def test_rust_reads_no_environment() -> None:
    reading = [
        p for p in (ROOT / "rust").rglob("*.rs") if re.search(r"env::var|getenv", p.read_text())
    ]
    assert not reading, "the program's settings are Python's to read"


def test_names_on_the_message_buses_are_listed() -> None:
    found = set()
    for path in (PACKAGE / "desktop").glob("*.py"):
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"^(?:org|net)\.[\w.]*\w$", node.value))
    assert names("Message buses") == found


def test_signals_are_listed() -> None:
    found = {
        node.attr
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.fullmatch(r"SIG[A-Z0-9]+", node.attr)
        and ast.unparse(node.value) == "signal"
        and not node.attr.startswith("SIG_")
    }
    part = PAGE.partition("\n## Signals\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(SIG\w+)`", part)) == found


def test_threads_are_listed_by_their_names() -> None:
    found = set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if called.endswith("Thread"):
                named = {keyword.arg for keyword in node.keywords}
                assert "name" in named, f"{path}:{node.lineno}: a thread without a name"
            if called.endswith(("Thread", "super().__init__")):  # or a quiet thread's subclass
                texts = [str(text.value) for text in given if isinstance(text, ast.Constant)]
                found |= {text for text in texts if re.fullmatch("deferpower-[a-z]+", text)}
    assert names("Threads") == found


def test_processes_are_started_in_one_room() -> None:
    starting = {
        path.relative_to(PACKAGE).as_posix()
        for path, tree in TREES.items()
        if path.is_relative_to(PACKAGE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and re.fullmatch(
            r"(subprocess\.\w+|os\.(fork|system|popen|(posix_)?spawn\w*|exec\w*))",
            ast.unparse(node.func),
        )
    }
    assert starting == {"command.py"}, "docs/PLATFORM.md, Child processes"


def expanded(pattern: str) -> Iterator[str]:
    """A pattern of the page, its braces taken apart."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


PROGRAM = """
import sys
from pathlib import Path
from deferpower import BackgroundSyncManager, BackgroundTaskManager, Device, Policy

queue = Path(sys.argv[1], "queue.db")
device = Device()
device.read(max_age_s=0)
device.sources()
Policy.load()
tasks = BackgroundTaskManager(queue, device=device)
function = tasks.task(abs, override="execute_now")
with tasks:
    assert function.defer(-1).result(30) == 1
    command = tasks.submit_command([sys.executable, "-c", "print(1)"], override="execute_now")
    command.result(30)
    assert tasks.logs(command.id) == b"1\\n"
tasks.close()
sync = BackgroundSyncManager(len, queue)
sync.queue_for_sync(b"x" * 3_000_000)
assert [done.status for done in sync.process_sync_queue(90, True)] == ["synced"]
sync.close()
"""

LIBRARIES = (
    *(sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("stdlib")),
    *("/lib", "/usr", "/etc/ld.so", "/etc/ssl", "/dev/null", "/dev/urandom"),
    *("/sys/devices/system/cpu",),  # glibc and psutil count processors
)


@pytest.fixture
def strace() -> str:
    found = shutil.which("strace") or ""
    if not found:
        missing = "strace tells what is opened: install it (apt-get install strace)"
        # `make test` promises to need no more than Python, cargo and a C compiler.
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    return place


def traced(
    strace: str, backend_name: str, home: Path, calls: str, program: list[str], **env: str
) -> list[str]:
    """The calls of a program and of the processes that it starts, less those that failed."""
    trace = home.parent / "trace"
    subprocess.run(
        [strace, "-f", "-qq", "-y", "-s", "4096", "-e", f"trace={calls}", "-o", trace, *program],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(PACKAGE.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DEFERPOWER_BACKEND": backend_name,
            **env,
        },
        cwd=home,
        check=True,
        timeout=100,
        stdout=subprocess.DEVNULL,
    )
    lines = (line.split(None, 1)[1] for line in trace.read_text(errors="replace").splitlines())
    return [line for line in lines if " = -1 " not in line]


def opened(calls: list[str], home: Path) -> set[str]:
    """Whole paths of files that were opened, listed or made, less what libraries look for."""
    found = set()
    for call in calls:
        asked = re.match(r'\w+\((?:[^"<]*<([^>]*)>, )?"([^"]+)"', call)
        if asked is not None:
            path = os.path.normpath(os.path.join(asked[1] or home, asked[2]))  # noqa: PTH118
            is_code = path.endswith((".py", ".pyc", ".so", "/pyvenv.cfg")) or Path(path).is_dir()
            is_code = is_code and not path.startswith((str(home), "/sys", "/proc"))
            if not is_code and not path.startswith(LIBRARIES):
                found.add(path)
    return found


def strangers(paths: set[str], root: str, **places: str) -> set[str]:
    """Paths of which the page says nothing.

    Args:
        paths: whole paths; the kernel tells those below a link by where it leads.
        root: whose ``proc`` and ``sys`` are meant.
        places: what stands for the words that the page's paths begin with.
    """
    known, texts = set(), []
    for title in ("Files read", "Files written"):
        for name in (text for pattern in names(title) for text in expanded(pattern)):
            pattern = name
            for word, place in places.items():
                pattern = re.sub(rf"^{word}", place, pattern)
            texts.append(re.escape(pattern).replace("PID", r"\d+").replace(r"\*", "[^/]+"))
            if pattern.startswith("/"):
                known |= set(map(os.path.realpath, glob.glob(f"{root}{pattern}")))  # noqa: PTH207
    is_listed = re.compile("|".join(texts)).fullmatch
    return {
        path
        for path in paths
        if not is_listed(path.removeprefix(root)) and os.path.realpath(path) not in known
    }


def test_files_are_listed(strace: str, backend_name: str, home: Path) -> None:
    (home / ".config" / "deferpower").mkdir(parents=True)
    (home / ".config" / "deferpower" / "deferpower.toml").touch()
    program = [sys.executable, "-c", PROGRAM, str(home)]
    calls = traced(strace, backend_name, home, "open,openat,mkdir,mkdirat,statfs", program)
    paths = opened(calls, home) - {str(home)}  # SQLite flushes the queue's directory
    queue = str(home / "queue.db")
    seen = {queue, f"{queue}-wal", f"{queue}-payloads", "/proc/stat", "/proc/meminfo"}
    assert paths >= {*seen, str(home / ".config/deferpower/deferpower.toml")}
    assert strangers(paths, "", QUEUE=queue, **{"~": str(home)}) == set()


@pytest.mark.parametrize("machine", ["laptop-phone-on-port", "laptop-with-mouse-keyboard-headset"])
def test_files_of_a_laptop_are_listed(
    strace: str, backend_name: str, home: Path, machine: str
) -> None:
    root = str(ROOT / "tests" / "data" / "linux" / machine)
    program = [sys.executable, "-m", "deferpower", "status", "--json"]
    calls = traced(strace, backend_name, home, "open,openat", program, DEFERPOWER_ROOT=root)
    paths = {path for path in opened(calls, home) if path.startswith(root)}
    assert any(path.endswith("/status") for path in paths)
    assert strangers(paths, root) == set()


def test_nothing_is_written_without_a_queue(strace: str, backend_name: str, home: Path) -> None:
    code = """if True:
        from deferpower import Constraints, Device, IntelligentScheduler, Policy, Task
        policy = Policy.load()
        scheduler = policy.scheduler(policy.device())
        scheduler.schedule_task(Task(description="reindex", constraints=Constraints(idle=True)))
    """
    calls = traced(strace, backend_name, home, "%file", [sys.executable, "-c", code])
    assert any("/proc/stat" in call for call in calls)
    changing = re.compile(r"O_(WRONLY|RDWR|CREAT)|^(mkdir|unlink|rename|chmod|link|symlink)")
    writing = [call for call in calls if changing.search(call) and "/dev/null" not in call]
    assert writing == []
    assert list(home.iterdir()) == []


TICKS = """
import sys
from pathlib import Path
from deferpower import BackgroundSyncManager, BackgroundTaskManager, Constraints

tasks = BackgroundTaskManager(sys.argv[1])
tasks.task(abs, name="parked", constraints=Constraints(charging=True)).defer(-1)
later = tasks.task(abs, name="later", override="execute_now")
with tasks:
    tasks.submit_command(["true"], override="execute_now").result(30)
    assert tasks.submit(later, [-2], delay_s=0.3).result(30) == 2
sync = BackgroundSyncManager(len, sys.argv[1])
sync.queue_for_sync(b"x" * 3_000_000)
"""


def test_system_calls_that_matter_are_made_and_listed(
    strace: str, backend_name: str, home: Path
) -> None:
    wanted = {}
    for row in rows("System calls"):
        for name in re.findall(r"`([^`]+)`", row[0]):
            if backend_name == "native" or "(native" not in row[1]:
                wanted[name] = re.compile(
                    r"socket\(AF_NETLINK, \S+, NETLINK_KOBJECT_UEVENT"
                    if name.startswith("socket(")
                    else r"prctl\(PR_SET_TIMERSLACK"
                    if name.startswith("prctl(")
                    else rf"{name}\("
                )
    looked_for = ",".join({name.partition("(")[0] for name in wanted} | {"socket"})
    ticks = [sys.executable, "-c", TICKS, str(home / "queue.db")]
    laptop = str(ROOT / "tests" / "data" / "linux" / "laptop-on-battery")
    calls = traced(strace, backend_name, home, looked_for, ticks, DEFERPOWER_ROOT=laptop)
    here = [sys.executable, "-m", "deferpower", "status"]
    calls += traced(strace, backend_name, home, looked_for, here)
    unmade = [name for name, made in wanted.items() if not any(map(made.match, calls))]
    assert unmade == []
    families = {call.partition("(")[2].partition(",")[0] for call in calls if "socket(" in call}
    assert families <= {"AF_NETLINK", "AF_UNIX"}, "no network of its own"


def test_no_file_is_listed_that_nobody_names() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "rust").rglob("*.rs")]
    text = "\n".join(path.read_text() for path in sources)
    libraries = {"localtime", "QUEUE-wal", "QUEUE-shm", "QUEUE-journal"}  # libc's and SQLite's
    for name in names("Files read") | names("Files written"):
        for path in expanded(name):
            last = [part for part in path.split("/") if part not in ("", "*", "PID", "~")][-1:]
            last = [part for part in last if part not in libraries and not part.startswith("QUEUE")]
            assert all(part in text for part in last), path
