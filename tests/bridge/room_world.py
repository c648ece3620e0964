"""Portals over a database and over rooms that are kept in memory: enough to cut things short anywhere."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.portal import Portals, PortalSettings
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, EventId, GhostNamespace, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.portals import Membership, PortalRow, PortalStore
from tests.store.stored import OWNER, ROMEO, XMPP, a_login, key_of

from .fakes import FakeNetwork
from .matrix_rooms import Json, MatrixRooms

BOT = UserId("@bridge:example.org")
NAMESPACE = GhostNamespace("_dm_", "example.org")
GHOST = NAMESPACE.user_id(XMPP, ROMEO)
ROOM = RoomId("!first")


class XmppFakes(FakeNetwork):
    """The fake network under the name that the stored logins have."""

    name = XMPP


class FakeKeeper:
    """``touched``: the accounts, in order."""

    def __init__(self) -> None:
        self.touched: list[UserId] = []
        self.waited_for: list[UserId] = []
        self.hastened: list[UserId] = []

    def hasten(self, account: UserId) -> None:
        self.hastened.append(account)

    def touch(self, account: UserId) -> None:
        self.touched.append(account)

    async def settled(self, *accounts: UserId, within: float) -> None:
        self.waited_for += accounts


class FakeAccounts:
    """Acts for everybody, through the same rooms; ``access`` switches that off."""

    def __init__(self, rooms: MatrixRooms) -> None:
        self._rooms = rooms
        self.access = True

    def can_act_for(self, user: UserId) -> bool:
        return self.access

    async def join(self, user: UserId, room: RoomId) -> None:
        await self._rooms.join(room, user=user)

    async def set_state(
        self, user: UserId, room: RoomId, event_type: str, key: str, content: Json
    ) -> None:
        if not self.access:
            raise HomeserverError("no access")
        await self._rooms.set_state(room, event_type, key, content, user=user)


@dataclass
class World:
    """Juliet (`OWNER`) with a chat in `ROOM`, which she has joined."""

    rooms: MatrixRooms
    portals: Portals
    store: PortalStore
    direct: DirectStore
    keeper: FakeKeeper
    accounts: FakeAccounts
    login: LoginRow
    key: PortalKey
    network: XmppFakes
    missed: list[EventId] = field(default_factory=list)
    now: float = 1_000_000.0

    async def row(self, key: PortalKey | None = None) -> PortalRow:
        row = await self.store.get(key or self.key)
        assert row is not None
        return row

    def logged_out(self) -> LoginRow:
        return replace(self.login, state=LoginState.LOGGED_OUT)

    async def marks(self, account: UserId = OWNER) -> dict[RoomId, tuple[UserId, DMState]]:
        """What is managed for an account, but for what is retired."""
        return {
            dm.room: (dm.ghost, dm.state)
            for dm in await self.direct.managed(account)
            if dm.state is not DMState.RETIRED
        }


async def a_world(database: Database) -> World:
    login = await LoginStore(database).get(await a_login(database))
    assert login is not None
    login = replace(login, state=LoginState.ACTIVE)
    store, direct = PortalStore(database), DirectStore(database)
    rooms, keeper = MatrixRooms(), FakeKeeper()
    accounts, network = FakeAccounts(rooms), XmppFakes()
    await store.ghost(XMPP, ROMEO, GHOST)
    await store.set_ghost(GHOST, "Romeo")
    key = key_of(login.id)

    async def missed(rows: Sequence[OutboxRow]) -> None:
        world.missed += [row.id for row in rows if row.id not in world.missed]

    portals = Portals(
        rooms,  # type: ignore[arg-type]
        accounts,  # type: ignore[arg-type]
        Ghosts(rooms, store, NAMESPACE),  # type: ignore[arg-type]
        keeper,  # type: ignore[arg-type]
        store,
        direct,
        PortalSettings(BOT, auto_join=True, mark_ghosts=True),
        missed,
        lambda: world.now,
    )
    world = World(rooms, portals, store, direct, keeper, accounts, login, key, network)
    rooms.create(ROOM, GHOST, additional_creators=[OWNER])
    rooms.put(ROOM, "m.room.member", OWNER, {"membership": "join"}, OWNER)
    row = await store.reserve(key, ROMEO, GHOST)
    await store.set_open(key, ROOM, Membership.JOIN)
    await portals.life.marks.mark(replace(row, room=ROOM, membership=Membership.JOIN), login)
    return world


async def know_ghost(world: World, contact: ContactId) -> UserId:
    """A ghost that is registered already."""
    ghost = NAMESPACE.user_id(XMPP, contact)
    await world.store.ghost(XMPP, contact, ghost)
    await world.store.set_ghost(ghost, contact)
    return ghost


async def broken_at_every_call(database: Database, lost_answers: bool) -> AsyncIterator[World]:
    """A fresh world for every call of the homeserver that may fail, until none does any more."""
    for number in itertools.count():
        async with database.connection() as connection:
            await connection.execute(
                "TRUNCATE portal, former_room, direct_dm, ghost, inbox CASCADE"
            )
        world = await a_world(database)
        world.rooms.lost_answers = lost_answers
        world.rooms.fail_at = fails_at = world.rooms.calls + number
        yield world
        if world.rooms.calls <= fails_at:
            assert number > 3
            return
