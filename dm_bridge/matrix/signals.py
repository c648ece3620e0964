"""Receipts and typing notices, as a user: what Matrix calls ephemeral.

Client-server API, "Receipts", "Fully read markers", "Typing notifications".
"""

from __future__ import annotations

from mautrix.api import Path

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.ephemeral import newest_reads
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.syncing import NOTHING, single_sync

DEADLINE = 10.0
"""Seconds for one of these requests; none is worth more."""
SYNC_DEADLINE = 120.0
"""Seconds for reading what an account has read: Synapse looks at all of its rooms, at some 700 in a second."""


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


async def reads_of(homeserver: Homeserver, user: UserId) -> dict[RoomId, EventId]:
    """Up to where ``user`` has read each room, and let others know; by one sync, filtered down to receipts."""
    receipts = {
        "timeline": {"limit": 1, **NOTHING},
        "state": NOTHING,
        "ephemeral": {"types": ["m.receipt"]},
        "account_data": NOTHING,
    }
    answer = await homeserver.request(
        "GET",
        Path.v3.sync,
        user=user,
        query=single_sync(receipts),
        deadline=SYNC_DEADLINE,
        attempt_deadline=SYNC_DEADLINE,
    )
    return newest_reads(answer, user)


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
