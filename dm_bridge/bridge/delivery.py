"""What a user sees in Matrix of how their message fares on its network.

* delivered: a read receipt of the contact;
* not yet: one notice in reply, changed when the message has gone through, or taken back when it failed;
* not delivered, or perhaps not: a notice in reply, with the reason and what to do;
* for clients that show it: the state of each message as an event (``com.beeper.message_send_status``), where
  that is switched on.

The rule that must never break: a notice that says "not yet" never outlives the waiting. Its event id is recorded
with the message, and forgotten only when it has been dealt with, also after a restart.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import structlog

from dm_bridge.bridge.receipts import Receipts
from dm_bridge.errors import BridgeError, may_pass
from dm_bridge.ids import EventId, UserId, digest_id
from dm_bridge.matrix.formatting import notice
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalRow, PortalStore

log = structlog.get_logger(__name__)

STATUS_EVENT = "com.beeper.message_send_status"
LEFT_BEHIND = 1000
"""Notices that are dealt with at one start."""


class Fate(enum.Enum):
    """How a message fares: ``value`` is the status in status events."""

    PENDING = "PENDING"
    DELIVERED = "SUCCESS"
    FAILED = "FAIL_RETRIABLE"
    UNSENDABLE = "FAIL_PERMANENT"


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """``receipts``: show deliveries as read receipts. ``status_events``: send status events.

    ``expire``: for how many seconds a message is tried.
    """

    receipts: bool = True
    status_events: bool = False
    expire: float = 86400.0


class Deliveries:
    """Tells users about their messages."""

    def __init__(
        self,
        homeserver: Homeserver,
        outbox: OutboxStore,
        portals: PortalStore,
        settings: DeliverySettings,
    ) -> None:
        self._homeserver = homeserver
        self._outbox = outbox
        self._portals = portals
        self._receipts = Receipts(homeserver)
        self.settings = settings

    async def waiting(self, row: OutboxRow, portal: PortalRow, sentence: str) -> None:
        """The message is not delivered yet, and will be tried again. Said once."""
        if row.notice is not None:
            return
        text = f"Your message is not delivered yet. {sentence} The bridge keeps trying."
        event = await self._reply(row, portal, "waiting", text)
        if event is not None:
            await self._outbox.set_notice(row, event)
        await self._status(row, portal, Fate.PENDING, sentence)

    async def undelivered(
        self,
        row: OutboxRow,
        portal: PortalRow,
        sentence: str,
        *,
        certain: bool = True,
        fate: Fate = Fate.FAILED,
    ) -> None:
        """The message was not delivered, or, unless that is ``certain``, may not have been."""
        what = "was not delivered." if certain else "may not have been delivered."
        await self._reply(row, portal, "undelivered", f"⚠ Your message {what} {sentence}")
        await self._status(row, portal, fate, sentence)

    async def finished(self, row: OutboxRow, portal: PortalRow, *, delivered: bool) -> None:
        """The outcome of the message is recorded. Never raises: everything here can be made up for."""
        if delivered and self.settings.receipts:
            self._receipts.note(row.room, row.id, portal.ghost)
        try:
            if delivered:
                await self._status(row, portal, Fate.DELIVERED, "")
            await self._settle_notice(row, portal.ghost, delivered=delivered)
        except BridgeError as error:
            log.warning("a notice could not be taken back yet", room=row.room, reason=str(error))

    async def resume(self) -> None:
        """At start: deal with the notices that an earlier process left behind."""
        try:
            for row, delivered in await self._outbox.unsettled_notices(LEFT_BEHIND):
                portal = await self._portals.by_room(row.room)
                portal = portal or await self._portals.by_former_room(row.room)
                if portal is None:
                    await self._outbox.set_notice(row, None)
                else:
                    await self.finished(row, portal, delivered=delivered)
        except BridgeError as error:
            log.warning("old notices stay until the next start", reason=str(error))

    async def stop(self) -> None:
        """Give up receipts that are under way."""
        await self._receipts.stop()

    async def _settle_notice(self, row: OutboxRow, ghost: UserId, *, delivered: bool) -> None:
        """Change the notice that says "not yet" when the message was delivered, else take it back."""
        if row.notice is None:
            return
        try:
            if delivered:
                new = notice("Your message was delivered meanwhile.")
                content: Json = {
                    **new,
                    "body": f"* {new['body']}",
                    "m.new_content": new,
                    "m.relates_to": {"rel_type": "m.replace", "event_id": row.notice},
                }
                await self._send(row, ghost, "m.room.message", "delivered", content)
            else:
                transaction = digest_id("notice", "taken back", row.notice)
                await self._homeserver.redact(
                    row.room,
                    row.notice,
                    transaction,
                    "The message is not tried any more.",
                    user=ghost,
                )
        except BridgeError as error:
            if may_pass(error):
                raise
            log.info("a notice stays as it is", room=row.room, reason=str(error))
        await self._outbox.set_notice(row, None)

    async def _reply(
        self, row: OutboxRow, portal: PortalRow, kind: str, text: str
    ) -> EventId | None:
        """Say something in reply to the message; None when it could not be said."""
        content = notice(text)
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": row.id}}
        try:
            return await self._send(row, portal.ghost, "m.room.message", kind, content)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("a user could not be told", room=row.room, reason=str(error))
            return None

    async def _status(self, row: OutboxRow, portal: PortalRow, fate: Fate, sentence: str) -> None:
        if not self.settings.status_events:
            return
        content: Json = {
            "status": fate.value,
            "m.relates_to": {"rel_type": "m.reference", "event_id": row.id},
        }
        if sentence:
            content["message"] = notice(sentence)["body"]
        if fate in (Fate.FAILED, Fate.UNSENDABLE):
            unsendable = fate is Fate.UNSENDABLE
            content["reason"] = (
                "com.beeper.unsupported_event" if unsendable else "m.foreign_network_error"
            )
        try:
            await self._send(row, portal.ghost, STATUS_EVENT, f"status {fate.value}", content)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("a status event was refused", room=row.room, reason=str(error))

    async def _send(
        self, row: OutboxRow, ghost: UserId, event_type: str, kind: str, content: Json
    ) -> EventId:
        transaction = digest_id("notice", kind, row.id)
        return await self._homeserver.send(row.room, event_type, content, transaction, user=ghost)
