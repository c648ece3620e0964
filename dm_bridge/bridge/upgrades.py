"""Follows a chat into the room that replaces its own.

The rule that must never break: a portal moves only where `succession.judge` allows it, by the state of
both rooms; and what the user writes, in either room, before, while and after it moves, is carried
exactly once.

An upgrade makes the upgrader a member of the new room, and nobody else: the ghost needs an invite. Where
the bridge can act for the user, it invites the ghost itself; else it waits for the user's client to
do so. Until then the portal stays in the old room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from dm_bridge.bridge.portal_life import PortalLife, membership_of
from dm_bridge.bridge.succession import Verdict, judge, predecessor_in, replacement_in
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix import rooms
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.formatting import code
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Network
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.portals import PortalRow, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

IN_A_ROW = 5  # upgrades that are followed at once, when a new room was replaced in turn

MissedMessages = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Takes messages that the homeserver did not push, commits those that are new, and wakes their room."""


async def nothing_missed(rows: Sequence[OutboxRow]) -> None:
    """For where no messages are carried."""


class Upgrades:
    """Moves portals. Whoever calls holds the portal's lock, but for `predecessor`.

    ``network``, where it is asked for: None when it is switched off; an upgrade does not wait for it.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        store: PortalStore,
        direct: DirectStore,
        life: PortalLife,
        bot: UserId,
        missed: MissedMessages,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._store = store
        self._direct = direct
        self._life = life
        self._bot = bot
        self._missed = missed

    async def predecessor(self, room: RoomId, ghost: UserId) -> RoomId | None:
        """The room that ``room``, in which the ghost is, claims to replace; or None."""
        create = await rooms.state_event(self._homeserver, room, rooms.CREATE, user=ghost)
        return None if create is None else predecessor_in(create)

    async def replaced(
        self, row: PortalRow, login: LoginRow, network: Network | None, tombstone: Json
    ) -> None:
        """A tombstone was pushed for the portal's room: follow now, or as soon as it can be done."""
        new = replacement_in(tombstone)
        if new is None or new == row.room:
            return
        if tombstone["sender"] not in self._trusted(row, login):
            await self._refuse(row, Verdict.NOT_BY_THE_USER, new)
            return
        await self._store.set_successor(row.key, new)
        await self.follow(replace(row, successor=new), login, network)

    async def follow(
        self, row: PortalRow, login: LoginRow, network: Network | None, room: RoomId | None = None
    ) -> bool:
        """Move to ``room``, or else to the recorded successor. Whether the portal has moved.

        A successor that turns out not to be one is forgotten, and the user told. Raises `HomeserverError`.
        """
        moved = False
        for _ in range(IN_A_ROW):
            new = room or row.successor
            if new is None or not await self._follow(row, login, network, new):
                return moved
            moved, room = True, None
            again = await self._store.get(row.key)
            assert again is not None
            row = again
            await self._look_for_another(row, login)
            row = await self._store.get(row.key) or row
        return moved

    async def _follow(
        self, row: PortalRow, login: LoginRow, network: Network | None, new: RoomId
    ) -> bool:
        old = row.room
        assert old is not None
        if not await self._enter(row, login.owner, new):
            log.info("the ghost cannot enter the room that replaces its own yet", room=old, new=new)
            return False
        tombstone = await rooms.state_event(self._homeserver, old, rooms.TOMBSTONE, user=row.ghost)
        create = await rooms.state_event(self._homeserver, new, rooms.CREATE, user=row.ghost)
        verdict = judge(tombstone, create, old=old, new=new, trusted=self._trusted(row, login))
        if verdict is not Verdict.FOLLOW:
            if row.successor == new:
                await self._store.set_successor(row.key, None)
                await self._life.leave(new, [row.ghost], phrase("chat-not-replaced"))
                await self._refuse(row, verdict, new)
                if not await self._life.may_write(row, old):
                    await self._life.abandon(row)
            return False
        await self._move(row, login, network, old, new)
        return True

    async def _enter(self, row: PortalRow, owner: UserId, new: RoomId) -> bool:
        """Get the ghost into the new room, invited by the user who replaced the room. Whether it is there."""
        if await self._join(row.ghost, new):
            return True
        if row.successor != new or not self._accounts.can_act_for(owner):
            return False
        invite: Json = {"membership": "invite", "is_direct": True}
        try:
            await self._accounts.set_state(owner, new, "m.room.member", row.ghost, invite)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.info("the user cannot invite the ghost", room=new, reason=str(error))
            return False
        return await self._join(row.ghost, new)

    async def _join(self, ghost: UserId, room: RoomId) -> bool:
        try:
            await self._homeserver.join(room, user=ghost)
        except HomeserverError as error:
            if may_pass(error):
                raise
            return False
        return True

    async def _move(
        self, row: PortalRow, login: LoginRow, network: Network | None, old: RoomId, new: RoomId
    ) -> None:
        # Recorded before anything else: whatever the user writes in the new room from now on leads here,
        # and when this is cut short, it is begun again.
        await self._store.set_successor(row.key, new)
        missed = await rooms.messages_by(self._homeserver, new, login.owner, seen_by=row.ghost)
        members = await self._homeserver.members(new, user=row.ghost)
        await self._missed(
            [OutboxRow(EventId(event["event_id"]), new, login.owner, event) for event in missed]
        )
        moved = replace(
            row,
            room=new,
            membership=membership_of(members, login.owner),
            bot_joined=members.get(self._bot) == "join",
            own_ghost=None,
            crowded=False,
            successor=None,
        )
        moved = replace(moved, crowded=self._life.is_crowded(moved, login, members))
        await self._life.marks.decided(login.owner)
        touched = await self._direct.replace_room(old, new)
        with self._life.changing():
            await self._store.replace_room(row.key, old, moved)
        self._life.marks.touch(touched)
        await self._life.marks.mark(moved, login)
        log.info("a chat moved to the room that replaces its own", login=login.id, old=old, new=new)
        await self._life.introduce(moved, login, network)

    async def _look_for_another(self, row: PortalRow, login: LoginRow) -> None:
        """The new room may have been replaced in turn, before the ghost was there to see it."""
        assert row.room is not None
        tombstone = await rooms.state_event(
            self._homeserver, row.room, rooms.TOMBSTONE, user=row.ghost
        )
        if tombstone is not None and tombstone.get("sender") in self._trusted(row, login):
            await self._store.set_successor(row.key, replacement_in(tombstone))

    def _trusted(self, row: PortalRow, login: LoginRow) -> tuple[UserId, ...]:
        return (login.owner, row.ghost, self._bot)

    async def _refuse(self, row: PortalRow, verdict: Verdict, new: RoomId) -> None:
        assert row.room is not None
        log.warning("a chat does not follow", room=row.room, new=new, reason=verdict.value)
        await self._life.say(
            row,
            row.room,
            phrase("chat-stays", why=verdict.value, room=row.room, contact=code(row.contact)),
            "not followed",
            new,
        )
