"""What a contact's client cannot do, said in the chat.

The rule that must never break: a chat is told one thing at a time, and no message waits for it.
"""

from __future__ import annotations

import asyncio

import structlog

from dm_bridge.errors import BridgeError
from dm_bridge.ids import PortalKey, digest_id
from dm_bridge.matrix.formatting import notice, plain
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.signals import RemoteLimit
from dm_bridge.store.portals import PortalStore

log = structlog.get_logger(__name__)

MAX_CHATS = 100
"""Chats that are told at once; what is more is left out."""


class Limits:
    """Says it in the background, in chats that have a room."""

    def __init__(self, homeserver: Homeserver, portals: PortalStore) -> None:
        self._homeserver = homeserver
        self._portals = portals
        self._tasks: dict[PortalKey, asyncio.Task[None]] = {}

    def note(self, chat: PortalKey, limit: RemoteLimit) -> None:
        """A session says what the contact of ``chat`` does not get to see."""
        if chat not in self._tasks and len(self._tasks) < MAX_CHATS:
            task = asyncio.create_task(self._say(chat, limit), name=f"limit in {chat}")
            self._tasks[chat] = task
            task.add_done_callback(lambda _: self._tasks.pop(chat, None))

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _say(self, chat: PortalKey, limit: RemoteLimit) -> None:
        try:
            portal = await self._portals.get(chat)
            if portal is None or portal.room is None:
                return
            transaction = digest_id("limit", portal.room, limit.what)
            await self._homeserver.send(
                portal.room,
                "m.room.message",
                notice(plain(limit.text)),
                transaction,
                user=portal.ghost,
            )
        except BridgeError as error:
            log.info("a user could not be told what their contact cannot see", reason=str(error))
