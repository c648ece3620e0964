"""Carries what the homeserver pushed: one lane per room, in order.

The rule that must never break: a row is finished only after its outcome is certain, or after the
user has been told that it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from dm_bridge.bridge import routing
from dm_bridge.bridge.delivery import Deliveries, Fate
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.bridge.invites import Invites
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.management import Management
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.revising import Nothing, Revising, Revision
from dm_bridge.bridge.room_portals import Found, RoomPortals
from dm_bridge.bridge.sending import Sending
from dm_bridge.bridge.spaces import Spaces
from dm_bridge.errors import BridgeError, HomeserverError, NotYet, StorageError, may_pass
from dm_bridge.ids import GhostNamespace, LoginId, RemoteId, RoomId, UserId
from dm_bridge.matrix import rooms
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.api import Outgoing, capabilities_of
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import Membership, PortalRow, PortalStore
from dm_bridge.store.references import ReferenceStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

PAGE = 50
MESSAGE = "m.room.message"
OF_USERS = (MESSAGE, "m.sticker", "m.reaction", "m.room.redaction")
MOST_MISSED = 1000  # events among which those are looked for that a ghost or the bot has missed
TURN = 0.5  # seconds until a room looks again whether its contact has moved
ECHO_PATIENCE = 30.0  # how long a lane waits for the answer to our own send before it pauses


@dataclass(slots=True)
class _Lane:
    """What is known while one room is drained.

    ``portal``: as last read, good for messages of its user while ``changes`` is what it was then.
    ``sent``: a message whose outcome is being recorded. ``taken_back``: by whom what is redacted further on.
    """

    portal: PortalRow | None = None
    changes: int = 0
    sent: tuple[OutboxRow, PortalRow, Awaitable[bool]] | None = None
    taken_back: Collection[tuple[UserId, object]] = ()


class ToRemote:
    """Drains the outbox of one room at a time."""

    def __init__(
        self,
        homeserver: Homeserver,
        portals: Portals,
        logins: Logins,
        invites: Invites,
        management: Management,
        inbox: InboxStore,
        outbox: OutboxStore,
        references: ReferenceStore,
        portal_store: PortalStore,
        bot: UserId,
        namespace: GhostNamespace,
        metrics: Metrics,
        deliveries: Deliveries,
        files: FilesOut,
        ends: Callable[[RoomId], bool] = lambda room: False,
        clock: Callable[[], float] = time.time,
        spaces: Spaces | None = None,
    ) -> None:
        self._spaces = spaces
        self._ends = ends
        self._homeserver = homeserver
        self._portals = portals
        self._logins = logins
        self._invites = invites
        self._management = management
        self._inbox = inbox
        self._outbox = outbox
        self._portal_store = portal_store
        self._rooms = RoomPortals(portal_store, portals, logins, management, spaces)
        self._bot = bot
        self._namespace = namespace
        self._deliveries = deliveries
        self._sending = Sending(logins, outbox, deliveries, metrics, clock)
        self._revising = Revising(homeserver, references, files)
        self._clock = clock

    def waited_for(self, login: LoginId) -> Collection[RoomId]:
        """The rooms that pause because a login's network could not be reached; each is told of once."""
        return self._sending.waited_for(login)

    async def drain(self, room: RoomId) -> None:
        """Deal with everything that waits in ``room``. Raises `BridgeError` to be run again later."""
        lane = _Lane()
        try:
            while rows := await self._outbox.waiting(room, PAGE):
                lane.taken_back = {(row.sender, routing.redacted(row.event)) for row in rows}
                for row in rows:
                    if self._ends(room):
                        break
                    if await self._carry(row, lane):
                        break  # some of the rows that follow here have been dealt with
                await self._settle(lane)
                if self._ends(room):
                    return
        except BaseException as error:
            with contextlib.suppress(StorageError):  # then the message is tried again
                await self._settle(lane, tell=isinstance(error, Exception))
            raise

    async def _carry(self, row: OutboxRow, lane: _Lane) -> bool:
        """`_handle`; what cannot be handled is put aside, unless it may pass: then the error is raised."""
        try:
            return await self._handle(row, lane)
        except StorageError:
            raise
        except BridgeError as error:
            if may_pass(error):
                raise
            log.error("an event could not be handled", room=row.room, reason=str(error))
            await self._park(row, str(error))
        except Exception as error:
            log.exception("an event could not be handled for a reason of our own", room=row.room)
            await self._park(row, repr(error))
        return False

    async def _settle(self, lane: _Lane, *, tell: bool = True) -> None:
        """Return once the outcome of the message before is recorded, and told."""
        if lane.sent is None:
            return
        (row, portal, recorded), lane.sent = lane.sent, None
        try:
            delivered = await recorded
        except BridgeError:
            raise
        except Exception as error:
            log.exception("an outcome cannot be recorded for a reason of our own", room=row.room)
            await self._park(row, repr(error))
            return
        if not delivered:
            return  # it was sent back before that was recorded, and its author has been told
        self._sending.count(row, "delivered")
        if tell:
            await self._deliveries.finished(row, portal, delivered=True)

    async def _park(self, row: OutboxRow, reason: str) -> None:
        """Put an event aside that nothing can be done about; tell its author when it was a message."""
        portal = await self._portal_store.by_room(row.room)
        portal = portal or await self._portal_store.by_former_room(row.room)
        if portal is not None and row.event.get("type") in OF_USERS:
            row = await self._deliveries.undelivered(
                row,
                portal,
                phrase("delivery-our-mistake"),
                certain=False,
            )
        await self._outbox.finish(row, "parked", reason=reason)
        self._sending.count(row, "parked")
        if portal is not None:
            await self._deliveries.finished(row, portal, delivered=False)

    async def _handle(self, row: OutboxRow, lane: _Lane) -> bool:
        """Deal with one event. Whether others that wait in the room were dealt with as well."""
        changes, portal = self._portals.life.changes, lane.portal
        if portal is not None and lane.changes == changes and row.event.get("type") == MESSAGE:
            login = await self._logins.row(portal.key.login)
            if login is not None and row.sender == login.owner:
                return await self._decide(row, lane, Found(portal), login)
        await self._settle(lane)
        found = await self._rooms.find(row.room, row.sender)
        portal, lane.changes = found.portal, changes
        lane.portal = None if found.former else portal
        login = None if portal is None else await self._logins.row(portal.key.login)
        return await self._decide(row, lane, found, login)

    async def _decide(
        self, row: OutboxRow, lane: _Lane, found: Found, login: LoginRow | None
    ) -> bool:
        portal = found.portal
        if portal is not None and login is not None:
            facts = routing.RoomFacts(
                owner=login.owner,
                ghost=portal.ghost,
                own_ghost=portal.own_ghost,
                crowded=portal.crowded,
                former=found.former,
            )
        else:
            facts = routing.RoomFacts(manager=found.manager, space=found.space)
        decision = routing.route(row.event, facts, bot=self._bot, namespace=self._namespace)
        if portal is not None and login is not None:
            return await self._in_portal(row, lane, decision, portal, login)
        return await self._elsewhere(row, lane, decision, facts)

    async def _catch_up(self, missed: Sequence[OutboxRow], lane: _Lane) -> bool:
        """Deal first with what was written before one of ours was there; in order, with what was pushed since.

        Committed before it is dealt with; what is cut short is read again with the invite. Whether there was any.
        """
        if not missed:
            return False
        await self._outbox.add(missed)
        waiting = await self._outbox.waiting(missed[0].room, MOST_MISSED)
        rows = {row.id: row for row in waiting}
        for row in missed:
            if row.id in rows:
                await self._carry(rows[row.id], lane)
        await self._settle(lane)
        return True

    async def _in_portal(
        self,
        row: OutboxRow,
        lane: _Lane,
        decision: routing.Route,
        portal: PortalRow,
        login: LoginRow,
    ) -> bool:
        caught_up = False
        match decision:
            case routing.Message(echo_of=echo_of, part=part):
                if await self._is_ours(row, lane, portal, echo_of, part=part):
                    return False
                if row.attempted_at is None and (row.sender, row.id) in lane.taken_back:
                    await self._leave_unsent(row, lane, portal)
                    return False
                if decision.answers is not None:
                    await self._settle(lane)  # it may be an answer to the message before
                message = await self._revising.message(portal, row, decision)
                await self._send(row, lane, portal, login, message)
                return False
            case routing.Edit() | routing.Reaction() | routing.Redaction():
                await self._settle(lane)
                await self._revise(row, lane, portal, login, decision)
                return False
            case routing.Unsendable(sentence):
                await self._settle(lane)
                row = await self._deliveries.undelivered(
                    row, portal, sentence, fate=Fate.UNSENDABLE
                )
                await self._sending.failed(row, portal, "failed", sentence)
                return False
            case routing.GhostWelcomed():
                missed = await self._invites.missed(row.room, login.owner, portal.ghost)
                if portal.room == row.room:
                    await self._portals.complete(portal.key, login, self._logins.network_of(login))
                caught_up = await self._catch_up(missed, lane)
            case routing.OwnerMoved(joined):
                await self._owner_moved(row, portal, login, joined=joined)
            case routing.GhostRemoved():
                await self._portals.life.ghost_removed(portal)
            case routing.OwnGhostRemoved():
                await self._portals.life.own_ghost_removed(portal, login)
            case routing.OthersMoved():
                await self._portals.life.others_moved(portal, login, row.id)
            case routing.ServiceMembers(content):
                await self._portals.life.service_members_changed(portal, login, content)
            case routing.Replaced():
                network = self._logins.network_of(login)
                event = {**row.event, "room_id": row.room}
                await self._portals.replaced(portal.key, login, network, event)
            case routing.BotInvited():
                if row.sender == login.owner:
                    await self._homeserver.join(row.room, user=self._bot)
            case routing.BotMoved(joined):
                await self._portals.life.bot_joined(portal, login, joined=joined)
            case routing.GhostInvited(ghost):
                async with self._portals.settled(portal.key) as now:
                    if now is None or now.ghost != ghost:
                        await self._invites.decline(
                            row.room, ghost, phrase("chat-of-somebody-else")
                        )
            case routing.Ignore() | routing.Command() | routing.ManagerLeft():
                pass
            case routing.SpaceChanged():
                pass
            case _:
                assert_never(decision)
        await self._finish(row, decision)
        return caught_up

    async def _leave_unsent(self, row: OutboxRow, lane: _Lane, portal: PortalRow) -> None:
        """A message that its author has taken back before anybody was sent it."""
        await self._settle(lane)
        await self._outbox.finish(row, "dropped", reason="it was taken back before it was sent")
        await self._deliveries.withdrawn(row, portal)

    async def _owner_moved(
        self, row: OutboxRow, portal: PortalRow, login: LoginRow, *, joined: bool
    ) -> None:
        if portal.room != row.room:  # a room that the portal had before, and nobody needs any more
            await self._portals.life.leave(row.room, [portal.ghost], phrase("chat-elsewhere"))
            await self._portal_store.forget_former(row.room)
        elif joined:
            await self._portals.life.user_joined(portal, login)
        else:
            await self._portals.life.user_left(portal)
            network = self._logins.network_of(login)
            declined = portal.membership is Membership.INVITE
            if network is not None and not declined and not portal.crowded:
                await self._portals.invite_back(portal, login, network, row.id)

    async def _elsewhere(
        self, row: OutboxRow, lane: _Lane, decision: routing.Route, facts: routing.RoomFacts
    ) -> bool:
        caught_up = False
        match decision:
            case routing.BotInvited():
                missed = await self._management.invited(row.room, row.sender)
                caught_up = await self._catch_up(missed, lane)
            case routing.Command(text):
                await self._management.command(row.room, row.sender, row.id, text)
                self._deliveries.answered(row, readable=text is not None)
            case routing.ManagerLeft():
                await self._management.left(row.room)
            case routing.SpaceChanged() if self._spaces is not None:
                await self._spaces.changed(row.room)
            case routing.BotMoved(joined):
                if not joined:
                    await self._management.left(row.room)
            case routing.GhostInvited(ghost) if facts.manager is not None:
                await self._invites.decline(row.room, ghost, phrase("chat-room-of-the-bot"))
            case routing.GhostInvited(ghost, direct):
                missed = await self._invites.ghost_invited(row.room, row.sender, ghost, direct)
                caught_up = await self._catch_up(missed, lane)
            case _:
                pass
        await self._finish(row, decision)
        return caught_up

    async def _finish(self, row: OutboxRow, decision: routing.Route) -> None:
        if isinstance(decision, routing.Ignore):
            await self._outbox.finish(row, "dropped", reason=decision.reason)
        else:
            await self._outbox.finish(row, "handled")

    async def _revise(
        self,
        row: OutboxRow,
        lane: _Lane,
        portal: PortalRow,
        login: LoginRow,
        decision: Revision,
    ) -> None:
        # What we send as the user has an event for each emoji, and a redaction none that is recorded.
        part = not isinstance(decision, routing.Edit)
        if await self._is_ours(row, lane, portal, decision.echo_of, part=part):
            return
        what = await self._revising.revise(portal, row, decision)
        if isinstance(what, Nothing):
            await self._outbox.finish(row, "dropped", reason=what.reason)
        else:
            await self._send(row, lane, portal, login, what)
            await self._settle(lane)
        await self._revising.done(portal.key, decision)

    async def _is_ours(
        self,
        row: OutboxRow,
        lane: _Lane,
        portal: PortalRow,
        echo_of: str | None,
        *,
        part: bool,
    ) -> bool:
        """Whether an event is one that we sent as the user; then it is finished."""
        if echo_of is None:
            return False
        await self._settle(lane)
        if not await self._is_echo(row, portal, RemoteId(echo_of), part):
            return False
        await self._outbox.finish(row, "dropped", reason="it is our own")
        return True

    async def _is_echo(
        self, row: OutboxRow, portal: PortalRow, remote: RemoteId, part: bool
    ) -> bool:
        """Whether a marked event is the one we sent; waits while our own send is being recorded.

        Raises `HomeserverError` when that takes long. It may take as long as the homeserver does not answer; sent
        meanwhile, a message that the user wrote on another device would come back to the contact as another one.
        """
        deadline = self._clock() + ECHO_PATIENCE
        while True:
            delivered = await self._inbox.delivered(portal.key, remote)
            if delivered is None:
                return False
            if not delivered.waiting or not delivered.from_self:
                ours = routing.is_echo(
                    row.id, delivered.event, from_self=delivered.from_self, part=part
                )
                return ours or (delivered.from_self and await self._is_gone(row, portal))
            if self._clock() > deadline:
                raise HomeserverError(
                    phrase("delivery-homeserver-silent"),
                    retry_after=1.0,
                )
            await asyncio.sleep(0.1)

    async def _is_gone(self, row: OutboxRow, portal: PortalRow) -> bool:
        """Whether the homeserver has forgotten an event: it was restored, and we have sent the same again."""
        gone = await rooms.is_gone(self._homeserver, row.room, row.id, user=portal.ghost)
        if gone:
            log.info("the homeserver has forgotten what it pushed", room=row.room)
        return gone

    async def _in_turn(self, lane: _Lane, portal: PortalRow) -> None:
        """Raise `NotYet` while the chat may be about to get another address, or has got one since it was read.

        Its address may be another person's by now.
        """
        chat = portal.key.chat
        waiting = await self._inbox.moves_waiting(portal.key.login)
        if any(chat in (move.chat, move.new_chat) for move in waiting):
            raise NotYet(phrase("delivery-contact-moves"), TURN)
        if lane.changes != self._portals.life.changes:
            current = await self._portal_store.get(portal.key)
            if current is None or current.room != portal.room:
                raise NotYet(phrase("delivery-chat-changed"), TURN)

    async def _send(
        self, row: OutboxRow, lane: _Lane, portal: PortalRow, login: LoginRow, what: Outgoing
    ) -> None:
        session = self._logins.session(login.id)
        if session is not None and capabilities_of(session).moves:
            await self._in_turn(lane, portal)
        recorded = await self._sending.send(row, portal, login, what, lambda: self._settle(lane))
        if recorded is not None:
            lane.sent = row, portal, recorded
