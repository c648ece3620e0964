"""Portals and ghosts: one row each, and the states a portal goes through."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import ChatId, ContactId, NetworkName, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginState, LoginStore
from dm_bridge.store.portals import Membership, PortalRow, PortalState, PortalStore

from .stored import GHOST, OWNER, ROMEO, XMPP, a_login, key_of

ROOM = RoomId("!room")


@pytest.fixture
def store(database: Database) -> PortalStore:
    return PortalStore(database)


@pytest.fixture
async def portal(store: PortalStore, database: Database) -> PortalRow:
    return await store.reserve(key_of(await a_login(database)), ROMEO, GHOST)


async def stored(store: PortalStore, portal: PortalRow) -> PortalRow:
    row = await store.get(portal.key)
    assert row is not None
    return row


async def test_a_reserved_portal_has_no_room_yet(store: PortalStore, portal: PortalRow) -> None:
    assert portal == PortalRow(
        portal.key, ROMEO, GHOST, None, PortalState.RESERVED, Membership.NONE, False, None
    )
    assert await stored(store, portal) == portal


async def test_reserving_at_the_same_time_makes_one_portal(
    store: PortalStore, database: Database
) -> None:
    key = key_of(await a_login(database))
    others = [UserId(f"@other{n}:example.org") for n in range(8)]
    rows = await asyncio.gather(*(store.reserve(key, ROMEO, ghost) for ghost in others))
    assert len(set(rows)) == 1
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM portal") == 1


async def test_reserving_again_changes_nothing(store: PortalStore, portal: PortalRow) -> None:
    await store.set_open(portal.key, ROOM, Membership.JOIN)
    again = await store.reserve(portal.key, ContactId("somebody else"), UserId("@other:x"))
    assert again == replace(portal, room=ROOM, state=PortalState.OPEN, membership=Membership.JOIN)


async def test_a_portal_goes_from_creating_to_open(store: PortalStore, portal: PortalRow) -> None:
    await store.set_creating(portal.key)
    assert await stored(store, portal) == replace(portal, state=PortalState.CREATING)
    await store.set_open(portal.key, ROOM, Membership.INVITE)
    opened = replace(portal, state=PortalState.OPEN, room=ROOM, membership=Membership.INVITE)
    assert await stored(store, portal) == opened
    assert await store.by_room(ROOM) == opened


@pytest.mark.parametrize("membership", list(Membership))
async def test_every_membership_is_kept(
    store: PortalStore, portal: PortalRow, membership: Membership
) -> None:
    await store.set_open(portal.key, ROOM, Membership.INVITE)
    await store.set_membership(portal.key, membership)
    assert (await stored(store, portal)).membership is membership


async def test_a_lost_room_is_forgotten_and_the_next_one_starts_without_its_members(
    store: PortalStore, portal: PortalRow
) -> None:
    await store.set_open(portal.key, ROOM, Membership.JOIN)
    await store.set_bot_joined(portal.key, True)
    await store.set_own_ghost(portal.key, UserId("@own:example.org"))
    row = await stored(store, portal)
    assert (row.bot_joined, row.own_ghost) == (True, "@own:example.org")
    await store.set_lost(portal.key)
    assert await store.by_room(ROOM) is None
    row = await stored(store, portal)
    assert (row.state, row.room, row.membership) == (PortalState.RESERVED, None, Membership.NONE)
    await store.set_open(portal.key, RoomId("!second"), Membership.INVITE)
    row = await stored(store, portal)
    assert (row.room, row.bot_joined, row.own_ghost) == ("!second", False, None)


async def test_one_room_is_never_two_portals(store: PortalStore, database: Database) -> None:
    login = await a_login(database)
    first = await store.reserve(key_of(login), ROMEO, GHOST)
    second = await store.reserve(key_of(login, "nurse@example.net"), ContactId("nurse"), GHOST)
    await store.set_open(first.key, ROOM, Membership.JOIN)
    with pytest.raises(Exception, match="portal_room_id_key"):
        await store.set_open(second.key, ROOM, Membership.JOIN)
    assert await store.by_room(ROOM) is not None


async def test_what_is_not_there_is_none(store: PortalStore, database: Database) -> None:
    assert await store.get(key_of(await a_login(database))) is None
    assert await store.by_room(RoomId("!nowhere")) is None
    assert await store.ghost_contact(GHOST) is None


async def test_a_ghost_is_recorded_once_and_named_when_it_is_registered(
    store: PortalStore, database: Database
) -> None:
    rows = await asyncio.gather(*(store.ghost(XMPP, ROMEO, GHOST) for _ in range(8)))
    assert {(row.user_id, row.name, row.registered) for row in rows} == {(GHOST, None, False)}
    await store.set_ghost(GHOST, "Romeo")
    row = await store.ghost(XMPP, ROMEO, GHOST)
    assert (row.name, row.registered) == ("Romeo", True)
    assert await store.ghost_contact(GHOST) == ROMEO
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM ghost") == 1


async def test_the_same_address_on_another_network_is_another_ghost(store: PortalStore) -> None:
    await store.ghost(XMPP, ROMEO, GHOST)
    other = await store.ghost(NetworkName("irc"), ROMEO, UserId("@irc_romeo:example.org"))
    assert other.user_id == "@irc_romeo:example.org"


NEW = RoomId("!second")
MANTUA = ContactId("romeo@mantua.example")
NEW_GHOST = UserId("@xmpp_romeo=40mantua.example:example.org")


@pytest.fixture
async def opened(store: PortalStore, portal: PortalRow) -> PortalRow:
    """A portal with everything that a room can have."""
    await store.set_open(portal.key, ROOM, Membership.JOIN)
    await store.set_bot_joined(portal.key, True)
    await store.set_own_ghost(portal.key, UserId("@own:example.org"))
    await store.set_crowded(portal.key, True)
    await store.set_successor(portal.key, NEW)
    return await stored(store, portal)


async def test_what_becomes_of_a_room_is_kept(store: PortalStore, opened: PortalRow) -> None:
    assert (opened.crowded, opened.successor) == (True, NEW)
    assert opened.successor_at == pytest.approx(time.time(), abs=60)
    assert await store.by_successor(NEW) == opened
    assert await store.by_successor(ROOM) is None
    await store.set_successor(opened.key, None)
    assert (await stored(store, opened)).successor is None


async def test_another_room_starts_with_what_is_known_of_it(
    store: PortalStore, opened: PortalRow
) -> None:
    now = replace(
        opened,
        room=NEW,
        membership=Membership.INVITE,
        bot_joined=False,
        own_ghost=None,
        crowded=False,
        successor=None,
    )
    await store.replace_room(opened.key, ROOM, now)
    now = replace(now, successor_at=opened.successor_at)
    assert await stored(store, opened) == now
    assert await store.by_room(ROOM) is None
    assert await store.by_former_room(ROOM) == now
    assert await store.former_rooms(opened.key) == [ROOM]
    await store.replace_room(opened.key, ROOM, replace(now, room=RoomId("!third")))
    assert await stored(store, opened) == now  # ROOM was not its room any more
    await store.forget_former(ROOM)
    assert await store.by_former_room(ROOM) is None


@pytest.mark.parametrize("end", ["lost", "given up", "open again"])
async def test_nothing_of_a_room_is_left_behind_in_the_next(
    store: PortalStore, opened: PortalRow, end: str
) -> None:
    match end:
        case "lost":
            await store.set_lost(opened.key)
        case "given up":
            await store.replace_room(opened.key, ROOM, None)
            row = await stored(store, opened)
            assert (row.state, row.room) == (PortalState.RESERVED, None)
            assert await store.former_rooms(opened.key) == [ROOM]
    await store.set_open(opened.key, NEW, Membership.INVITE)
    row = await stored(store, opened)
    assert (row.bot_joined, row.own_ghost, row.crowded, row.successor) == (
        False,
        None,
        False,
        None,
    )


async def test_a_portal_moves_to_another_chat_with_its_rooms(
    store: PortalStore, opened: PortalRow
) -> None:
    await store.replace_room(opened.key, ROOM, replace(opened, room=NEW))
    key = replace(opened.key, chat=ChatId(MANTUA))
    assert await store.move(opened.key, key, MANTUA, NEW_GHOST)
    assert await store.get(opened.key) is None
    row = await store.by_room(NEW)
    assert row is not None
    assert (row.key, row.contact, row.ghost) == (key, MANTUA, NEW_GHOST)
    assert await store.former_rooms(key) == [ROOM]
    assert not await store.move(opened.key, key, MANTUA, NEW_GHOST)


async def test_a_chat_whose_id_stays_gets_another_contact(
    store: PortalStore, opened: PortalRow
) -> None:
    assert await store.move(opened.key, opened.key, MANTUA, NEW_GHOST)
    assert await stored(store, opened) == replace(opened, contact=MANTUA, ghost=NEW_GHOST)


async def test_a_portal_never_takes_the_place_of_another_one(
    store: PortalStore, opened: PortalRow
) -> None:
    other = await store.reserve(replace(opened.key, chat=ChatId(MANTUA)), MANTUA, NEW_GHOST)
    await store.set_creating(other.key)
    before = await stored(store, other)
    assert not await store.move(opened.key, other.key, MANTUA, NEW_GHOST)
    assert (await stored(store, opened), await stored(store, other)) == (opened, before)


async def test_a_deleted_portal_is_gone_with_its_former_rooms(
    store: PortalStore, opened: PortalRow
) -> None:
    await store.replace_room(opened.key, ROOM, replace(opened, room=NEW))
    await store.delete(opened.key)
    assert await store.get(opened.key) is None
    assert await store.by_room(NEW) is await store.by_former_room(ROOM) is None


async def test_portals_are_found_by_login_and_by_owner(
    store: PortalStore, database: Database, opened: PortalRow
) -> None:
    roomless = await store.reserve(
        replace(opened.key, chat=ChatId("nurse")), ContactId("nurse"), GHOST
    )
    assert await store.of_login(opened.key.login) == [opened]
    by_owner = await store.of_owner(OWNER)
    assert sorted(row.key.chat for row in by_owner) == sorted([opened.key.chat, roomless.key.chat])
    assert await store.of_owner(UserId("@tybalt:example.org")) == []


async def test_rooms_that_a_cut_short_logout_left_managed_are_found(
    store: PortalStore, database: Database, opened: PortalRow
) -> None:
    direct, logins = DirectStore(database), LoginStore(database)
    await direct.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await logins.activate(opened.key.login, b"sealed")
    assert await store.managed_without_login() == []
    await logins.set_state(opened.key.login, LoginState.LOGGED_OUT, "")
    assert await store.managed_without_login() == [ROOM]
    await direct.set_state(ROOM, DMState.RETIRED)
    assert await store.managed_without_login() == []
