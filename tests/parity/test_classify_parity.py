"""Native and pure give the same words and the same answers, for any text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deferpower import _native as native
from deferpower._pure import classify as pure

# Letters in both cases and many scripts, digits, apostrophes, ends of clauses, halves of surrogate
# pairs: what a border may run between.
TRICKY = "abAB12 '’.,;:!?-_\n×éÉΣςσİıßẞǅԱա同。🔄\u0301\u00ad\ud83d\udd04"
texts = st.text() | st.text(TRICKY) | st.text(st.characters(codec=None), max_size=4)

# Few words, so that phrases, negations and what stands between them do meet.
vocabulary = st.sampled_from(
    ["full", "backup", "Sync", "not", "isn't", "at", "all", "or", "userAction", "cache", "É"]
)
separators = st.sampled_from([" ", "-", "_", ", ", ". ", "", "  "])
sentences = st.lists(st.tuples(vocabulary, separators), max_size=12).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)
phrases = st.lists(st.tuples(sentences | texts, st.integers(0, 3)), max_size=8)
word_lists = st.lists(vocabulary | texts, max_size=4)


@given(texts)
def test_words(text: str) -> None:
    assert native.words(text) == pure.words(text)


def test_words_of_every_character() -> None:
    # Past these all are alike: no table of either side reaches further.
    for first in range(0, 0x20000, 64):
        text = " ".join(f"{chr(code)}a{chr(code)}A" for code in range(first, first + 64))
        assert native.words(text) == pure.words(text), f"somewhere from U+{first:04X}"


@given(
    phrases, phrases, st.tuples(word_lists, word_lists, word_lists), sentences | texts, sentences
)
def test_classify(
    keywords: list[tuple[str, int]],
    types: list[tuple[str, int]],
    negation: tuple[list[str], list[str], list[str]],
    task_type: str,
    description: str,
) -> None:
    answers = [
        backend.Matcher(keywords, types, negation).classify(task_type, description)
        for backend in (native, pure)
    ]
    assert answers[0] == answers[1]
