"""Read receipts: the contact's network has a message, the contact has read it, or the user has, elsewhere.

A receipt stands for everything before it, so only the newest of a reader in a room is sent, one at a time; while
one is under way, the next waits in its place. They are a courtesy: one that fails is not repeated, and the next
makes up for it.

The rule that must never break: no message waits for a receipt, and there is at most one request for each reader in
a room, and `AT_ONCE` for all.
"""

from __future__ import annotations

import asyncio

import structlog

from dm_bridge.errors import BridgeError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.signals import mark_read

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Receipts under way at once."""
PAUSE = 0.5
"""Seconds between two receipts of a reader in a room: what comes meanwhile needs only one."""
MAX_WAITING = 1000
"""Readers whose receipt may wait; others get none for now."""

_Reader = tuple[RoomId, UserId]


class Receipts:
    """Sends them in the background."""

    def __init__(self, homeserver: Homeserver, accounts: Accounts) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._newest: dict[_Reader, EventId] = {}
        self._tasks: dict[_Reader, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def note(self, room: RoomId, event: EventId, ghost: UserId) -> None:
        """``ghost`` has ``event``, and what was sent before it."""
        self._note((room, ghost), event, own=False)

    def note_own(self, room: RoomId, event: EventId, user: UserId) -> None:
        """A user, for whom the bridge may act, has read ``event``, and what was sent before it."""
        self._note((room, user), event, own=True)

    def _note(self, reader: _Reader, event: EventId, *, own: bool) -> None:
        if reader in self._tasks or len(self._tasks) < MAX_WAITING:
            self._newest[reader] = event
        if reader in self._newest and reader not in self._tasks:
            name = f"{reader[0]}: receipts of {reader[1]}"
            self._tasks[reader] = asyncio.create_task(self._send(reader, own=own), name=name)

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, reader: _Reader, *, own: bool) -> None:
        room, user = reader
        try:
            while (event := self._newest.pop(reader, None)) is not None:
                async with self._slots:
                    if own:
                        await self._accounts.mark_read(user, room, event)
                    else:
                        await mark_read(self._homeserver, room, event, user)
                await asyncio.sleep(PAUSE)
        except BridgeError as error:
            log.info("a receipt could not be sent", room=room, user=user, reason=str(error))
        finally:
            self._newest.pop(reader, None)
            del self._tasks[reader]
