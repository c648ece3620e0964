"""What a session may offer beyond sending messages: optional protocols, each declared in `Capabilities`.

A session has the methods of a protocol if it ever offers them, and declares the capability when it does so with
the server that it is connected to. What is not declared is not called; the user is told that it cannot be done.

Edits, retractions and reactions are sent like a message (`Session.send`): with an id that stays the same on every
retry, ``attempted`` and ``insisted`` with the same meaning, and the same errors; of one chat, one at a time.
What the user has read, and that they type, is told once, and only while the session is connected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import Text
from dm_bridge.network.media import OutgoingMedia, Place
from dm_bridge.network.signals import Availability


@dataclass(frozen=True, slots=True)
class Reference:
    """A message of the chat. ``id``: its `RemoteMessage.reference`, or what `Session.send` returned for it.

    ``from_self``: whether the user wrote it, here or elsewhere. ``text``: what it says, as far as the bridge
    knows, for networks where a reply quotes; "" when it does not.
    """

    id: RemoteId
    from_self: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class OutgoingEdit:
    """Change a message of the user. ``target``: what `Session.send` returned for it, also after earlier edits.

    ``reply_to``: what the message answers, before and after; as in `OutgoingMessage`. ``attachment``: the file or
    place of the message, as it is from now on; ``content`` is what is said of it.
    """

    chat: ChatId
    id: RemoteId
    target: Reference
    content: Text
    attempted: float | None = None
    insisted: bool = False
    reply_to: Reference | None = None
    attachment: OutgoingMedia | Place | None = None


@dataclass(frozen=True, slots=True)
class OutgoingRetraction:
    """Take a message of the user back."""

    chat: ChatId
    id: RemoteId
    target: Reference
    attempted: float | None = None
    insisted: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingReactions:
    """React to a message. ``emojis``: all of the user's to it from now on, each once, the oldest first.

    ``added``, ``removed``: what is different from before; one of them is empty.
    """

    chat: ChatId
    id: RemoteId
    target: Reference
    emojis: tuple[str, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    attempted: float | None = None
    insisted: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingRead:
    """The user has read ``target``, a message of the contact, and all before it.

    ``id``: the `RemoteMessage.id` of the same message.
    """

    chat: ChatId
    id: RemoteId
    target: Reference


@runtime_checkable
class Edits(Protocol):
    """`Capabilities.edits`."""

    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        """As `Session.send`; returns the id of the edit itself."""
        ...


@runtime_checkable
class Retracts(Protocol):
    """`Capabilities.retractions`."""

    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        """As `Session.send`; returns the id of the retraction itself."""
        ...


@runtime_checkable
class Reacts(Protocol):
    """`Capabilities.reactions`."""

    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        """As `Session.send`; returns the id of the reaction itself."""
        ...


@runtime_checkable
class Reads(Protocol):
    """`Capabilities.reads`."""

    async def read(self, read: OutgoingRead) -> None:
        """Tell the contact, and the user's other devices, as far as the network has such a thing.

        Within some seconds. Raises `NetworkError`; it is not tried again, since the next one makes up for it.
        """
        ...


@runtime_checkable
class Appears(Protocol):
    """`Capabilities.presence`."""

    async def appear(self, availability: Availability, text: str) -> None:
        """Show the user's contacts whether the user is there. ``text``: what they say, "" for nothing.

        Holds for the session, also when it connects anew. Within some seconds. Raises `NetworkError`; it is
        not tried again.
        """
        ...


@runtime_checkable
class Types(Protocol):
    """`Capabilities.typing`."""

    async def typing(self, chat: ChatId, typing: bool) -> None:
        """Tell the contact that the user types, or has stopped, which is said in the end.

        Where a network forgets it sooner, the session says it again by itself. Within some seconds. Raises
        `NetworkError`; it is not tried again.
        """
        ...
