"""Who has read what, carried into Matrix: the contact the user's messages, the user, elsewhere, the contact's.

The rule that must never break: a receipt is about a message that is known, of the other side; from the first one
of a contact on, a receipt of theirs in Matrix means that they have read it, and not merely that their network has
it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dm_bridge.bridge.delivery import Deliveries
from dm_bridge.bridge.receipts import Receipts
from dm_bridge.ids import EventId, PortalKey, RemoteId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.network.events import Receipt, RemoteRead
from dm_bridge.store.inbox import ABOUT_NOTHING, InboxOutcome
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.portals import Membership, PortalRow, PortalStore

Original = Callable[[PortalKey, RemoteId, bool], Awaitable[EventId | None]]
Sent = Callable[[PortalKey, RemoteId], Awaitable[OutboxRow | None]]


class Reading:
    """``original``: the event of a message that a reference names, of the user or of the contact.

    ``owner``: whose login it is, if a user's that we have. ``sent``: as for `Amending`. ``marked``: told which
    event a user is about to be said to have read, because the homeserver will say so again.
    """

    def __init__(
        self,
        accounts: Accounts,
        portals: PortalStore,
        receipts: Receipts,
        deliveries: Deliveries,
        owner: Callable[[PortalKey], UserId | None],
        original: Original,
        sent: Sent,
        marked: Callable[[PortalKey, EventId], None],
    ) -> None:
        self._accounts = accounts
        self._portals = portals
        self._receipts = receipts
        self._deliveries = deliveries
        self._owner = owner
        self._original = original
        self._sent = sent
        self._marked = marked

    async def carry(self, key: PortalKey, row: RemoteId, event: Receipt) -> InboxOutcome:
        """Show it, if there is a room to show it in. Raises `BridgeError`."""
        portal = await self._portals.get(key)
        if portal is None or portal.room is None:
            return InboxOutcome(row, "dropped", reason=ABOUT_NOTHING)
        if not isinstance(event, RemoteRead):
            sent = await self._sent(key, event.target)
            if sent is None:
                return InboxOutcome(row, "dropped", reason=ABOUT_NOTHING)
            await self._deliveries.received(sent, portal)
            return InboxOutcome(row, "delivered")
        target = await self._original(key, event.target, not event.from_self)
        if target is None:
            return InboxOutcome(row, "dropped", reason=ABOUT_NOTHING)
        if event.from_self:
            return self._own(row, portal, target)
        if not portal.shows_reads:
            await self._portals.set_shows_reads(key)
        self._receipts.note(portal.room, target, portal.ghost)
        return InboxOutcome(row, "delivered")

    def _own(self, row: RemoteId, portal: PortalRow, target: EventId) -> InboxOutcome:
        owner = self._owner(portal.key)
        joined = portal.membership is Membership.JOIN
        if (
            owner is None
            or portal.room is None
            or not joined
            or not self._accounts.can_act_for(owner)
        ):
            return InboxOutcome(row, "dropped", reason="the bridge cannot act for the user there")
        self._marked(portal.key, target)
        self._receipts.note_own(portal.room, target, owner)
        return InboxOutcome(row, "delivered")
