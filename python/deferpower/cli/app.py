"""A program's own manager, by the name ``MODULE:ATTRIBUTE``."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from deferpower.errors import ConfigError
from deferpower.tasks.manager import BackgroundTaskManager


def load(name: str) -> BackgroundTaskManager:
    """Import a module, from the working directory too, and take its manager.

    Raises:
        ConfigError: there is no such module or attribute, importing it failed, or the attribute is
            no manager on a file.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise ConfigError(f"--app: {name!r} is no name; write it like agent:tasks")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: object = _import(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, BackgroundTaskManager):
        what = "is not there" if found is None else f"is a {type(found).__name__}"
        raise ConfigError(
            f"--app: {path!r} of {module_name} {what}; name a BackgroundTaskManager of the module"
        )
    if found.path is None:
        raise ConfigError(
            f"--app: {name} keeps its tasks in memory, where no other process can add any; "
            "give it a file"
        )
    return found


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
            raise ConfigError(
                f"--app: there is no module {name!r} in the working directory or on Python's path; "
                "go to its directory, or set PYTHONPATH"
            ) from None
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        kind = type(error).__name__
        raise ConfigError(f"--app: importing {name!r} failed{where}: {kind}: {error}") from None
