"""What a user does to messages in Matrix, put as their network has to be told.

The rule that must never break: what the network does not know is not spoken of, and a reaction is recorded before
the network is told, so that the next one names all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dm_bridge.bridge import routing
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, PortalKey, RemoteId, RoomId, UserId, message_id
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.rooms import event_of
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reference,
)
from dm_bridge.network.api import Outgoing, OutgoingMessage
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.portals import PortalRow
from dm_bridge.store.references import Known, Reaction, ReferenceStore

QUOTE_SECONDS = 5.0
"""For which is looked for what an answered message says by now."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to tell the network. ``reason``: for the record."""

    reason: str


Revision = routing.Edit | routing.Reaction | routing.Redaction


class Revising:
    """Looks up what an event is about."""

    def __init__(self, homeserver: Homeserver, references: ReferenceStore, files: FilesOut) -> None:
        self._homeserver = homeserver
        self._references = references
        self._files = files

    async def message(
        self, portal: PortalRow, row: OutboxRow, decision: routing.Message
    ) -> OutgoingMessage:
        """A message, with what it answers if the network knows that."""
        about, key = None, portal.key
        if decision.answers is not None:
            about = _reference(await self._references.of_event(key, decision.answers))
            if about is not None:
                about = await self._as_it_is(about, row.room, decision.answers, portal.ghost)
        attachment = self._files.outgoing(decision.attachment)
        return OutgoingMessage(
            key.chat, message_id(row.id), decision.text, reply_to=about, attachment=attachment
        )

    async def _as_it_is(
        self, about: Reference, room: RoomId, event: EventId, ghost: UserId
    ) -> Reference:
        """``about`` with what the message says by now: it may be edited, or redacted.

        As it was first, where the homeserver does not say: a quote is not worth waiting for.
        """
        try:
            there = await event_of(
                self._homeserver, room, event, user=ghost, deadline=QUOTE_SECONDS
            )
        except HomeserverError:
            there = None
        if there is None:
            return about
        if not there.get("content"):
            return replace(about, text="")
        edited: Any = there
        for name in ("unsigned", "m.relations", "m.replace", "content", "m.new_content", "body"):
            edited = edited.get(name) if isinstance(edited, dict) else None
        return replace(about, text=edited) if isinstance(edited, str) else about

    async def revise(
        self, key: PortalKey, row: OutboxRow, decision: Revision
    ) -> Outgoing | Nothing:
        """What the network is to be told."""
        id_ = message_id(row.id)
        if isinstance(decision, routing.Reaction):
            return await self._react(key, row, id_, decision)
        if isinstance(decision, routing.Redaction):
            reaction = await self._references.reaction_of(key, decision.target)
            if reaction is not None:
                return await self._unreact(key, id_, reaction)
        known = await self._references.of_event(key, decision.target)
        about = _reference(known)
        if known is None or about is None:
            return Nothing("it is about nothing that the network has")
        if not known.from_self:
            return Nothing("it is about a message of somebody else")
        if known.edits is not None:
            return Nothing("it is about an edit, and not about a message")
        if isinstance(decision, routing.Edit):
            attachment = self._files.outgoing(decision.attachment)
            return OutgoingEdit(key.chat, id_, about, decision.text, attachment=attachment)
        return OutgoingRetraction(key.chat, id_, about)

    async def _react(
        self, key: PortalKey, row: OutboxRow, id_: RemoteId, decision: routing.Reaction
    ) -> Outgoing | Nothing:
        about = _reference(await self._references.of_event(key, decision.target))
        if about is None:
            return Nothing("it is about nothing that the network has")
        new = Reaction(decision.target, True, decision.emoji, row.id)
        await self._references.add_reaction(key, new)
        emojis = await self._emojis(key, decision.target)
        return OutgoingReactions(key.chat, id_, about, emojis, added=(decision.emoji,))

    async def _unreact(self, key: PortalKey, id_: RemoteId, gone: Reaction) -> Outgoing | Nothing:
        if not gone.from_self:
            return Nothing("it is about a reaction of somebody else")
        about = _reference(await self._references.of_event(key, gone.target))
        if about is None:
            return Nothing("it is about nothing that the network has")
        emojis = tuple(one for one in await self._emojis(key, gone.target) if one != gone.emoji)
        return OutgoingReactions(key.chat, id_, about, emojis, removed=(gone.emoji,))

    async def done(self, key: PortalKey, decision: Revision) -> None:
        """The network was told, or will never be."""
        if isinstance(decision, routing.Redaction):
            await self._references.remove_reaction(key, decision.target)

    async def _emojis(self, key: PortalKey, target: EventId) -> tuple[str, ...]:
        there = await self._references.reactions(key, target, from_self=True)
        return tuple(one.emoji for one in there)


def _reference(known: Known | None) -> Reference | None:
    if known is None or known.reference is None:
        return None
    return Reference(known.reference, known.from_self, known.text)
