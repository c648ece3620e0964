"""What a session may offer of its network's own record: `Capabilities.history`, an optional protocol.

The record is read backwards: part by part, whichever chats it is about, or the messages of one chat before a
place. What is read so is delivered to no sink, and acknowledged nowhere; the bridge stores it itself. Nobody is
told of it, neither that it arrived nor that it was read.

The rule that must never break: a message has the same `RemoteMessage.id` here as when it is delivered, live or
late (or that one as ``other_id``), because by it the bridge knows what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteRead, Written

HISTORY_SECONDS = 60.0
"""After so many seconds a call is cancelled."""


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """What somebody wrote, or that the contact has read. ``before``: the place before it, for `History.older`."""

    event: Written | RemoteRead
    before: str


@dataclass(frozen=True, slots=True)
class RecordPart:
    """A part of the record, of all private chats.

    ``entries``: the oldest first. ``further``: where the next older part begins; None: there is none.
    ``looked_at``: how many entries of the network's own this part has, also those that mean nothing.
    ``displayed``: for the chats in it, the `RemoteMessage.id` up to which the user has read them, as far as the
    network knows.
    """

    entries: tuple[RecordEntry, ...]
    further: str | None
    looked_at: int
    displayed: Mapping[ChatId, RemoteId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a chat, the oldest first. ``older``: the place before all of it; None: there is nothing older."""

    events: tuple[Written | RemoteRead, ...]
    older: str | None


@runtime_checkable
class History(Protocol):
    """`Capabilities.history`. Called only while the session is connected; several chats at once.

    Both raise `NetworkError`, with ``retry_after`` where the same call can succeed later, within
    `HISTORY_SECONDS`. Places are texts without NUL, of 10,000 characters at most, that another session of the
    login understands.
    """

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        """A part of the record, of a size that the network likes.

        ``until``: `LoginDone.position`: nothing that came after it counts, because it is delivered. None: all
        counts. ``further``: of the part before; None: the first.
        """
        ...

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        """Up to ``messages`` messages before a place, with what else was done among them; fewer do not mean
        that it was all. ``place``: None for the newest.
        """
        ...
