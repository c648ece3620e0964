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


def newest_reads(answer: Json, user: UserId) -> dict[RoomId, EventId]:
    """What ``user`` has read last in each room, of the answer to a sync that brings all receipts."""
    found: dict[RoomId, tuple[float, EventId]] = {}
    for room, section in _mapping(_mapping(answer, "rooms"), "join").items():
        events = _mapping(section, "ephemeral").get("events")
        for item in events if isinstance(events, list) else ():
            receipt = isinstance(item, dict) and item.get("type") == "m.receipt"
            for event, reader, time in _readers(_mapping(item, "content")) if receipt else ():
                if reader == user:
                    newest = found.get(RoomId(room), (-1.0, event))
                    found[RoomId(room)] = max(newest, (time, event))
    return {room: event for room, (_, event) in found.items()}


def _receipts(room: RoomId, content: Json) -> Iterator[ReadBy]:
    return (ReadBy(room, user, event) for event, user, _ in _readers(content))


def _readers(content: Json) -> Iterator[tuple[EventId, UserId, float]]:
    """Which event has been read by whom, and when, in milliseconds since the epoch; 0 where it is not said."""
    for event, kinds in content.items():
        for user, about in _mapping(kinds, "m.read").items():
            about = about if isinstance(about, dict) else {}
            thread, time = about.get("thread_id"), about.get("ts")
            if isinstance(thread, str) and thread != "main":
                continue  # contacts write in no threads, and what is beside one is not read by that
            said = isinstance(time, int) and 0 <= time < 2**63
            yield EventId(event), UserId(user), float(time or 0) if said else 0.0


def _mapping(value: Any, key: str) -> Json:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _presence(sender: Any, content: Json) -> Iterator[PresenceOf]:
    presence, text = content.get("presence"), content.get("status_msg")
    if isinstance(sender, str) and presence in PRESENCES:
        yield PresenceOf(UserId(sender), presence, text if isinstance(text, str) else "")
