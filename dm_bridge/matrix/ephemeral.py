"""Reading what a homeserver pushes besides events: who types, who has read what, who is there. Pure.

Client-server API, "Typing notifications", "Receipts", "Presence"; application service API, "Pushing events".

The rule that must never break: total. What cannot be read is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dm_bridge.ids import EventId, RoomId, UserId

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TypingIn:
    """Who types in a room now: all of them."""

    room: RoomId
    users: frozenset[UserId]


@dataclass(frozen=True, slots=True)
class ReadBy:
    """A user has read an event, and all before it."""

    room: RoomId
    user: UserId
    event: EventId


@dataclass(frozen=True, slots=True)
class PresenceOf:
    """Whether a user is there: ``online``, ``unavailable`` or ``offline``. ``text``: what they say."""

    user: UserId
    presence: str
    text: str = ""


Ephemeral = TypingIn | ReadBy | PresenceOf
PRESENCES = ("online", "unavailable", "offline")


def to_text(signal: Ephemeral) -> str:
    """For another process; `from_text` reads it."""
    match signal:
        case TypingIn(room, users):
            fields: Json = {"room_id": room, "typing": sorted(users)}
        case ReadBy(room, user, event):
            fields = {"room_id": room, "user": user, "read": event}
        case PresenceOf(user, presence, status):
            fields = {"user": user, "presence": presence, "text": status}
    return json.dumps(fields)


def from_text(text: str) -> Ephemeral | None:
    """What `to_text` made, or None when it is something else."""
    match json.loads(text):
        case {"room_id": room, "typing": users}:
            return TypingIn(RoomId(room), frozenset(map(UserId, users)))
        case {"room_id": room, "user": user, "read": event}:
            return ReadBy(RoomId(room), UserId(user), EventId(event))
        case {"user": user, "presence": presence, "text": status} if presence in PRESENCES:
            return PresenceOf(UserId(user), presence, status)
        case _:
            return None


def parse_ephemeral(items: Iterable[Json]) -> Iterator[Ephemeral]:
    """What the objects of an ``ephemeral`` list say, in their order. Private receipts are passed over."""
    for item in items:
        room, content = item.get("room_id"), item.get("content")
        if item.get("type") == "m.presence" and isinstance(content, dict):
            yield from _presence(item.get("sender"), content)
        if not isinstance(room, str) or not isinstance(content, dict):
            continue
        match item.get("type"):
            case "m.typing":
                users = content.get("user_ids")
                if isinstance(users, list):
                    names = frozenset(UserId(user) for user in users if isinstance(user, str))
                    yield TypingIn(RoomId(room), names)
            case "m.receipt":
                yield from _receipts(RoomId(room), content)


def _receipts(room: RoomId, content: Json) -> Iterator[ReadBy]:
    for event, kinds in content.items():
        readers = kinds.get("m.read") if isinstance(kinds, dict) else None
        for user, about in readers.items() if isinstance(readers, dict) else ():
            thread = about.get("thread_id") if isinstance(about, dict) else None
            if isinstance(thread, str) and thread != "main":
                continue  # contacts write in no threads, and what is beside one is not read by that
            yield ReadBy(room, UserId(user), EventId(event))


def _presence(sender: Any, content: Json) -> Iterator[PresenceOf]:
    presence, text = content.get("presence"), content.get("status_msg")
    if isinstance(sender, str) and presence in PRESENCES:
        yield PresenceOf(UserId(sender), presence, text if isinstance(text, str) else "")
