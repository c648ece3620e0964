"""How fast lines are sent: a token bucket for each connection.

The rule that must never break: more than ``burst`` lines at once, or more than ``rate`` a second in the long run,
are never sent; servers end connections for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Pacer:
    """Callers wait in turn, so chats that each await their lines one by one take turns.

    ``rate``: lines a second; ``burst``: lines that may be sent at once after a pause.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._sleep = sleep
        self._tokens = float(burst)
        self._at = clock()
        self._turn = asyncio.Lock()

    @property
    def free(self) -> bool:
        """Whether nobody waits, and two lines could be sent at once, or as many as ever can."""
        return not self._turn.locked() and self._refill() >= min(2.0, self._burst)

    async def turn(self, cost: float = 1.0) -> None:
        """Return when ``cost`` lines may be sent."""
        async with self._turn:
            missing = cost - self._refill()
            while missing > 1e-9:
                await self._sleep(missing / self._rate)
                missing = cost - self._refill()
            self._tokens -= cost

    def turn_if_free(self) -> bool:
        """Take the turn for one line if the line is `free`: what follows need not wait for it."""
        free = self.free
        if free:
            self._tokens -= 1.0
        return free

    def _refill(self) -> float:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._tokens
