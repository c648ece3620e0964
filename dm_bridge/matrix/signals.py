"""Receipts and typing notices, as a user: what Matrix calls ephemeral.

Client-server API, "Receipts", "Fully read markers", "Typing notifications".
"""

from __future__ import annotations

from mautrix.api import Path

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver

DEADLINE = 10.0
"""Seconds for one of these requests; none is worth more."""


async def mark_read(
    homeserver: Homeserver, room: RoomId, event: EventId, user: UserId, *, fully: bool = False
) -> None:
    """Say that ``user`` has read ``event`` and all before it. ``fully``: move their marker, too."""
    if fully:
        path = Path.v3.rooms[room].read_markers
        body = {"m.fully_read": event, "m.read": event}
    else:
        path, body = Path.v3.rooms[room].receipt["m.read"][event], {}
    await homeserver.request("POST", path, user=user, body=body, deadline=DEADLINE)


async def set_presence(homeserver: Homeserver, user: UserId, presence: str, text: str) -> None:
    """Say that ``user`` is there: ``online``, ``unavailable`` or ``offline`` (Client-server API, "Presence")."""
    body = {"presence": presence, **({"status_msg": text} if text else {})}
    path = Path.v3.presence[user].status
    await homeserver.request("PUT", path, user=user, body=body, deadline=DEADLINE)


async def set_typing(homeserver: Homeserver, room: RoomId, user: UserId, seconds: float) -> None:
    """Say that ``user`` types, for so long at most; 0: that they have stopped."""
    body = {"typing": True, "timeout": int(seconds * 1000)} if seconds else {"typing": False}
    path = Path.v3.rooms[room].typing[user]
    await homeserver.request("PUT", path, user=user, body=body, deadline=DEADLINE)
