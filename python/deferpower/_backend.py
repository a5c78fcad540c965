"""Chooses the backend, once per process. The only module, beside the tests, that names either."""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, NamedTuple, cast

from deferpower.errors import ConfigError

if TYPE_CHECKING:
    from deferpower._contract import Backend

_CHOICES = ("auto", "native", "pure")


class Chosen(NamedTuple):
    """A backend, and in one phrase why it is this one."""

    module: Backend
    reason: str


def choose(wanted: str | None = None) -> Chosen:
    """The backend to use.

    Args:
        wanted: ``"auto"``, ``"native"`` or ``"pure"``; ``None`` takes what the environment
            variable ``DEFERPOWER_BACKEND`` says, else ``"auto"``: native where it is installed.

    Raises:
        ConfigError: the name is none of these, or the native module is wanted and not installed.
        ImportError: the native module is installed but broken. That is never passed over.
    """
    if wanted is not None:
        return _load(wanted, f"asked for by the program: {wanted}")
    wanted = os.environ.get("DEFERPOWER_BACKEND") or "auto"
    return _load(wanted, f"DEFERPOWER_BACKEND={wanted}")


@functools.cache
def _load(wanted: str, because: str) -> Chosen:
    if wanted not in _CHOICES:
        raise ConfigError(f"unknown backend {wanted!r} ({because}); use auto, native or pure")
    if wanted == "pure":
        return Chosen(_import("_pure"), because)
    try:
        native = _import("_native")
    except ModuleNotFoundError as error:
        # Only "there is none" is an answer; a module that is there and fails to load is a fault.
        if error.name != "deferpower._native":
            raise
        if wanted == "native":
            raise ConfigError(
                f"the native module is not installed ({because}); install deferpower where cargo "
                "is on the PATH, or use DEFERPOWER_BACKEND=pure"
            ) from None
        return Chosen(_import("_pure"), "the native module is not installed")
    return Chosen(native, "the native module is installed" if wanted == "auto" else because)


def _import(name: str) -> Backend:
    return cast("Backend", importlib.import_module(f"deferpower.{name}"))
