"""Pings of the homeserver that came, also by way of another process behind the same address.

The rule that must never break: a ping counts only for the process that asked for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

KEPT = 16
ROUND_ABOUT = 3.0
"""Seconds in which a ping that reached another process is told to us."""


class Pings:
    """``name``: what our transaction ids begin with, and nobody else's. ``elsewhere``: takes the ids of others.

    ``patience``: for how many seconds to wait for one.
    """

    def __init__(
        self,
        name: str,
        elsewhere: Callable[[str], Awaitable[None]],
        patience: float = ROUND_ABOUT,
    ) -> None:
        self.name = name
        self._elsewhere = elsewhere
        self._patience = patience
        self._came: OrderedDict[str, asyncio.Event] = OrderedDict()

    async def came(self, transaction: str) -> None:
        """A ping came to our endpoint. Raises `StorageError`."""
        if transaction.startswith(self.name):
            self.note(transaction)
        else:
            await self._elsewhere(transaction)

    def note(self, transaction: str) -> None:
        """A ping that we asked for came, to us or to another process."""
        self._event(transaction).set()

    async def arrived(self, transaction: str) -> bool:
        """Whether the ping has come, or comes by way of another process."""
        try:
            async with asyncio.timeout(self._patience):
                await self._event(transaction).wait()
        except TimeoutError:
            return False
        return True

    def _event(self, transaction: str) -> asyncio.Event:
        event = self._came.setdefault(transaction, asyncio.Event())
        while len(self._came) > KEPT:
            self._came.popitem(last=False)
        return event
