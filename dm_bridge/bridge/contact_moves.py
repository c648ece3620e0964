"""A contact gets another address: the same chat, in the same room, goes on with another ghost.

The rule that must never break: two chats are never made one. When there is a chat with the new
address already, both stay as they are. Who vouches for the move is the network's connector, or the
user themselves by command; nothing that a contact merely writes leads here.

The new ghost is brought into the room first, then what is recorded changes, then the old ghost
leaves. Whatever cuts this short, doing it again completes it. Where the new ghost cannot be brought
into the room, the chat gets another room with the next message.
"""

from __future__ import annotations

import enum

import structlog

from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.names import clean_name
from dm_bridge.bridge.portal_life import PortalLife, marker
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import ContactId, PortalKey, RoomId, UserId
from dm_bridge.matrix import power, rooms
from dm_bridge.matrix.formatting import code
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.api import Network
from dm_bridge.network.people import readable
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import PortalRow, PortalState, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)


class Moved(enum.Enum):
    """What became of a move. ``UNKNOWN``: there is no such chat. ``TAKEN``: the new one has a chat already."""

    DONE = "done"
    UNKNOWN = "unknown"
    TAKEN = "taken"


class ContactMoves:
    """Gives chats another contact. Whoever calls holds the locks of both portals."""

    def __init__(
        self,
        homeserver: Homeserver,
        ghosts: Ghosts,
        store: PortalStore,
        direct: DirectStore,
        life: PortalLife,
    ) -> None:
        self._homeserver = homeserver
        self._ghosts = ghosts
        self._store = store
        self._direct = direct
        self._life = life

    async def move(
        self,
        key: PortalKey,
        login: LoginRow,
        network: Network,
        contact: ContactId,
        new: PortalKey,
        old_contact: ContactId,
        name: str | None,
    ) -> Moved:
        """Let ``key`` be ``new``, with ``contact`` instead of ``old_contact``, from now on."""
        row = await self._store.get(key)
        taken = await self._store.get(new) if new != key else None
        old_ghost = self._ghosts.user_id(network.name, old_contact)
        if taken is not None and taken.state is not PortalState.RESERVED:
            if (
                row is None
                and taken.contact == contact
                and await self._is_unfinished(taken, old_ghost)
            ):
                await self._finish(taken, key, login, network, old_ghost)
                return Moved.DONE
            return Moved.TAKEN if row is not None else Moved.UNKNOWN
        if row is None:
            return Moved.UNKNOWN
        ghost = await self._ghosts.ensure(
            network.name, contact, clean_name(name) or readable(network, contact)
        )
        if row.room is not None:
            if await self._bring(row, login.owner, row.room, ghost):
                await self._life.marks.decided(login.owner)
                self._life.marks.touch(await self._direct.rename_ghost(row.room, row.ghost, ghost))
            else:
                await self._life.abandon(row)
        with self._life.changing():
            if not await self._store.move(key, new, contact, ghost):
                return Moved.TAKEN
        moved = await self._store.get(new)
        assert moved is not None
        log.info("a contact has another address", login=login.id, room=moved.room)
        await self._finish(moved, key, login, network, old_ghost)
        return Moved.DONE

    async def _is_unfinished(self, row: PortalRow, old_ghost: UserId) -> bool:
        """Whether a move was cut short after it was recorded: then the old ghost is still in the room."""
        if row.room is None or row.ghost == old_ghost:
            return False
        members = await self._homeserver.members(row.room, user=row.ghost)
        return members.get(old_ghost) == "join"

    async def _bring(self, row: PortalRow, owner: UserId, room: RoomId, ghost: UserId) -> bool:
        """Bring the new ghost into the room, with the power of the old one. Whether it is there."""
        if ghost == row.ghost:
            return True
        members = await self._homeserver.members(room, user=row.ghost)
        if members.get(ghost) != "join":
            if not await self._life.invite(row, owner, room, ghost):
                return False
            try:
                await self._homeserver.join(room, user=ghost)
            except HomeserverError as error:
                if may_pass(error):
                    raise
                return False
        create = await rooms.state_event(self._homeserver, room, rooms.CREATE, user=row.ghost)
        levels = await rooms.state_of(self._homeserver, room, rooms.POWER_LEVELS, user=row.ghost)
        raised = power.with_power_of(levels, create or {}, row.ghost, ghost)
        if raised is not None:
            await self._life.set_state(row, owner, room, rooms.POWER_LEVELS, "", raised)
        return True

    async def _finish(
        self,
        row: PortalRow,
        before: PortalKey,
        login: LoginRow,
        network: Network,
        old_ghost: UserId,
    ) -> None:
        """The portal is moved: what is said about it follows, and the old ghost goes."""
        if row.room is None:
            return
        await self._life.marks.mark(row, login)
        try:
            await self._life.describe(row, login.owner, network)
            if before != row.key:
                await self._unsay(row, before, login, network)
        except BridgeError as error:
            log.warning("a room could not be described", room=row.room, reason=str(error))
        if row.ghost == old_ghost:
            return
        text = phrase("chat-contact-moved", contact=code(row.contact))
        await self._life.say(row, row.room, text, "contact moved", old_ghost, row.ghost)
        await self._life.leave(
            row.room, [old_ghost], phrase("chat-contact-left", contact=row.contact)
        )

    async def _unsay(
        self, row: PortalRow, before: PortalKey, login: LoginRow, network: Network
    ) -> None:
        """Take back what the room says about the chat that it was."""
        assert row.room is not None
        key = f"org.dm_bridge/{network.name}/{marker(before)}"
        for event_type in rooms.BRIDGE_INFO_TYPES:
            await self._life.set_state(row, login.owner, row.room, event_type, key, {})
