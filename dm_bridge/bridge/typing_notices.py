"""Contacts that type, shown in Matrix.

The rule that must never break: nobody types for ever, and there is at most one request under way for each chat.
"""

from __future__ import annotations

import asyncio

import structlog

from dm_bridge.errors import BridgeError
from dm_bridge.ids import PortalKey
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.signals import set_typing
from dm_bridge.network.signals import TYPING_SECONDS
from dm_bridge.store.portals import PortalStore

log = structlog.get_logger(__name__)

MAX_CHATS = 1000
"""Chats in which something may be under way; in others nobody is shown to type for now."""
AT_ONCE = 4


class TypingNotices:
    """Sends them in the background, for chats that have a room."""

    def __init__(self, homeserver: Homeserver, portals: PortalStore) -> None:
        self._homeserver = homeserver
        self._portals = portals
        self._wanted: dict[PortalKey, bool] = {}
        self._types: dict[PortalKey, float] = {}
        self._tasks: dict[PortalKey, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def note(self, chat: PortalKey, typing: bool) -> None:
        """The contact of ``chat`` types, or has stopped."""
        if not typing and chat not in self._tasks and not self._is_shown(chat):
            return
        if chat in self._tasks or len(self._tasks) < MAX_CHATS:
            self._wanted[chat] = typing
        if chat in self._wanted and chat not in self._tasks:
            self._tasks[chat] = asyncio.create_task(self._show(chat), name=f"typing in {chat}")

    async def stop(self) -> None:
        """Give up what is under way; what is shown ends by itself."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_shown(self, chat: PortalKey) -> bool:
        return self._types.get(chat, 0.0) > asyncio.get_running_loop().time()

    async def _show(self, chat: PortalKey) -> None:
        try:
            portal = await self._portals.get(chat)
            while portal is not None and portal.room is not None and chat in self._wanted:
                typing = self._wanted.pop(chat)
                self._types.pop(chat, None)
                if typing:
                    now = asyncio.get_running_loop().time()
                    self._forget_old(now)
                    self._types[chat] = now + TYPING_SECONDS
                async with self._slots:
                    seconds = TYPING_SECONDS if typing else 0.0
                    await set_typing(self._homeserver, portal.room, portal.ghost, seconds)
        except BridgeError as error:
            log.info("it could not be shown that a contact types", reason=str(error))
        finally:
            self._wanted.pop(chat, None)
            del self._tasks[chat]

    def _forget_old(self, now: float) -> None:
        if len(self._types) >= MAX_CHATS:
            self._types = {chat: until for chat, until in self._types.items() if until > now}
