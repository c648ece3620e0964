"""The life of one private chat: from its reserved row to a room in which both sides are.

The rule that must never break: one chat has one room. The row is reserved before a room is asked
for, and after a crash the ghost's rooms are searched before another is created.

`portal_steps` decides what comes next; `Portals` carries it out. What happens in its room meanwhile is
`dm_bridge.bridge.portal_life`; how an upgrade is followed, `upgrades`; how a contact gets another address,
`contact_moves`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import structlog

from dm_bridge.bridge.arrivals import Arrivals
from dm_bridge.bridge.contact_moves import ContactMoves, Moved
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.marks import Marks
from dm_bridge.bridge.names import clean_name
from dm_bridge.bridge.portal_life import PortalLife, marker
from dm_bridge.bridge.portal_steps import Step, next_step
from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.bridge.upgrades import MissedMessages, Upgrades, nothing_missed
from dm_bridge.errors import BridgeError, HomeserverError, NotYet, may_pass
from dm_bridge.ids import ChatId, ContactId, EventId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.matrix import ghosts, rooms
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.around import around
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Network
from dm_bridge.network.people import readable
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import Membership, PortalRow, PortalState, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

# Many at once let a homeserver batch its own work; more than this would only wait there.
MAKING_AT_ONCE = 64
FOLLOW_PATIENCE = 30.0  # how long a message waits for the ghost to be let into a room's successor
FOLLOW_PAUSE = 3.0
MARKED_WITHIN = 5.0  # how long a first message waits for m.direct, so that it arrives in a DM


@dataclass(frozen=True, slots=True)
class OpenPortal:
    """A chat with a room to write into. ``joined``: whether the user is in it."""

    key: PortalKey
    login: LoginRow
    room: RoomId
    ghost: UserId
    joined: bool
    own_ghost: UserId | None
    contact: ContactId


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """``auto_join``: accept invites for puppeted users. ``mark_ghosts``: keep ghosts' m.direct too."""

    bot: UserId
    auto_join: bool
    mark_ghosts: bool


