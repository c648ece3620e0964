"""Which message of a chat an event in its room is.

Messages are recorded a few at a time, a moment after they are in the room (`dm_bridge.bridge.recorder`), and
people answer, react and read as soon as they see one. What no record says, the event does: it names its message.

The rule that must never break: what an event says of itself counts only where it was sent for the author.
"""

from __future__ import annotations

from dataclasses import replace

from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.errors import HomeserverError, may_pass
from dm_bridge.ids import EventId, RemoteId, RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.matrix.rooms import event_of
from dm_bridge.store.inbox import stored_id
from dm_bridge.store.portals import PortalRow
from dm_bridge.store.references import Known, ReferenceStore

SECONDS = 10.0
"""For which the homeserver is asked for an event."""
LONGEST = 255
"""Bytes of an event id (Matrix specification, appendices, "Event IDs")."""


class Recognition:
    """Looks into the records, and then into the room."""

    def __init__(self, homeserver: Homeserver, references: ReferenceStore) -> None:
        self._homeserver = homeserver
        self._references = references

    async def message(
        self, portal: PortalRow, room: RoomId, event: EventId, owner: UserId
    ) -> Known | None:
        """The message that ``event`` of ``room`` is; None when it is none. ``owner``: of the chat.

        Raises `BridgeError` when it is to be asked again.
        """
        known = await self._references.of_event(portal.key, event)
        if known is not None or len(event.encode()) > LONGEST:
            return known
        try:
            there = await event_of(
                self._homeserver, room, event, user=portal.ghost, deadline=SECONDS
            )
        except HomeserverError as error:
            if may_pass(error):
                raise
            return None
        return None if there is None else await self.said(portal, there, owner)

    async def said(self, portal: PortalRow, event: Json, owner: UserId) -> Known | None:
        """The message that an event, as it is in the room, says it is."""
        content = event.get("content")
        remote = content.get(REMOTE_ID) if isinstance(content, dict) else None
        if not isinstance(remote, str):
            return None
        for known in await self._references.named(portal.key, RemoteId(remote)):
            fits = known.id is not None and stored_id(known.id) == remote
            authors = (owner, portal.own_ghost) if known.from_self else (portal.ghost,)
            if fits and event.get("sender") in authors:
                return replace(known, event=EventId(event["event_id"]))
        return None
