"""What a user does to messages in Matrix, put as their network has to be told.

The rule that must never break: what the network does not know is not spoken of, and a reaction is recorded before
the network is told, so that the next one names all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dm_bridge.bridge import routing
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.bridge.recognition import Recognition
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, PortalKey, RemoteId, RoomId, message_id
from dm_bridge.matrix.attachments import spoiler
from dm_bridge.matrix.emojis import plain
from dm_bridge.matrix.homeserver import Homeserver, Json
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
_HIDES = "data-mx-spoiler"
_EDITS_OF_EDITS = 5


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
        self._recognition = Recognition(homeserver, references)
        self._files = files

    async def message(
        self, portal: PortalRow, row: OutboxRow, decision: routing.Message
    ) -> OutgoingMessage:
        """A message, with what it answers if the network knows that."""
        about, key = None, portal.key
        if decision.answers is not None:
            about = await self._answered(portal, row, decision.answers)
        attachment = self._files.outgoing(decision.attachment)
        return OutgoingMessage(
            key.chat, message_id(row.id), decision.text, reply_to=about, attachment=attachment
        )

    async def _answered(
        self, portal: PortalRow, row: OutboxRow, event: EventId
    ) -> Reference | None:
        """A message that is answered, if the network knows it, with what it says by now: it may be edited."""
        event, known = await self._message(portal, row, event)
        about = _reference(known)
        if known is None or about is None:
            return None
        there = await self._look(portal, row.room, event)
        if there is None:
            return about
        if not there.get("content"):
            return replace(about, text="")
        newest: Any = there
        for name in ("unsigned", "m.relations", "m.replace", "content", "m.new_content"):
            newest = newest.get(name) if isinstance(newest, dict) else None
        edited = newest.get("body") if isinstance(newest, dict) else None
        now = newest if isinstance(edited, str) else there["content"]
        if _HIDES in str(now.get("formatted_body")) or spoiler(there["content"]) is not None:
            return replace(about, text="")  # nobody is to see it without asking for it
        if known.media and not isinstance(
            edited, str
        ):  # what it is called here, if nothing is said
            edited = there["content"].get("body")
        return replace(about, text=edited) if isinstance(edited, str) else about

    async def _look(self, portal: PortalRow, room: RoomId, event: EventId) -> Json | None:
        """An event as it is now; None where the homeserver does not say soon: a quote is not worth waiting for."""
        try:
            return await event_of(
                self._homeserver, room, event, user=portal.ghost, deadline=QUOTE_SECONDS
            )
        except HomeserverError:
            return None

    async def _answer_in(
        self, portal: PortalRow, row: OutboxRow, event: Json | None
    ) -> Reference | None:
        """What a message answers: an edit does not say it, since it cannot change it."""
        there: Any = event
        for name in ("content", "m.relates_to", "m.in_reply_to", "event_id"):
            there = there.get(name) if isinstance(there, dict) else None
        return await self._answered(portal, row, EventId(there)) if isinstance(there, str) else None

    async def revise(
        self, portal: PortalRow, row: OutboxRow, decision: Revision
    ) -> Outgoing | Nothing:
        """What the network is to be told."""
        key, id_ = portal.key, message_id(row.id)
        if isinstance(decision, routing.Reaction):
            return await self._react(portal, row, id_, decision)
        if isinstance(decision, routing.Redaction):
            reaction = await self._references.reaction_of(key, decision.target)
            if reaction is not None:
                return await self._unreact(portal, row, id_, reaction)
        if isinstance(decision, routing.Edit):
            target, known = await self._message(portal, row, decision.target)
        else:
            target, known = decision.target, await self._known(portal, row, decision.target)
        about = _reference(known)
        if known is None or about is None:
            return Nothing("it is about nothing that the network has")
        if not known.from_self:
            return Nothing("it is about a message of somebody else")
        if known.edits is not None:
            return Nothing("it is about an edit, and not about a message")
        if isinstance(decision, routing.Redaction) and known.event not in (None, decision.target):
            return await self._without_edit(portal, row, id_, EventId(str(known.event)))
        if isinstance(decision, routing.Edit):
            there = await self._look(portal, row.room, target)
            if there is not None and not there.get("content"):
                return Nothing("it is about a message that was taken back")
            answers = await self._answer_in(portal, row, there)
            attachment = self._files.outgoing(decision.attachment)
            return OutgoingEdit(
                key.chat, id_, about, decision.text, reply_to=answers, attachment=attachment
            )
        return OutgoingRetraction(key.chat, id_, about)

    async def _known(self, portal: PortalRow, row: OutboxRow, event: EventId) -> Known | None:
        return await self._recognition.message(portal, row.room, event, row.sender)

    async def _message(
        self, portal: PortalRow, row: OutboxRow, event: EventId
    ) -> tuple[EventId, Known | None]:
        """The message that an event is, or that it is an edit of, also if it names another edit."""
        key, known = portal.key, await self._known(portal, row, event)
        for _ in range(_EDITS_OF_EDITS):
            first = None if known is None else known.event
            if known is not None and known.edits is not None:
                named = await self._references.named(key, known.edits)
                by_author = (one.event for one in named if one.from_self == known.from_self)
                first = next((one for one in by_author if one is not None), None)
            if first in (None, event):
                break
            event = EventId(str(first))
            known = await self._known(portal, row, event)
        return event, known

    async def _without_edit(
        self, portal: PortalRow, row: OutboxRow, id_: RemoteId, original: EventId
    ) -> Outgoing | Nothing:
        """An edit is taken back, and not the message, which says again what it did before, or still the same."""
        about = _reference(await self._known(portal, row, original))
        there = await self._look(portal, row.room, original)
        said = routing.said_by_now(there or {})
        if about is None or said is None:
            return Nothing("it is about an edit of what is not there any more")
        text, attached = said
        answers = await self._answer_in(portal, row, there)
        attachment = self._files.outgoing(attached)
        return OutgoingEdit(
            portal.key.chat, id_, about, text, reply_to=answers, attachment=attachment
        )

    async def _react(
        self, portal: PortalRow, row: OutboxRow, id_: RemoteId, decision: routing.Reaction
    ) -> Outgoing | Nothing:
        key = portal.key
        target, known = await self._message(portal, row, decision.target)
        about = _reference(known)
        if about is None:
            return Nothing("it is about nothing that the network has")
        emoji = await self._spelled(key, target, decision.emoji)
        await self._references.add_reaction(key, Reaction(target, True, emoji, row.id))
        emojis = await self._emojis(key, target)
        return OutgoingReactions(key.chat, id_, about, emojis, added=(emoji,))

    async def _spelled(self, key: PortalKey, target: EventId, emoji: str) -> str:
        """As the contact spells it, where they said it first: else their client counts two."""
        theirs = await self._references.reactions(key, target, from_self=False)
        alike = (one.emoji for one in theirs if plain(one.emoji) == plain(emoji))
        return next(alike, emoji)

    async def _unreact(
        self, portal: PortalRow, row: OutboxRow, id_: RemoteId, gone: Reaction
    ) -> Outgoing | Nothing:
        if not gone.from_self:
            return Nothing("it is about a reaction of somebody else")
        key, about = portal.key, _reference(await self._known(portal, row, gone.target))
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
