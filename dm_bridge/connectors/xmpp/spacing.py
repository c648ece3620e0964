"""Connections are built one after the other, however many logins start or come back at once.

slixmpp takes some 40 ms to build a client, in which nothing else runs.

The rule that must never break: between two of them the event loop does whatever else there is to do.
"""

from __future__ import annotations

import asyncio

BETWEEN = 0.01
"""Seconds between two, at least."""


class Spacing:
    """One for all sessions of a network."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Return when it is the caller's turn to build a client, at once."""
        async with self._turn:
            await asyncio.sleep(BETWEEN)
