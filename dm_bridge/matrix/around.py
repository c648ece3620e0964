"""What stands before an event in its room.

The rule that must never break: nothing that came after the event is among it.
"""

from __future__ import annotations

import orjson
from mautrix.api import Path

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver, Json

LIMIT = 20
"""Events around the one, half of them before it."""


async def up_to(homeserver: Homeserver, room: RoomId, event: EventId, sender: UserId) -> list[Json]:
    """The event, and then the messages that ``sender``, who is in the room, sent before it, the newest first.

    Client-server API, ``GET /rooms/{roomId}/context/{eventId}``. Raises `HomeserverError`.
    """
    only = orjson.dumps({"types": ["m.room.message", "m.sticker"], "senders": [sender]}).decode()
    answer = await homeserver.request(
        "GET",
        Path.v3.rooms[room].context[event],
        user=sender,
        query={"limit": str(LIMIT), "filter": only},
    )
    return [answer["event"], *answer.get("events_before", ())]
