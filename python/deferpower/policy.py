"""Policy as a file: every number and word that deciding uses, from TOML, checked key by key."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deferpower.classifier import (
    BACKGROUND_KEYWORDS,
    CHARGING_KEYWORDS,
    CRITICAL_KEYWORDS,
    DEFER_BELOW,
    TYPES,
    TaskClassifier,
)
from deferpower.device import Device
from deferpower.errors import ConfigError
from deferpower.processing import BATTERY_THRESHOLDS, BatteryAwareProcessor
from deferpower.resources import ResourceConstrainedProcessor
from deferpower.scheduler import IntelligentScheduler
from deferpower.thresholds import SyncLines, Thresholds, is_number
from deferpower.types import IdleRules

FILE_NAME = "deferpower.toml"

_RESOURCE_NAMES = ("memory_threshold", "cpu_threshold", "disk_threshold")
_NO_PRESSURE = 1.0
"""The threshold that leaves the kernel's pressure figure out."""
# On battery at or below it nothing but critical work runs: one line, for rules and profile alike.
_SHARED = "suspend_non_critical"


def _defaults() -> dict[str, dict[str, Any]]:
    thresholds = {
        field.name: field.default
        for field in dataclasses.fields(Thresholds)
        if field.name not in (*_RESOURCE_NAMES, "idle")
    }
    return {
        "scheduling": thresholds,
        "idle": IdleRules()._asdict(),
        "resources": {
            **{name: getattr(Thresholds(), name) for name in _RESOURCE_NAMES},
            # Looked at by `ResourceConstrainedProcessor` alone; a file has no word for "none".
            "pressure_threshold": _NO_PRESSURE,
        },
        "processing": {
            name: value for name, value in BATTERY_THRESHOLDS.items() if name != _SHARED
        },
        "sync": SyncLines()._asdict(),
        "classifier": {
            "critical_keywords": list(CRITICAL_KEYWORDS),
            "charging_keywords": list(CHARGING_KEYWORDS),
            "background_keywords": list(BACKGROUND_KEYWORDS),
            "normal_keywords": [],
        },
        "classifier.types": {name: str(value) for name, value in TYPES.items()},
        "classifier.defer_below": {str(name): value for name, value in DEFER_BELOW.items()},
    }


_OPEN_TABLES = ("classifier.types",)
"""Tables whose keys are the user's own; they replace the default ones whole."""