class Portals:
    """Opens portals, moves and ends them.

    ``missed``: takes what a user wrote in a new room too early. ``met``: told of whom there is a room with now.
    ``changed``, ``joined``: as for `PortalLife`.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        ghosts: Ghosts,
        keeper: Keeper,
        store: PortalStore,
        direct: DirectStore,
        settings: PortalSettings,
        missed: MissedMessages = nothing_missed,
        clock: Callable[[], float] = time.time,
        met: Callable[[LoginRow, ContactId], None] = lambda login, contact: None,
        changed: Callable[[LoginId], None] = lambda login: None,
        joined: Callable[[PortalKey], None] = lambda key: None,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._ghosts = ghosts
        self._keeper = keeper
        self.store = store
        self._direct = direct
        self._settings = settings
        self._clock = clock
        self._met = met
        marks = Marks(keeper, direct, ghosts_too=settings.mark_ghosts)
        self.life = PortalLife(
            homeserver, accounts, marks, store, ghosts.namespace, settings.bot, changed, joined
        )
        self._upgrades = Upgrades(
            homeserver, accounts, store, direct, self.life, settings.bot, missed
        )
        self._moves = ContactMoves(homeserver, ghosts, store, direct, self.life)
        self._making = asyncio.Semaphore(MAKING_AT_ONCE)
        self._locks: dict[PortalKey, tuple[asyncio.Lock, int]] = {}
        self._arrivals = Arrivals(keeper)

    # -- opening

    async def open(
        self,
        key: PortalKey,
        login: LoginRow,
        network: Network,
        contact: ContactId,
        *,
        row: PortalRow | None = None,
        name: str | None = None,
        private_name: str | None = None,
    ) -> OpenPortal:
        """The room of a chat, made ready for a message. Raises `HomeserverError`, `StorageError`.

        ``row``: the portal as just read, if it was. ``name``: how the contact calls themselves;
        ``private_name``: how the user calls them.
        """
        if row is not None and self._next_step(row, login.owner) is Step.READY:
            return _opened(row, login)
        async with self._alone_with(key):
            with self._arrivals.expect(login.owner) as arrived:
                return await self._open(key, login, network, contact, name, private_name, arrived)

    @asynccontextmanager
    async def _alone_with(self, key: PortalKey) -> AsyncIterator[None]:
        """Nobody else opens, moves or ends the portal meanwhile."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)

    async def _open(
        self,
        key: PortalKey,
        login: LoginRow,
        network: Network,
        contact: ContactId,
        name: str | None,
        private_name: str | None,
        arrived: Callable[[], None] = lambda: None,
    ) -> OpenPortal:
        ghost = self._ghosts.user_id(network.name, contact)
        row = await self.store.get(key) or await self.store.reserve(key, contact, ghost)
        while True:
            step = self._next_step(row, login.owner)
            match step:
                case Step.READY:
                    return _opened(row, login)
                case Step.CREATE | Step.RECOVER:
                    async with self._making:
                        await self._ghosts.ensure(
                            network.name, contact, clean_name(name) or readable(network, contact)
                        )
                        make = partial(self._make_room, row, login, network, step, private_name)
                        await self._ghosts.act(row.ghost, make)
                case Step.INVITE:
                    assert row.room is not None
                    await self._invite(row, row.room, login)
                case Step.JOIN:
                    assert row.room is not None
                    try:
                        await self._accounts.join(login.owner, row.room)
                    except BridgeError as error:
                        log.warning("a user could not be joined", room=row.room, reason=str(error))
                        return _opened(row, login)
                    await self.life.user_joined(row, login)
                    arrived()
                    await self._keeper.settled(login.owner, row.ghost, within=MARKED_WITHIN)
                case Step.FOLLOW:
                    await self._follow_or_give_up(row, login, network)
                case _:
                    assert_never(step)
            again = await self.store.get(key)
            assert again is not None
            row = again

    def _next_step(self, row: PortalRow, owner: UserId) -> Step:
        can_join = self._settings.auto_join and self._accounts.can_act_for(owner)
        replaced = row.successor is not None
        return next_step(row.state, row.membership, can_join=can_join, replaced=replaced)

    async def _make_room(
        self,
        row: PortalRow,
        login: LoginRow,
        network: Network,
        step: Step,
        private_name: str | None,
    ) -> None:
        info = self.life.bridge_info(row, network)
        room = await self._find_room(row) if step is Step.RECOVER else None
        if room is not None:
            await rooms.complete_direct_room(self._homeserver, room, row.ghost, login.owner, info)
        else:
            await self.store.set_creating(row.key)
            room = await rooms.create_direct_room(
                self._homeserver, row.ghost, login.owner, marker(row.key), info
            )
        await self._record_room(row, login, room)
        log.info("a private chat got its room", login=login.id, room=room)
        private_name = clean_name(private_name)
        if private_name is not None and private_name != row.contact:
            try:
                await ghosts.show_in(
                    self._homeserver, row.ghost, room, private_name, await self._face(row, network)
                )
                await self.store.set_private_name(row.key, private_name)
            except BridgeError as error:  # a nicety, and no reason to keep a message back
                log.info("a ghost could not be named in a room", room=room, reason=str(error))
        self._met(login, row.contact)

    async def _face(self, row: PortalRow, network: Network) -> str | None:
        return (await self.store.ghost(network.name, row.contact, row.ghost)).avatar_url

    async def _find_room(self, row: PortalRow) -> RoomId | None:
        """The room that was made for the portal and, for whatever reason, is not recorded."""
        former = await self.store.former_rooms(row.key)
        marked = marker(row.key)
        return await rooms.find_room(self._homeserver, row.ghost, marked, but_not=former)

    async def _record_room(self, row: PortalRow, login: LoginRow, room: RoomId) -> None:
        await self.store.set_open(row.key, room, Membership.INVITE)
        self.life.changed(login.id)
        await self.life.marks.mark(replace(row, room=room, membership=Membership.INVITE), login)

    async def recognise(self, key: PortalKey, login: LoginRow, room: RoomId) -> bool:
        """Whether ``room`` is the portal's: if it was made for it, that is recorded now."""
        async with self._alone_with(key):
            row = await self.store.get(key)
            if row is None or row.state is not PortalState.CREATING:
                return row is not None and row.room == room
            if not await rooms.was_made_for(
                self._homeserver, room, row.ghost, rooms.MARKER, marker(key)
            ):
                return False
            if room in await self.store.former_rooms(key):
                return False
            await self._record_room(row, login, room)
            return True

    async def look_again(self, portal: OpenPortal) -> None:
        """The homeserver refused something in the portal's room: find out why, and record it."""
        async with self._alone_with(portal.key):
            row = await self.store.get(portal.key)
            if row is not None and row.room == portal.room:
                await self.life.look_again(row, portal.login)
        await self._ghosts.revived(portal.ghost)

    async def _invite(self, row: PortalRow, room: RoomId, login: LoginRow) -> None:
        try:
            await rooms.invite_directly(self._homeserver, room, login.owner, inviter=row.ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise
            if not await self.life.look_again(row, login):
                await self.life.abandon(row)  # the user is banned, or the ghost may invite nobody
        else:
            await self.life.user_invited(row)

    async def invite_back(
        self, row: PortalRow, login: LoginRow, network: Network, left: EventId
    ) -> None:
        """The user has left with the event ``left``: invite them again if the contact has written since.

        The bridge hears of it a moment later, or when it is back, and what came in between is in the room already.
        """
        assert row.room is not None
        try:
            there = await around(self._homeserver, row.room, left, row.ghost)
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.info("what came after the user left is not known", room=row.room, reason=str(error))
            return
        if not any(REMOTE_ID in event.get("content", {}) for event in there.after):
            return
        async with self._alone_with(row.key):
            now = await self.store.get(row.key)
            if now is not None and (now.room, now.membership) == (row.room, Membership.LEAVE):
                await self._open(row.key, login, network, row.contact, None, None)

    async def _follow_or_give_up(self, row: PortalRow, login: LoginRow, network: Network) -> None:
        if await self._upgrades.follow(row, login, network):
            return
        again = await self.store.get(row.key)
        if again is None or again.successor is None:
            return
        if self._clock() - again.successor_at < FOLLOW_PATIENCE:
            raise NotYet(
                phrase("chat-successor-not-ready"),
                FOLLOW_PAUSE,
            )
        await self.life.abandon(again)

    async def adopt(self, row: PortalRow, login: LoginRow, network: Network, room: RoomId) -> None:
        """Make a room that the user created, and in which the ghost is, the room of this portal."""
        async with self._alone_with(row.key):
            row = await self.store.get(row.key) or row
            if row.state is PortalState.CREATING and (other := await self._find_room(row)):
                await self._record_room(row, login, other)
                row = replace(row, room=other)
            if row.room is not None and row.room != room:
                await self.life.abandon(row)
            with self.life.changing(login.id):
                await self.store.forget_former(room)
                await self.store.set_open(row.key, room, Membership.JOIN)
            self.life.joined(row.key)
            adopted = replace(row, room=room, membership=Membership.JOIN, crowded=False)
            await self.life.marks.mark(adopted, login)
        self._arrivals.no_more(login.owner)
        await self._keeper.settled(login.owner, row.ghost, within=MARKED_WITHIN)
        await self.life.describe(adopted, login.owner, network)
        self._met(login, row.contact)

    async def complete(self, key: PortalKey, login: LoginRow, network: Network | None) -> None:
        """Do again what `adopt` does after it has recorded the room: it may have been cut short there."""
        async with self._alone_with(key):
            row = await self.store.get(key)
            if row is None or row.membership is not Membership.JOIN:
                return
            await self.life.marks.mark(row, login)
            if network is not None:
                await self.life.describe(row, login.owner, network)

    def own_ghost(self, login: LoginRow) -> UserId:
        """Who writes for the user of a login where the bridge cannot act for them."""
        return self._ghosts.user_id(login.network, login.remote)

    async def ensure_own_ghost(self, portal: OpenPortal, network: Network) -> UserId:
        """Bring the user's own ghost into the room, where the bridge cannot act for the user."""
        if portal.own_ghost is not None:
            return portal.own_ghost
        own = await self._ghosts.ensure(network.name, portal.login.remote, portal.login.name)
        if own == portal.ghost:
            return own
        try:
            await rooms.invite_directly(self._homeserver, portal.room, own, inviter=portal.ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise  # else it may be there already, which nobody has recorded
        await self._ghosts.act(own, lambda: self._homeserver.join(portal.room, user=own))
        async with self._alone_with(portal.key):
            row = await self.store.get(portal.key)
            if row is not None and row.room == portal.room:
                await self.life.tell_service_members(row, portal.login, row.bot_joined, own)
                await self.store.set_own_ghost(portal.key, own)
        return own

    # -- another room

    async def replaced(
        self, key: PortalKey, login: LoginRow, network: Network | None, tombstone: Json
    ) -> None:
        """The portal's room says that another one replaces it; the portal follows if that is sound."""
        async with self._alone_with(key):
            row = await self.store.get(key)
            if row is not None and row.room == tombstone["room_id"]:
                await self._upgrades.replaced(row, login, network, tombstone)

    async def follow(
        self, key: PortalKey, login: LoginRow, network: Network | None, room: RoomId
    ) -> bool:
        """The ghost may be in ``room``, which may replace the portal's. Whether it is the portal's now."""
        async with self._alone_with(key):
            row = await self.store.get(key)
            if row is None or row.room is None:
                return False
            return row.room == room or await self._upgrades.follow(row, login, network, room)

    async def predecessor(self, room: RoomId, ghost: UserId) -> PortalRow | None:
        """The portal of ``ghost`` whose room ``room`` claims to replace, or None."""
        old = await self._upgrades.predecessor(room, ghost)
        row = None if old is None else await self.store.by_room(old)
        return row if row is not None and row.ghost == ghost else None

    # -- another contact, and the end

    async def move_contact(
        self,
        key: PortalKey,
        login: LoginRow,
        network: Network,
        old: ContactId,
        contact: ContactId,
        chat: ChatId,
        name: str | None = None,
    ) -> Moved:
        """The contact of ``key``, ``old``, is ``contact`` in ``chat`` from now on, in the same room.

        Raises `HomeserverError`, `StorageError`; can then be called again.
        """
        new = PortalKey(key.login, chat)
        async with AsyncExitStack() as locks:
            for portal in sorted({key, new}, key=lambda one: one.chat):
                await locks.enter_async_context(self._alone_with(portal))
            row = await self.store.get(key)
            if row is not None and row.state is PortalState.CREATING:
                await self._open(key, login, network, row.contact, None, None)
            return await self._moves.move(key, login, network, contact, new, old, name)

    @asynccontextmanager
    async def settled(self, key: PortalKey) -> AsyncIterator[PortalRow | None]:
        """The portal as it is after whatever is under way; it does not change meanwhile."""
        async with self._alone_with(key):
            yield await self.store.get(key)

    async def delete(self, row: PortalRow, login: LoginRow) -> None:
        """End a chat: its marks go, the bridge leaves its rooms. The next message opens another room.

        Raises `HomeserverError`, `StorageError`; can then be called again.
        """
        async with self._alone_with(row.key):
            current = await self.store.get(row.key)
            if current is None:
                return
            reason = phrase("chat-ends")
            former = await self.store.former_rooms(row.key)
            own = current.room
            if (
                current.state is PortalState.CREATING
            ):  # it may be there, though nobody has recorded it
                own = await self._find_room(current)
            for room in [own, *former] if own is not None else former:
                self.life.marks.touch(await self._direct.forget(room))
                own_ghost = current.own_ghost if room == current.room else None
                bot = self._settings.bot
                await self.life.leave(room, [bot, own_ghost, current.ghost], reason)
            with self.life.changing(login.id):
                await self.store.delete(row.key)
            log.info("a chat was deleted", login=login.id, room=current.room)

    async def room_of_alias(self, alias: str) -> RoomId | None:
        """The room that an alias stands for, or None."""
        return await rooms.room_of_alias(self._homeserver, alias)


def _opened(row: PortalRow, login: LoginRow) -> OpenPortal:
    assert row.room is not None
    return OpenPortal(
        row.key,
        login,
        row.room,
        row.ghost,
        row.membership is Membership.JOIN,
        row.own_ghost,
        row.contact,
    )
