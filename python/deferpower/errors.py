"""The one tree of errors. Both backends raise these classes.

Messages are lower case and say what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class DeferpowerError(Exception):
    """Anything that deferpower raises on purpose."""


class ConfigError(DeferpowerError, ValueError):
    """A value that the caller gave (argument, option, environment, policy) cannot be used."""


class SensorError(DeferpowerError, OSError):
    """A sensor exists but what it says cannot be read or understood; the message names the file.

    An absent sensor is never an error: its part of the reading is ``None``.
    """


class TaskError(DeferpowerError):
    """A task is described wrongly, or cannot be run as described."""


class StoreError(DeferpowerError):
    """The durable store cannot be opened, read or written."""


class QueueFull(DeferpowerError):
    """The bounded queue has no room for another item."""


class TargetError(DeferpowerError):
    """A sync target did not take what it was sent, or answered what cannot be understood."""
