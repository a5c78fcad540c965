"""From what a program says to what is kept: `Calls` makes specs and calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deferpower.errors import TaskError
from deferpower.task import Task, TaskClass
from deferpower.tasks.arguments import Arguments
from deferpower.tasks.function import Registry, TaskFunction
from deferpower.tasks.handle import Handle
from deferpower.tasks.intake import Call, OnConflict, checked_metadata, moment
from deferpower.tasks.payload import payload, to_json
from deferpower.tasks.spec import COMMAND, Spec

if TYPE_CHECKING:
    from deferpower.classifier import TaskClassifier

Placing = tuple[
    float,
    float | None,
    float | None,
    str | None,
    OnConflict,
    Iterable[Handle | int] | Handle | int,
    Mapping[str, Any] | None,
]
"""What a call says of its place in the queue, by the names and in the order of `_PLACING`."""

_PLACING = ("delay_s", "not_before_s", "deadline_s", "key", "on_conflict", "after", "metadata")
_ANYWHERE: Placing = (0.0, None, None, None, "keep", (), None)


class Calls:
    """Makes calls of the functions of one program."""

    def __init__(
        self, registry: Registry, classifier: TaskClassifier, wall_clock: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._classifier = classifier
        self._wall_clock = wall_clock
        self._taken: dict[str, Arguments] = {}

    def spec(self, name: str, *, task_class: TaskClass | str | None = None, **options: Any) -> Spec:
        """The spec of a function, by the options of ``task``.

        Raises:
            TaskError: an option is unknown or cannot be used.
        """
        try:
            if task_class is None:
                known = Task(
                    type=options.get("type", ""), description=options.get("description", "")
                )
                task_class = self._classifier.classify_task(known).task_class
            return Spec(name=name, task_class=_class(task_class), **options)
        except ValueError as error:
            raise TaskError(f"task {name}: {error}") from None
        except TypeError:
            unknown = sorted(set(options) - set(Spec.__slots__))
            raise TaskError(f"task {name}: {_unknown_option(unknown[0])}") from None

    def call(
        self,
        function: TaskFunction[..., Any] | str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        placing: Placing,
        changes: Mapping[str, Any],
    ) -> Call:
        """A call of a function, by the arguments of ``submit``.

        Args:
            function: what is called,
            args: with these positional arguments,
            kwargs: and these named ones.
            placing: where it goes in the queue.
            changes: of its spec.

        Raises:
            TaskError: an argument or an option cannot be used.
        """
        spec, life_s = self._of(function, changes)
        text = self.payload(function, spec.name, args, kwargs)
        # Most calls say nothing of their place, and would only be held up by being asked.
        if placing == _ANYWHERE:
            return Call(spec, text, life_s=life_s)
        return self._placed(spec, text, life_s, *placing)

    def payload(
        self,
        function: TaskFunction[..., Any] | str,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> str:
        """The arguments of a call as they are kept.

        Raises:
            TaskError: JSON cannot hold one of them, or a function that is known here takes others.
        """
        text = payload(name, args, kwargs)
        known = function if isinstance(function, TaskFunction) else self._registry.get(function)
        if known is not None:
            taken = self._taken.get(name)
            if taken is None:
                given = (None,) if known.pass_context else ()
                taken = self._taken[name] = Arguments(known.function, given)
            taken.check(name, args, kwargs)
        return text

    def many(self, function: TaskFunction[..., Any] | str, options: Mapping[str, Any]) -> Call:
        """A call without arguments, by the options of ``submit_many``.

        Raises:
            TaskError: an option cannot be used.
        """
        placing, changes = _parted(options)
        spec, life_s = self._of(function, changes)
        return self._placed(spec, "", life_s, **placing)

    def command(self, text: str, options: Mapping[str, Any]) -> Call:
        """A call of a command, by the options of ``submit_command``.

        Raises:
            TaskError: an option cannot be used.
        """
        placing, given = _parted(options)
        given = {"task_class": TaskClass.BACKGROUND, "max_attempts": 1, **given}
        return self._placed(self.spec(COMMAND, **given), text, None, **placing)

    def _placed(
        self,
        spec: Spec,
        text: str,
        life_s: float | None,
        delay_s: float = 0.0,
        not_before_s: float | None = None,
        deadline_s: float | None = None,
        key: str | None = None,
        on_conflict: OnConflict = "keep",
        after: Iterable[Handle | int] | Handle | int = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> Call:
        due_s = moment("not_before_s", not_before_s)
        if delay_s:
            if due_s is not None:
                raise TaskError("delay_s and not_before_s exclude each other")
            due_s = self._wall_clock() + (moment("delay_s", delay_s) or 0.0)
        if on_conflict not in ("keep", "replace", "append"):
            raise TaskError(f"on_conflict: {on_conflict!r} is none of keep, replace, append")
        if key is not None and (not isinstance(key, str) or not key):
            raise TaskError(f"key: {key!r} is no text, or an empty one")
        return Call(
            spec,
            text,
            due_s,
            life_s if deadline_s is None else moment("deadline_s", deadline_s),
            key,
            on_conflict,
            () if after == () else _ids(after),
            None if metadata is None else to_json("metadata", checked_metadata(metadata)),
            not_before_s,
        )

    def _of(
        self, function: TaskFunction[..., Any] | str, changes: Mapping[str, Any]
    ) -> tuple[Spec, float | None]:
        """The spec of a function, changed for a call, and the life of its tasks."""
        known = function if isinstance(function, TaskFunction) else self._registry.get(function)
        if known is None:
            if function == COMMAND:
                raise TaskError("submit: 'command' is no function; commands go to submit_command")
            if not isinstance(function, str):
                raise TaskError(f"submit: {function!r} is neither a task function nor its name")
            return self._changed(self.spec(function), changes), None
        return self._changed(known.once, changes), known.deadline_s

    def _changed(self, spec: Spec, changes: Mapping[str, Any]) -> Spec:
        if not changes:
            return spec
        fields = {name: getattr(spec, name) for name in Spec.__slots__} | {**changes}
        return self.spec(fields.pop("name"), **fields)


def _class(text: TaskClass | str) -> TaskClass:
    try:
        return TaskClass(text)
    except ValueError:
        known = ", ".join(TaskClass)
        raise ValueError(f"task_class is {text!r}; it must be one of {known}") from None


def _unknown_option(name: str) -> str:
    if name == "pass_context":
        return "pass_context belongs to the function; set it where @task makes it one"
    import difflib  # late: only who makes a mistake needs it

    known = [*Spec.__slots__, *_PLACING, "pass_context"]
    near = difflib.get_close_matches(name, known, n=1)
    return f"no such option: {name}" + (f"; did you mean {near[0]}?" if near else "")


def _parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that place a call in the queue, and those that change its spec."""
    placing = {name: options[name] for name in options if name in _PLACING}
    return placing, {name: value for name, value in options.items() if name not in placing}


def _ids(after: Iterable[Handle | int] | Handle | int) -> tuple[int, ...]:
    tasks = tuple(after) if isinstance(after, Iterable) else (after,)
    ids = tuple(task.id if isinstance(task, Handle) else task for task in tasks)
    for task_id in ids:
        if type(task_id) is not int:
            raise TaskError(f"after: {task_id!r} is neither a handle nor the number of a task")
    return ids
