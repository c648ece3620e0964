"""What a pushed event means for the bridge. Pure: an event and what we know of its room, in; a
decision, out.

The rule that must never break: total. Any JSON that can stand in an event yields a decision, and
what is not understood is ignored, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dm_bridge.bridge.other_events import in_words, state_in_words
from dm_bridge.ids import EventId, GhostNamespace, UserId
from dm_bridge.matrix.attachments import Attached, attached, caption, is_gallery, is_media
from dm_bridge.matrix.formatting import from_content, names_user, without_fallback
from dm_bridge.network.events import Text
from dm_bridge.network.media import Place
from dm_bridge.texts import phrase

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """What we know of the room: whose portal it is and with which ghost, or whose management room, or whose space.

    ``own_ghost``: the user's own ghost, when it is in the portal. ``crowded``: others are, too.
    ``former``: the portal has another room by now. ``space``: whose space it is.
    """

    owner: UserId | None = None
    ghost: UserId | None = None
    manager: UserId | None = None
    own_ghost: UserId | None = None
    crowded: bool = False
    former: bool = False
    space: UserId | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do. ``reason``: for the record."""

    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """The owner of a portal wrote to the contact.

    ``echo_of``: our own marker, which it may carry; ``part``: with the mark of a later part.
    ``answers``: the event that it is a reply to. ``attachment``: what ``text`` is said of.
    """

    text: Text
    echo_of: str | None
    part: bool = False
    answers: EventId | None = None
    attachment: Attached | Place | None = None

    @property
    def words(self) -> str:
        """What it says, or the name of the file that it is about."""
        return self.text.body or _named(self.attachment)


@dataclass(frozen=True, slots=True)
class Edit:
    """The owner of a portal changed what they wrote. ``target``: the event; ``text``: what it says now.

    ``attachment``: what it is said of.
    """

    target: EventId
    text: Text
    echo_of: str | None
    attachment: Attached | Place | None = None

    @property
    def words(self) -> str:
        """What it says now, or the name of the file that it is about."""
        return self.text.body or _named(self.attachment)


@dataclass(frozen=True, slots=True)
class Reaction:
    """The owner of a portal reacted to an event."""

    target: EventId
    emoji: str
    echo_of: str | None


@dataclass(frozen=True, slots=True)
class Redaction:
    """The owner of a portal redacted an event."""

    target: EventId
    echo_of: str | None


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


@dataclass(frozen=True, slots=True)
class SpaceChanged:
    """The user of a space, or the bot, is not in it any more, or another room is to take its place."""


Route = (
    Ignore
    | Message
    | Edit
    | Reaction
    | Redaction
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
    | SpaceChanged
)

_SHORTCODES = ("com.beeper.reaction.shortcode", "shortcode")
"""What names a custom emoji (MSC4027), whose key is the address of a picture."""
_NO_EDIT = Ignore("an edit of nothing")
_OF_THE_OWNER = Message | Edit | Reaction | Redaction | Unsendable


def route(event: Json, facts: RoomFacts, *, bot: UserId, namespace: GhostNamespace) -> Route:
    """Decide what ``event`` means. ``event`` has string ``type`` and ``sender``."""
    decision = _route(event, facts, bot, namespace)
    if not facts.former or isinstance(decision, _OF_THE_OWNER | GhostWelcomed | Ignore):
        return decision
    if decision == OwnerMoved(joined=False):
        return decision
    return Ignore("this room was replaced by another one")


