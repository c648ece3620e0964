"""Records what became of the messages of one chat, while the next ones are already on their way.

The rule that must never break: never a later message without those before it, because a room is read back only as
far as to the newest message that is recorded (`sent_before`).
"""

from __future__ import annotations

import asyncio

from dm_bridge.errors import StorageError
from dm_bridge.ids import PortalKey
from dm_bridge.store.inbox import InboxOutcome, InboxStore

BATCH = 10  # outcomes that are recorded together


class Recorder:
    """Records outcomes of one chat, in order, a few at a time."""

    def __init__(self, inbox: InboxStore, key: PortalKey) -> None:
        self._inbox = inbox
        self._key = key
        self._outcomes: list[InboxOutcome] = []
        self._batch: list[InboxOutcome] = []
        self._writing: asyncio.Future[None] | None = None

    async def add(self, outcome: InboxOutcome, *, at_once: bool) -> None:
        """Take an outcome; raises what an earlier write raised."""
        self._outcomes.append(outcome)
        if at_once or len(self._outcomes) >= BATCH:
            await self._written()
            self._write()

    async def flush(self) -> None:
        """Return once everything is recorded."""
        await self._written()
        if self._outcomes:
            self._write()
            await self._written()

    async def close(self) -> bool:
        """As far as possible record what is known, whatever ended the lane. Whether all of it is recorded."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            if self._writing.cancelled() or self._writing.exception() is not None:
                self._take_back()
        try:
            if self._outcomes:
                await self._inbox.finish(self._key, self._outcomes)
        except StorageError:
            return False
        return True

    def _write(self) -> None:
        self._batch, self._outcomes = self._outcomes, []
        self._writing = asyncio.ensure_future(self._inbox.finish(self._key, self._batch))

    def _take_back(self) -> None:
        self._outcomes, self._batch = self._batch + self._outcomes, []

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await writing
            except BaseException:
                self._take_back()
                raise
