"""The public names and their docstrings, as griffe reads them from the sources."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path

import griffe

from tools.reference.pages import HOUSEHOLD, MET, MODULES, UNPAGED

ROOT = Path(__file__).parents[2]

# What it warns of (types that stand in the signature alone) is how this house writes docstrings.
logging.getLogger("griffe").setLevel(logging.CRITICAL)

Anything = griffe.Object | griffe.Alias


@functools.cache
def package() -> griffe.Object:
    """The whole package, read and not imported."""
    spec = importlib.util.find_spec("deferpower")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parents[1]
    found = griffe.load("deferpower", search_paths=[str(folder)], resolve_aliases=True)
    assert isinstance(found, griffe.Module)
    return found


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a call, or a field of a value.

    Attributes:
        name: as it is written, ``*args`` with its stars.
        type: its annotation, with names for literals written out; empty where there is none.
        default: as it is written; empty where there is none.
        kind: which arguments it stands among.
        text: what its docstring says of it.
    """

    name: str
    type: str
    default: str
    kind: griffe.ParameterKind
    text: str

    @property
    def plain_name(self) -> str:
        """The name without stars."""
        return self.name.lstrip("*")


@dataclasses.dataclass(frozen=True)
class Doc:
    """A docstring, taken apart.

    Attributes:
        summary: its first line.
        blocks: its other texts, in order.
        args: what it says of arguments, by name.
        attributes: what it says of attributes, by name.
        returns: what it says of the result.
        raises: what it says of errors, in order.
    """

    summary: str
    blocks: tuple[str, ...]
    args: dict[str, str]
    attributes: dict[str, str]
    returns: str
    raises: tuple[tuple[str, str], ...]


NOTHING = Doc("", (), {}, {}, "", ())


def doc(obj: Anything) -> Doc:
    """The docstring of an object; `NOTHING` where it has none."""
    if obj.docstring is None or not obj.docstring.value.strip():
        return NOTHING
    texts: list[str] = []
    args: dict[str, str] = {}
    attributes: dict[str, str] = {}
    returns, raises = "", []
    sections = obj.docstring.parse(
        "google",
        returns_named_value=False,
        returns_multiple_items=False,
        warn_unknown_params=False,
        warn_missing_types=False,
        trim_doctest_flags=False,
    )
    for section in sections:
        match section:
            case griffe.DocstringSectionText(value=text):
                texts.append(text)
            case griffe.DocstringSectionParameters(value=items):
                args |= {item.name.lstrip("*"): item.description for item in items}
            case griffe.DocstringSectionAttributes(value=items):
                attributes |= {item.name: item.description for item in items}
            case (
                griffe.DocstringSectionReturns(value=items)
                | griffe.DocstringSectionYields(value=items)
            ):
                returns = "\n".join(_whole(item) for item in items)
            case griffe.DocstringSectionRaises(value=items):
                raises += [(str(item.annotation).strip("()"), item.description) for item in items]
            case _:
                raise ValueError(f"{obj.path}: a section {section.kind} that pages cannot show")
    summary, _, rest = texts[0].partition("\n")
    blocks = tuple(text for text in (rest.strip("\n"), *texts[1:]) if text.strip())
    return Doc(summary, blocks, args, attributes, returns, tuple(raises))


def _whole(item: griffe.DocstringReturn | griffe.DocstringYield) -> str:
    """A sentence, whose beginning up to a colon griffe takes for a type."""
    begins = item.annotation if isinstance(item.annotation, str) else ""
    return f"{begins}: {item.description}" if begins else item.description


def public() -> dict[str, griffe.Object]:
    """Every public name, ``deferpower.sync.Target``, and what it leads to."""
    found = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            dotted = f"{module}.{name}"
            if dotted not in UNPAGED:
                found[dotted] = _object(dotted)
    return {**found, **{dotted: _object(dotted) for dotted in MET}}


def _object(dotted: str) -> griffe.Object:
    try:
        return _final(package()[dotted.removeprefix("deferpower.")])
    except KeyError:
        raise LookupError(
            f"{dotted}: loaded late, but type checkers are not told; import it under TYPE_CHECKING"
        ) from None


def classes() -> dict[str, griffe.Class]:
    """Every class of the package by its bare name."""
    found = {}
    rooms: list[griffe.Object] = [package()]
    while rooms:
        for name, member in rooms.pop().members.items():
            if isinstance(member, griffe.Module):
                rooms.append(member)
            elif isinstance(member, griffe.Class):
                found[name] = member
    return found


def _final(obj: Anything) -> griffe.Object:
    return obj.final_target if isinstance(obj, griffe.Alias) else obj


def members(cls: griffe.Class) -> list[griffe.Function | griffe.Attribute]:
    """Public methods and properties of a class, its bases' after its own."""
    chosen: list[griffe.Function | griffe.Attribute] = []
    for name, member in {**cls.members, **cls.inherited_members}.items():
        found = _final(member)
        shown = not name.startswith("_") or name in ("__call__",)
        home = found.parent.name if found.parent is not None else cls.name
        if not shown or HOUSEHOLD.intersection((f"{home}.{name}", f"{cls.name}.{name}")):
            continue
        if isinstance(found, griffe.Function) or (
            isinstance(found, griffe.Attribute) and "property" in found.labels
        ):
            chosen.append(found)
    return chosen


