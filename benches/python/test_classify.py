"""The class of one task from its description, hot: the whole call, and the backend's part of it."""

from __future__ import annotations

import importlib
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deferpower._contract import Backend
from deferpower.classifier import BACKGROUND_KEYWORDS, WORD_FORMS, Negation, TaskClassifier
from deferpower.task import Task

DESCRIPTION = "Full weekly backup of the documents folder, not urgent"
BACKGROUND = 2


@pytest.mark.benchmark(group="classify one task")
def test_classify_task(benchmark: BenchmarkFixture, backend: str) -> None:
    classifier = TaskClassifier(backend=backend)
    task = Task(type="job", description=DESCRIPTION, created_s=0)
    assert benchmark(classifier.classify_task, task).task_class == "background"


@pytest.mark.benchmark(group="classify one description, backend alone")
def test_matcher(benchmark: BenchmarkFixture, backend: str) -> None:
    module = cast(Backend, importlib.import_module(f"deferpower._{backend}"))
    phrases = [
        (form, BACKGROUND)
        for keyword in BACKGROUND_KEYWORDS
        for form in (keyword, *WORD_FORMS[keyword])
    ]
    words = Negation()
    negation = (words.negators, words.fillers, words.conjunctions)
    matcher = module.Matcher(phrases, [("sync", BACKGROUND)], negation)
    assert benchmark(matcher.classify, "job", DESCRIPTION)[0] == BACKGROUND
