"""Pages of Markdown from the public names."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator

import griffe

from tools.reference import api
from tools.reference.api import Argument, Doc
from tools.reference.pages import PAGES, Page

WIDTH = 88
_MADE = "<!-- Made from the docstrings by `make reference`; edit those. -->"


def pages() -> dict[str, str]:
    """Every file of the reference and its text."""
    found = {f"{page.file}.md": "\n".join(_Writer(page).lines()) + "\n" for page in PAGES}
    return {"README.md": "\n".join(_index()) + "\n", **found}


def _index() -> Iterator[str]:
    yield from (_MADE, "", "# Reference", "")
    yield (
        "Every public name, by what it is for. A name that is not here is not public, even where "
        "it can be imported: it may change with any version. What the shell's commands and their "
        "options mean is told by `deferpower --help`."
    )
    public = api.public()
    for page in PAGES:
        yield from ("", f"## [{page.title}]({page.file}.md)", "", page.about, "")
        for dotted in page.names:
            name = dotted.rpartition(".")[2]
            summary = _linked(api.doc(public[dotted]).summary, None, public[dotted])
            yield f"- [`{dotted}`]({page.file}.md#{_anchor(name)}): {summary}"


class _Writer:
    """One page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.public = api.public()

    def lines(self) -> Iterator[str]:
        yield from (_MADE, "", f"# {self.page.title}", "", f"{self.page.about}")
        if len(self.page.names) > 1:
            names = [dotted.rpartition(".")[2] for dotted in self.page.names]
            yield from ("", " · ".join(f"[{name}](#{_anchor(name)})" for name in names))
        for dotted in self.page.names:
            obj = self.public[dotted]
            name = dotted.rpartition(".")[2]
            yield from ("", f"## {name}", "", _import_line(dotted, self.public))
            if isinstance(obj, griffe.Class):
                yield from self._class(name, obj)
            else:
                assert isinstance(obj, griffe.Function)
                yield from self._call(name, obj, obj)

    def _class(self, name: str, cls: griffe.Class) -> Iterator[str]:
        told, init = api.doc(cls), api.constructor_doc(cls)
        arguments = api.arguments(cls)
        fields = api.fields(cls)
        plain_fields = arguments is not None and not init.args and not told.args
        named_bases = f"({', '.join(_shown_bases(cls))})" if _shown_bases(cls) else ""
        if arguments is None:
            head = [f"class {name}{named_bases}"]
        else:
            head = _signature(f"class {name}", arguments, "")
        yield from ("", "```python", *head, "```")
        if told.summary:
            yield from ("", self._text(told.summary, cls))
        yield from self._blocks(told.blocks, cls)
        if api.is_enumeration(cls):
            values = (f"- `{f.name}` = `{f.default}`: {self._text(f.text, cls)}" for f in fields)
            yield from ("", *values)
        elif plain_fields or api.is_typed_dict(cls):
            yield from self._list("Fields", arguments or fields, cls)
        elif arguments is not None:
            if init.summary:
                yield from ("", self._text(init.summary, cls))
            yield from self._blocks(init.blocks, cls)
            yield from self._list("Arguments", arguments, cls)
        yield from self._raises((*told.raises, *init.raises), cls)
        if not (plain_fields or api.is_enumeration(cls) or api.is_typed_dict(cls)):
            yield from self._list("Attributes", fields, cls)
        for member in api.members(cls):
            yield from ("", f"### {name}.{member.name}")
            if isinstance(member, griffe.Function):
                yield from self._call(member.name, member, cls)
            else:
                of = f"{name}.{member.name}: {api.spelled(member.annotation)}"
                yield from ("", "```python", f"{of}  # read only", "```")
                yield from self._doc(api.doc(member), cls)

    def _call(self, name: str, function: griffe.Function, obj: griffe.Object) -> Iterator[str]:
        told = api.doc(function)
        arguments = api.arguments(function) or []
        word = "async def" if "async" in function.labels else "def"
        head = _signature(f"{word} {name}", arguments, api.spelled(function.returns))
        for label in ("classmethod", "staticmethod"):
            if label in function.labels:
                head.insert(0, f"@{label}")
        yield from ("", "```python", *head, "```")
        yield from self._doc(told, obj, arguments)

    def _doc(
        self, told: Doc, obj: griffe.Object, arguments: Iterable[Argument] = ()
    ) -> Iterator[str]:
        if told.summary:
            yield from ("", self._text(told.summary, obj))
        yield from self._blocks(told.blocks, obj)
        yield from self._list("Arguments", [a for a in arguments if a.text], obj)
        if told.returns:
            yield from ("", f"**Returns:** {self._text(told.returns, obj)}")
        yield from self._raises(told.raises, obj)

    def _list(self, title: str, items: Iterable[Argument], obj: griffe.Object) -> Iterator[str]:
        rows = list(items)
        if not rows:
            return
        yield from ("", f"**{title}**", "")
        for item in rows:
            type_ = f" (`{item.type}`)" if item.type else ""
            text = f": {self._text(item.text, obj)}" if item.text else ""
            yield f"- `{item.name}`{type_}{text}"

    def _raises(self, raises: Iterable[tuple[str, str]], obj: griffe.Object) -> Iterator[str]:
        rows = list(raises)
        if rows:
            yield from ("", "**Raises**", "")
            for names, text in rows:
                linked = ", ".join(self._text(f"`{name}`", obj) for name in names.split(", "))
                yield f"- {linked}: {self._text(text, obj)}"

    def _blocks(self, blocks: Iterable[str], obj: griffe.Object) -> Iterator[str]:
        for block in blocks:
            for paragraph in re.split(r"\n\s*\n", block.strip("\n")):
                lines = paragraph.splitlines()
                if lines[0].startswith(">>>"):
                    yield from ("", "```pycon", *lines, "```")
                elif all(line.startswith("    ") for line in lines):
                    code = textwrap.dedent(paragraph)
                    yield from ("", f"```{_language(code)}", *code.splitlines(), "```")
                elif lines[0].startswith(("- ", "1. ")):
                    yield from ("", *(_linked(line, self.page, obj) for line in lines))
                else:
                    # Two colons are how reStructuredText announces code.
                    text = re.sub(r"::$", ":", paragraph)
                    yield from ("", self._text(text, obj))

    def _text(self, text: str, obj: griffe.Object) -> str:
        return _linked(" ".join(text.split()), self.page, obj)


