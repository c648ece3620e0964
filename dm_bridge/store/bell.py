"""Hearing at once that there is something to do, where the database can tell; else looking often.

The rule that must never break: a bell is a convenience. Nothing depends on its being heard: whoever waits for it
looks for themselves after some time.
"""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from dm_bridge.store.database import CONNECT_DEADLINE, TROUBLE, Database

log = structlog.get_logger(__name__)

DEAF = 0.25
"""Seconds between two looks while nothing can be heard."""
TRY_AGAIN = 5.0


class Bell:
    """Rings when ``channel`` is notified. `hear` must run."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._rung = asyncio.Event()
        self._hears = False

    async def wait(self, longest: float) -> None:
        """Return when it has rung, or after ``longest`` seconds; sooner while nothing can be heard."""
        try:
            async with asyncio.timeout(longest if self._hears else min(longest, DEAF)):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()

    async def hear(self) -> None:
        """Until cancelled, listen. Behind a pooler that shares connections nothing can be heard."""
        if self._database.pooled:
            return
        while True:
            try:
                await self._listen()
            except (asyncpg.PostgresError, *TROUBLE) as error:
                log.info("notices of other processes cannot be heard", reason=str(error))
            await asyncio.sleep(TRY_AGAIN)

    async def _listen(self) -> None:
        ended = asyncio.Event()
        connection = await self._database.connect_alone()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(self._channel, lambda *_: self._rung.set())
            self._hears = True
            self._rung.set()  # what came before could not be heard
            await ended.wait()
        finally:
            self._hears = False
            await connection.close(timeout=CONNECT_DEADLINE)
