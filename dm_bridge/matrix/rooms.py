"""Rooms of private chats: created by the ghost, direct from the first invite on.

The rule that must never break: whoever is invited is invited with ``is_direct``. createRoom sets it
for its ``invite`` list only; a later invite is therefore a raw member event, not ``/invite``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mautrix.api import Path

from dm_bridge.direct import room_state
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.homeserver import TOTAL_DEADLINE, Homeserver, Json
from dm_bridge.matrix.power import ADMIN, creators

MARKER = "org.dm_bridge.portal"
MOST_EDITS = 100
"""Of a message, that are found."""
"""Key in ``creation_content`` that tells which portal a room was made for."""

BRIDGE_INFO_TYPES = room_state.BRIDGE_INFO_TYPES
FUNCTIONAL_MEMBERS = room_state.FUNCTIONAL_MEMBERS
TOMBSTONE = "m.room.tombstone"
CREATE = "m.room.create"
POWER_LEVELS = "m.room.power_levels"


@dataclass(frozen=True, slots=True)
class BridgeInfo:
    """What MSC2346 tells clients about a bridged room."""

    bot: UserId
    creator: UserId
    protocol: str
    protocol_name: str
    channel: str
    channel_name: str
    channel_url: str
    state_key: str

    def content(self) -> Json:
        """The content of an ``m.bridge`` state event."""
        return {
            "bridgebot": self.bot,
            "creator": self.creator,
            "protocol": {"id": self.protocol, "displayname": self.protocol_name},
            "channel": {
                "id": self.channel,
                "displayname": self.channel_name,
                "external_url": self.channel_url,
            },
            "com.beeper.room_type.v2": "dm",
        }

    def state_events(self) -> list[Json]:
        """The same as ``initial_state``."""
        return [
            {"type": event_type, "state_key": self.state_key, "content": self.content()}
            for event_type in BRIDGE_INFO_TYPES
        ]


async def create_direct_room(
    homeserver: Homeserver, ghost: UserId, user: UserId, marker: str, info: BridgeInfo
) -> RoomId:
    """Create the room of a private chat, as ``ghost``, with ``user`` invited."""
    body = {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "invite": [user],
        "creation_content": {MARKER: marker},
        "initial_state": info.state_events(),
    }
    answer = await homeserver.request(
        "POST", Path.v3.createRoom, user=ghost, body=body, deadline=300, attempt_deadline=300
    )
    return RoomId(answer["room_id"])


async def find_room(
    homeserver: Homeserver, ghost: UserId, marker: str, but_not: Collection[RoomId] = ()
) -> RoomId | None:
    """The room that ``ghost`` made for ``marker``, is still in, and that nothing has replaced.

    createRoom takes no transaction id; this is how a room is recognised whose answer was lost.
    """
    joined = await joined_rooms(homeserver, ghost)
    among = [room for room in joined if room not in but_not]
    return await find_made(homeserver, ghost, MARKER, marker, among)


async def joined_rooms(homeserver: Homeserver, user: UserId) -> list[RoomId]:
    """The rooms that ``user`` is in."""
    answer = await homeserver.request("GET", Path.v3.joined_rooms, user=user)
    return [RoomId(room) for room in answer["joined_rooms"]]


async def find_made(
    homeserver: Homeserver, creator: UserId, key: str, marker: str, among: Iterable[RoomId]
) -> RoomId | None:
    """Among rooms that ``creator`` is in, the one made with ``marker`` under ``key`` that nothing has replaced."""
    for room in among:
        if await was_made_for(homeserver, room, creator, key, marker) and not await state_of(
            homeserver, room, TOMBSTONE, user=creator
        ):
            return room
    return None


async def was_made_for(
    homeserver: Homeserver, room: RoomId, creator: UserId, key: str, marker: str
) -> bool:
    """Whether ``creator``, who is in ``room``, made it with ``marker`` under ``key``.

    All who were in a room may read its marker, and make a room of their own with it: only the sender of
    ``m.room.create`` tells whose it is.
    """
    create = await state_event(homeserver, room, CREATE, user=creator)
    content = None if create is None or create.get("sender") != creator else create.get("content")
    return isinstance(content, dict) and content.get(key) == marker


async def complete_direct_room(
    homeserver: Homeserver, room: RoomId, ghost: UserId, user: UserId, info: BridgeInfo
) -> None:
    """Do what a homeserver that was ended inside createRoom has left undone.

    The invite comes last there: where there is one, or was one, the room is complete.
    """
    if user in await homeserver.members(room, user=ghost, also_gone=True):
        return
    create = await state_event(homeserver, room, CREATE, user=ghost) or {}
    powerful = {ghost: ADMIN, user: ADMIN}
    preset: dict[str, Json] = {
        POWER_LEVELS: {"users": {u: n for u, n in powerful.items() if u not in creators(create)}},
        "m.room.join_rules": {"join_rule": "invite"},
        "m.room.history_visibility": {"history_visibility": "shared"},
        "m.room.guest_access": {"guest_access": "can_join"},
    }
    await add_missing(homeserver, room, preset, user=ghost)
    for event in info.state_events():
        await homeserver.set_state(
            room, event["type"], event["state_key"], event["content"], user=ghost
        )
    await invite_directly(homeserver, room, user, inviter=ghost)


async def add_missing(
    homeserver: Homeserver, room: RoomId, wanted: Mapping[str, Json], *, user: UserId
) -> None:
    """Set the state events, contents by type, of which the room has none with an empty key."""
    for event_type, content in wanted.items():
        if not await state_of(homeserver, room, event_type, user=user):
            await homeserver.set_state(room, event_type, "", content, user=user)


async def invite_directly(
    homeserver: Homeserver, room: RoomId, user: UserId, *, inviter: UserId
) -> None:
    """Invite (again) and keep the invite direct."""
    content = {"membership": "invite", "is_direct": True}
    await homeserver.set_state(room, "m.room.member", user, content, user=inviter)


async def state_of(homeserver: Homeserver, room: RoomId, event_type: str, *, user: UserId) -> Json:
    """The content of a state event with an empty key; empty when there is none, or none to be seen."""
    path = Path.v3.rooms[room].state[event_type][""]
    try:
        return await homeserver.request("GET", path, user=user)
    except HomeserverError as error:
        if error.status in (403, 404):
            return {}
        raise


async def state_event(
    homeserver: Homeserver, room: RoomId, event_type: str, *, user: UserId
) -> Json | None:
    """A state event with an empty key, sender and all; None when there is none, or none to be seen."""
    path = Path.v3.rooms[room].state[event_type][""]
    try:
        return await homeserver.request("GET", path, user=user, query={"format": "event"})
    except HomeserverError as error:
        if error.status in (403, 404):
            return None
        raise


async def room_of_alias(homeserver: Homeserver, alias: str) -> RoomId | None:
    """The room that an alias stands for, or None."""
    try:
        answer = await homeserver.request("GET", Path.v3.directory.room[alias])
    except HomeserverError as error:
        if error.status in (400, 403, 404):
            return None
        raise
    room = answer.get("room_id")
    return RoomId(room) if isinstance(room, str) else None


def service_members(
    content: Json, present: Collection[UserId], absent: Collection[UserId]
) -> Json | None:
    """What ``io.element.functional_members`` should say instead of ``content``; None when it is right.

    ``present`` must be listed, ``absent`` must not; whoever else is listed stays.
    """
    listed = content.get("service_members")
    known = listed if isinstance(listed, list) else []
    kept = [user for user in known if isinstance(user, str) and user not in absent]
    members = [*kept, *(user for user in present if user not in kept)]
    if members == known and (listed is not None or not members):
        return None
    return {**content, "service_members": members}


async def messages_by(
    homeserver: Homeserver, room: RoomId, author: UserId, *, seen_by: UserId
) -> list[Json]:
    """What ``author`` wrote of late (50 events), oldest first.

    The homeserver pushes nothing from before one of our users joined; this is how to catch up.
    """
    path = Path.v3.rooms[room].messages
    answer = await homeserver.request("GET", path, user=seen_by, query={"dir": "b", "limit": "50"})
    return [
        {**event, "room_id": room}
        for event in reversed(answer["chunk"])
        if event["type"] in ("m.room.message", "m.sticker", "m.room.encrypted")
        and event["sender"] == author
        and event["content"]
    ]


async def is_gone(homeserver: Homeserver, room: RoomId, event: EventId, *, user: UserId) -> bool:
    """Whether there is no such event any more, in a room where ``user`` is."""
    return await event_of(homeserver, room, event, user=user) is None


async def edits_of(
    homeserver: Homeserver, room: RoomId, event: EventId, *, user: UserId
) -> list[EventId]:
    """The edits of an event that has not been redacted, at most `MOST_EDITS`, the newest first."""
    try:
        path = Path.v1.rooms[room].relations[event]["m.replace"]
        answer = await homeserver.request("GET", path, user=user, query={"limit": str(MOST_EDITS)})
    except HomeserverError as error:
        if error.status in (403, 404):
            return []
        raise
    return [EventId(edit["event_id"]) for edit in answer.get("chunk", [])]


async def event_of(
    homeserver: Homeserver,
    room: RoomId,
    event: EventId,
    *,
    user: UserId,
    deadline: float = TOTAL_DEADLINE,
) -> Json | None:
    """An event of a room where ``user`` is; None when there is none, or none to be seen."""
    try:
        path = Path.v3.rooms[room].event[event]
        return await homeserver.request("GET", path, user=user, deadline=deadline)
    except HomeserverError as error:
        if error.status in (403, 404):
            return None
        raise
