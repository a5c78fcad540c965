"""What the docstrings of the public names lack."""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

from tools.reference import api, markdown
from tools.reference.api import Argument
from tools.reference.pages import HOUSEHOLD, PAGES

_UNIT_IN_NAME = re.compile(
    r"(^|_)(s|h|bytes|percent|watts|wh|minute|points|count|id|pid|items|size)$"
)
_UNIT_IN_TEXT = re.compile(
    r"\b(seconds?|minutes?|hours?|percent(age)?s?|fraction|share|probability|bytes|points|worth|"
    r"how (many|often)|at most|number|process ids?|counted|size|tasks|runs|workers|as "
    r"(for|in|many))\b|%|0-1",
    re.IGNORECASE,
)
# A first line that begins so says what one gets; one that begins with a verb says what is done.
_WHAT_ONE_GETS = re.compile(
    r"(The|A|An|All|Any|Each|Every|Whether|How|What|When|Where|Which|Why|Who|Since|Tasks|Items|"
    r"Minutes|Seconds|Bytes|This|That|Those|It|One|As|Processes|Figures|Queued|Dead)\b"
)

# Whoever does the same as another leaves the telling to that one.
_ELSEWHERE = re.compile(r"^As `[\w.]+`|\bSee `[\w.]+`|Arguments are its own")


def complaints() -> Iterator[str]:
    """What is missing or wrong, a line each: where, and what to write."""
    public = api.public()
    yield from _misplaced(public)
    yield from _unknown_types(public)
    yield from _dead_references(public)
    seen = set()
    for dotted, obj in public.items():
        if obj.path in seen:
            continue
        seen.add(obj.path)
        if isinstance(obj, griffe.Class):
            yield from _class(dotted, obj)
        elif isinstance(obj, griffe.Function):
            yield from of_call(dotted, obj)
        else:
            yield f"{dotted}: public, but neither class nor function"


def _misplaced(public: dict[str, griffe.Object]) -> Iterator[str]:
    paged = Counter(
        public[name].path if name in public else name for p in PAGES for name in p.names
    )
    for name, obj in public.items():
        if not paged[obj.path]:
            yield f"{name}: public, but on no page; add to PAGES in tools/reference/pages.py"
    paths = {obj.path for obj in public.values()}
    for path, times in paged.items():
        if path not in paths:
            yield f"{path}: on a page, but not public; see __all__"
        if times > 1:
            yield f"{path}: on {times} pages"
    for entry in sorted(HOUSEHOLD):
        owner, _, member = entry.partition(".")
        homes = [o for n, o in public.items() if n.endswith(f".{owner}")]
        text = (homes and homes[0].docstring and homes[0].docstring.value) or ""
        if not homes or (member not in homes[0].members and f"{member}:" not in text):
            yield f"{entry}: in HOUSEHOLD, but not there"


def _unknown_types(public: dict[str, griffe.Object]) -> Iterator[str]:
    """Types of the package in public signatures that a reader finds on no page."""
    known = {name.rpartition(".")[2] for name in public}
    private = {name for name in api.classes() if name not in known}
    for dotted, obj in public.items():
        # The names of keyword arguments are told where they are taken.
        spoken = [re.sub(r"Unpack\[\w+\]", "", text) for text in _spoken(obj)]
        for word in sorted(
            {word for text in spoken for word in re.findall(r"\w+", text)} & private
        ):
            yield f"{dotted}: a signature speaks of {word}, which is on no page"


def _spoken(obj: griffe.Object) -> Iterator[str]:
    """Every type in the signatures of an object and its members."""
    if isinstance(obj, griffe.Attribute):
        yield api.spelled(obj.annotation)
    if isinstance(obj, griffe.Function):
        yield api.spelled(obj.returns)
    if isinstance(obj, griffe.Class | griffe.Function):
        yield from (argument.type for argument in api.arguments(obj) or ())
    if isinstance(obj, griffe.Class):
        yield from (field.type for field in api.fields(obj))
        for member in api.members(obj):
            yield from _spoken(member)


def _dead_references(public: dict[str, griffe.Object]) -> Iterator[str]:
    """Names in single backticks that are neither on a page nor near at hand."""
    places = markdown.places()
    for dotted, obj in public.items():
        near = {*vars(builtins)}
        texts = [obj.docstring]
        if isinstance(obj, griffe.Class):
            near |= {*obj.members, *(f"{member.name}" for member in api.members(obj))}
            near |= {field.name for field in api.fields(obj)}
            texts += [member.docstring for member in api.members(obj)]
            texts.append(obj.members["__init__"].docstring if "__init__" in obj.members else None)
        for text in texts:
            for name in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text.value if text else ""):
                is_constant = name.isupper() and name in obj.module.members
                bare = name.removeprefix("deferpower.").removeprefix("sync.")
                if bare not in places and name not in near and not is_constant:
                    yield f"{dotted}: `{name}` is on no page"


