"""Carries events of the networks into Matrix: one lane per chat, in order.

The rule that must never break: the next message of a chat is sent only after the one before it was
accepted, and a row is finished only after its event was. Outcomes are recorded a few at a time, while
the next messages are already on their way; after a crash in between, and whenever an answer was lost, the
room is read back (`sent_before`) before anything is sent again, under the same transaction id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import assert_never

import structlog

from dm_bridge.bridge.amending import Amending
from dm_bridge.bridge.contact_moves import Moved
from dm_bridge.bridge.delivery import Deliveries
from dm_bridge.bridge.files_in import FilesIn, parts_of
from dm_bridge.bridge.import_state import Door, Doors, NoDoors
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import OpenPortal, Portals
from dm_bridge.bridge.reading import Reading
from dm_bridge.bridge.recorder import Recorder
from dm_bridge.bridge.sent_before import PART, REMOTE_ID, SentBefore
from dm_bridge.bridge.signals import Signals
from dm_bridge.bridge.silence import HISTORY, OLD
from dm_bridge.bridge.unreadable import Unreadable
from dm_bridge.errors import (
    BridgeError,
    HomeserverError,
    NetworkError,
    NotYet,
    UserError,
    may_pass,
)
from dm_bridge.ids import (
    ChatId,
    EventId,
    PortalKey,
    RemoteId,
    RoomId,
    UserId,
    digest_id,
    message_id,
)
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.formatting import (
    code,
    notice,
    plain,
    quoting,
)
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Network, Session
from dm_bridge.network.events import (
    ContactMoved,
    Receipt,
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRetraction,
    Written,
)
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.inbox import ABOUT_NOTHING, InboxOutcome, InboxRow, InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.references import Known, ReferenceStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

PAGE = 50
BEHIND_A_DOOR = 1000  # rows among which is looked for something new
NOT_CONFIGURED = 3600.0  # seconds between looks for a network that is switched off
REASONS_TO_REFUSE = (
    3  # that a homeserver may have at once, as the user left, say, and replaced the room
)
TURN = 0.5  # seconds until a chat looks again whether an earlier move is done
EVENTS_OF_A_ROOM = 12  # that come with a new room, besides its messages


class ToMatrix:
    """Drains the inbox of one chat at a time.

    ``ends``: whether a chat's lane is to end. ``happens``: told of events that are about to come in rooms of an
    account. ``doors``: whether what is older of a chat comes first.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        portals: Portals,
        logins: Logins,
        inbox: InboxStore,
        outbox: OutboxStore,
        references: ReferenceStore,
        portal_store: PortalStore,
        metrics: Metrics,
        deliveries: Deliveries,
        signals: Signals,
        files: FilesIn,
        ends: Callable[[PortalKey], bool] = lambda key: False,
        happens: Callable[[UserId, int], None] = lambda account, events: None,
        clock: Callable[[], float] = time.time,
        doors: Doors | None = None,
    ) -> None:
        self._doors = doors or NoDoors()
        self._ends = ends
        self._happens = happens
        self._deliveries = deliveries
        self._homeserver = homeserver
        self._accounts = accounts
        self._portals = portals
        self._logins = logins
        self._inbox = inbox
        self._outbox = outbox
        self._portal_store = portal_store
        self._metrics = metrics
        self._files = files
        self._clock = clock
        self._sent_before = SentBefore(homeserver, self._recorded)
        self._amending = Amending(homeserver, accounts, references, self._sent, self._send)
        self._signals = signals
        self._unreadable = Unreadable()
        self._reading = Reading(
            accounts,
            portal_store,
            signals.receipts,
            deliveries,
            lambda key: logins.owner(key.login),
            self._amending.original,
            self._sent,
            signals.attention.marked,
        )

    def doubt(self, chats: Iterable[PortalKey]) -> None:
        """An earlier process may have sent what waits in these chats."""
        self._sent_before.doubt(chats)

    def forget(self, gone: Callable[[PortalKey], bool]) -> None:
        """These chats are the business of another process."""
        self._sent_before.forget(gone)

    async def drain(self, key: PortalKey) -> None:
        """Deal with everything that waits for ``key``. Raises `BridgeError` to be run again later."""
        match self._doors.door(key):
            case Door.SHUT:
                rows = await self._inbox.waiting(key, BEHIND_A_DOOR)
                if any(isinstance(row.event, Written) and not row.older for row in rows):
                    self._doors.waits(key)
                self._doors.left(key)
                return
            case Door.AJAR:
                await self._make_room(key)
                return
            case Door.OPEN:
                pass
        recorder = Recorder(self._inbox, key)
        try:
            while rows := await self._inbox.waiting(key, PAGE):
                portal: OpenPortal | None = None
                changes = self._portals.life.changes
                for row in rows:
                    if self._ends(key) or self._is_shut(row):
                        break
                    if changes != self._portals.life.changes:  # the room may be another one now
                        portal, changes = None, self._portals.life.changes
                    if _looks_back(row.event):
                        await recorder.flush()
                    portal, outcome = await self._carry(row, portal)
                    self._count(row, outcome)
                    await recorder.add(outcome, at_once=is_own(row.event))
                await recorder.flush()
                if self._ends(key):
                    return
                if self._is_shut(rows[0]):
                    self._doors.left(key)
                    return
            self._sent_before.settle(key)
            self._doors.shown(key)
        finally:
            if not await recorder.close():
                self._sent_before.doubt([key])  # sent, and nobody will know from a record

    def _is_shut(self, row: InboxRow) -> bool:
        """Whether what is older has been given up since the lane began."""
        return row.older and row.thread is None and self._doors.door(row.key) is not Door.OPEN

    async def _make_room(self, key: PortalKey) -> None:
        """Open the chat, and show nothing in it yet. Raises `BridgeError` to be run again later."""
        try:
            for row in await self._inbox.waiting(key, 1):
                await self._open(key, row.event)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.error("a chat could not be opened", login=key.login, reason=str(error))
        except Exception:
            log.exception("a chat could not be opened for a reason of our own", login=key.login)
        self._doors.made(key)

    def _count(self, row: InboxRow, outcome: InboxOutcome) -> None:
        self._metrics.messages.labels("to_matrix", outcome.state).inc()
        self._metrics.latency.labels("to_matrix").observe(max(0.0, self._clock() - row.received_at))

    async def _carry(
        self, row: InboxRow, portal: OpenPortal | None
    ) -> tuple[OpenPortal | None, InboxOutcome]:
        """Carry one event. Errors that may pass are raised; any other ends this row only."""
        try:
            event = row.event
            if isinstance(event, ContactMoved):
                await self._in_turn(row, {row.key.chat, event.new_chat})
                return None, await self._contact_moved(row, event)
            if isinstance(event, RemoteFailure) and not await self._sent(row.key, event.message):
                return portal, InboxOutcome(
                    row.id, "dropped", reason="it is about no message of ours"
                )
            if isinstance(event, Receipt):
                return portal, await self._reading.carry(row.key, row.id, event)
            if isinstance(event, RemoteRetraction | RemoteReactions):
                author = event.from_self if isinstance(event, RemoteRetraction) else None
                if await self._amending.original(row.key, event.target, author) is None:
                    return portal, InboxOutcome(row.id, "dropped", reason=ABOUT_NOTHING)
            if self._unreadable.is_told(row.key, event):
                return portal, InboxOutcome(
                    row.id,
                    "dropped",
                    reason="it is encrypted, and the user has been told of one before it",
                )
            if portal is None:
                if await self._portal_store.get(row.key) is None:
                    await self._in_turn(row, {row.key.chat})
                portal = await self._open(row.key, row.event)
            if portal is None:
                return None, InboxOutcome(
                    row.id, "dropped", reason="the login does not exist any more"
                )
            for _ in range(REASONS_TO_REFUSE):
                try:
                    return portal, await self._deliver(portal, row, event)
                except HomeserverError as error:
                    if error.status != 403:
                        raise
                    portal = await self._reopen(portal, row)
            return portal, await self._deliver(portal, row, event)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.error("a message could not be shown in Matrix", reason=str(error))
            return portal, await self._park(portal, row, str(error))
        except Exception as error:
            log.exception("a message could not be shown in Matrix for a reason of our own")
            return portal, await self._park(portal, row, repr(error))

    async def _in_turn(self, row: InboxRow, chats: set[ChatId]) -> None:
        """Raise `NotYet` while an earlier move of a contact from or to one of ``chats`` waits in its lane.

        Whose chat becomes which, and which gets a room of its own, depends on what was before.
        """
        for move in await self._inbox.moves_before(row.key, row.id):
            if move.chat != row.key.chat and not chats.isdisjoint({move.chat, move.new_chat}):
                raise NotYet(phrase("delivery-earlier-move"), TURN)

    async def _park(self, portal: OpenPortal | None, row: InboxRow, reason: str) -> InboxOutcome:
        """Put a message aside that nothing can be done about, and tell the user so."""
        if portal is not None:
            content = notice(phrase("chat-message-parked"))
            transaction = digest_id("parked", row.key.login, row.key.chat, row.id)
            try:
                await self._homeserver.send(
                    portal.room, "m.room.message", content, transaction, user=portal.ghost
                )
            except BridgeError as error:
                if may_pass(error):
                    raise
                log.warning("a user could not be told", room=portal.room, reason=str(error))
        return InboxOutcome(row.id, "parked", reason=reason)

    async def _open(self, key: PortalKey, event: RemoteEvent) -> OpenPortal | None:
        login = await self._logins.row(key.login)
        if login is None:
            return None
        network = self._network(login)
        existing = await self._portal_store.get(key)
        if existing is not None:
            contact = existing.contact
        elif isinstance(event, Written) and not event.from_self:
            contact = event.sender
        else:
            contact = network.contact_of(key.chat)
        name = private_name = None
        if existing is None or existing.room is None:
            self._happens(login.owner, EVENTS_OF_A_ROOM)
            session: Session | None = self._logins.session(key.login)
            if session is not None:
                known = await session.contact(contact)
                name, private_name = known.name, known.private_name
            if isinstance(event, RemoteMessage) and not event.from_self:
                name = event.sender_name or name
        return await self._portals.open(
            key, login, network, contact, row=existing, name=name, private_name=private_name
        )

    def _network(self, login: LoginRow) -> Network:
        try:
            return self._logins.network(login.network)
        except UserError as error:  # switched off, for now: its messages wait
            raise NetworkError(str(error), retry_after=NOT_CONFIGURED) from error

    async def _contact_moved(self, row: InboxRow, event: ContactMoved) -> InboxOutcome:
        login = await self._logins.row(row.key.login)
        if login is None:
            return InboxOutcome(row.id, "dropped", reason="the login does not exist any more")
        outcome = await self._portals.move_contact(
            row.key, login, self._network(login), event.old, event.new, event.new_chat, event.name
        )
        match outcome:
            case Moved.DONE:
                return InboxOutcome(row.id, "delivered")
            case Moved.UNKNOWN:
                return InboxOutcome(row.id, "dropped", reason="there is no chat with this contact")
            case Moved.TAKEN:
                await self._say_taken(row, event)
                return InboxOutcome(row.id, "delivered")
            case _:
                assert_never(outcome)

    async def _say_taken(self, row: InboxRow, event: ContactMoved) -> None:
        portal = await self._portal_store.get(row.key)
        if portal is None or portal.room is None:
            return
        text = phrase("chat-contact-has-another", contact=code(event.new))
        await self._portals.life.say(portal, portal.room, text, "taken", row.id)

    async def _reopen(self, portal: OpenPortal, row: InboxRow) -> OpenPortal:
        """The homeserver refused a message: look who is in the room, and open the portal again."""
        await self._portals.look_again(portal)
        reopened = await self._open(portal.key, row.event)
        assert reopened is not None
        return reopened

    async def _deliver(
        self, portal: OpenPortal, row: InboxRow, event: Written | RemoteFailure
    ) -> InboxOutcome:
        remote_id = row.id
        match event:
            case RemoteMessage() | RemoteEdit():
                return InboxOutcome(remote_id, "delivered", await self._message(portal, event, row))
            case RemoteRetraction():
                sender = await self._sender(portal, event)
                return await self._amending.retract(portal, remote_id, event, sender)
            case RemoteReactions():
                sender = await self._sender(portal, event)
                self._happens(portal.login.owner, len(event.emojis))
                return await self._amending.react(portal, remote_id, event, sender)
            case RemoteFailure():
                return InboxOutcome(remote_id, "delivered", await self._failure(portal, event))
            case _:
                assert_never(event)

    async def _message(
        self, portal: OpenPortal, message: RemoteMessage | RemoteEdit, row: InboxRow
    ) -> EventId:
        remote_id = row.id
        self._happens(portal.login.owner, 1)
        sender = await self._sender(portal, message)
        writers = [portal.ghost]
        if (
            message.from_self
        ):  # it may have been sent before the user was there, or the bridge could act for them
            writers = [portal.login.owner, self._portals.own_ghost(portal.login)]
        before = await self._sent_before.find(
            portal.key,
            lambda: self._rooms_of(portal),
            portal.ghost,
            {portal.ghost, portal.login.owner, self._portals.own_ghost(portal.login)},
        )
        first: EventId | None = None
        about = await self._about(portal.key, message)
        if about is None and isinstance(message, RemoteMessage) and message.quote:
            message = _with_quote(message)
        for number, part in enumerate(parts_of(message)):
            found = (before.get((writer, remote_id, number)) for writer in writers)
            event = next(filter(None, found), None)
            if event is None:
                age = self._clock() - row.received_at
                known = None if number else about
                shown = await self._files.event(portal, message, part, known, age=age)
                content = {**shown.content, REMOTE_ID: remote_id}
                if row.older:
                    content |= {HISTORY: OLD}
                if row.thread is not None:
                    content["m.relates_to"] = in_thread(content.get("m.relates_to"), row.thread)
                if number:
                    content[PART] = number
                names = ("message", portal.key.login, portal.key.chat, remote_id)
                transaction = digest_id(*names, *([str(number)] if number else []))
                event = await self._send(
                    portal, sender, shown.type, content, transaction, message.sent_at
                )
            first = first or event
        assert first is not None
        if not message.from_self and not row.older:
            self._signals.shown(portal)
        return first

    async def _about(self, key: PortalKey, message: RemoteMessage | RemoteEdit) -> Known | None:
        """What an edit changes, or a message answers; None where there is none, or none is known."""
        if isinstance(message, RemoteEdit):
            return await self._amending.message(key, message.target, message.from_self)
        if message.reply_to is None:
            return None
        return await self._amending.message(key, message.reply_to)

    async def _rooms_of(self, portal: OpenPortal) -> list[RoomId]:
        """Where a message of the chat may be: it may have got another room since the message was sent."""
        return [portal.room, *await self._portal_store.former_rooms(portal.key)]

    async def _sender(self, portal: OpenPortal, message: Written) -> UserId:
        """Who writes it in Matrix: the contact's ghost, the user, or where we cannot act for them, theirs."""
        if not message.from_self:
            return portal.ghost
        if portal.joined and self._accounts.can_act_for(portal.login.owner):
            return portal.login.owner
        network = self._logins.network(portal.login.network)
        return await self._portals.ensure_own_ghost(portal, network)

    async def _send(
        self,
        portal: OpenPortal,
        sender: UserId,
        event_type: str,
        content: Json,
        transaction: str,
        sent_at: float | None,
    ) -> EventId:
        at = plausible_time(sent_at, self._clock())
        try:
            if sender == portal.login.owner:
                return await self._accounts.send(
                    sender, portal.room, content, transaction, at, event_type
                )
            return await self._homeserver.send(
                portal.room,
                event_type,
                content,
                transaction,
                user=sender,
                timestamp=at,
                repeat_unsure=False,
            )
        except HomeserverError as error:
            if not error.certain:
                self._sent_before.doubt([portal.key], portal.room)
            raise

    async def _recorded(self, key: PortalKey, message: RemoteId, event: EventId) -> bool:
        delivered = await self._inbox.delivered(key, message)
        return delivered is not None and delivered.event == event

    async def _sent(self, key: PortalKey, message: RemoteId) -> OutboxRow | None:
        """Which event was sent as ``message``; None when it is none that we sent in this chat.

        What the network says about it may overtake the record of the send: then the event still waits.
        """
        row = await self._outbox.sent_as(key, message)
        portal = None if row is not None else await self._portal_store.get(key)
        if portal is None or portal.room is None:
            return row
        for room in [portal.room, *await self._portal_store.former_rooms(key)]:
            for waiting in await self._outbox.waiting(room, PAGE):
                if message_id(waiting.id) == message:
                    return waiting
        return await self._outbox.sent_as(key, message)  # recorded in between

    async def _failure(self, portal: OpenPortal, failure: RemoteFailure) -> EventId:
        row = await self._sent(portal.key, failure.message)
        told = None
        if row is not None:
            told = await self._deliveries.sent_back(row, portal, failure.message, failure.reason)
        if told is not None:
            return told
        content: Json = notice(phrase("delivery-earlier-failed", why=plain(failure.reason)))
        transaction = digest_id("failure", portal.key.login, portal.key.chat, failure.message)
        return await self._homeserver.send(
            portal.room, "m.room.message", content, transaction, user=portal.ghost
        )


