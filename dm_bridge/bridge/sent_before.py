"""What of a chat's messages is in its room already, although no record says so.

A message whose answer was lost, or whose record was, may be in the room. Its transaction id alone does
not settle that: Synapse remembers an application service's transactions for half an hour, in memory. So the room
is read back before anything is sent again.

The rule that must never break: a message that may be in the room is looked for before it is sent; and what
counts as found was written by somebody who writes for its author.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

from mautrix.api import Path

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.matrix.around import written_by
from dm_bridge.matrix.homeserver import Homeserver, Json

PART = "org.dm_bridge.part"
"""Content key of the later parts of a message that is too long for one event: 1, 2, …"""
REMOTE_ID = "org.dm_bridge.remote_id"
"""Content key of every event we send for a contact or a user: the message's id on its network."""

PAGE = 100
MOST_PAGES = 10

Sent = tuple[UserId, RemoteId, int]
"""Who sent which part of which message."""


class SentBefore:
    """Knows which chats are in doubt, and what was found in their rooms.

    ``recorded``: whether an event is the one that a chat's record names for a message.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        recorded: Callable[[PortalKey, RemoteId, EventId], Awaitable[bool]],
    ) -> None:
        self._homeserver = homeserver
        self._recorded = recorded
        self._chats: dict[PortalKey, dict[Sent, EventId] | None] = {}
        self._rooms: dict[PortalKey, dict[RoomId, None]] = {}

    def doubt(self, chats: Iterable[PortalKey], room: RoomId | None = None) -> None:
        """In these chats, a message that waits may have been sent, to ``room`` or any other of the chat's."""
        for chat in chats:
            self._chats[chat] = None
            if room is not None:
                self._rooms.setdefault(chat, {})[room] = None

    def settle(self, chat: PortalKey) -> None:
        """Nothing waits in this chat any more."""
        self._chats.pop(chat, None)
        self._rooms.pop(chat, None)

    def forget(self, gone: Callable[[PortalKey], bool]) -> None:
        """These chats are the business of another process."""
        for chat in [*filter(gone, {**self._chats, **self._rooms})]:
            self.settle(chat)

    async def find(
        self,
        chat: PortalKey,
        rooms: Callable[[], Awaitable[Iterable[RoomId]]],
        seen_by: UserId,
        senders: Collection[UserId],
    ) -> dict[Sent, EventId]:
        """What ``senders`` sent and is not recorded; nothing where there is no doubt.

        ``rooms``: those where it may be, the chat's own and those that it had before.
        Raises `HomeserverError` when the room cannot be read for now.
        """
        if chat not in self._chats:
            return {}
        found = self._chats[chat]
        if found is None:
            found = {}
            for room in dict.fromkeys([*await rooms(), *self._rooms.get(chat, ())]):
                found |= await self._read_back(chat, room, seen_by, senders)
            self._chats[chat] = found
        return found

    async def _read_back(
        self, chat: PortalKey, room: RoomId, seen_by: UserId, senders: Collection[UserId]
    ) -> dict[Sent, EventId]:
        """From the newest event back to one that is recorded: messages are sent in order."""
        found: dict[Sent, EventId] = {}
        query = {"dir": "b", "limit": str(PAGE), "filter": written_by(senders)}
        for _ in range(MOST_PAGES):
            try:
                answer = await self._homeserver.request(
                    "GET", Path.v3.rooms[room].messages, user=seen_by, query=query
                )
            except HomeserverError as error:
                if error.status in (
                    403,
                    404,
                ):  # who cannot read the room did not write there either
                    return found
                raise
            for event in answer["chunk"]:
                sent = _what(event)
                if sent is None or sent[0] not in senders:
                    continue
                if await self._recorded(chat, sent[1], event["event_id"]):
                    return found
                found[sent] = EventId(event["event_id"])  # of several the oldest: others are copies
            if not answer["chunk"] or not isinstance(answer.get("end"), str):
                break
            query["from"] = answer["end"]
        return found


def _what(event: Json) -> Sent | None:
    content = event.get("content")
    if not isinstance(content, dict):
        return None
    remote, part = content.get(REMOTE_ID), content.get(PART, 0)
    if not isinstance(remote, str) or not isinstance(part, int):
        return None
    return UserId(event["sender"]), RemoteId(remote), part
