"""How long to wait after failures."""

from __future__ import annotations

import random
from typing import NamedTuple

from deferpower.errors import ConfigError
from deferpower.sync.answers import LONGEST_PAUSE_S
from deferpower.thresholds import is_number


class Backoff(NamedTuple):
    """Exponential, with full jitter: many that failed at once come back spread out.

    Attributes:
        base_s: the longest wait after the first failure; doubled for each further one,
        cap_s: up to this.
    """

    base_s: float = 30.0
    cap_s: float = 18_000.0

    def check(self) -> None:
        """Nothing, if it can be used.

        Raises:
            ConfigError: it cannot.
        """
        for name, value in zip(("backoff_s", "backoff_cap_s"), self, strict=True):
            if not (is_number(value) and 0 < value <= LONGEST_PAUSE_S):
                raise ConfigError(
                    f"{name}: {value!r} is no number of seconds above 0, a day at most"
                )

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row, of at least 1.

        Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
        """
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        return random.uniform(0.0, longest_s)

    @property
    def longest_s(self) -> float:
        """No wait is longer: a later moment was written before the clock was set back."""
        return max(self.cap_s, LONGEST_PAUSE_S)
