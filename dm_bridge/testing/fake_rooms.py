"""Rooms of a fake homeserver: events, state, members, and who may do what.

The rule that must never break: an event is in a room only if a homeserver would have let it in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dm_bridge.ids import EventId, RoomId, UserId

Json = dict[str, Any]

MEMBER, CREATE, POWER, TOMBSTONE = (
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.tombstone",
)


class Refused(Exception):
    """The homeserver says no."""

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode


@dataclass(frozen=True, slots=True)
class Event:
    """``number``: its place among all events of the homeserver. ``at``: seconds since the epoch."""

    number: int
    id: EventId
    room: RoomId
    sender: UserId
    type: str
    content: Json
    state_key: str | None
    at: float

    def to_json(self) -> Json:
        """As clients and application services get it."""
        event: Json = {
            "event_id": self.id,
            "room_id": self.room,
            "sender": self.sender,
            "type": self.type,
            "content": self.content,
            "origin_server_ts": int(self.at * 1000),
        }
        if self.state_key is not None:
            event["state_key"] = self.state_key
        return event


@dataclass(slots=True)
class Room:
    """One room. ``version``: 12; its creators may do anything."""

    id: RoomId
    creator: UserId
    events: list[Event] = field(default_factory=list)
    state: dict[tuple[str, str], Event] = field(default_factory=dict)

    def content(self, kind: str, key: str = "") -> Json:
        """The content of a state event, empty when there is none."""
        event = self.state.get((kind, key))
        return {} if event is None else event.content

    def membership(self, user: UserId) -> str:
        """``join``, ``invite``, ``leave``, ``ban``, or nothing."""
        return str(self.content(MEMBER, user).get("membership", ""))

    def members(self, *memberships: str) -> list[UserId]:
        """Who is in the room in one of these ways, in the order in which they first came."""
        return [
            UserId(key)
            for (kind, key), event in self.state.items()
            if kind == MEMBER and event.content.get("membership") in memberships
        ]

    def power(self, user: UserId) -> float:
        """The power level of a user; endless for the creator."""
        if user == self.creator:
            return float("inf")
        levels = self.content(POWER)
        return float(levels.get("users", {}).get(user, levels.get("users_default", 0)))


class Rooms:
    """All rooms. ``on_event``: told of each event, in order."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.rooms: dict[RoomId, Room] = {}
        self.on_event: list[Callable[[Room, Event], None]] = []
        self.events = 0
        self._made = 0
        self.refuses: Callable[[UserId, Json], bool] | None = None
        """Whether an event is too large, or anything else that is wrong with it for ever."""

    def room(self, room: str) -> Room:
        """A room. Raises `Refused`."""
        found = self.rooms.get(RoomId(room))
        if found is None:
            raise Refused(403, "M_FORBIDDEN", "You are not in a room of that name.")
        return found

    def joined(self, room: str, user: UserId) -> Room:
        """A room that ``user`` is in. Raises `Refused`."""
        found = self.room(room)
        if found.membership(user) != "join":
            raise Refused(403, "M_FORBIDDEN", f"{user} is not in the room.")
        return found

    def create(
        self,
        creator: UserId,
        *,
        invite: list[UserId],
        direct: bool,
        creation: Json,
        initial: list[Json],
        trusted: bool = True,
    ) -> Room:
        """A new room, as createRoom makes it."""
        room = Room(RoomId(f"!room{self._made}:{creator.partition(':')[2]}"), creator)
        self._made += 1
        self.rooms[room.id] = room
        self.put(room, creator, CREATE, {"room_version": "12", **creation}, "")
        self.put(room, creator, MEMBER, {"membership": "join"}, creator)
        levels = dict.fromkeys(invite, 100) if trusted else {}
        self.put(room, creator, POWER, {"users": levels, "events_default": 0}, "")
        for event in initial:
            self.put(room, creator, event["type"], event["content"], event.get("state_key", ""))
        for user in invite:
            content: Json = {"membership": "invite"}
            if direct:
                content["is_direct"] = True
            self.put(room, creator, MEMBER, content, user)
        return room

    def send(self, room: str, sender: UserId, kind: str, content: Json) -> Event:
        """A message event. Raises `Refused`."""
        found = self.joined(room, sender)
        if self.refuses is not None and self.refuses(sender, content):
            raise Refused(413, "M_TOO_LARGE", "The event is too large.")
        levels = found.content(POWER)
        if found.power(sender) < levels.get("events_default", 0):
            raise Refused(403, "M_FORBIDDEN", f"{sender} may not write in the room.")
        return self.put(found, sender, kind, content, None)

    def set_state(self, room: str, sender: UserId, kind: str, key: str, content: Json) -> Event:
        """A state event, memberships included. Raises `Refused`."""
        found = self.room(room)
        if kind == MEMBER:
            return self._move(found, sender, UserId(key), content)
        found = self.joined(room, sender)
        if found.power(sender) < found.content(POWER).get("state_default", 50):
            raise Refused(403, "M_FORBIDDEN", f"{sender} may not change the room.")
        known = found.state.get((kind, key))
        if known is not None and known.content == content and known.sender == sender:
            return known
        return self.put(found, sender, kind, content, key)

    def join(self, room: str, user: UserId) -> Event:
        """Raises `Refused`."""
        return self._move(self.room(room), user, user, {"membership": "join"})

    def leave(self, room: str, user: UserId, reason: str = "") -> Event:
        """Raises `Refused`."""
        content = {"membership": "leave"} | ({"reason": reason} if reason else {})
        return self._move(self.room(room), user, user, content)

    def _move(self, room: Room, sender: UserId, user: UserId, content: Json) -> Event:
        before, after = room.membership(user), content.get("membership")
        levels = room.content(POWER)
        if sender == user:
            allowed = (after == "join" and before in ("join", "invite")) or (
                after == "leave" and before in ("join", "invite")
            )
        elif after == "invite":
            allowed = before not in ("join", "ban") and room.power(sender) >= levels.get(
                "invite", 0
            )
        else:
            needed = levels.get("kick", 50)
            allowed = (
                after in ("leave", "ban")
                and before in ("join", "invite")
                and room.power(sender) >= needed
                and room.power(sender) > room.power(user)
            )
        if not allowed or (sender != user and room.membership(sender) != "join"):
            raise Refused(403, "M_FORBIDDEN", f"{sender} cannot {after} {user}.")
        if before == after == "join" and "displayname" not in content:
            return room.state[MEMBER, user]
        return self.put(room, sender, MEMBER, content, user)

    def put(self, room: Room, sender: UserId, kind: str, content: Json, key: str | None) -> Event:
        """An event, whoever may send it."""
        self.events += 1
        event = Event(
            self.events, EventId(f"$e{self.events}"), room.id, sender, kind, content, key,
            self._clock(),
        )  # fmt: skip
        room.events.append(event)
        if key is not None:
            room.state[kind, key] = event
        for tell in self.on_event:
            tell(room, event)
        return event

    def upgrade(self, old: str, user: UserId, invite: list[UserId]) -> Room:
        """Replace a room as ``user``, whose client then invites others into the new one. Raises `Refused`."""
        room = self.joined(old, user)
        if room.power(user) < 100:
            raise Refused(403, "M_FORBIDDEN", f"{user} may not replace the room.")
        creation = {"predecessor": {"room_id": room.id}}
        new = self.create(user, invite=[], direct=False, creation=creation, initial=[])
        self.put(room, user, TOMBSTONE, {"body": "replaced", "replacement_room": new.id}, "")
        levels = {**room.content(POWER), "events_default": 50, "invite": 50}
        self.put(room, user, POWER, levels, "")
        for member in invite:
            self.put(new, user, MEMBER, {"membership": "invite", "is_direct": True}, member)
        return new
