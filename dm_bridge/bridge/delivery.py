"""What a user sees in Matrix of how their message fares on its network.

* delivered: a read receipt of the contact, unless it is known that the contact's client says what they read;
* not yet: one notice in reply, changed when the message has gone through, or taken back when it failed;
* not delivered, or perhaps not: a notice in reply, with the reason and what to do; changed when the message has
  gone through after all;
* for clients that show it: the state of each message as an event (``com.beeper.message_send_status``), where
  that is switched on.

The rule that must never break: no notice outlives what it says. Its event id is recorded with the message, and
forgotten only when it has been dealt with, also after a restart.
"""

from __future__ import annotations

import contextlib
import enum
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, replace

import structlog

from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.receipts import Receipts
from dm_bridge.bridge.reports import Checkpoints
from dm_bridge.errors import BridgeError, HomeserverAway, StorageError, may_pass
from dm_bridge.ids import EventId, RemoteId, RoomId, UserId, digest_id
from dm_bridge.matrix.formatting import notice, plain
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalRow, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

STATUS_EVENT = "com.beeper.message_send_status"
LEFT_BEHIND = 1000
"""Notices that are looked at in one go."""
_RECEIVED = 1000


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


async def _all(rooms: Collection[RoomId]) -> Collection[RoomId]:
    return rooms


