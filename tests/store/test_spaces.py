"""Spaces: one for each login, and what its user decided about it."""

from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.spaces import SpaceMode, SpaceRow, SpaceStore

from .stored import GHOST, OWNER, ROMEO, a_login, key_of

ROOM, OTHER = RoomId("!space"), RoomId("!another")


@pytest.fixture
def store(database: Database) -> SpaceStore:
    return SpaceStore(database)


@pytest_asyncio.fixture
async def login(database: Database) -> LoginId:
    return await a_login(database)


async def test_what_a_user_decided_outlives_what_is_offered(
    store: SpaceStore, login: LoginId
) -> None:
    await store.refuse(login)
    await store.offer(login)
    assert await store.get(login) == SpaceRow(login, SpaceMode.OFF)
    await store.want(login)
    assert await store.get(login) == SpaceRow(login, SpaceMode.ON)


async def test_a_space_is_recorded_step_by_step(store: SpaceStore, login: LoginId) -> None:
    await store.offer(login)
    await store.set_creating(login)
    assert await store.of([OWNER]) == [SpaceRow(login, SpaceMode.ON, creating=True)]
    await store.set_room(login, ROOM)
    await store.set_invited(login, OTHER)  # of a room that it was before
    assert await store.by_room(ROOM) == SpaceRow(login, SpaceMode.ON, room=ROOM)
    await store.set_invited(login, ROOM)
    assert await store.of() == [SpaceRow(login, SpaceMode.ON, room=ROOM, invited=True)]
    assert await store.of([UserId("@nobody:example.org")]) == []
    assert await store.rooms_of(OWNER) == {login: ROOM}
    await store.set_room(login, None)
    assert await store.get(login) == SpaceRow(login, SpaceMode.ON)
    assert await store.by_room(ROOM) is None


async def test_who_left_has_left_the_space_to_which_they_were_invited(
    store: SpaceStore, login: LoginId
) -> None:
    await store.want(login)
    await store.set_room(login, ROOM)
    await store.set_left(login, ROOM)  # they are to be invited (again)
    await store.set_invited(login, ROOM)
    await store.set_left(login, OTHER)
    assert await store.rooms_of(OWNER) == {login: ROOM}
    await store.set_left(login, ROOM)
    assert await store.rooms_of(OWNER) == {}
    await store.want(login)
    assert await store.get(login) == SpaceRow(login, SpaceMode.ON, room=ROOM)


async def test_no_two_logins_have_one_space(
    store: SpaceStore, login: LoginId, database: Database
) -> None:
    second = await a_login(database, "second@example.com")
    for each in (login, second):
        await store.want(each)
    await store.set_room(login, ROOM)
    with pytest.raises(asyncpg.UniqueViolationError):
        await store.set_room(second, ROOM)


async def test_the_rooms_of_chats_belong_into_it_but_for_those_that_the_user_has_left(
    store: SpaceStore, login: LoginId, database: Database
) -> None:
    portals = PortalStore(database)
    memberships = (None, Membership.INVITE, Membership.JOIN, Membership.LEAVE)
    for n, membership in enumerate(memberships):
        key = key_of(login, f"chat{n}")
        await portals.reserve(key, ROMEO, GHOST)
        if membership is not None:
            await portals.set_open(key, RoomId(f"!{membership.value}"), membership)
    assert sorted(await store.chats(login)) == ["!invite", "!join"]


async def test_rooms_of_which_something_is_recorded_are_known(
    store: SpaceStore, login: LoginId, database: Database
) -> None:
    portals = PortalStore(database)
    key = key_of(login)
    await portals.reserve(key, ROMEO, GHOST)
    await portals.set_open(key, RoomId("!former"), Membership.JOIN)
    await portals.replace_room(key, RoomId("!former"), None)
    await portals.set_open(key, RoomId("!chat"), Membership.JOIN)
    await RoomStore(database).add_management(RoomId("!bot"), OWNER)
    await store.want(login)
    await store.set_room(login, ROOM)
    rooms = [RoomId(r) for r in ("!former", "!chat", "!bot", ROOM, OTHER)]
    assert await store.unknown(rooms) == [OTHER]