def _class(name: str, cls: griffe.Class) -> Iterator[str]:
    told, init = api.doc(cls), api.constructor_doc(cls)
    if told is api.NOTHING:
        yield f"{name}: no docstring"
    arguments = api.arguments(cls)
    for argument in arguments or ():
        yield from _argument(f"{name}(): ", argument, "Args or Attributes")
    fields = api.fields(cls)
    for field in fields:
        if arguments is None or field.name not in {a.name for a in arguments}:
            yield from _argument(f"{name}: ", field, "Attributes")
    # What is set in __init__ is known to griffe as an attribute, too.
    known = {*cls.members, *(argument.plain_name for argument in arguments or ())}
    known |= {member.name for member in api.members(cls)}
    for attribute in sorted(told.attributes.keys() - known - _inherited(cls)):
        yield f"{name}: Attributes tells of {attribute}, which is not there"
    for argument_name in sorted(init.args.keys() - {a.plain_name for a in arguments or ()}):
        yield f"{name}(): Args tells of {argument_name}, which is not there"
    own = cls.members.get("__init__")
    if isinstance(own, griffe.Function) and arguments is not None:
        yield from _unsaid(f"{name}()", own, _raised((*told.raises, *init.raises)))
    for member in api.members(cls):
        full = f"{name}.{member.name}"
        if isinstance(member, griffe.Function):
            yield from of_call(full, member)
        elif api.doc(member) is api.NOTHING:
            yield f"{full}: no docstring"


def _inherited(cls: griffe.Class) -> set[str]:
    return set(cls.inherited_members)


def of_call(name: str, function: griffe.Function) -> Iterator[str]:
    """What the docstring of one function lacks, a line each."""
    told = api.doc(function)
    if told is api.NOTHING:
        yield f"{name}(): no docstring"
        return
    if not told.summary.endswith((".", "?", ":")):
        yield f"{name}(): the first line is no sentence"
    arguments = api.arguments(function) or []
    is_told_elsewhere = _ELSEWHERE.search(told.summary) is not None
    for argument in arguments:
        if not is_told_elsewhere:
            yield from _argument(f"{name}(): ", argument, "Args")
        if not argument.type and argument.plain_name not in ("args", "kwargs"):
            yield f"{name}(): {argument.name} has no type"
    for extra in sorted(told.args.keys() - {a.plain_name for a in arguments}):
        yield f"{name}(): Args tells of {extra}, which is not there"
    returns = api.spelled(function.returns)
    if not returns:
        yield f"{name}(): no type of its result"
    tells_result = told.returns or _WHAT_ONE_GETS.match(told.summary)
    if returns not in ("", "None") and not tells_result:
        yield f"{name}(): neither its first line nor Returns says what one gets"
    if not is_told_elsewhere:
        yield from _unsaid(f"{name}()", function, _raised(told.raises))


def _argument(where: str, argument: Argument, section: str) -> Iterator[str]:
    if not argument.text.strip():
        yield f"{where}{argument.name} is not in {section}"
        return
    is_figure = re.search(r"\b(int|float)\b", argument.type.partition("[")[0])
    has_unit = _UNIT_IN_NAME.search(argument.name) or _UNIT_IN_TEXT.search(argument.text)
    if is_figure and not has_unit:
        yield f"{where}{argument.name}: neither name nor text tells its unit"


def _unsaid(where: str, function: griffe.Function, said: set[str]) -> Iterator[str]:
    """Errors that the body raises by name and the docstring does not tell of."""
    assert isinstance(function.filepath, Path)
    for node in ast.walk(_tree(function.filepath)):
        is_it = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name == function.name
            and function.lineno is not None
            and function.lineno <= node.lineno <= (function.endlineno or 0)
        )
        if not is_it:
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call):
                raised = ast.unparse(inner.exc.func)
                if raised[:1].isupper() and raised not in said:
                    yield f"{where}: raises {raised}, which Raises does not tell"


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _raised(raises: Iterable[tuple[str, str]]) -> set[str]:
    return {name.strip() for names, _ in raises for name in names.split(",")}