class Deliveries:
    """Tells users about their messages. ``ours``: of which of some rooms we have the users."""

    def __init__(
        self,
        homeserver: Homeserver,
        outbox: OutboxStore,
        portals: PortalStore,
        settings: DeliverySettings,
        receipts: Receipts,
        ours: Callable[[Collection[RoomId]], Awaitable[Collection[RoomId]]] = _all,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._homeserver = homeserver
        self._outbox = outbox
        self._portals = portals
        self._receipts = receipts
        self.settings = settings
        self._ours = ours
        self._checkpoints = checkpoints or Checkpoints()
        self._received: OrderedDict[EventId, None] = OrderedDict()

    async def waiting(self, row: OutboxRow, portal: PortalRow, sentence: str) -> None:
        """The message is not delivered yet, and will be tried again. Said once."""
        self._checkpoints.waiting(row, notice(sentence)["body"])
        if row.notice is not None:
            return
        text = phrase("delivery-waits", why=sentence)
        event = row.verdict
        if event is not None:  # it was tried again
            await self._change(row.room, event, portal.ghost, text, row.received_at)
        else:
            event = await self._reply(row, portal, "waiting", text)
        if event is not None:
            await self._outbox.set_notices(row, notice=event, verdict=None)
        await self._status(row, portal, Fate.PENDING, sentence)

    async def undelivered(
        self,
        row: OutboxRow,
        portal: PortalRow,
        sentence: str,
        *,
        certain: bool = True,
        fate: Fate = Fate.FAILED,
        expired: bool = False,
    ) -> OutboxRow:
        """The message was not delivered, or, unless that is ``certain``, may not have been.

        ``expired``: it was tried for as long as a message is. Returns ``row`` with the notice that says so, which
        takes the place of one from an earlier attempt.
        """
        self._checkpoints.failed(
            row, notice(sentence)["body"], expired=expired, unsendable=fate is Fate.UNSENDABLE
        )
        text = phrase("delivery-failed" if certain else "delivery-uncertain", why=sentence)
        event = await self._reply(row, portal, "undelivered", text)
        if row.verdict is not None and row.verdict != event:
            await self._take_back(row.room, row.verdict, portal.ghost, "delivery-other-notice")
        if event != row.verdict:
            await self._outbox.set_notices(row, notice=row.notice, verdict=event)
        await self._status(row, portal, fate, sentence)
        return replace(row, verdict=event)

    async def sent_back(
        self, row: OutboxRow, portal: OpenPortal, remote: RemoteId, reason: str
    ) -> EventId | None:
        """The network took the message as ``remote``, and did not deliver it. Returns the notice, if any."""
        self._checkpoints.sent_back(row.room, row.id, reason)
        sentence = phrase("delivery-again", why=plain(reason))
        event = await self._reply(row, portal, "sent back", phrase("delivery-failed", why=sentence))
        if row.verdict is not None and row.verdict != event:
            await self._take_back(row.room, row.verdict, portal.ghost, "delivery-other-notice")
        await self._outbox.sent_back(replace(row, verdict=event), portal.key, remote, reason)
        await self._status(row, portal, Fate.FAILED, sentence)
        return event

    async def received(self, row: OutboxRow, portal: PortalRow) -> None:
        """A device of the contact has the message, says the network. Raises `BridgeError` if that may pass.

        A status that says less does not follow this one, although the network may answer the other way about.
        """
        self._received[row.id] = None
        if len(self._received) > _RECEIVED:
            self._received.popitem(last=False)
        await self._status(row, portal, Fate.DELIVERED, "", received=True)

    def answered(self, row: OutboxRow, *, readable: bool) -> None:
        """The message was for the bot."""
        self._checkpoints.command(row, readable=readable)

    async def finished(self, row: OutboxRow, portal: PortalRow, *, delivered: bool) -> None:
        """The outcome of the message is recorded. Never raises: everything here can be made up for."""
        if delivered:
            self._checkpoints.delivered(row)
        try:
            await self._settle(row, portal, delivered=delivered)
        except BridgeError as error:
            log.warning("a notice cannot be put right yet", room=row.room, reason=str(error))
        except Exception:
            log.exception("a notice cannot be put right for a reason of our own", room=row.room)

    async def withdrawn(self, row: OutboxRow, portal: PortalRow) -> None:
        """The author has taken the message back before it was sent: so nothing is left to say. Never raises."""
        try:
            for event in (row.notice, row.verdict):
                if event is not None:
                    await self._take_back(row.room, event, portal.ghost, "delivery-withdrawn")
            await self._outbox.forget_notices(row, verdict=True)
        except BridgeError as error:
            log.warning("a notice cannot be put right yet", room=row.room, reason=str(error))

    async def settle(self) -> None:
        """Put the notices right that others left behind: an earlier process, or an admin's command.

        Raises `BridgeError` when that cannot be done for now; one room's trouble keeps no other one waiting.
        """
        trouble: BridgeError | None = None
        left = await self._outbox.unsettled_notices(LEFT_BEHIND)
        ours = await self._ours({row.room for row, _ in left}) if left else ()
        for row, delivered in left:
            if row.room not in ours:
                continue
            try:
                await self._settle_left(row, delivered=delivered)
            except (StorageError, HomeserverAway):
                raise
            except BridgeError as error:
                trouble = error
        if trouble is not None:
            raise trouble

    async def _settle_left(self, row: OutboxRow, *, delivered: bool) -> None:
        portal = await self._portals.by_room(row.room)
        portal = portal or await self._portals.by_former_room(row.room)
        if portal is None:
            await self._outbox.forget_notices(row, verdict=True)
        else:
            await self._settle(row, portal, delivered=delivered)

    async def _settle(self, row: OutboxRow, portal: PortalRow, *, delivered: bool) -> None:
        if delivered:
            if self.settings.receipts and not portal.shows_reads:
                self._receipts.note(row.room, row.id, portal.ghost)
            if row.id not in self._received:
                await self._status(row, portal, Fate.DELIVERED, "")
            for event in (row.notice, row.verdict):
                if event is not None:
                    await self._change(row.room, event, portal.ghost, phrase("delivery-done"))
        elif row.notice is not None and row.verdict is not None:
            await self._take_back(row.room, row.notice, portal.ghost, "delivery-other-notice")
        elif row.notice is not None:
            await self._change(row.room, row.notice, portal.ghost, phrase("delivery-given-up"))
        if row.notice is not None or (delivered and row.verdict is not None):
            await self._outbox.forget_notices(row, verdict=delivered)

    async def _change(
        self, room: RoomId, event: EventId, ghost: UserId, text: str, *attempt: float
    ) -> None:
        """Let a notice say something else; one that cannot be changed stays."""
        new = notice(text)
        content: Json = {
            **new,
            "body": f"* {new['body']}",
            "m.new_content": new,
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        }
        transaction = digest_id("notice", "changed", event, text, *map(repr, attempt))
        with _unless_for_good(room):
            await self._homeserver.send(room, "m.room.message", content, transaction, user=ghost)

    async def _take_back(self, room: RoomId, event: EventId, ghost: UserId, why: str) -> None:
        transaction = digest_id("notice", "taken back", event)
        with _unless_for_good(room):
            await self._homeserver.redact(room, event, transaction, phrase(why), user=ghost)

    async def _reply(
        self, row: OutboxRow, portal: PortalRow | OpenPortal, kind: str, text: str
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

    async def _status(
        self,
        row: OutboxRow,
        portal: PortalRow | OpenPortal,
        fate: Fate,
        sentence: str,
        *,
        received: bool = False,
    ) -> None:
        if not self.settings.status_events:
            return
        content: Json = {
            "status": fate.value,
            "m.relates_to": {"rel_type": "m.reference", "event_id": row.id},
        }
        if received:
            content["delivered_to_users"] = [portal.ghost]
        if sentence:
            content["message"] = notice(sentence)["body"]
        if fate in (Fate.FAILED, Fate.UNSENDABLE):
            unsendable = fate is Fate.UNSENDABLE
            content["reason"] = (
                "com.beeper.unsupported_event" if unsendable else "m.foreign_network_error"
            )
        try:
            kind = f"status {fate.value}{' received' if received else ''}"
            await self._send(row, portal.ghost, STATUS_EVENT, kind, content)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("a status event was refused", room=row.room, reason=str(error))

    async def _send(
        self, row: OutboxRow, ghost: UserId, event_type: str, kind: str, content: Json
    ) -> EventId:
        """Send something once, of each ``kind``, until the message is put back to be tried again."""
        transaction = digest_id("notice", kind, row.id, repr(row.received_at))
        return await self._homeserver.send(row.room, event_type, content, transaction, user=ghost)


@contextlib.contextmanager
def _unless_for_good(room: RoomId) -> Iterator[None]:
    """Let trouble through that may pass; what is refused for good is noted."""
    try:
        yield
    except BridgeError as error:
        if may_pass(error):
            raise
        log.info("a notice stays as it is", room=room, reason=str(error))
