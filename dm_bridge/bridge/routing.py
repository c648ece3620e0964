"""What a pushed event means for the bridge. Pure: an event and what we know of its room, in; a
decision, out.

The rule that must never break: total. Any JSON that can stand in an event yields a decision, and
what is not understood is ignored, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dm_bridge.ids import EventId, GhostNamespace, UserId
from dm_bridge.matrix.formatting import from_content
from dm_bridge.network.events import Text

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """What we know of the room: whose portal it is and with which ghost, or whose management room.

    ``own_ghost``: the user's own ghost, when it is in the portal. ``crowded``: others are, too.
    ``former``: the portal has another room by now.
    """

    owner: UserId | None = None
    ghost: UserId | None = None
    manager: UserId | None = None
    own_ghost: UserId | None = None
    crowded: bool = False
    former: bool = False


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do. ``reason``: for the record."""

    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """The owner of a portal wrote to the contact.

    ``echo_of``: our own marker, which it may carry; ``part``: with the mark of a later part.
    """

    text: Text
    echo_of: str | None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The owner of a portal sent something that cannot be carried; ``sentence`` tells them why."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Command:
    """Somebody wrote to the bot. ``text``: None when it cannot be read."""

    text: str | None


@dataclass(frozen=True, slots=True)
class BotInvited:
    """The bot was invited."""


@dataclass(frozen=True, slots=True)
class BotMoved:
    """The bot is in the room now, or no longer."""

    joined: bool


@dataclass(frozen=True, slots=True)
class GhostInvited:
    """A ghost was invited. ``direct``: into a room that its creator calls direct."""

    ghost: UserId
    direct: bool


@dataclass(frozen=True, slots=True)
class GhostWelcomed:
    """The user has invited the ghost of this portal into its room, which is the portal's by now."""


@dataclass(frozen=True, slots=True)
class OwnerMoved:
    """The owner of a portal joined its room, or is not in it any more."""

    joined: bool


@dataclass(frozen=True, slots=True)
class GhostRemoved:
    """The ghost of a portal was removed from its room."""


@dataclass(frozen=True, slots=True)
class OwnGhostRemoved:
    """The user's own ghost was removed from a portal's room."""


@dataclass(frozen=True, slots=True)
class OthersMoved:
    """Somebody who has no part in a portal came into its room, or left it."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A portal's room was replaced by another one, says a tombstone."""


@dataclass(frozen=True, slots=True)
class ServiceMembers:
    """Somebody wrote which members of a portal's room are not to be counted."""

    content: Json


@dataclass(frozen=True, slots=True)
class ManagerLeft:
    """The user of a management room left it."""


Route = (
    Ignore
    | Message
    | Unsendable
    | Command
    | BotInvited
    | BotMoved
    | GhostInvited
    | GhostWelcomed
    | OwnerMoved
    | GhostRemoved
    | OwnGhostRemoved
    | OthersMoved
    | Replaced
    | ServiceMembers
    | ManagerLeft
)

ENCRYPTED = (
    "This room is encrypted, and the bridge cannot read encrypted messages yet. "
    "Write to the contact in a room without encryption: send the bot `start` and their address."
)
_UNCARRIED = {
    "m.image": "Pictures",
    "m.video": "Videos",
    "m.audio": "Audio messages",
    "m.file": "Files",
}


def route(event: Json, facts: RoomFacts, *, bot: UserId, namespace: GhostNamespace) -> Route:
    """Decide what ``event`` means. ``event`` has string ``type`` and ``sender``."""
    decision = _route(event, facts, bot, namespace)
    if not facts.former or isinstance(decision, Message | Unsendable | GhostWelcomed | Ignore):
        return decision
    if decision == OwnerMoved(joined=False):
        return decision
    return Ignore("this room was replaced by another one")


