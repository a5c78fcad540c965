"""Words of a text, and the class that keywords among them give a task."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from deferpower._contract import NegationRow, PhraseRow

# Beyond ASCII a character is part of a word unless it lies in one of these ranges of punctuation,
# symbols, pictures and unassigned uses. A list of our own: what is called a letter differs
# between Rust and Python, and from one version of Unicode to the next.
_SEPARATORS: Final = (
    (0x0080, 0x00A9),
    (0x00AB, 0x00B4),
    (0x00B6, 0x00B9),
    (0x00BB, 0x00BF),
    (0x00D7, 0x00D7),
    (0x00F7, 0x00F7),
    (0x2000, 0x206F),
    (0x20A0, 0x20CF),
    (0x2190, 0x2BFF),
    (0x2E00, 0x2E7F),
    (0x3000, 0x3004),
    (0x3008, 0x3020),
    (0xD800, 0xF8FF),
    (0xFE00, 0xFE6F),
    (0xFF00, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFE0, 0xFFFF),
    (0x1F000, 0x1FAFF),
)
# Latin, Greek, Cyrillic and Armenian: blocks whose pairs of capital and small letter are settled.
_CASED: Final = (range(0x41, 0x5B), range(0xC0, 0x590), range(0x1E00, 0x2000))

_CLAUSE_END: Final = frozenset(".,;:!?")
_DIGITS: Final = frozenset("0123456789")
_REACH: Final = 3
"""How many fillers may stand between a negator and what it negates."""

_FROM_TYPE_MAP, _FROM_DESCRIPTION, _FROM_TYPE = 1, 2, 3
_DEFAULT: Final = (3, 0, -1)


def words(text: str, /) -> list[list[str]]:
    """See the contract."""
    alphabet = _alphabet()
    parted: list[str] = []
    whole: list[str] = []
    for word, gap in alphabet.word.findall(text):
        folded = word.translate(alphabet.fold)
        whole.append(folded)
        if word[1:].islower():
            parted.append(folded)
        else:
            parted += _parts(word.replace("'", "").replace("’", ""), alphabet)
        if len(gap) > 1 and not _CLAUSE_END.isdisjoint(gap):
            parted.append("")
            whole.append("")
    return [parted] if parted == whole else [parted, whole]


class _Alphabet(NamedTuple):
    """What letters and words are.

    Attributes:
        small: the small letter of each capital.
        fold: capitals become small, the final sigma a sigma, apostrophes nothing.
        word: a pattern of a word, and of the gap after it.
    """

    small: dict[int, int]
    fold: dict[int, int | None]
    word: re.Pattern[str]


@functools.cache
def _alphabet() -> _Alphabet:
    # Made when first used: it takes milliseconds, which a program that only reads sensors saves.
    small = {
        code: low
        for block in _CASED
        for code in block
        # The dotted capital I alone has two characters as its small letter: a letter and a dot.
        if (low := ord(chr(code).lower()[0])) != code
    }
    gap = r"\x00-/:-@\[-`{-\x7f" + "".join(f"{chr(a)}-{chr(b)}" for a, b in _SEPARATORS)
    return _Alphabet(
        small,
        {**small, ord("ς"): ord("σ"), ord("'"): None, ord("’"): None},
        re.compile(f"([^{gap}]+(?:['’][^{gap}]+)*)([{gap}]*)"),
    )


def _parts(word: str, alphabet: _Alphabet) -> list[str]:
    """The parts of a word in camel case.

    One begins at a capital after anything else ("userAction"), and at the last of several capitals
    if a small letter follows ("UIResponse").
    """
    capital = [ord(letter) in alphabet.small for letter in word]
    starts = [0]
    for at in range(1, len(word)):
        if not capital[at]:
            continue
        after = word[at + 1 : at + 2]
        if not capital[at - 1] or (after and not capital[at + 1] and after not in _DIGITS):
            starts.append(at)
    return [
        word[start:end].translate(alphabet.fold)
        for start, end in zip(starts, [*starts[1:], len(word)], strict=True)
    ]


class _Entry:
    """What begins with a word, and what the word itself does to a negation."""

    __slots__ = ("conjunction", "filler", "negator", "phrases")

    def __init__(self) -> None:
        self.phrases: list[tuple[list[str], int, int]] = []
        self.negator = False
        self.filler = False
        self.conjunction = False


class Matcher:
    """See `deferpower._contract.Matcher`."""

    def __init__(
        self,
        phrases: Sequence[PhraseRow],
        types: Sequence[PhraseRow],
        negation: NegationRow,
        /,
    ) -> None:
        self._entries: dict[str, _Entry] = {}
        for index, (text, task_class) in enumerate(phrases):
            for reading in words(text):
                phrase = [word for word in reading if word]
                if phrase:
                    self._entry(phrase[0]).phrases.append((phrase, task_class, index))
        for entry in self._entries.values():
            # The longest first; of one phrase given twice, the class that defers less.
            entry.phrases.sort(key=lambda row: (-len(row[0]), row[1], row[2]))
        negators, fillers, conjunctions = negation
        for word in _single_words(negators):
            self._entry(word).negator = True
        for word in _single_words(fillers):
            self._entry(word).filler = True
        for word in _single_words(conjunctions):
            self._entry(word).conjunction = True
        self._types: dict[str, tuple[int, int]] = {}
        for index, (text, task_class) in enumerate(types):
            for name in _names(text):
                known = self._types.get(name)
                if known is None or task_class < known[0]:
                    self._types[name] = (task_class, index)

    def _entry(self, word: str) -> _Entry:
        return self._entries.setdefault(word, _Entry())

    def classify(self, task_type: str, description: str, /) -> tuple[int, int, int]:
        """See the contract."""
        found = []
        for name in _names(task_type):
            if name in self._types:
                task_class, index = self._types[name]
                found.append((task_class, _FROM_TYPE_MAP, index))
        texts = [(_FROM_DESCRIPTION, description)]
        if not found:
            texts.append((_FROM_TYPE, task_type))
        for source, text in texts:
            for reading in words(text):
                best = self._best_phrase(reading)
                if best is not None:
                    found.append((best[0], source, best[1]))
        return min(found, key=itemgetter(0), default=_DEFAULT)

    def _best_phrase(self, reading: list[str]) -> tuple[int, int] | None:
        """Class and index of the phrase that decides: the least deferring, of these the first."""
        best = None
        covered = 0  # where the furthest reaching phrase so far ends
        reach = 0  # above 0: what comes next is negated
        negated_until = -1  # where a negated phrase ends: "or" carries the negation on
        for at, word in enumerate(reading):
            entry = self._entries.get(word)
            if entry is None:
                reach = 0
                continue
            for phrase, task_class, index in entry.phrases:
                end = at + len(phrase)
                if reading[at:end] != phrase:
                    continue
                if reach:
                    negated_until = end
                elif end > covered:
                    covered = end
                    if best is None or task_class < best[0]:
                        best = (task_class, index)
                break
            if entry.negator or (entry.conjunction and at == negated_until):
                reach = _REACH + 1
            elif entry.filler and reach:
                reach -= 1
            else:
                reach = 0
        return best


def _names(text: str) -> list[str]:
    """A type as it is looked up: its words, joined, in each reading; none if it holds no word."""
    return [name for reading in words(text) if (name := " ".join(filter(None, reading)))]


def _single_words(texts: Sequence[str]) -> list[str]:
    readings = [words(text)[-1] for text in texts]
    return [reading[0] for reading in readings if len(reading) == 1]
