"""How often something may be done.

The rule that must never break: never more than ``many`` at once, nor on average in ``seconds``.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """So many of a thing in so many seconds."""

    def __init__(
        self, many: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = float(many)
        self._many = many
        self._rate = many / seconds
        self._clock = clock
        self._at = clock()

    @property
    def seconds_left(self) -> float:
        """Seconds until there is one; 0 when there is."""
        missing = 1 - self._left - (self._clock() - self._at) * self._rate
        return max(0.0, missing / self._rate)

    def allow(self) -> bool:
        """Whether there is one left; takes it."""
        now = self._clock()
        self._left = min(float(self._many), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
