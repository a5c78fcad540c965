"""What a word is, and which phrase decides; on both backends."""

from __future__ import annotations

import pytest

from deferpower._contract import Backend, NegationRow

CRITICAL, CHARGING_ONLY, BACKGROUND, NORMAL = range(4)
NOWHERE = (NORMAL, 0, -1)
TYPES, DESCRIPTION, TYPE = 1, 2, 3

NEGATION: NegationRow = (("not", "non", "isn't"), ("a", "at", "all", "that"), ("or",))


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("", [[]]),
        (" -- \u00a0 \t\n", [[]]),
        ("Full  backup", [["full", "backup"]]),
        ("user_action user-action user/action", [["user", "action"] * 3]),
        ("userAction", [["user", "action"], ["useraction"]]),
        ("UIResponse", [["ui", "response"], ["uiresponse"]]),
        ("HTTP2Sync", [["http2", "sync"], ["http2sync"]]),
        ("SHA2sum", [["sha2sum"]]),
        ("SYNC Sync sync", [["sync", "sync", "sync"]]),
        ("com.example.sync", [["com", "example", "sync"]]),
        ("isn't isn’t 'quoted' o''clock", [["isnt", "isnt", "quoted", "o", "clock"]]),
        ("now, then; sync (later): a.b!", [["now", "", "then", "", "sync", "later", "", "a", "b"]]),
        ("wait ... go", [["wait", "", "go"]]),
        ("Größe ÄNDERN", [["größe", "ändern"]]),
        ("СИНХРОНИЗАЦИЯ", [["синхронизация"]]),
        ("ΣΥΓΧΡΟΝΙΣΜΟΣ συγχρονισμός", [["συγχρονισμοσ", "συγχρονισμόσ"]]),
        ("İndex", [["index"]]),
        ("同期 バックアップ", [["同期", "バックアップ"]]),
        ("同期。完了", [["同期", "完了"]]),
        ("sync🔄now", [["sync", "now"]]),
        ("a×b “quoted”", [["a", "b", "quoted"]]),
        ("broken \udce9 name\ud83d", [["broken", "name"]]),
    ],
)
def test_words(backend: Backend, text: str, readings: list[list[str]]) -> None:
    assert backend.words(text) == readings


def test_a_capital_after_a_space_or_alone_parts_nothing(backend: Backend) -> None:
    assert backend.words("Back Up") == [["back", "up"]]
    assert backend.words("X") == [["x"]]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("full backup", 1),
        ("backup of a full disk", 0),
        ("full backups", None),  # forms are listed, not guessed
        ("full, backup", 0),  # a phrase does not reach over the end of a clause
        ("FULL-Backup", 1),
        ("fullBackup", 1),
        ("prefix fullbackup", None),
    ],
)
def test_a_longer_phrase_hides_the_shorter_in_it(
    backend: Backend, text: str, index: int | None
) -> None:
    matcher = backend.Matcher([("backup", CRITICAL), ("full backup", BACKGROUND)], [], NEGATION)
    classes = [CRITICAL, BACKGROUND]
    expected = NOWHERE if index is None else (classes[index], DESCRIPTION, index)
    assert matcher.classify("", text) == expected


def test_phrases_that_overlap_both_count(backend: Backend) -> None:
    matcher = backend.Matcher([("a b", BACKGROUND), ("b c d", CHARGING_ONLY)], [], NEGATION)
    assert matcher.classify("", "a b c d") == (CHARGING_ONLY, DESCRIPTION, 1)
    assert matcher.classify("", "a b c") == (BACKGROUND, DESCRIPTION, 0)


def test_the_class_that_defers_least_wins_and_of_equals_the_first(backend: Backend) -> None:
    phrases = [("sync", BACKGROUND), ("train", CHARGING_ONLY), ("now", CRITICAL), ("log", 2)]
    matcher = backend.Matcher(phrases, [], NEGATION)
    assert matcher.classify("", "log, train, sync and now") == (CRITICAL, DESCRIPTION, 2)
    assert matcher.classify("", "log, train, sync") == (CHARGING_ONLY, DESCRIPTION, 1)
    assert matcher.classify("", "log, sync, log") == (BACKGROUND, DESCRIPTION, 3)


