"""Read receipts of ghosts: the contact's network has the message.

A receipt stands for everything before it, so only the newest of a room is sent, one at a time; while one is
under way, the next waits in its place. They are a courtesy: one that fails is not repeated, and the next makes up
for it.

The rule that must never break: no message waits for a receipt, and there is at most one request for each room, and
`AT_ONCE` for all rooms.
"""

from __future__ import annotations

import asyncio

import structlog
from mautrix.api import Path

from dm_bridge.errors import BridgeError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Receipts under way at once."""
DEADLINE = 10.0
PAUSE = 0.5
"""Seconds between two receipts in a room: what is delivered meanwhile needs only one."""
MAX_ROOMS = 1000
"""Rooms whose receipt may wait; others get none for now."""


class Receipts:
    """Sends them in the background."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._newest: dict[RoomId, tuple[EventId, UserId]] = {}
        self._tasks: dict[RoomId, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def note(self, room: RoomId, event: EventId, ghost: UserId) -> None:
        """The network of ``ghost`` has ``event``, and what was sent before it."""
        if room in self._tasks or len(self._tasks) < MAX_ROOMS:
            self._newest[room] = event, ghost
        if room in self._newest and room not in self._tasks:
            self._tasks[room] = asyncio.create_task(self._send(room), name=f"receipts in {room}")

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, room: RoomId) -> None:
        try:
            while (newest := self._newest.pop(room, None)) is not None:
                event, ghost = newest
                path = Path.v3.rooms[room].receipt["m.read"][event]
                async with self._slots:
                    await self._homeserver.request(
                        "POST", path, user=ghost, body={}, deadline=DEADLINE
                    )
                await asyncio.sleep(PAUSE)
        except BridgeError as error:
            log.info("a receipt could not be sent", room=room, reason=str(error))
        finally:
            self._newest.pop(room, None)
            del self._tasks[room]