def in_thread(relation: Json | None, root: EventId) -> Json:
    """The relation of an event that is shown in a thread (Client-server API, "Threading")."""
    if relation is not None and "rel_type" in relation:
        return relation
    thread: Json = {"rel_type": "m.thread", "event_id": root}
    if relation is not None:
        return {**thread, **relation}
    return {**thread, "is_falling_back": True, "m.in_reply_to": {"event_id": root}}


def _with_quote(message: RemoteMessage) -> RemoteMessage:
    """An answer to what is not known here; of a file, or of what somebody does, nothing is quoted."""
    if message.attachment is not None or message.content.emote:
        return message
    return replace(message, content=quoting(message.quote, message.content))


def is_own(event: RemoteEvent) -> bool:
    """Whether the homeserver will push the event back to us as the user's own, to be told from a new one."""
    return isinstance(event, Written) and event.from_self


def _looks_back(event: RemoteEvent) -> bool:
    """Whether what was carried before has to be recorded first: the event is about it, or moves all of it."""
    if isinstance(event, RemoteMessage):
        return event.reply_to is not None
    return not isinstance(event, RemoteFailure)


def plausible_time(sent_at: float | None, now: float) -> float | None:
    """``sent_at`` unless it lies before 1970, which homeservers refuse, or in the future."""
    return sent_at if sent_at is not None and 0 <= sent_at <= now else None
