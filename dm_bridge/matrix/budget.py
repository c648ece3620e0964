"""How much a homeserver takes: after a 429 nobody asks before it said so, and then not everybody at once.

The rule that must never break: between a 429 and the time that it names no request is begun, by whomever. Whoever
cannot wait that long is told, and has asked nothing.
"""

from __future__ import annotations

import asyncio

from dm_bridge.errors import HomeserverError
from dm_bridge.texts import phrase

SPACING = 0.02
"""Seconds between two requests when a limit has just ended."""
CAREFUL = 5.0
"""For how many seconds after its end."""


class Budget:
    """One homeserver's limit, for everybody in the process; by the clock of the loop."""

    def __init__(self) -> None:
        self._not_before = float("-inf")
        self._next = 0.0

    def limited(self, seconds: float) -> None:
        """The homeserver has said 429, and for how long."""
        now = asyncio.get_running_loop().time()
        self._not_before = max(self._not_before, now + seconds)

    async def wait(self, until: float) -> None:
        """Return when a request may be made. Raises `HomeserverError` when that is later than ``until``."""
        while True:
            now, limit = asyncio.get_running_loop().time(), self._not_before
            if now >= limit + CAREFUL:
                return
            at = max(now, limit, self._next)
            if at > until:
                raise HomeserverError(
                    phrase("homeserver-limits"),
                    status=429,
                    errcode="M_LIMIT_EXCEEDED",
                    certain=True,
                    retry_after=at - now,
                )
            self._next = at + SPACING
            if at > now:
                await asyncio.sleep(at - now)
            if limit == self._not_before:
                return
