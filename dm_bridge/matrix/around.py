"""What stands before and after an event in its room.

The rule that must never break: what came before the event is never taken for what came after it, or the reverse.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
from mautrix.api import Path

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver, Json

LIMIT = 100
"""Events around the one, half of them before it."""


@dataclass(frozen=True, slots=True)
class Around:
    """An event, and messages next to it: ``before`` with the newest first, ``after`` with the oldest."""

    event: Json
    before: Sequence[Json]
    after: Sequence[Json]


def written_by(senders: Collection[UserId]) -> str:
    """The filter for what these users wrote (Client-server API, "Filtering")."""
    only = {"types": ["m.room.message", "m.sticker"], "senders": sorted(senders)}
    return orjson.dumps(only).decode()


async def around(homeserver: Homeserver, room: RoomId, event: EventId, sender: UserId) -> Around:
    """An event, and the messages of ``sender``, who is in the room, before and after it.

    Client-server API, ``GET /rooms/{roomId}/context/{eventId}``. Raises `HomeserverError`.
    """
    answer = await homeserver.request(
        "GET",
        Path.v3.rooms[room].context[event],
        user=sender,
        query={"limit": str(LIMIT), "filter": written_by([sender])},
    )
    before, after = answer.get("events_before", ()), answer.get("events_after", ())
    return Around(answer["event"], before, after)
