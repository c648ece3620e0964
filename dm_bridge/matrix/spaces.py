"""Spaces: rooms of type ``m.space``, whose children are other rooms (client-server API, "Spaces").

The rule that must never break: a space is private, nobody but its creator may change it or write into it, and no
invite to it is direct.
"""

from __future__ import annotations

from mautrix.api import Path

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix import rooms
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.matrix.power import ADMIN, creators

SPACE = "m.space"
CHILD = "m.space.child"
MARKER = "org.dm_bridge.space"
"""Key in ``creation_content`` that tells which login a space was made for."""

_POWERS = ("events_default", "state_default", "invite", "kick", "ban", "redact")
_LEVELS: Json = {"users_default": 0, **dict.fromkeys(_POWERS, ADMIN)}


async def create_space(
    homeserver: Homeserver, bot: UserId, marker: str, name: str, topic: str
) -> RoomId:
    """Create a space, as ``bot``, with nobody else in it."""
    body = {
        "preset": "private_chat",
        "name": name,
        "topic": topic,
        "creation_content": {"type": SPACE, MARKER: marker},
        "power_level_content_override": _LEVELS,
    }
    answer = await homeserver.request(
        "POST", Path.v3.createRoom, user=bot, body=body, deadline=300, attempt_deadline=300
    )
    return RoomId(answer["room_id"])


async def complete_space(
    homeserver: Homeserver, room: RoomId, bot: UserId, name: str, topic: str
) -> None:
    """Do what a homeserver that was ended inside createRoom has left undone."""
    create = await rooms.state_event(homeserver, room, rooms.CREATE, user=bot) or {}
    levels = _LEVELS if bot in creators(create) else {**_LEVELS, "users": {bot: ADMIN}}
    wanted: dict[str, Json] = {
        rooms.POWER_LEVELS: levels,
        "m.room.join_rules": {"join_rule": "invite"},
        "m.room.history_visibility": {"history_visibility": "shared"},
        "m.room.name": {"name": name},
        "m.room.topic": {"topic": topic},
    }
    await rooms.add_missing(homeserver, room, wanted, user=bot)


async def state_of_space(
    homeserver: Homeserver, room: RoomId, *, user: UserId
) -> list[Json] | None:
    """All state events of a space; None when ``user`` is not in it and never was, or there is none."""
    try:
        return await homeserver.room_state(room, user=user)
    except HomeserverError as error:
        if error.status in (403, 404):
            return None
        raise


async def set_child(
    homeserver: Homeserver, space: RoomId, room: RoomId, via: str | None, *, user: UserId
) -> None:
    """Put a room into a space, to be found by way of the server ``via``; None: take it out."""
    content: Json = {} if via is None else {"via": [via]}
    await homeserver.set_state(space, CHILD, room, content, user=user)
