"""Portals and ghosts: one row each, and the states a portal goes through."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dm_bridge.ids import ContactId, NetworkName, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.portals import Membership, PortalRow, PortalState, PortalStore

from .stored import GHOST, ROMEO, XMPP, a_login, key_of

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
