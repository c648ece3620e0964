"""The bot's rooms, and the strangers it has refused."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.rooms import RoomStore

from .stored import OWNER

ROOM = RoomId("!room")
STRANGER = UserId("@tybalt:example.org")


@pytest.fixture
def store(database: Database) -> RoomStore:
    return RoomStore(database)


async def test_a_user_may_have_several_management_rooms(store: RoomStore) -> None:
    await store.add_management(ROOM, OWNER)
    await store.add_management(RoomId("!second"), OWNER)
    await store.add_management(RoomId("!other"), STRANGER)
    assert set(await store.management_rooms(OWNER)) == {ROOM, "!second"}
    assert await store.management_user(ROOM) == OWNER


async def test_a_room_has_one_user_the_last_one_it_was_given_to(store: RoomStore) -> None:
    await store.add_management(ROOM, OWNER)
    await store.add_management(ROOM, STRANGER)
    assert await store.management_user(ROOM) == STRANGER
    assert await store.management_rooms(OWNER) == []


async def test_a_room_that_was_left_is_forgotten(store: RoomStore) -> None:
    await store.add_management(ROOM, OWNER)
    await store.remove_management(ROOM)
    await store.remove_management(ROOM)
    assert await store.management_user(ROOM) is None
    assert await store.management_rooms(OWNER) == []


async def test_a_stranger_is_refused_once_however_many_ask_at_the_same_time(
    store: RoomStore,
) -> None:
    answers = await asyncio.gather(*(store.refuse_once(STRANGER) for _ in range(16)))
    assert sorted(answers) == [False] * 15 + [True]
    assert not await store.refuse_once(STRANGER)
    assert await store.refuse_once(UserId("@paris:example.org"))