def _route(event: Json, facts: RoomFacts, bot: UserId, namespace: GhostNamespace) -> Route:
    content = event.get("content")
    if not isinstance(content, dict):
        return Ignore("it has no content")
    sender = UserId(event["sender"])
    if facts.space is not None:
        return _in_space(event, content, facts.space, bot)
    unsigned = event.get("unsigned")
    taken_back = isinstance(unsigned, dict) and "redacted_because" in unsigned
    if taken_back and "state_key" not in event:
        return Ignore("it was taken back before it was pushed")
    match event["type"]:
        case "m.room.member":
            return _member(event, content, sender, facts, bot, namespace)
        case "m.room.message":
            return _message(content, sender, facts)
        case "m.room.encrypted":
            if sender == facts.owner:
                return Unsendable(phrase("delivery-encrypted"))
            if facts.owner is None:
                return Command(None)
            return Ignore("it is encrypted, and not by the user of this chat")
        case "m.reaction" | "m.room.redaction" if sender != facts.owner:
            return Ignore("it is not by the user of this chat")
        case "m.reaction":
            return _reaction(content)
        case "m.room.redaction":
            target = redacted(event)
            if target is None:
                return Ignore("a redaction of nothing")
            return Redaction(target, _marker(content))
        case "m.sticker":
            if sender == facts.owner:
                return _sticker(content)
            return Ignore("it is not by the user of this chat")
        case "m.room.tombstone" if facts.owner is not None and event.get("state_key") == "":
            return Replaced()
        case "io.element.functional_members" if (
            facts.owner is not None and event.get("state_key") == ""
        ):
            return ServiceMembers(content)
        case other:
            return _other(str(other), event, content, sender, facts)


def redacted(event: Json) -> EventId | None:
    """What an event redacts, if it is a redaction."""
    content = event.get("content")
    if event.get("type") != "m.room.redaction" or not isinstance(content, dict):
        return None
    target = event.get("redacts", content.get("redacts"))  # the latter from room version 11 on
    return EventId(target) if isinstance(target, str) else None


def _in_space(event: Json, content: Json, owner: UserId, bot: UserId) -> Route:
    kind, key = event["type"], event.get("state_key")
    gone = kind == "m.room.member" and content.get("membership") in ("leave", "ban")
    if (gone and key in (owner, bot)) or (kind == "m.room.tombstone" and key == ""):
        return SpaceChanged()
    return Ignore("nobody talks in a space")


def _other(kind: str, event: Json, content: Json, sender: UserId, facts: RoomFacts) -> Route:
    """What is no message, and may be something that the user says all the same."""
    said: Text | str | None = None
    relation, changed = content.get("m.relates_to"), content.get("m.new_content")
    edit = isinstance(relation, dict) and relation.get("rel_type") == "m.replace"
    if facts.owner is not None and sender == facts.owner:
        if "state_key" in event:
            said = state_in_words(kind, content)
        elif not edit:
            said = in_words(kind, content)
        elif isinstance(changed, dict):
            said = in_words(kind, changed)
    if said is None:
        return Ignore(f"events of type {kind[:80]} are not carried")
    if isinstance(said, str):
        return Unsendable(said)
    if isinstance(relation, dict) and edit:
        target = relation.get("event_id")
        if not isinstance(target, str):
            return _NO_EDIT
        return Edit(EventId(target), said, _marker(content))
    return Message(said, _marker(content), answers=_answers(relation))


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
    relation = content.get("m.relates_to")
    if facts.owner is None:
        if content.get("msgtype") == "m.notice":
            return Ignore("bots do not answer notices")
        if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
            return _edited_command(content.get("m.new_content"))
        readable = content.get("msgtype") in ("m.text", "m.emote")
        return Command(text.body if text is not None and readable else None)
    if sender != facts.owner:
        return Ignore("it is not by the user of this chat")
    if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
        return _edit(content, relation, facts.ghost)
    said = _said(content)
    if isinstance(said, Unsendable):
        return said
    text, attachment = said
    text = _noting(text, content, facts.ghost)
    part = "org.dm_bridge.part" in content
    return Message(text, _marker(content), part, _answers(relation), attachment)