def fields(cls: griffe.Class) -> list[Argument]:
    """What a value of the class holds: fields, members of an enumeration, attributes it names."""
    told = doc(cls)
    found = {}
    for name, member in cls.members.items():
        if name.startswith("_") or f"{cls.name}.{name}" in HOUSEHOLD:
            continue
        if isinstance(member, griffe.Attribute) and "property" not in member.labels:
            is_field = "class-attribute" in member.labels or is_fields_only(cls)
            if not is_field and name not in told.attributes:
                continue
            text = told.attributes.get(name, doc(member).summary)
            found[name] = Argument(
                name,
                spelled(member.annotation) or _type_as_given(cls, name),
                "" if member.value is None else spelled(member.value),
                griffe.ParameterKind.positional_or_keyword,
                text,
            )
    return list(found.values())


def _type_as_given(cls: griffe.Class, name: str) -> str:
    """The type of an attribute that holds an argument of the constructor, or what stands for it."""
    own = cls.members.get("__init__")
    if not isinstance(own, griffe.Function):
        return ""
    given = [spelled(p.annotation) for p in own.parameters if p.name == name]
    return given[0].removesuffix(" | None") if given else ""


def bases(cls: griffe.Class) -> list[str]:
    """The bases of a class by their names, without what stands in brackets."""
    return [str(base).partition("[")[0].rpartition(".")[2] for base in cls.bases]


def is_fields_only(cls: griffe.Class) -> bool:
    """Whether a class is made of the fields that its body lists."""
    return "dataclass" in cls.labels or bool({"NamedTuple", "TypedDict"}.intersection(bases(cls)))


def is_enumeration(cls: griffe.Class) -> bool:
    """Whether it is one of a few named values."""
    return "StrEnum" in bases(cls)


def is_typed_dict(cls: griffe.Class) -> bool:
    """Whether it is no more than the names of keyword arguments."""
    return "TypedDict" in bases(cls)


def arguments(obj: griffe.Class | griffe.Function) -> list[Argument] | None:
    """Arguments of a call, or of the constructor; ``None`` where programs do not construct it.

    A constructor is public where its docstring or the class's list of attributes tells of it.
    """
    function: Anything = obj
    told = doc(obj)
    if isinstance(obj, griffe.Class):
        own = obj.members.get("__init__")
        if is_enumeration(obj) or is_typed_dict(obj):
            return None
        if not isinstance(own, griffe.Function):
            return fields(obj) if is_fields_only(obj) else None
        function = own
        init = doc(own)
        told = dataclasses.replace(told, args={**told.attributes, **told.args, **init.args})
        if init is NOTHING and not is_fields_only(obj) and not doc(obj).args:
            return None
    assert isinstance(function, griffe.Function)
    stars = {
        griffe.ParameterKind.var_positional: "*",
        griffe.ParameterKind.var_keyword: "**",
    }
    return [
        Argument(
            stars.get(p.kind, "") + p.name if p.kind else p.name,
            spelled(p.annotation),
            "" if p.default is None or p.kind in stars else spelled(p.default),
            p.kind or griffe.ParameterKind.positional_or_keyword,
            told.args.get(p.name.lstrip("*"), ""),
        )
        for p in function.parameters
        if p.name not in ("self", "cls")
    ]


def constructor_doc(cls: griffe.Class) -> Doc:
    """What ``__init__`` says, if it says anything."""
    own = cls.members.get("__init__")
    return doc(own) if isinstance(own, griffe.Function) else NOTHING


def spelled(expression: str | griffe.Expr | None) -> str:
    """An annotation as a reader needs it: names that stand for literals written out."""
    if expression is None:
        return ""
    text = expression if isinstance(expression, str) else "".join(_parts(expression))
    return text if '"' in text else text.replace("'", '"')


def _parts(expression: griffe.Expr) -> Iterator[str]:
    if isinstance(expression, griffe.ExprName):
        meant = _alias(expression.canonical_path)
        yield expression.name if meant is None else spelled(meant)
        return
    if isinstance(expression, griffe.ExprAttribute):
        yield (
            expression.last.name
            if expression.canonical_path.startswith("deferpower")
            else str(expression)
        )
        return
    for part in expression.iterate(flat=False):
        if isinstance(part, griffe.Expr):
            yield from _parts(part)
        else:
            yield part


def _alias(path: str) -> griffe.Expr | None:
    """What a type's name of the package stands for, if it is no class."""
    if not path.startswith("deferpower."):
        return None
    try:
        found = _final(package()[path.removeprefix("deferpower.")])
    except KeyError:
        return None
    if not isinstance(found, griffe.Attribute) or "module-attribute" not in found.labels:
        return None
    is_type = found.name[:1].isupper() and not found.name.isupper()
    return found.value if is_type and isinstance(found.value, griffe.Expr) else None
