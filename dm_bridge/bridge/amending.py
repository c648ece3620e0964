"""What people do to messages that are there already, carried into Matrix: edits, retractions, reactions, answers.

The rule that must never break: only the author of a message changes it or takes it back; a reference to a message
of somebody else, or to none that is known, changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, PortalKey, RemoteId, UserId, digest_id
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.attachments import is_media
from dm_bridge.matrix.emojis import plain, to_key
from dm_bridge.matrix.formatting import to_reaction
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.matrix.rooms import edits_of
from dm_bridge.network.events import ReactionChange, RemoteReactions, RemoteRetraction
from dm_bridge.store.inbox import ABOUT_NOTHING, InboxOutcome
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.references import Known, Reaction, ReferenceStore

REACTION = "m.reaction"
_EDITS_OF_EDITS = 5

Sent = Callable[[PortalKey, RemoteId], Awaitable[OutboxRow | None]]
Send = Callable[[OpenPortal, UserId, str, Json, str, float | None], Awaitable[EventId]]


class Amending:
    """``sent``: which event was sent to the network under an id, also before that is recorded.

    ``send``: sends an event of some type, with a transaction id, as of a time.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        references: ReferenceStore,
        sent: Sent,
        send: Send,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._references = references
        self._sent = sent
        self._send = send

    async def original(
        self, key: PortalKey, target: RemoteId, from_self: bool | None = None
    ) -> EventId | None:
        """The event of the message that a reference names: see `message`."""
        found = await self.message(key, target, from_self)
        return None if found is None else found.event

    async def message(
        self, key: PortalKey, target: RemoteId, from_self: bool | None = None
    ) -> Known | None:
        """The message that a reference names, of this author if one is given.

        Of an edit, the message that was edited.
        """
        for _ in range(_EDITS_OF_EDITS):
            found = await self._named(key, target, from_self)
            if found is None or found.edits is None:
                return found
            target, from_self = found.edits, found.from_self
        return None

    async def _named(
        self, key: PortalKey, target: RemoteId, from_self: bool | None
    ) -> Known | None:
        for known in await self._references.named(key, target):
            by_author = from_self is None or known.from_self == from_self
            if by_author and known.event is not None and known.reference is not None:
                return known
        row = None if from_self is False else await self._sent(key, target)
        if row is None:
            return None
        return Known(row.id, target, True, media=is_media(row.event.get("content") or {}))

    async def retract(
        self, portal: OpenPortal, row: RemoteId, event: RemoteRetraction, sender: UserId
    ) -> InboxOutcome:
        """Redact what its author has taken back, and what it said after each edit."""
        target = await self.original(portal.key, event.target, event.from_self)
        if target is None:
            return InboxOutcome(row, "dropped", reason=ABOUT_NOTHING)
        edits = await edits_of(self._homeserver, portal.room, target, user=portal.ghost)
        for version in (*edits, target):  # of a message that is gone, no edits are found
            await self._redact(portal, version, row, sender)
        return InboxOutcome(row, "delivered")

    async def react(
        self, portal: OpenPortal, row: RemoteId, event: RemoteReactions, sender: UserId
    ) -> InboxOutcome:
        """Send the reactions that are new, and redact those that are gone, however they are spelled."""
        key = portal.key
        target = await self.original(key, event.target)
        if target is None:
            return InboxOutcome(row, "dropped", reason=ABOUT_NOTHING)
        there = await self._references.reactions(key, target, from_self=event.from_self)
        named = {plain(emoji): emoji for emoji in reversed(event.emojis)}
        adds = event.change is not ReactionChange.REMOVED
        for one in there:
            gone = (plain(one.emoji) in named) is not adds
            if gone and event.change is not ReactionChange.ADDED:
                await self._redact(portal, one.event, row, sender)
                await self._references.remove_reaction(key, one.event)
        first: EventId | None = None
        before = {plain(one.emoji) for one in there}
        for look, emoji in reversed(named.items()) if adds else ():
            if look in before:
                continue
            content = {**to_reaction(to_key(emoji), target), REMOTE_ID: row}
            transaction = digest_id("reaction", key.login, key.chat, row, emoji)
            try:
                sent = await self._send(
                    portal, sender, REACTION, content, transaction, event.sent_at
                )
            except HomeserverError as error:
                if error.errcode != "M_DUPLICATE_ANNOTATION":
                    raise
                continue  # its author has sent the same in Matrix, and what pushes that records it
            await self._references.add_reaction(key, Reaction(target, event.from_self, emoji, sent))
            first = first or sent
        return InboxOutcome(row, "delivered", first)

    async def _redact(
        self, portal: OpenPortal, event: EventId, row: RemoteId, sender: UserId
    ) -> None:
        """As its author, or where that is not possible as the contact's ghost, who has made the room."""
        transaction = digest_id("redaction", portal.key.login, portal.key.chat, row, event)
        for user in dict.fromkeys((sender, portal.ghost)):
            try:
                if user == portal.login.owner:
                    await self._accounts.redact(user, portal.room, event, "", mark={REMOTE_ID: row})
                else:
                    await self._homeserver.redact(portal.room, event, transaction, "", user=user)
                return
            except HomeserverError as error:
                if error.status not in (403, 404) or user == portal.ghost:
                    raise
