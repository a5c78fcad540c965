"""The floors of the house: what may import what, and who may know which backend runs."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import deferpower
import deferpower.sync

ROOT = Path(__file__).parent.parent
PACKAGE = Path(deferpower.__file__).parent

# Top to bottom, as ARCHITECTURE.md has them. A room is a module or a package right under
# deferpower; FACE is what "from deferpower import ..." gives. A room imports rooms of its own
# floor (never in a circle) and of floors below.
FACE = ""
FLOORS = (
    ("__main__", "cli"),
    (FACE,),
    ("testing",),
    ("sync", "tasks"),
    ("_guard", "command"),
    ("policy", "simulation"),
    ("planning",),
    ("classifier", "deciding", "predictor", "processing", "reasons", "resources", "scheduler"),
    ("constraints", "localtime", "quiet", "starting", "task", "thresholds", "uncut"),
    ("store",),
    ("device", "life", "traces"),
    ("_backend", "desktop"),
    ("_native", "_pure"),
    ("_contract", "_facts", "errors", "types"),
)
HEIGHT = {room: -number for number, floor in enumerate(FLOORS) for room in floor}

# What costs milliseconds or memory to import, and is not needed to say "import deferpower".
HEAVY = {
    "apsw",
    "argparse",
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "dataclasses",
    "email",
    "http",
    "httpx2",
    "importlib.metadata",
    "inspect",
    "jeepney",
    "json",
    "logging",
    "matplotlib",
    "multiprocessing",
    "obstore",
    "psutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib",
}


def parse_package() -> dict[str, ast.Module]:
    """The tree of every module, by its dotted name."""
    trees = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(), str(path))
    assert len(trees) > 5, f"where has the package gone? {PACKAGE}"
    return trees


TREES = parse_package()
MODULES = {*TREES, "deferpower._native"}


def imports(name: str) -> set[str]:
    """The modules of deferpower that a module imports, wherever in its text it does so."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: write imports in full, not relative"
            source = node.module or ""
            dotted = {f"{source}.{alias.name}" for alias in node.names}
            found |= {module if module in MODULES else source for module in dotted}
    return {module for module in found if module.split(".")[0] == "deferpower"}


def room(module: str) -> str:
    """``scheduler`` of ``deferpower.scheduler``, FACE of ``deferpower`` itself."""
    return module.split(".")[1] if "." in module else FACE


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string of a module that is not a bare one, as docstrings are."""
    bare = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in bare:
            yield node


def test_every_module_has_a_floor() -> None:
    homeless = {room(module) for module in TREES} - HEIGHT.keys()
    assert not homeless, (
        f"{sorted(homeless)}: on no floor; add to FLOORS in tests/test_architecture.py "
        "and to the floors in ARCHITECTURE.md"
    )


def test_imports_point_down() -> None:
    breaches = [
        f"{module} imports {target}"
        for module in TREES
        if room(module) in HEIGHT
        for target in sorted(imports(module))
        if room(target) in HEIGHT and HEIGHT[room(target)] > HEIGHT[room(module)]
    ]
    assert not breaches, "an arrow points up; see FLOORS in tests/test_architecture.py"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: imports(module) for module in TREES}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_only_the_chooser_knows_the_backends() -> None:
    named = re.compile(r"(deferpower\.)?_(native|pure)(\..*)?")
    knowing = set()
    for module, tree in TREES.items():
        if any(room(target) in ("_native", "_pure") for target in imports(module)):
            knowing.add(module)
        if any(named.fullmatch(text.value) for text in texts(tree) if isinstance(text.value, str)):
            knowing.add(module)
    strangers = {module for module in knowing if room(module) not in ("_backend", "_pure")}
    assert not strangers, "a backend is named outside deferpower._backend"
    assert "deferpower._backend" in knowing


def test_nobody_asks_which_backend_runs() -> None:
    asking = []
    for module, tree in TREES.items():
        if room(module) == "_backend":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare | ast.MatchValue):
                inner = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                if inner & {"native", "pure"}:
                    asking.append(f"{module}:{node.lineno}")
    assert not asking, "what differs between the backends belongs behind the contract"


def test_importing_deferpower_is_light() -> None:
    code = "import sys; before = {*sys.modules}; import deferpower; print(*{*sys.modules} - before)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "deferpower" in loaded
    assert not HEAVY.intersection(loaded)
    assert {name for name in loaded if name.startswith("deferpower.")} == set()


def test_deferring_plain_functions_is_light() -> None:
    """What only some programs use is not loaded for the others, not even while tasks run."""
    code = (
        "import sys\n"
        "from deferpower import BackgroundTaskManager\n"
        "tasks = BackgroundTaskManager()\n"
        "with tasks: tasks.task(abs, override='execute_now').defer(-1).result(30)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "deferpower.tasks.runner" in loaded
    unused = {"asyncio", "concurrent.futures", "multiprocessing", "subprocess", "tomllib"}
    assert not unused.intersection(loaded)


def test_only_the_room_py_names_pyo3() -> None:
    rust = ROOT / "rust"
    naming = {
        path.relative_to(rust).parts[0].removesuffix(".rs")
        for path in rust.rglob("*.rs")
        if re.search(r"^(?!\s*//).*pyo3", path.read_text(), re.MULTILINE)
    }
    assert naming == {"py"}


@pytest.mark.parametrize("face", [deferpower, deferpower.sync], ids=lambda face: face.__name__)
def test_type_checkers_are_told_of_each_lazy_name(face: ModuleType) -> None:
    """A face lists its names twice: for loading, and for type checkers."""
    tree = TREES[face.__name__]
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deferpower.")
        for alias in node.names
    }
    homes: dict[str, str] = face._HOMES
    assert told == {name: f"{face.__name__}.{home}" for name, home in homes.items()}
