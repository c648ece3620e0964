"""Following a room's successor: completely, or not yet, wherever it is cut short."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
import pytest_asyncio

from dm_bridge.bridge.upgrades import IN_A_ROW
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import HomeserverError, NotYet
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.portals import Membership, PortalState
from tests.store.stored import OWNER, ROMEO

from .matrix_rooms import Json
from .room_world import BOT, GHOST, ROOM, World, a_world, broken_at_every_call

NEW = RoomId("!second")
STRANGER = UserId("@tybalt:other.example")


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await a_world(database)


def upgrade(world: World, old: RoomId = ROOM, new: RoomId = NEW, by: UserId = OWNER) -> Json:
    """What a homeserver does for somebody who upgrades a room; the tombstone."""
    world.rooms.create(new, by, predecessor={"room_id": old})
    content = {"body": "replaced", "replacement_room": new}
    return world.rooms.put(old, "m.room.tombstone", "", content, by)


async def replaced(world: World, tombstone: Json) -> None:
    await world.portals.replaced(world.key, world.login, world.network, tombstone)


async def is_moved(world: World, room: RoomId = NEW) -> None:
    row = await world.row()
    assert (row.room, row.membership, row.successor) == (room, Membership.JOIN, None)
    assert await world.marks() == {room: (GHOST, DMState.ACTIVE)}
    assert await world.marks(GHOST) == {room: (OWNER, DMState.ACTIVE)}
    assert world.rooms.membership(room, GHOST) == "join"
    former = await world.store.by_former_room(ROOM)
    assert former is not None
    assert former.key == world.key


async def test_the_portal_moves_with_its_marks_and_with_what_was_written_too_early(
    world: World,
) -> None:
    tombstone = upgrade(world)
    early = [world.rooms.say(NEW, OWNER, f"early {n}")["event_id"] for n in range(3)]
    world.rooms.say(NEW, STRANGER, "not mine")
    await replaced(world, tombstone)
    await is_moved(world)
    assert world.missed == early
    assert {OWNER, GHOST} <= set(world.keeper.touched)
    kinds = {kind for kind, key in world.rooms.state[NEW] if key.startswith("org.dm_bridge/")}
    assert kinds == {"m.bridge", "uk.half-shot.bridge"}


@pytest.mark.parametrize("lost_answers", [False, True])
async def test_wherever_it_is_cut_short_doing_it_again_completes_it(
    database: Database, lost_answers: bool
) -> None:
    async for world in broken_at_every_call(database, lost_answers):
        tombstone = upgrade(world)
        early = world.rooms.say(NEW, OWNER, "early")["event_id"]
        with contextlib.suppress(HomeserverError):
            await replaced(world, tombstone)
        rooms = await world.marks()
        assert rooms in ({ROOM: (GHOST, DMState.ACTIVE)}, {NEW: (GHOST, DMState.ACTIVE)})
        world.rooms.fail_at = None
        await replaced(world, tombstone)
        await is_moved(world)
        assert world.missed == [early]


async def test_between_ledger_and_portal_a_crash_loses_nothing(world: World) -> None:
    tombstone = upgrade(world)
    await world.direct.replace_room(ROOM, NEW)
    await replaced(world, tombstone)
    await is_moved(world)


async def test_an_opt_out_goes_along(world: World) -> None:
    await world.direct.opt(OWNER, ROOM, True)
    await replaced(world, upgrade(world))
    managed = {dm.room: dm for dm in await world.direct.managed(OWNER)}
    assert managed[NEW].opted_out


async def test_without_access_the_portal_stays_until_the_ghost_is_invited(world: World) -> None:
    world.accounts.access = False
    await replaced(world, upgrade(world))
    row = await world.row()
    assert (row.room, row.successor) == (ROOM, NEW)
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}
    assert not await world.portals.follow(world.key, world.login, world.network, NEW)
    world.rooms.put(NEW, "m.room.member", GHOST, {"membership": "invite"}, OWNER)
    assert await world.portals.follow(world.key, world.login, world.network, NEW)
    await is_moved(world)


async def test_an_invite_that_comes_before_the_tombstone_leads_to_the_same(world: World) -> None:
    tombstone = upgrade(world)
    world.rooms.put(NEW, "m.room.member", GHOST, {"membership": "join"}, GHOST)
    found = await world.portals.predecessor(NEW, GHOST)
    assert found is not None
    assert found.key == world.key
    assert await world.portals.follow(found.key, world.login, world.network, NEW)
    await is_moved(world)
    await replaced(world, tombstone)
    await is_moved(world)


async def test_a_message_waits_a_little_for_the_ghost_and_then_gets_a_room_of_its_own(
    world: World,
) -> None:
    world.accounts.access = False
    await replaced(world, upgrade(world))
    world.now = (await world.row()).successor_at + 29
    with pytest.raises(NotYet) as caught:
        await world.portals.open(world.key, world.login, world.network, ROMEO)
    assert caught.value.retry_after is not None
    assert (await world.row()).room == ROOM
    world.now += 2
    await world.portals.open(world.key, world.login, world.network, ROMEO)
    row = await world.row()
    assert row.room not in (None, ROOM, NEW)
    assert row.successor is None
    assert row.state is PortalState.OPEN
    assert ROOM not in await world.marks()
    assert await world.store.former_rooms(world.key) == [ROOM]


async def test_upgrades_in_a_row_are_followed_to_the_last(world: World) -> None:
    rooms = [ROOM, *(RoomId(f"!upgrade{n}") for n in range(IN_A_ROW))]
    stones = [upgrade(world, old, new) for old, new in pairwise(rooms)]
    await replaced(world, stones[0])
    await is_moved(world, rooms[-1])


async def test_a_third_person_in_the_new_room_makes_it_no_direct_chat(world: World) -> None:
    tombstone = upgrade(world)
    world.rooms.put(NEW, "m.room.member", STRANGER, {"membership": "join"}, STRANGER)
    await replaced(world, tombstone)
    row = await world.row()
    assert (row.room, row.crowded) == (NEW, True)
    assert await world.marks() == {}
    assert any("Somebody else" in body for body in world.rooms.bodies(NEW))


@pytest.mark.parametrize("by", [STRANGER, OWNER])
async def test_what_is_no_upgrade_of_the_users_moves_nothing_and_is_said_once(
    world: World, by: UserId
) -> None:
    upgrade(world, by=STRANGER)
    world.rooms.put(NEW, "m.room.member", OWNER, {"membership": "join"}, OWNER)
    content = {"replacement_room": NEW}
    tombstone = world.rooms.put(ROOM, "m.room.tombstone", "", content, by)
    await replaced(world, tombstone)
    await replaced(world, tombstone)
    row = await world.row()
    assert (row.room, row.successor) == (ROOM, None)
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}
    assert world.rooms.membership(NEW, GHOST) != "join"
    assert len([body for body in world.rooms.bodies(ROOM) if "stays here" in body]) == 1


async def test_a_tombstone_of_a_room_that_is_no_more_the_portals_changes_nothing(
    world: World,
) -> None:
    first = upgrade(world)
    await replaced(world, first)
    third = RoomId("!third")
    await replaced(world, upgrade(world, ROOM, third))
    await is_moved(world)


async def test_the_bot_in_the_new_room_is_listed_there(world: World) -> None:
    tombstone = upgrade(world)
    world.rooms.put(NEW, "m.room.member", BOT, {"membership": "join"}, BOT)
    await replaced(world, tombstone)
    assert (await world.row()).bot_joined
    listed = world.rooms.state[NEW][("io.element.functional_members", "")]["content"]
    assert listed == {"service_members": [BOT]}
