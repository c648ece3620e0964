"""The life of one private chat: from its reserved row to a room in which both sides are.

The rule that must never break: one chat has one room. The row is reserved before a room is asked
for, and after a crash the ghost's rooms are searched before another is created.

`next_step` decides, as a pure function of what is recorded; `Portals` carries it out:

    RESERVED --create--> OPEN(invite) --join--> OPEN(join)
    CREATING --recover--> OPEN(invite), or create        (a crash while creating)
    OPEN(leave) --invite again--> OPEN(invite)           (the user had left)
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from typing import assert_never

import structlog

from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import BridgeError, HomeserverError
from dm_bridge.ids import (
    ContactId,
    PortalKey,
    RoomId,
    UserId,
    digest_id,
)
from dm_bridge.matrix import rooms
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Network
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import Membership, PortalRow, PortalState, PortalStore

log = structlog.get_logger(__name__)

# Many at once let a homeserver batch its own work; more than this would only wait there.
MAKING_AT_ONCE = 64
MARKED_WITHIN = 5.0  # how long a first message waits for m.direct, so that it arrives in a DM


class Step(enum.Enum):
    """What a portal needs next. ``READY``: nothing."""

    CREATE = "create"
    RECOVER = "recover"
    INVITE = "invite"
    JOIN = "join"
    READY = "ready"


def next_step(state: PortalState, membership: Membership, *, can_join: bool) -> Step:
    """The step that brings a message closer to its reader.

    ``can_join``: whether the bridge may accept invites for the user (auto-join, with access).
    """
    match state:
        case PortalState.RESERVED:
            return Step.CREATE
        case PortalState.CREATING:
            return Step.RECOVER
        case PortalState.OPEN:
            match membership:
                case Membership.LEAVE | Membership.NONE:
                    return Step.INVITE
                case Membership.INVITE:
                    return Step.JOIN if can_join else Step.READY
                case Membership.JOIN:
                    return Step.READY
                case _:
                    assert_never(membership)
        case _:
            assert_never(state)


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
    """Opens portals, and records what happens to their rooms."""

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        ghosts: Ghosts,
        keeper: Keeper,
        store: PortalStore,
        direct: DirectStore,
        settings: PortalSettings,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._ghosts = ghosts
        self._keeper = keeper
        self._store = store
        self._direct = direct
        self._settings = settings
        self._making = asyncio.Semaphore(MAKING_AT_ONCE)
        self._locks: dict[PortalKey, tuple[asyncio.Lock, int]] = {}

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
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                return await self._open(key, login, network, contact, name, private_name)
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
    ) -> OpenPortal:
        ghost = self._ghosts.user_id(network.name, contact)
        row = await self._store.get(key) or await self._store.reserve(key, contact, ghost)
        while True:
            step = self._next_step(row, login.owner)
            match step:
                case Step.READY:
                    return _opened(row, login)
                case Step.CREATE | Step.RECOVER:
                    async with self._making:
                        await self._ghosts.ensure(network.name, contact, name or contact)
                        await self._make_room(row, login, network, step, private_name)
                case Step.INVITE:
                    assert row.room is not None
                    await self._invite(row, row.room, login.owner)
                case Step.JOIN:
                    assert row.room is not None
                    try:
                        await self._accounts.join(login.owner, row.room)
                    except BridgeError as error:
                        log.warning("a user could not be joined", room=row.room, reason=str(error))
                        return _opened(row, login)
                    await self.user_joined(row, login.owner)
                    await self._keeper.settled(login.owner, row.ghost, within=MARKED_WITHIN)
                case _:
                    assert_never(step)
            again = await self._store.get(key)
            assert again is not None
            row = again

    def _next_step(self, row: PortalRow, owner: UserId) -> Step:
        can_join = self._settings.auto_join and self._accounts.can_act_for(owner)
        return next_step(row.state, row.membership, can_join=can_join)

    async def _make_room(
        self,
        row: PortalRow,
        login: LoginRow,
        network: Network,
        step: Step,
        private_name: str | None,
    ) -> None:
        marker = _marker(row)
        room: RoomId | None = None
        if step is Step.RECOVER:
            room = await rooms.find_room(self._homeserver, row.ghost, marker)
        if room is None:
            await self._store.set_creating(row.key)
            info = self.bridge_info(row, network)
            room = await rooms.create_direct_room(
                self._homeserver, row.ghost, login.owner, marker, info
            )
        await self._store.set_open(row.key, room, Membership.INVITE)
        await self._manage(row, login.owner, room, DMState.PENDING)
        log.info("a private chat got its room", login=login.id, room=room)
        if private_name is not None and private_name != row.contact:
            try:
                await rooms.set_room_name_of(self._homeserver, room, row.ghost, private_name)
            except BridgeError as error:  # a nicety, and no reason to keep a message back
                log.info("a ghost could not be named in a room", room=room, reason=str(error))

    async def _invite(self, row: PortalRow, room: RoomId, owner: UserId) -> None:
        try:
            await rooms.invite_directly(self._homeserver, room, owner, inviter=row.ghost)
        except HomeserverError as error:
            if error.status != 403 or not await self.look_again(row, owner):
                raise
        else:
            await self._store.set_membership(row.key, Membership.INVITE)

    async def look_again(self, row: PortalRow, owner: UserId) -> bool:
        """The homeserver refused something: record who really is in the room. Whether that was news."""
        assert row.room is not None
        try:
            members = await self._homeserver.members(row.room, user=row.ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise
            members = {}
        if members.get(row.ghost) != "join":
            await self.ghost_removed(row)
            return True
        match members.get(owner):
            case "join":
                found = Membership.JOIN
            case "invite":
                found = Membership.INVITE
            case _:
                found = Membership.LEAVE
        if found is row.membership:
            return False
        if found is Membership.JOIN:
            await self.user_joined(row, owner)
        else:
            await self._store.set_membership(row.key, found)
        return True

    async def adopt(self, row: PortalRow, login: LoginRow, network: Network, room: RoomId) -> None:
        """Make a room that the user created, and in which the ghost is, the room of this portal."""
        if row.room is not None and row.room != room:
            await self._retire(row.room)
        await self._store.set_open(row.key, room, Membership.JOIN)
        await self._manage(row, login.owner, room, DMState.ACTIVE)
        self._keeper.touch(login.owner)
        info = self.bridge_info(row, network)
        for event_type in rooms.BRIDGE_INFO_TYPES:
            await self._set_state(
                row, login.owner, room, event_type, info.state_key, info.content()
            )

    async def _set_state(
        self,
        row: PortalRow,
        owner: UserId,
        room: RoomId,
        event_type: str,
        key: str,
        content: Json,
    ) -> None:
        """Set state as the ghost or, where only the user may, as them. A nicety: failure is no error."""
        try:
            try:
                await self._homeserver.set_state(room, event_type, key, content, user=row.ghost)
            except HomeserverError as error:
                if error.status != 403:
                    raise
                await self._accounts.set_state(owner, room, event_type, key, content)
        except BridgeError as error:
            log.info("state could not be set", room=room, type=event_type, reason=str(error))

    async def user_joined(self, row: PortalRow, user: UserId) -> None:
        """The user is in the portal's room now: their DM is active."""
        assert row.room is not None
        await self._store.set_membership(row.key, Membership.JOIN)
        await self._direct.set_state(row.room, DMState.ACTIVE, user)
        self._keeper.touch(user)

    async def user_left(self, row: PortalRow) -> None:
        """The user is not in the room any more; the next message invites them again."""
        await self._store.set_membership(row.key, Membership.LEAVE)

    async def ghost_removed(self, row: PortalRow) -> None:
        """The ghost cannot write into the room any more; the next message gets another room."""
        assert row.room is not None
        await self._store.set_lost(row.key)
        await self._retire(row.room)

    async def bot_joined(self, row: PortalRow, owner: UserId, *, joined: bool) -> None:
        """The bot came or went: tell clients whom not to count."""
        await self._store.set_bot_joined(row.key, joined)
        await self._tell_functional_members(row, owner, joined, row.own_ghost)

    async def ensure_own_ghost(self, portal: OpenPortal, network: Network) -> UserId:
        """Bring the user's own ghost into the room, where the bridge cannot act for the user."""
        if portal.own_ghost is not None:
            return portal.own_ghost
        own = await self._ghosts.ensure(network.name, portal.login.remote, portal.login.name)
        if own == portal.ghost:
            return own
        await rooms.invite_directly(self._homeserver, portal.room, own, inviter=portal.ghost)
        await self._homeserver.join(portal.room, user=own)
        row = await self._store.get(portal.key)
        assert row is not None
        await self._tell_functional_members(row, portal.login.owner, row.bot_joined, own)
        await self._store.set_own_ghost(portal.key, own)
        return own

    async def _tell_functional_members(
        self, row: PortalRow, owner: UserId, bot: bool, own_ghost: UserId | None
    ) -> None:
        assert row.room is not None
        members = [self._settings.bot] if bot else []
        if own_ghost is not None:
            members.append(own_ghost)
        content: Json = {"service_members": members}
        await self._set_state(row, owner, row.room, rooms.FUNCTIONAL_MEMBERS, "", content)

    async def _manage(self, row: PortalRow, owner: UserId, room: RoomId, state: DMState) -> None:
        await self._direct.manage(owner, room, row.ghost, state)
        if self._settings.mark_ghosts:
            await self._direct.manage(row.ghost, room, owner, DMState.ACTIVE)
            self._keeper.touch(row.ghost)

    async def _retire(self, room: RoomId) -> None:
        for account in await self._direct.set_state(room, DMState.RETIRED):
            self._keeper.touch(account)

    def bridge_info(self, row: PortalRow, network: Network) -> rooms.BridgeInfo:
        """What a portal's room says about itself (MSC2346)."""
        return rooms.BridgeInfo(
            bot=self._settings.bot,
            creator=row.ghost,
            protocol=network.name,
            protocol_name=network.title,
            channel=row.key.chat,
            channel_name=row.contact,
            channel_url=network.contact_uri(row.contact),
            state_key=f"org.dm_bridge/{network.name}/{_marker(row)}",
        )


def _marker(row: PortalRow) -> str:
    return digest_id("portal", row.key.login, row.key.chat)


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
