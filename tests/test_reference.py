"""docs/reference is what the docstrings say, and the docstrings say everything."""

from __future__ import annotations

import re
from pathlib import Path

import griffe
import pytest
from tools.reference import api, complaints, markdown
from tools.reference.__main__ import FOLDER, stale
from tools.reference.pages import PAGES

from deferpower import types
from deferpower._contract import CONSTRAINTS

PUBLIC = api.public()


def test_the_pages_are_what_the_docstrings_say() -> None:
    assert not stale(), "run make reference, and commit what it writes"


def test_no_public_docstring_lacks_a_part() -> None:
    lacking = list(complaints.complaints())
    assert not lacking, "\n" + "\n".join(lacking)


@pytest.mark.parametrize("dotted", sorted(PUBLIC))
def test_every_public_name_stands_on_a_page(dotted: str) -> None:
    """With its signature, its arguments, result and errors, and those of its methods."""
    home = next(p for p in PAGES if any(PUBLIC[n] is PUBLIC[dotted] for n in p.names))
    module, _, name = dotted.rpartition(".")
    page = (FOLDER / f"{home.file}.md").read_text()
    part = re.split(r"^## ", page.partition(f"\n## {name}\n")[2], flags=re.MULTILINE)[0]
    assert f"`from {module} import {name}`" in part
    obj = PUBLIC[dotted]
    calls = api.members(obj) if isinstance(obj, griffe.Class) else []
    for heading in (f"\n### {name}.{call.name}\n" for call in calls):
        assert heading in part
    for call in (obj, *calls):
        if isinstance(call, griffe.Function):
            assert re.search(rf"^(async )?def {call.name}\(", part, re.MULTILINE)
        for raised, _ in api.doc(call).raises:
            assert raised.split(", ")[0] in part
        if isinstance(call, griffe.Class | griffe.Function):
            for argument in api.arguments(call) or ():
                assert f"- `{argument.name}`" in part or not argument.text
                assert re.search(rf"\b{argument.plain_name}\b", part)


def test_every_link_leads_to_a_heading() -> None:
    pages = markdown.pages()
    for name, text in pages.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            if file.startswith(".."):
                assert (FOLDER / file).resolve().exists()
                continue
            headings = re.findall(r"^#+ (.*)$", pages[file or name], re.MULTILINE)
            anchors = {re.sub(r"[^\w-]", "", heading.lower()) for heading in headings}
            assert not anchor or anchor in anchors, f"{name}: {target}"


WELL = '''
    """The level.

    Args:
        wanted: which level, 0-100.

    Returns:
        The level in percent.

    Raises:
        ValueError: there is none.
    """
'''


@pytest.mark.parametrize(
    ("signature", "old", "new", "complaint"),
    [
        ("wanted: float", "", "", ""),
        ("wanted: float", "        wanted: which level, 0-100.\n", "", "wanted is not in Args"),
        ("wanted: float, more: str", "", "", "more is not in Args"),
        ("", "", "", "Args tells of wanted, which is not there"),
        (
            "wanted: float",
            "which level, 0-100",
            "which one",
            "neither name nor text tells its unit",
        ),
        ("wanted: float", "ValueError: there", "KeyError: there", "raises ValueError"),
        ("wanted: float", "The level.\n", "Fetch it.\n", ""),
        ("wanted: float", WELL.strip(), "pass", "no docstring"),
    ],
)
def test_what_a_docstring_lacks_is_seen(
    tmp_path: Path, signature: str, old: str, new: str, complaint: str
) -> None:
    source = f"def level({signature}) -> float:{WELL.replace(old, new) if old else WELL}"
    source += "\n    raise ValueError('none')\n"
    (tmp_path / "made.py").write_text(source)
    function = griffe.load("made", search_paths=[tmp_path])["level"]
    told = list(complaints.of_call("level", function))
    assert any(complaint in line for line in told) if complaint else told == []


def test_a_verb_needs_returns(tmp_path: Path) -> None:
    (tmp_path / "verb.py").write_text('def go() -> int:\n    """Fetch it."""\n    return 1\n')
    function = griffe.load("verb", search_paths=[tmp_path])["go"]
    told = list(complaints.of_call("go", function))
    assert told == ["go(): neither its first line nor Returns says what one gets"]


def rows_of_semantics() -> set[str]:
    """What the first cells of its tables name."""
    cells = re.findall(r"^\| ?(`[^|]*)\|", (api.ROOT / "SEMANTICS.md").read_text(), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(?:\w+\.)?(\w+)`", cell)}


def test_every_figure_has_a_row_in_semantics() -> None:
    told = rows_of_semantics()
    for part in (types.Power, types.Cpu, types.Memory, types.Disk, types.Network, types.Storage):
        assert set(part._fields) - told == set(), f"{part.__name__}: SEMANTICS.md has no row for it"


def test_every_constraint_has_a_row_in_semantics() -> None:
    assert set(CONSTRAINTS) - rows_of_semantics() == set()