def test_a_phrase_given_twice_has_the_class_that_defers_less(backend: Backend) -> None:
    matcher = backend.Matcher(
        [("sync", 2), ("Sync", 1), ("SYNC", 1)], [("x", 3), ("X", 0)], NEGATION
    )
    assert matcher.classify("", "sync") == (CHARGING_ONLY, DESCRIPTION, 1)
    assert matcher.classify("x", "") == (CRITICAL, TYPES, 1)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("urgent", True),
        ("not urgent", False),
        ("non-urgent", False),
        ("isn't urgent", False),
        ("isn’t urgent", False),
        ("nonUrgent", False),
        ("not at all urgent", False),
        ("not at all that urgent", False),
        ("not at all that a urgent", True),  # four words between are too far
        ("not now urgent", True),  # a word of its own ends the negation
        ("not now. Urgent", True),
        ("not, urgent", True),
        ("not urgent or urgent", False),
        ("not urgent or at all urgent", False),
        ("not now or urgent", True),  # "or" carries on what was negated, nothing else
        ("not urgent, urgent", True),
        ("urgent, not slow", True),
        ("urgent or not", True),
    ],
)
def test_negation(backend: Backend, text: str, counts: bool) -> None:
    matcher = backend.Matcher([("urgent", CRITICAL)], [], NEGATION)
    assert matcher.classify("", text) == ((CRITICAL, DESCRIPTION, 0) if counts else NOWHERE)


def test_within_a_negated_phrase_the_shorter_one_stands(backend: Backend) -> None:
    matcher = backend.Matcher(
        [("full backup", CHARGING_ONLY), ("backup", BACKGROUND)], [], NEGATION
    )
    assert matcher.classify("", "not a full backup") == (BACKGROUND, DESCRIPTION, 1)


def test_a_phrase_of_class_normal_hides_what_is_in_it(backend: Backend) -> None:
    phrases = [("training", CHARGING_ONLY), ("training wheels", NORMAL)]
    matcher = backend.Matcher(phrases, [], NEGATION)
    assert matcher.classify("", "order training wheels") == (NORMAL, DESCRIPTION, 1)
    assert matcher.classify("", "training on wheels") == (CHARGING_ONLY, DESCRIPTION, 0)


@pytest.mark.parametrize(
    "task_type", ["user_action", "User-Action", "userAction", " USER ACTION! "]
)
def test_a_type_is_found_in_any_notation(backend: Backend, task_type: str) -> None:
    matcher = backend.Matcher([], [("job", NORMAL), ("userAction", CRITICAL)], NEGATION)
    assert matcher.classify(task_type, "") == (CRITICAL, TYPES, 1)


def test_a_name_in_camel_case_is_also_one_word(backend: Backend) -> None:
    matcher = backend.Matcher([("OneDrive", BACKGROUND)], [("PostgreSQL", NORMAL)], NEGATION)
    for text in ("onedrive", "OneDrive", "one drive", "ONEDRIVE"):
        assert matcher.classify("", text) == (BACKGROUND, DESCRIPTION, 0)
    assert matcher.classify("postgresql", "") == (NORMAL, TYPES, 0)


def test_the_words_of_a_type_count_unless_the_type_is_known(backend: Backend) -> None:
    matcher = backend.Matcher([("cache", BACKGROUND)], [("cache_lookup", NORMAL)], NEGATION)
    assert matcher.classify("photo-cache", "") == (BACKGROUND, TYPE, 0)
    assert matcher.classify("cache lookup", "") == (NORMAL, TYPES, 0)
    assert matcher.classify("cache lookup", "the cache") == (BACKGROUND, DESCRIPTION, 0)
    assert matcher.classify("photo-cache", "the cache") == (BACKGROUND, DESCRIPTION, 0)


def test_texts_without_a_word_match_nothing(backend: Backend) -> None:
    matcher = backend.Matcher([("--", CRITICAL)], [("", CRITICAL)], (("not at",), ("",), ()))
    assert matcher.classify("", "-- ...") == NOWHERE
    assert matcher.classify("--", "") == NOWHERE


def test_half_a_surrogate_pair_is_passed_over(backend: Backend) -> None:
    matcher = backend.Matcher([("sync\udce9", BACKGROUND)], [], NEGATION)
    assert matcher.classify("\ud83d", "sync caf\udce9") == (BACKGROUND, DESCRIPTION, 0)


def test_a_very_long_text_is_searched_to_its_end(backend: Backend) -> None:
    matcher = backend.Matcher([("sync", BACKGROUND)], [], NEGATION)
    assert matcher.classify("", "not " * 200_000 + "now sync") == (BACKGROUND, DESCRIPTION, 0)