def said_by_now(event: Json) -> tuple[Text, Attached | Place | None] | None:
    """What a message says after its newest edit, which a homeserver gives with it; None where nothing is left."""
    newest: Any = event
    for name in ("unsigned", "m.relations", "m.replace", "content", "m.new_content"):
        newest = newest.get(name) if isinstance(newest, dict) else None
    content = newest if isinstance(newest, dict) else event.get("content")
    kind = str(event.get("type", "m.room.message"))
    if kind != "m.room.message" and isinstance(content, dict):
        words = in_words(kind, content)
        return (words, None) if isinstance(words, Text) else None
    said = _said(without_fallback(content)) if isinstance(content, dict) and content else None
    return None if isinstance(said, Unsendable) else said


def _said(content: Json) -> tuple[Text, Attached | Place | None] | Unsendable:
    """What a message says, and of what."""
    if content.get("msgtype") == "m.key.verification.request":
        return Unsendable(phrase("delivery-no-keys"))
    attachment = attached(content)
    if isinstance(attachment, Attached):
        return caption(content), attachment
    if isinstance(attachment, Place):
        words = filter(None, (caption(content).body, attachment.uri))
        return Text("\n".join(words)), attachment
    if is_media(content):
        return Unsendable(phrase("delivery-no-address"))
    if is_gallery(content):
        return Unsendable(phrase("delivery-no-galleries"))
    text = from_content(content)
    return (
        Unsendable(phrase("delivery-no-text"))
        if text is None or not text.body.strip()
        else (text, None)
    )


def _sticker(content: Json) -> Route:
    what = attached(content, sticker=True)
    if what is None:
        return Unsendable(phrase("delivery-no-address"))
    answers = _answers(content.get("m.relates_to"))
    return Message(Text(""), _marker(content), answers=answers, attachment=what)


def _named(attachment: Attached | Place | None) -> str:
    if isinstance(attachment, Attached):
        return attachment.file.name or attachment.file.kind.value
    return ""


def _marker(content: Json) -> str | None:
    marker = content.get("org.dm_bridge.remote_id")
    return marker if isinstance(marker, str) else None


def _answers(relation: Any) -> EventId | None:
    """What a message is a reply to; within a thread only if that is not just for clients without threads."""
    if not isinstance(relation, dict) or relation.get("is_falling_back") is True:
        return None
    reply = relation.get("m.in_reply_to")
    target = reply.get("event_id") if isinstance(reply, dict) else None
    return EventId(target) if isinstance(target, str) else None


def _noting(text: Text, content: Json, ghost: UserId | None) -> Text:
    """``text``, with whether it mentions the contact."""
    named = ghost is not None and names_user(content, ghost)
    return replace(text, mention=True) if named else text


def _edit(content: Json, relation: Json, ghost: UserId | None) -> Route:
    target, changed = relation.get("event_id"), content.get("m.new_content")
    if not isinstance(target, str) or not isinstance(changed, dict):
        return _NO_EDIT
    said = _said(without_fallback(changed))
    if isinstance(said, Unsendable) and (is_media(changed) or is_gallery(changed)):
        return Ignore("an edit of what was not carried")
    if isinstance(said, Unsendable):
        return Unsendable(phrase("delivery-no-text-left"))
    text = _noting(said[0], changed, ghost)
    return Edit(EventId(target), text, _marker(content), said[1])


def _reaction(content: Json) -> Route:
    relation = content.get("m.relates_to")
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.annotation":
        return Ignore("a reaction to nothing")
    target, emoji = relation.get("event_id"), relation.get("key")
    if not isinstance(target, str) or not isinstance(emoji, str) or not emoji.strip():
        return Ignore("a reaction to nothing, or without an emoji")
    if emoji.startswith("mxc://"):
        names = map(content.get, _SHORTCODES)
        named = next((name for name in names if isinstance(name, str) and name.strip()), None)
        if named is None:
            return Unsendable(phrase("delivery-nameless-emoji"))
        emoji = named
    return Reaction(EventId(target), emoji, _marker(content))


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
