"""How a task is to be treated when power is scarce, told from its type and its own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, TypeAlias

from deferpower import _backend
from deferpower._contract import NegationRow
from deferpower.errors import ConfigError, TaskError
from deferpower.task import Task, TaskClass
from deferpower.thresholds import is_number

AnyTask: TypeAlias = Task | Mapping[str, Any]
"""A `Task`, or a mapping with its attributes by name."""

CRITICAL_KEYWORDS: Final = (
    "user_action",
    "ui_response",
    "critical",
    "urgent",
    "realtime",
    "interactive",
)
CHARGING_KEYWORDS: Final = (
    "heavy_processing",
    "training",
    "download_large",
    "backup_full",
    "reindex",
)
BACKGROUND_KEYWORDS: Final = (
    "sync",
    "cleanup",
    "cache",
    "preload",
    "index",
    "backup",
    "compress",
    "analyze",
)
TYPES: Final[Mapping[str, TaskClass]] = MappingProxyType(
    {
        "user_action": TaskClass.CRITICAL,
        "ui_response": TaskClass.CRITICAL,
        "realtime": TaskClass.CRITICAL,
        "interactive": TaskClass.CRITICAL,
        "training": TaskClass.CHARGING_ONLY,
        "heavy_processing": TaskClass.CHARGING_ONLY,
        "sync": TaskClass.BACKGROUND,
        "cleanup": TaskClass.BACKGROUND,
    }
)
DEFER_BELOW: Final[Mapping[TaskClass, float]] = MappingProxyType(
    {TaskClass.CHARGING_ONLY: 100, TaskClass.BACKGROUND: 50, TaskClass.NORMAL: 30}
)

WORD_FORMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        keyword: tuple(forms.split(", "))
        for keyword, forms in {
            # Adjectives: the adverb, and in two words what people write in one.
            "critical": "critically",
            "urgent": "urgently",
            "interactive": "interactively",
            "realtime": "real time",
            # Noun and noun: the plural.
            "user_action": "user actions",
            "ui_response": "ui responses",
            # Noun and adjective: either order, and the plural.
            "heavy_processing": "processing heavy",
            "download_large": "downloads large, downloading large, downloaded large, "
            "large download, large downloads",
            "backup_full": "backups full, back up full, full backup, full backups, full back up",
            # "train" alone is more often the railway; with an article after it, it is the verb.
            "training": "trainings, train a, train an, train the, trains a, trains an, trains the, "
            "retrain, retrains, retrained, retraining",
            # Verbs: third person, past, participle; the noun made of them; British spelling;
            # in two words what people write in one.
            "reindex": "reindexes, reindexed, reindexing, "
            "re index, re indexes, re indexed, re indexing",
            "sync": "syncs, synced, syncing, synch, synchs, synched, synching, "
            "synchronize, synchronizes, synchronized, synchronizing, synchronization, "
            "synchronise, synchronises, synchronised, synchronising, synchronisation",
            "cleanup": "cleanups, clean up, clean ups, cleans up, cleaned up, cleaning up",
            "cache": "caches, cached, caching",
            "preload": "preloads, preloaded, preloading, "
            "pre load, pre loads, pre loaded, pre loading",
            "index": "indexes, indices, indexed, indexing",
            "backup": "backups, back up, back ups, backs up, backed up, backing up",
            "compress": "compresses, compressed, compressing, compression",
            "analyze": "analyzes, analyzed, analyzing, analysis, "
            "analyse, analyses, analysed, analysing",
        }.items()
    }
)
"""A keyword stands for itself and these. One that is not listed stands for itself alone."""


class Negation(NamedTuple):
    """Words that take back what follows. English; give your own for other languages.

    Attributes:
        negators: negate the next words, up to the end of the clause.
        fillers: up to three may stand between ("not at all that urgent").
        conjunctions: carry a negation over to the next keyword ("not urgent or critical").
    """

    negators: tuple[str, ...] = (
        *("no", "non", "not", "nor", "never", "neither", "nothing", "none", "cannot", "without"),
        *("ain't", "isn't", "aren't", "wasn't", "weren't", "don't", "doesn't", "didn't", "can't"),
        *("won't", "wouldn't", "shouldn't", "needn't", "mustn't", "hardly", "less", "least"),
    )
    fillers: tuple[str, ...] = (
        *("a", "an", "the", "any", "this", "that", "these", "those", "it", "here", "there"),
        *("is", "are", "was", "be", "been", "being", "need", "needs", "require", "requires"),
        *("all", "at", "as", "in", "so", "to", "too", "very", "really", "particularly", "overly"),
        *("terribly", "longer", "more", "much", "way", "yet", "time", "mission"),
    )
    conjunctions: tuple[str, ...] = ("or",)


class Classification(NamedTuple):
    """The class of a task, and why.

    Attributes:
        task_class: the class.
        rule: what decided, in words: ``class set by hand``, ``the user is waiting for it``,
            ``type 'training'``, ``keyword 'backup_full' in description (as 'full backup')``,
            ``requires_charging``, ``can_background`` or ``default``.
    """

    task_class: TaskClass
    rule: str


_CLASSES = (
    TaskClass.CRITICAL,
    TaskClass.CHARGING_ONLY,
    TaskClass.BACKGROUND,
    TaskClass.NORMAL,
)
_CHARGING_ONLY, _BACKGROUND = 1, 2
_SOURCES = ("", "type", "description", "type")
_FROM_TYPES = 1


class TaskClassifier:
    """Tells the class of a task. SEMANTICS.md, "Classifying", says how.

    May be shared by threads.
    """

    def __init__(
        self,
        *,
        critical_keywords: Iterable[str] = CRITICAL_KEYWORDS,
        charging_keywords: Iterable[str] = CHARGING_KEYWORDS,
        background_keywords: Iterable[str] = BACKGROUND_KEYWORDS,
        normal_keywords: Iterable[str] = (),
        types: Mapping[str, TaskClass | str] = TYPES,
        word_forms: Mapping[str, Iterable[str]] = WORD_FORMS,
        negation: Negation = Negation(),  # noqa: B008 (immutable)
        defer_below: Mapping[TaskClass, float] | Mapping[str, float] = DEFER_BELOW,
        backend: str | None = None,
    ) -> None:
        """Take in the vocabulary. Each argument replaces its default whole, but ``defer_below``.

        Args:
            critical_keywords: words and phrases of work that a person waits for.
            charging_keywords: those of work that is too heavy for the battery.
            background_keywords: those of work that can wait.
            normal_keywords: phrases that say nothing of a task, such as "training wheels"; they
                hide the shorter keywords in them.
            types: the class of each type of task; its words are then not searched for keywords.
            word_forms: other forms of a keyword.
            negation: words that take back a keyword.
            defer_below: by class, the battery percentage below which `should_defer` defers.
            backend: as for `Device`.

        Raises:
            ConfigError: a value has the wrong type or is out of range; the message names it.
        """
        module = _backend.choose(backend).module
        self._words = module.words
        self.critical_keywords = self._checked("critical_keywords", critical_keywords)
        self.charging_keywords = self._checked("charging_keywords", charging_keywords)
        self.background_keywords = self._checked("background_keywords", background_keywords)
        self.normal_keywords = self._checked("normal_keywords", normal_keywords)
        self.types: Mapping[str, TaskClass] = MappingProxyType(self._checked_types(types))
        forms = self._checked_forms(word_forms)
        self.defer_below: Mapping[TaskClass, float] = MappingProxyType(_checked_levels(defer_below))
        phrases: list[tuple[str, int]] = []
        self._keywords: list[tuple[str, str]] = []  # of each phrase: its keyword, the form it is
        for task_class, keywords in enumerate(
            (
                self.critical_keywords,
                self.charging_keywords,
                self.background_keywords,
                self.normal_keywords,
            )
        ):
            for keyword in keywords:
                for form in (keyword, *forms.get(self._key(keyword), ())):
                    phrases.append((form, task_class))
                    self._keywords.append((keyword, form))
        self._type_names = tuple(self.types)
        self._matcher = module.Matcher(
            phrases,
            [(name, _CLASSES.index(task_class)) for name, task_class in self.types.items()],
            self._checked_negation(negation),
        )
        self._waits: dict[UserWait, Callable[[Any], object]] = {}

    def classify_task(self, task: AnyTask) -> Classification:
        """The class of a task, and the rule that gave it.

        Args:
            task: a `Task`, or a mapping with the names of its attributes.

        Raises:
            TaskError: the task is described wrongly; or a predicate of `user_waits_for` failed.

        Cost: a few microseconds, and time linear in the description.
        """
        known = Task.of(task)
        if known.task_class is not None:
            return Classification(known.task_class, "class set by hand")
        if self._waits and self._is_waited_for(task):
            return Classification(TaskClass.CRITICAL, "the user is waiting for it")
        found, source, place = self._matcher.classify(known.type, known.description)
        if known.requires_charging and found >= _CHARGING_ONLY:
            return Classification(TaskClass.CHARGING_ONLY, "requires_charging")
        if known.can_background and found >= _BACKGROUND:
            return Classification(TaskClass.BACKGROUND, "can_background")
        return Classification(_CLASSES[found], self._rule(source, place))

    def should_defer(
        self, task: AnyTask, battery_percent: float | None, plugged: bool | None = None
    ) -> bool:
        """Whether the battery is too low for a task of this class.

        The level alone decides here; `IntelligentScheduler.schedule_task` weighs everything.

        Args:
            task: the task.
            battery_percent: 0-100; ``None`` for unknown, which counts as 0.
            plugged: on external power, or there is no battery: then nothing is deferred.
                Unknown counts as on battery.

        Raises:
            ConfigError: the level is no percentage, or ``plugged`` neither a bool nor ``None``.
            TaskError: as for `classify_task`.
        """
        level = checked_level(battery_percent, plugged)
        task_class = self.classify_task(task).task_class
        if plugged or task_class is TaskClass.CRITICAL:
            return False
        return level < self.defer_below[task_class]

    def user_waits_for(self, what: str | Task | Callable[[Any], object]) -> UserWait:
        """Take a task for critical, because the user is waiting for it.

            with classifier.user_waits_for("export-7"):
                ...

        Args:
            what: the ``id``, ``key`` or ``name`` of the task; or the `Task`; or a predicate that is
                asked with each task as it was given to the classifier.

        Returns:
            A handle; the wait lasts until its `UserWait.done`, or the end of its ``with`` block.

        Raises:
            ConfigError: ``what`` is none of these.
        """
        applies: Callable[[Any], object]
        if isinstance(what, str):
            applies = lambda task: what in _names(task)  # noqa: E731
        elif isinstance(what, Task):
            applies = lambda task: task == what  # noqa: E731
        elif callable(what):
            applies = what
        else:
            raise ConfigError(
                f"user_waits_for: {what!r} is neither the name of a task, nor a Task, "
                "nor a predicate"
            )
        wait = UserWait(self._waits)
        self._waits[wait] = applies
        return wait

    def _is_waited_for(self, task: AnyTask) -> bool:
        for applies in list(self._waits.values()):
            try:
                if applies(task):
                    return True
            except Exception as error:
                raise TaskError(f"user_waits_for: {applies!r} failed: {error!r}") from error
        return False

    def _rule(self, source: int, place: int) -> str:
        if place < 0:
            return "default"
        if source == _FROM_TYPES:
            return f"type {self._type_names[place]!r}"
        keyword, form = self._keywords[place]
        rule = f"keyword {keyword!r} in {_SOURCES[source]}"
        return rule if form == keyword else f"{rule} (as {form!r})"

    def _key(self, text: str) -> str:
        return " ".join(self._words(text)[0])

    def _checked(self, name: str, texts: Iterable[str]) -> tuple[str, ...]:
        """The texts, if they are texts that hold words."""
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise ConfigError(f"{name}: {texts!r} is no list of texts")
        texts = tuple(texts)
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise ConfigError(f"{name}[{place}]: {text!r} is no text")
            if not self._words(text)[0]:
                raise ConfigError(f"{name}[{place}]: {text!r} holds no letter or digit")
        return texts

    def _checked_forms(self, forms: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
        if not isinstance(forms, Mapping):
            raise ConfigError(f"word_forms: {forms!r} is no mapping from keyword to forms")
        self._checked("word_forms", forms)
        return {
            self._key(keyword): self._checked(f"word_forms[{keyword!r}]", listed)
            for keyword, listed in forms.items()
        }

    def _checked_types(self, types: Mapping[str, TaskClass | str]) -> dict[str, TaskClass]:
        if not isinstance(types, Mapping):
            raise ConfigError(f"types: {types!r} is no mapping from type to class")
        self._checked("types", types)
        return {name: _class_of(f"types[{name!r}]", value) for name, value in types.items()}

    def _checked_negation(self, negation: Negation) -> NegationRow:
        if not isinstance(negation, Negation):
            raise ConfigError(f"negation: {negation!r} is no Negation(...)")
        for name, listed in zip(negation._fields, negation, strict=True):
            for place, text in enumerate(self._checked(f"negation.{name}", listed)):
                if len(self._words(text)[-1]) != 1:
                    raise ConfigError(f"negation.{name}[{place}]: {text!r} is not one word")
        return negation.negators, negation.fillers, negation.conjunctions


class UserWait:
    """A wait of the user that was reported. Leaving its ``with`` block ends it."""

    __slots__ = ("_waits",)

    def __init__(self, waits: dict[UserWait, Callable[[Any], object]]) -> None:
        self._waits = waits

    def done(self) -> None:
        """End the wait; the task is judged by its own words again."""
        self._waits.pop(self, None)

    def __enter__(self) -> UserWait:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.done()


def checked_level(battery_percent: float | None, plugged: bool | None) -> float:
    """The battery level to decide by: an unknown one counts as 0.

    Raises:
        ConfigError: the level is no percentage, or ``plugged`` neither a bool nor ``None``.
    """
    if plugged is not None and not isinstance(plugged, bool):
        raise ConfigError(f"plugged: {plugged!r} is neither True, False nor None")
    if battery_percent is None:
        return 0.0
    if not is_number(battery_percent) or not 0 <= battery_percent <= 100:
        raise ConfigError(f"battery_percent: {battery_percent!r} is no percentage from 0 to 100")
    return battery_percent


def _class_of(name: str, value: TaskClass | str) -> TaskClass:
    try:
        return TaskClass(value)
    except ValueError:
        known = ", ".join(TaskClass)
        raise ConfigError(f"{name}: {value!r} is no class; known are {known}") from None


def _checked_levels(
    levels: Mapping[TaskClass, float] | Mapping[str, float],
) -> dict[TaskClass, float]:
    if not isinstance(levels, Mapping):
        raise ConfigError(f"defer_below: {levels!r} is no mapping from class to percentage")
    checked = dict(DEFER_BELOW)
    for name, level in levels.items():
        task_class = _class_of("defer_below", name)
        if task_class is TaskClass.CRITICAL:
            raise ConfigError("defer_below: critical work is never deferred; leave it out")
        if not is_number(level) or not 0 <= level <= 100:
            raise ConfigError(f"defer_below.{name}: {level!r} is no percentage from 0 to 100")
        checked[task_class] = level
    return checked


def _names(task: AnyTask) -> tuple[object, ...]:
    if isinstance(task, Mapping):
        return tuple(task.get(name) for name in ("id", "key", "name"))
    return tuple(getattr(task, name, None) for name in ("id", "key", "name"))