class Policy:
    """Everything that can be tuned, as one value; makes the systems that are tuned by it.

    Attributes:
        path: the file that it was read from; ``None`` for the defaults alone.
        thresholds: where deciding draws its lines, and what counts as idle.
        sync_lines: from which level on items of each priority are sent.
    """

    def __init__(self, text: str = "", path: Path | None = None) -> None:
        """Take in a policy.

        Args:
            text: TOML; what it leaves out keeps its default.
            path: where the text came from, for messages.

        Raises:
            ConfigError: the text is no TOML, a key is unknown, or a value cannot be used; the
                message names the file and the key's path.
        """
        self.path = path
        self._tables = _defaults()
        self._given: set[tuple[str, str]] = set()
        if text:
            self._take(self._parsed(text), "")
        tables = self._tables
        with self._naming("idle"):
            idle = _idle_rules(tables["idle"])
        with self._naming("scheduling", "resources"):
            lines = {name: tables["resources"][name] for name in _RESOURCE_NAMES}
            self.thresholds = Thresholds(**tables["scheduling"], **lines, idle=idle)
        with self._naming("sync"):
            self.sync_lines = _sync_lines(tables["sync"])
        # Made once now, so that a bad value shows when the file is read.
        with self._naming("classifier"):
            classifier = self.classifier()
        with self._naming("processing", "scheduling"):
            self.processor(classifier)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Policy:
        """The policy of a file.

        Args:
            path: the file; ``None`` takes ``deferpower.toml`` in the working directory, else
                ``deferpower/deferpower.toml`` in the user's configuration directory, else the
                defaults.

        Raises:
            ConfigError: the file cannot be read, or says something that cannot be used.
        """
        for candidate in _standard_places() if path is None else (Path(path),):
            try:
                return cls(candidate.read_bytes().decode(), candidate)
            except FileNotFoundError:
                if path is not None:
                    raise ConfigError(
                        f"policy: no file {os.fspath(path)!r}; name a TOML file"
                    ) from None
            except (OSError, UnicodeDecodeError) as error:
                reason = "it is not UTF-8"
                if isinstance(error, OSError):
                    reason = (error.strerror or str(error)).lower()
                raise ConfigError(
                    f"policy: cannot read {str(candidate)!r}: {reason}; name a TOML file"
                ) from None
        return cls()

    def classifier(self, backend: str | None = None) -> TaskClassifier:
        """A classifier by this policy.

        Args:
            backend: which one matches keywords, as for `Device`.
        """
        return TaskClassifier(
            **self._tables["classifier"],
            types=self._tables["classifier.types"],
            defer_below=self._tables["classifier.defer_below"],
            backend=backend,
        )

    def device(self, **arguments: Any) -> Device:
        """A device by this policy.

        Args:
            arguments: as for `Device`, ``idle_rules`` left out.
        """
        return Device(idle_rules=self.thresholds.idle, **arguments)

    def scheduler(
        self, device: Device | None = None, backend: str | None = None, **arguments: Any
    ) -> IntelligentScheduler:
        """A scheduler by this policy.

        Args:
            device: where readings come from; ``None`` makes one by this policy.
            backend: rules engine, as for `Device`; ``None`` takes the device's.
            arguments: as for `IntelligentScheduler`, ``thresholds`` left out.
        """
        arguments.setdefault("classifier", self.classifier(backend))
        return IntelligentScheduler(
            self.device(backend=backend) if device is None else device,
            backend,
            thresholds=self.thresholds,
            **arguments,
        )

    def processor(self, classifier: TaskClassifier | None = None) -> BatteryAwareProcessor:
        """A judge of how hard to work, by this policy.

        Args:
            classifier: tells the class of a task; ``None`` makes one by this policy.
        """
        suspend = self._tables["scheduling"][_SHARED]
        return BatteryAwareProcessor(
            battery_thresholds={**self._tables["processing"], _SHARED: suspend},
            hysteresis_points=self._tables["scheduling"]["hysteresis_points"],
            classifier=classifier or self.classifier(),
        )

    def resources(self, device: Device | None = None) -> ResourceConstrainedProcessor:
        """A judge of resources by this policy.

        Args:
            device: the machine; ``None`` opens one.
        """
        lines = dict(self._tables["resources"])
        if lines["pressure_threshold"] == _NO_PRESSURE:
            lines["pressure_threshold"] = None
        return ResourceConstrainedProcessor(**lines, device=device)

    def tables(self) -> dict[str, dict[str, tuple[Any, bool]]]:
        """Each effective value, and whether it is the default, by table and key."""
        return {
            table: {key: (value, (table, key) not in self._given) for key, value in values.items()}
            for table, values in self._tables.items()
        }

    def _complaint(self, message: str) -> ConfigError:
        return ConfigError(f"{self.path or 'policy'}: {message}")

    def _parsed(self, text: str) -> dict[str, Any]:
        import tomllib  # late: most programs have no policy of their own

        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
            raise self._complaint(f"no TOML: {error}") from None

    def _take(self, given: Mapping[str, Any], table: str) -> None:
        if table in _OPEN_TABLES:
            self._tables[table] = {}
        known = self._tables.get(table, {})
        for key, value in given.items():
            path = f"{table}.{key}" if table else key
            if path in self._tables:
                if not isinstance(value, dict):
                    raise self._complaint(f"{path}: {value!r} is no table; write [{path}]")
                self._take(value, path)
            elif table in _OPEN_TABLES or key in known:
                self._tables[table][key] = value
                self._given.add((table, key))
            else:
                names = ", ".join(known or [name for name in self._tables if "." not in name])
                raise self._complaint(f"{path}: unknown key; known here are {names}")

    @contextlib.contextmanager
    def _naming(self, *tables: str) -> Iterator[None]:
        """Complaints about values of these tables, with the file and the key's whole path."""
        try:
            yield
        except ConfigError as error:
            message = str(error).removeprefix("battery_thresholds.")
            key = message.partition(":")[0].partition("[")[0].partition(".")[0]
            for table in tables:
                if key in self._tables[table] or f"{table}.{key}" in self._tables:
                    raise self._complaint(f"{table}.{message}") from None
            raise  # about something else, such as the backend that is to match keywords


def _idle_rules(values: Mapping[str, Any]) -> IdleRules:
    for key, value in values.items():
        highest = 100.0 if key == "cpu_percent" else 1e15
        if not is_number(value) or not 0 <= value <= highest:
            raise ConfigError(f"{key}: {value!r} is no number from 0 to {highest:g}")
    return IdleRules(**values)


def _sync_lines(values: Mapping[str, Any]) -> SyncLines:
    for key, value in values.items():
        if not is_number(value) or not 0 <= value <= 100:
            raise ConfigError(f"{key}: {value!r} is no percentage from 0 to 100")
    if values["low_from"] < values["normal_from"]:
        raise ConfigError(
            f"low_from: {values['low_from']!r} is below normal_from, {values['normal_from']!r}"
        )
    return SyncLines(**values)


def _standard_places() -> tuple[Path, ...]:
    if os.name == "nt":
        base = os.environ.get("APPDATA")
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    here = Path(FILE_NAME)
    return (here, Path(base, "deferpower", FILE_NAME)) if base else (here,)
