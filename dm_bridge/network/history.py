"""What a session may offer of its network's own record: `Capabilities.history`, an optional protocol.

The record is read backwards: which conversations there were last, and of each the messages before a place in it.
What is read so is delivered by no sink, and acknowledged nowhere; the bridge stores it itself. Nobody is told of
it, neither that it arrived nor that it was read.

The rule that must never break: a message has the same `RemoteMessage.id` here as when it is delivered, live or
late (or that one as ``other_id``), because by it the bridge knows what it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteRead, Written

HISTORY_SECONDS = 60.0
"""After so many seconds a call is cancelled."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A private chat in the record. ``place``: for `History.older`, such that its newest message is the first."""

    chat: ChatId
    place: str


@dataclass(frozen=True, slots=True)
class Conversations:
    """``found``: those in a part of the record, the one with the newest message first; a later part may name them
    again. ``further``: where the next older part begins; None: there is none. ``read``: entries in this part.
    """

    found: tuple[Conversation, ...]
    further: str | None
    read: int


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a chat, the oldest first.

    ``events``: what people wrote, and what the contact has read. ``older``: the place before all of it; None:
    there is nothing older. ``read``: the `RemoteMessage.id` up to which the user has read the chat, as far as the
    network knows; None when it does not.
    """

    events: tuple[Written | RemoteRead, ...]
    older: str | None
    read: RemoteId | None = None


@runtime_checkable
class History(Protocol):
    """`Capabilities.history`. Called only while the session is connected; several chats at once.

    Both raise `NetworkError`, with ``retry_after`` where the same call can succeed later, within
    `HISTORY_SECONDS`. Places are texts without NUL, of 10,000 characters at most, that another session of the
    login understands.
    """

    async def conversations(self, until: str | None, further: str | None) -> Conversations:
        """A part of the record, of a size that the network likes.

        ``until``: `LoginDone.position`: nothing that came after it counts, since it is delivered. None: all
        counts.
        ``further``: of the part before; None: the first.
        """
        ...

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        """Up to ``messages`` messages before a place, with what else was done among them; fewer do not mean that
        it was all. ``place``: None for the newest.
        """
        ...
