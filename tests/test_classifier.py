"""`TaskClassifier`: classes, rules in words, deferring, and what a program may change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deferpower import ConfigError, Task, TaskClass
from deferpower.classifier import TYPES, Negation, TaskClassifier
from deferpower.errors import TaskError

TASKS: list[dict[str, str]] = json.loads(
    (Path(__file__).parent / "data" / "classified_tasks.json").read_text("utf-8")
)
# Classes that a careful person gave before the classifier was asked; it must agree on this many.
# The rest needs to know what a sentence is about, which no list of keywords can.
FLOOR = 71


@pytest.fixture
def classifier(backend_name: str) -> TaskClassifier:
    return TaskClassifier(backend=backend_name)


def test_as_the_sketch_uses_it(backend_name: str) -> None:
    classifier = TaskClassifier(backend=backend_name)
    task = {"type": "sync", "description": "Sync contacts with the server"}
    assert classifier.classify_task(task).task_class == "background"
    assert classifier.should_defer(task, 49)
    assert not classifier.should_defer(task, 50)
    assert "urgent" in classifier.critical_keywords
    assert "cleanup" in classifier.background_keywords
    assert "training" in classifier.charging_keywords


def test_score_on_realistic_descriptions(classifier: TaskClassifier) -> None:
    misses = []
    for task in TASKS:
        found = classifier.classify_task({k: task[k] for k in ("type", "description")})
        if found.task_class != task["class"]:
            misses.append(f"{task['class']}: {task['description']!r} -> {found}")
    assert len(TASKS) >= 60
    assert len(TASKS) - len(misses) >= FLOOR, "\n".join(misses)


@pytest.mark.parametrize(
    ("task", "task_class", "rule"),
    [
        ({}, "normal", "default"),
        ({"type": "training"}, "charging_only", "type 'training'"),
        ({"type": "User-Action"}, "critical", "type 'user_action'"),
        ({"type": "photoCache"}, "background", "keyword 'cache' in type"),
        (
            {"type": "sync", "description": "urgent"},
            "critical",
            "keyword 'urgent' in description",
        ),
        (
            {"description": "Full backup"},
            "charging_only",
            "keyword 'backup_full' in description (as 'full backup')",
        ),
        ({"description": "Backup"}, "background", "keyword 'backup' in description"),
        ({"requires_charging": True}, "charging_only", "requires_charging"),
        ({"can_background": True}, "background", "can_background"),
        ({"requires_charging": True, "can_background": True}, "charging_only", "requires_charging"),
        ({"requires_charging": True, "type": "training"}, "charging_only", "requires_charging"),
        ({"can_background": True, "type": "sync"}, "background", "can_background"),
        ({"can_background": True, "type": "training"}, "charging_only", "type 'training'"),
        ({"requires_charging": True, "type": "realtime"}, "critical", "type 'realtime'"),
        (
            {"description": "urgent", "task_class": "background"},
            "background",
            "class set by hand",
        ),
    ],
)
def test_class_and_rule(
    classifier: TaskClassifier, task: Mapping[str, Any], task_class: str, rule: str
) -> None:
    assert classifier.classify_task(task) == (task_class, rule)
    assert classifier.classify_task(Task(**task)) == (task_class, rule)


@pytest.mark.parametrize(
    "description",
    [
        "asynchronous upload",
        "non-critical",
        "Noncritical, uncritical",
        "not urgent",
        "This isn't urgent",
        "no longer critical",
        "nothing urgent",
        "nothing here is urgent",
        "neither urgent nor critical",
        "not urgent or critical",
        "no user action needed",
        "without cache",
        "not time-critical",
        "press release, indexical, recache",
    ],
)
def test_what_only_looks_like_a_keyword(classifier: TaskClassifier, description: str) -> None:
    assert classifier.classify_task({"description": description}) == ("normal", "default")


DEFERRED_BELOW = {"training": 100, "sync": 50, "report": 30}


@pytest.mark.parametrize("plugged", [None, False])
@pytest.mark.parametrize("task_type", DEFERRED_BELOW)
def test_should_defer_below_its_line(
    classifier: TaskClassifier, task_type: str, plugged: bool | None
) -> None:
    line = DEFERRED_BELOW[task_type]
    task = {"type": task_type}
    for level in range(101):
        assert classifier.should_defer(task, level, plugged) == (level < line), level
    assert classifier.should_defer(task, line - 0.001, plugged)
    assert classifier.should_defer(task, None, plugged), "an unknown level counts as 0"


@pytest.mark.parametrize("level", [0, 5, 99, None])
def test_should_defer_never(classifier: TaskClassifier, level: float | None) -> None:
    for task_type in (*DEFERRED_BELOW, "realtime"):
        assert not classifier.should_defer({"type": task_type}, level, plugged=True)
    assert not classifier.should_defer({"type": "realtime"}, level)


def test_levels_can_be_set(backend_name: str) -> None:
    levels = {"background": 75, TaskClass.NORMAL: 0}
    classifier = TaskClassifier(defer_below=levels, backend=backend_name)
    assert classifier.should_defer({"type": "sync"}, 74)
    assert not classifier.should_defer({"type": "sync"}, 75)
    assert not classifier.should_defer({}, 0)
    assert classifier.should_defer({"type": "training"}, 99), "what is left out keeps its default"


def test_keywords_and_types_can_be_set(backend_name: str) -> None:
    classifier = TaskClassifier(
        critical_keywords=["Notruf", "panic_button"],
        background_keywords=["sync", "Vorschaubilder"],
        types={**TYPES, "invoice": "critical", "cache-lookup": "normal"},
        word_forms={"Notruf": ["Notrufe"]},
        backend=backend_name,
    )

    def class_of(description: str, task_type: str = "") -> str:
        task = {"type": task_type, "description": description}
        return classifier.classify_task(task).task_class

    assert class_of("NOTRUFE weiterleiten") == "critical"
    assert class_of("the panic button was pressed") == "critical"
    assert class_of("critical") == "normal"
    assert class_of("vorschaubilder neu rechnen") == "background"
    assert class_of("sync") == "background"
    assert class_of("syncing") == "normal", "forms were replaced too"
    assert class_of("", "Invoice") == "critical"
    assert class_of("", "cache lookup") == "normal"


def test_a_keyword_has_its_forms_in_any_notation(backend_name: str) -> None:
    classifier = TaskClassifier(
        critical_keywords=["Full Backup", "backupFull"], charging_keywords=[], backend=backend_name
    )
    found = classifier.classify_task({"description": "full backups"})
    assert found == ("critical", "keyword 'backupFull' in description (as 'full backups')")


def test_phrases_that_say_nothing(backend_name: str) -> None:
    classifier = TaskClassifier(
        normal_keywords=["training wheels", "urgent care"], backend=backend_name
    )
    assert classifier.classify_task({"description": "Order training wheels"}) == (
        "normal",
        "keyword 'training wheels' in description",
    )
    assert (
        classifier.classify_task({"description": "Urgent care directory sync"}).task_class
        == "background"
    )


def test_negation_in_another_language(backend_name: str) -> None:
    classifier = TaskClassifier(
        critical_keywords=["dringend"],
        negation=Negation(("nicht", "kein"), ("so", "sehr"), ("oder",)),
        backend=backend_name,
    )
    assert classifier.classify_task({"description": "dringend"}).task_class == "critical"
    for description in ("nicht so dringend", "nicht dringend oder dringend"):
        assert classifier.classify_task({"description": description}).task_class == "normal"


class TestUserWaits:
    def test_for_a_name(self, classifier: TaskClassifier) -> None:
        export = {"id": "export-7", "type": "sync"}
        wait = classifier.user_waits_for("export-7")
        assert classifier.classify_task(export) == ("critical", "the user is waiting for it")
        assert not classifier.should_defer(export, 3)
        assert classifier.classify_task({"id": "export-8", "type": "sync"}).task_class == (
            "background"
        )
        wait.done()
        wait.done()
        assert classifier.classify_task(export).task_class == "background"

    @pytest.mark.parametrize("field", ["id", "key", "name"])
    def test_under_each_of_its_names(self, classifier: TaskClassifier, field: str) -> None:
        with classifier.user_waits_for("inbox"):
            assert classifier.classify_task({field: "inbox"}).task_class == "critical"
        assert classifier.classify_task({field: "inbox"}).task_class == "normal"

    def test_twice_ends_with_the_last(self, classifier: TaskClassifier) -> None:
        with classifier.user_waits_for("inbox"):
            with classifier.user_waits_for("inbox"):
                pass
            assert classifier.classify_task({"id": "inbox"}).task_class == "critical"

    def test_for_a_task(self, classifier: TaskClassifier) -> None:
        task = Task(type="sync", created_s=0)
        with classifier.user_waits_for(task):
            assert classifier.classify_task(task).task_class == "critical"
            other = Task(type="sync", created_s=1)
            assert classifier.classify_task(other).task_class == "background"

    def test_for_what_a_predicate_says(self, classifier: TaskClassifier) -> None:
        with classifier.user_waits_for(lambda task: task.get("screen") == "inbox"):
            assert classifier.classify_task({"screen": "inbox"}).task_class == "critical"
            assert classifier.classify_task({"screen": "map"}).task_class == "normal"

    def test_does_not_overrule_a_hand_set_class(self, classifier: TaskClassifier) -> None:
        with classifier.user_waits_for("a"):
            task = {"id": "a", "task_class": "background"}
            assert classifier.classify_task(task).task_class == "background"

    def test_a_predicate_that_fails_is_named(self, classifier: TaskClassifier) -> None:
        def broken(task: object) -> bool:
            raise KeyError("screen")

        with (
            classifier.user_waits_for(broken),
            pytest.raises(TaskError, match=r"user_waits_for: .*broken.* failed: KeyError"),
        ):
            classifier.classify_task({})
        assert classifier.classify_task({}).task_class == "normal"

    def test_for_nothing_that_can_be_waited_for(self, classifier: TaskClassifier) -> None:
        with pytest.raises(ConfigError, match="user_waits_for: 7 is neither"):
            classifier.user_waits_for(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": 5}, "type is 5"),
        ({"type": None}, "type is None"),
        ({"description": b"sync"}, "description is b'sync'"),
        ({"task_class": "chargingonly"}, "task_class is 'chargingonly'; it must be one of"),
        ({"requires_charging": "yes"}, "requires_charging is 'yes'"),
        (["sync"], "neither a Task nor a mapping"),
    ],
)
def test_a_task_described_wrongly(
    classifier: TaskClassifier, task: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        classifier.classify_task(task)
    assert classifier.classify_task({"type": "sync"}).task_class == "background"


@pytest.mark.parametrize("level", [130, -1, float("nan"), float("inf"), "50", True])
def test_a_level_that_is_none(classifier: TaskClassifier, level: Any) -> None:
    with pytest.raises(ConfigError, match=r"battery_percent: .* is no percentage"):
        classifier.should_defer({}, level)


def test_plugged_that_is_no_truth(classifier: TaskClassifier) -> None:
    with pytest.raises(ConfigError, match="plugged: 1 is neither True, False nor None"):
        classifier.should_defer({}, 50, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"critical_keywords": ["now", 5]}, r"critical_keywords\[1\]: 5 is no text"),
        ({"charging_keywords": "training"}, "charging_keywords: 'training' is no list"),
        ({"background_keywords": None}, "background_keywords: None is no list"),
        ({"background_keywords": ["--"]}, r"background_keywords\[0\]: '--' holds no letter"),
        ({"normal_keywords": [b"x"]}, r"normal_keywords\[0\]: b'x' is no text"),
        ({"types": ["sync"]}, "types: .* is no mapping"),
        ({"types": {"sync": "later"}}, r"types\['sync'\]: 'later' is no class; known are critical"),
        ({"types": {"sync": []}}, r"types\['sync'\]: \[\] is no class"),
        ({"types": {7: "normal"}}, r"types\[0\]: 7 is no text"),
        ({"word_forms": {"sync": "syncs"}}, r"word_forms\['sync'\]: 'syncs' is no list"),
        ({"word_forms": {"sync": [1]}}, r"word_forms\['sync'\]\[0\]: 1 is no text"),
        ({"word_forms": 3}, "word_forms: 3 is no mapping"),
        ({"negation": ("not",)}, "negation: .* is no Negation"),
        ({"negation": Negation(("not at all",))}, r"negation.negators\[0\]: .* is not one word"),
        ({"defer_below": {"background": 130}}, "defer_below.background: 130 is no percentage"),
        ({"defer_below": {"normal": float("nan")}}, "defer_below.normal: nan is no percentage"),
        ({"defer_below": {"later": 5}}, "defer_below: 'later' is no class"),
        ({"defer_below": {"critical": 5}}, "defer_below: critical work is never deferred"),
        ({"defer_below": 50}, "defer_below: 50 is no mapping"),
        ({"backend": "rust"}, "unknown backend 'rust'"),
    ],
)
def test_a_vocabulary_that_cannot_be_used(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskClassifier(**arguments)
