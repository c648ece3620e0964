"""How often something may be done.

The rule that must never break: never more than ``many`` at once, nor on average in ``seconds``; and what is
remembered of strangers is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_KNOWN = 10_000


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


class Allowances:
    """``many`` in ``seconds`` for each key; whose turn was longest ago is forgotten first."""

    def __init__(
        self, many: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._many = many
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, key: str) -> float:
        """Count one; 0, or after how many seconds there is one again."""
        allowance = self._known.pop(key, None)
        if allowance is None:
            allowance = Allowance(self._many, self._seconds, self._clock)
            if len(self._known) >= MAX_KNOWN:
                self._known.popitem(last=False)
        self._known[key] = allowance
        return 0.0 if allowance.allow() else max(allowance.seconds_left, 0.001)