def _import_line(dotted: str, public: dict[str, griffe.Object]) -> str:
    homes = [other for other in public if public[other] is public[dotted]]
    spoken = [dotted, *(other for other in homes if other != dotted)]
    lines = [
        f"`from {home.rpartition('.')[0]} import {home.rpartition('.')[2]}`" for home in spoken
    ]
    return "; also ".join(lines)


def _language(code: str) -> str:
    try:
        ast.parse(code)
    except SyntaxError:
        return "text"
    return "python"


def _shown_bases(cls: griffe.Class) -> list[str]:
    hidden = {"NamedTuple", "Generic", "Protocol", "Asking", "ABC", "_Noted"}
    return [base for base in api.bases(cls) if base not in hidden]


def _signature(head: str, arguments: list[Argument], returns: str) -> list[str]:
    """A call as Python writes it: on one line where it fits, else a line for each argument."""
    kinds = griffe.ParameterKind
    parts: list[str] = []
    for place, argument in enumerate(arguments):
        if argument.kind is kinds.keyword_only and not any(p[:1] == "*" for p in parts):
            parts.append("*")
        text = argument.name + (f": {argument.type}" if argument.type else "")
        if argument.default:
            text += f" = {argument.default}" if argument.type else f"={argument.default}"
        parts.append(text)
        following = arguments[place + 1 : place + 2]
        if argument.kind is kinds.positional_only and not (
            following and following[0].kind is kinds.positional_only
        ):
            parts.append("/")
    tail = f" -> {returns}" if returns else ""
    line = f"{head}({', '.join(parts)}){tail}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{head}(", *(f"    {part}," for part in parts), f"){tail}"]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading.lower())


def _linked(text: str, page: Page | None, obj: griffe.Object) -> str:
    """Text whose names in single backticks lead to where they stand."""
    known = places()

    def lead(found: re.Match[str]) -> str:
        name = found.group(1)
        own = f"{obj.name}.{name}"
        for candidate in (own, name, name.removeprefix("deferpower.").removeprefix("sync.")):
            if candidate in known:
                file, anchor = known[candidate]
                away = "" if page is not None and file == page.file else f"{file}.md"
                return f"[`{name}`]({away}#{anchor})"
        value = _constant(name, obj)
        return f"`{name}` (`{value}`)" if value else f"`{name}`"

    return re.sub(r"(?<!`)`([^`\n]+)`(?!`)", lead, text)


def _constant(name: str, obj: griffe.Object) -> str:
    """What a constant beside the object holds, where that is short enough to be read in a line."""
    found = obj.module.members.get(name) if name.isupper() else None
    if not isinstance(found, griffe.Attribute):
        return ""
    value = api.spelled(found.value).removeprefix("MappingProxyType(").removesuffix(")")
    return value if "\n" not in value and len(value) < 120 else ""


def places() -> dict[str, tuple[str, str]]:
    """Where each public name and member stands: page and anchor."""
    if not _PLACES:
        public = api.public()
        for page in PAGES:
            for dotted in page.names:
                name = dotted.rpartition(".")[2]
                _PLACES[name] = (page.file, _anchor(name))
                obj = public[dotted]
                if isinstance(obj, griffe.Class):
                    for member in api.members(obj):
                        full = f"{name}.{member.name}"
                        _PLACES[full] = (page.file, _anchor(full))
    return _PLACES


_PLACES: dict[str, tuple[str, str]] = {}