def _route(event: Json, facts: RoomFacts, bot: UserId, namespace: GhostNamespace) -> Route:
    content = event.get("content")
    if not isinstance(content, dict):
        return Ignore("it has no content")
    sender = UserId(event["sender"])
    match event["type"]:
        case "m.room.member":
            return _member(event, content, sender, facts, bot, namespace)
        case "m.room.message":
            return _message(content, sender, facts)
        case "m.room.encrypted":
            if sender == facts.owner:
                return Unsendable(ENCRYPTED)
            if facts.owner is None:
                return Command(None)
            return Ignore("it is encrypted, and not by the user of this chat")
        case "m.sticker":
            if sender == facts.owner:
                return Unsendable("Stickers cannot be sent to this network yet.")
            return Ignore("it is not by the user of this chat")
        case "m.room.tombstone" if facts.owner is not None and event.get("state_key") == "":
            return Replaced()
        case "io.element.functional_members" if (
            facts.owner is not None and event.get("state_key") == ""
        ):
            return ServiceMembers(content)
        case other:
            return Ignore(f"events of type {str(other)[:80]} are not carried")


def _member(
    event: Json,
    content: Json,
    sender: UserId,
    facts: RoomFacts,
    bot: UserId,
    namespace: GhostNamespace,
) -> Route:
    target, membership = event.get("state_key"), content.get("membership")
    if not isinstance(target, str):
        return Ignore("a membership without a user")
    joined = membership == "join"
    gone = membership in ("leave", "ban")
    if target == bot:
        if membership == "invite":
            return BotInvited()
        return BotMoved(joined) if joined or gone else Ignore("the bot is where it was")
    if namespace.owns(target):
        if membership == "invite" and target != facts.ghost:
            return GhostInvited(UserId(target), content.get("is_direct") is True)
        if membership == "invite" and sender == facts.owner:
            return GhostWelcomed()
        if gone and target == facts.ghost and sender != target:
            return GhostRemoved()
        if gone and target == facts.own_ghost and sender != target:
            return OwnGhostRemoved()
        return Ignore("a ghost moved as it should")
    if target == facts.owner:
        return OwnerMoved(joined) if joined or gone else Ignore("the user was invited")
    if target == facts.manager and gone:
        return ManagerLeft()
    if facts.owner is not None and (gone if facts.crowded else joined):
        return OthersMoved()
    return Ignore("the membership of somebody else")


def _message(content: Json, sender: UserId, facts: RoomFacts) -> Route:
    text = from_content(content)
    if facts.owner is None:
        relation = content.get("m.relates_to")
        if content.get("msgtype") == "m.notice":
            return Ignore("bots do not answer notices")
        if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
            return _edited_command(content.get("m.new_content"))
        readable = content.get("msgtype") in ("m.text", "m.emote")
        return Command(text.body if text is not None and readable else None)
    if sender != facts.owner:
        return Ignore("it is not by the user of this chat")
    kind = _UNCARRIED.get(str(content.get("msgtype")))
    if kind is not None:
        return Unsendable(f"{kind} cannot be sent to this network yet.")
    if text is None or not text.body.strip():
        return Unsendable("It has no text.")
    marker = content.get("org.dm_bridge.remote_id")
    part = "org.dm_bridge.part" in content
    return Message(text, marker if isinstance(marker, str) else None, part)


def _edited_command(content: Any) -> Route:
    """A command is not carried out again because it was edited, but what was edited into a login is one."""
    body = content.get("body") if isinstance(content, dict) else None
    if isinstance(body, str) and "login" in body.lower().split()[:1]:
        return Command(body)
    return Ignore("a command is not carried out again because it was edited")


def is_echo(
    event: EventId, delivered_as: EventId | None, *, from_self: bool, part: bool = False
) -> bool:
    """Whether a pushed event that carries our marker is our own.

    A client that forwards a bridged message copies its content, marker included; such a copy has an
    event id of its own, or belongs to a message that the user did not write, and is a new message.
    """
    return from_self and (part or delivered_as == event)
