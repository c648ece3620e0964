"""What happens to a portal's room, and how marks and room state follow."""

from __future__ import annotations

import itertools

import pytest
import pytest_asyncio

from dm_bridge.bridge.marks import marked_as
from dm_bridge.bridge.portal_life import REPAIRS_AN_HOUR, is_crowded, marker
from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix import rooms
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginState
from dm_bridge.store.portals import Membership, PortalState
from tests.store.stored import OWNER, ROMEO

from .matrix_rooms import Json
from .room_world import BOT, GHOST, NAMESPACE, ROOM, World, a_world

STRANGER = UserId("@tybalt:other.example")
OWN_GHOST = UserId("@_dm_xmpp_juliet:example.org")
LISTED = ("io.element.functional_members", "")


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await a_world(database)


@pytest.mark.parametrize(
    ("login", "membership", "crowded"),
    list(itertools.product(LoginState, Membership, [True, False])),
)
def test_a_room_is_marked_exactly_while_it_is_a_chat_of_two_of_somebody_logged_in(
    login: LoginState, membership: Membership, crowded: bool
) -> None:
    if login is LoginState.LOGGED_OUT or crowded:
        expected = DMState.RETIRED
    else:
        expected = DMState.ACTIVE if membership is Membership.JOIN else DMState.PENDING
    assert marked_as(login, membership, crowded=crowded) is expected


@pytest.mark.parametrize(
    ("more", "crowded"),
    [
        ({}, False),
        ({BOT: "join", OWN_GHOST: "join"}, False),
        ({STRANGER: "invite"}, False),
        ({STRANGER: "leave"}, False),
        ({STRANGER: "knock"}, False),
        ({STRANGER: "join"}, True),
        ({UserId("@_dm_xmpp_romeo:other.example"): "join"}, True),
    ],
)
def test_a_third_person_makes_a_crowd_once_they_have_joined(
    more: dict[UserId, str], crowded: bool
) -> None:
    members = {OWNER: "join", GHOST: "join", **more}
    assert is_crowded(members, (OWNER, GHOST, BOT), NAMESPACE) is crowded


def joins(world: World, user: UserId, membership: str = "join") -> None:
    world.rooms.put(ROOM, "m.room.member", user, {"membership": membership}, user)


async def others_moved(world: World, about: str = "$event") -> None:
    await world.portals.life.others_moved(await world.row(), world.login, about)


async def test_a_crowd_takes_the_marks_away_says_so_once_and_its_end_brings_them_back(
    world: World,
) -> None:
    joins(world, STRANGER)
    await others_moved(world)
    await others_moved(world)
    assert (await world.row()).crowded
    assert await world.marks() == await world.marks(GHOST) == {}
    assert len(world.rooms.bodies(ROOM)) == 1
    joins(world, UserId("@mercutio:other.example"))
    joins(world, STRANGER, "leave")
    await others_moved(world, "$later")
    assert (await world.row()).crowded
    joins(world, UserId("@mercutio:other.example"), "leave")
    await others_moved(world, "$last")
    assert not (await world.row()).crowded
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}
    assert await world.marks(GHOST) == {ROOM: (OWNER, DMState.ACTIVE)}
    assert len(world.rooms.bodies(ROOM)) == 1


async def test_what_the_user_decided_before_a_crowd_holds_after_it(world: World) -> None:
    await world.direct.opt(OWNER, ROOM, True)
    joins(world, STRANGER)
    await others_moved(world)
    joins(world, STRANGER, "leave")
    await others_moved(world, "$later")
    (managed,) = await world.direct.managed(OWNER)
    assert (managed.state, managed.opted_out) == (DMState.ACTIVE, True)


async def test_joining_a_crowd_marks_nothing(world: World) -> None:
    joins(world, STRANGER)
    await others_moved(world)
    await world.portals.life.user_joined(await world.row(), world.login)
    assert await world.marks() == {}


async def test_joining_after_a_logout_marks_nothing(world: World) -> None:
    await world.portals.life.marks.retire(ROOM)
    await world.portals.life.user_joined(await world.row(), world.logged_out())
    assert await world.marks() == {}
    await world.portals.life.user_joined(await world.row(), world.login)
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}


async def test_a_user_who_leaves_keeps_the_mark(world: World) -> None:
    await world.portals.life.user_left(await world.row())
    assert (await world.row()).membership is Membership.LEAVE
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}


async def opens_another_room(world: World) -> None:
    """Those who are left in the room have nobody of the bridge there, and the next message goes elsewhere."""
    assert (await world.row()).room is None
    assert world.rooms.membership(ROOM, GHOST) == "leave"
    assert await world.store.by_former_room(ROOM) is None
    assert await world.marks() == await world.marks(GHOST) == {}
    opened = await world.portals.open(world.key, world.login, world.network, ROMEO)
    assert opened.room != ROOM
    assert not (await world.row()).crowded


async def test_who_stays_in_a_chat_that_its_user_left_reads_nothing_more(world: World) -> None:
    joins(world, STRANGER)
    await others_moved(world)
    joins(world, OWNER, "leave")
    await world.portals.life.user_left(await world.row())
    await opens_another_room(world)


async def test_who_comes_into_a_chat_that_its_user_left_reads_nothing_more(world: World) -> None:
    joins(world, OWNER, "leave")
    await world.portals.life.user_left(await world.row())
    joins(world, STRANGER)
    await others_moved(world)
    await opens_another_room(world)


async def test_a_user_who_is_found_to_have_left_a_crowd_gets_another_room(world: World) -> None:
    joins(world, STRANGER)
    await others_moved(world)
    joins(world, OWNER, "leave")
    assert await look_again(world)
    await opens_another_room(world)


async def test_a_room_that_somebody_else_made_with_the_marker_of_a_chat_is_not_its_own(
    world: World,
) -> None:
    forged = RoomId("!forged")
    world.rooms.create(forged, STRANGER, **{rooms.MARKER: marker(world.key)})
    joins_too = {"membership": "join"}
    for user in (OWNER, GHOST):
        world.rooms.put(forged, "m.room.member", user, joins_too, user)
    await world.store.set_creating(world.key)
    assert not await world.portals.recognise(world.key, world.login, forged)
    opened = await world.portals.open(world.key, world.login, world.network, ROMEO)
    assert opened.room not in (ROOM, forged)


async def test_it_is_told_when_a_chat_has_another_room_or_a_user_left_it_or_is_back(
    world: World,
) -> None:
    life, told = world.portals.life, list[str]()
    life.changed = told.append
    await life.user_joined(await world.row(), world.login)  # they are there already
    assert told == []
    await life.user_left(await world.row())
    await life.user_invited(await world.row())
    await life.abandon(await world.row())
    await world.portals.open(world.key, world.login, world.network, ROMEO)
    await world.portals.delete(await world.row(), world.login)
    assert len(told) == 5
    assert set(told) == {world.login.id}


async def test_a_ghost_that_is_removed_takes_the_marks_along(world: World) -> None:
    changes = world.portals.life.changes
    await world.portals.life.ghost_removed(await world.row())
    row = await world.row()
    assert (row.state, row.room) == (PortalState.RESERVED, None)
    assert await world.marks() == await world.marks(GHOST) == {}
    assert world.portals.life.changes > changes


async def look_again(world: World) -> bool:
    return await world.portals.life.look_again(await world.row(), world.login)


async def test_a_refusal_without_a_reason_in_the_room_changes_nothing(world: World) -> None:
    before = await world.row()
    assert not await look_again(world)
    assert await world.row() == before


async def test_a_ghost_that_may_not_write_any_more_gets_another_room(world: World) -> None:
    silence(world)
    assert await look_again(world)
    assert (await world.row()).room is None
    assert await world.store.former_rooms(world.key) == [ROOM]
    assert await world.marks() == {}


def silence(world: World) -> None:
    world.rooms.put(ROOM, "m.room.create", "", {"room_version": "11"}, OWNER)
    levels: Json = {"users": {OWNER: 100}, "events_default": 50}
    world.rooms.put(ROOM, "m.room.power_levels", "", levels, OWNER)


@pytest.mark.parametrize(("by", "waits"), [(OWNER, True), (STRANGER, False)])
async def test_a_ghost_that_an_upgrade_silenced_waits_for_the_new_room_when_it_is_the_users(
    world: World, by: UserId, waits: bool
) -> None:
    silence(world)
    new = RoomId("!second")
    world.rooms.put(ROOM, "m.room.tombstone", "", {"replacement_room": new}, by)
    assert await look_again(world)
    row = await world.row()
    assert (row.room, row.successor) == ((ROOM, new) if waits else (None, None))


async def test_an_own_ghost_that_is_gone_comes_back_when_it_is_needed(world: World) -> None:
    await world.store.set_own_ghost(world.key, OWN_GHOST)
    assert await look_again(world)
    assert (await world.row()).own_ghost is None


async def test_our_service_members_are_repaired_and_those_of_others_kept(world: World) -> None:
    life = world.portals.life
    joins(world, BOT)
    await life.bot_joined(await world.row(), world.login, joined=True)
    assert world.rooms.state[ROOM][LISTED]["content"] == {"service_members": [BOT]}
    for number in range(REPAIRS_AN_HOUR + 2):
        theirs: Json = {"service_members": [f"@scribe{number}:x"], "more": number}
        world.rooms.put(ROOM, *LISTED, theirs, STRANGER)
        await life.service_members_changed(await world.row(), world.login, theirs)
        now = world.rooms.state[ROOM][LISTED]["content"]
        if number < REPAIRS_AN_HOUR:
            assert now == {"service_members": [f"@scribe{number}:x", BOT], "more": number}
        else:
            assert now == theirs  # somebody insists; this is no war
    await life.bot_joined(await world.row(), world.login, joined=False)
    assert BOT not in world.rooms.state[ROOM][LISTED]["content"]["service_members"]


async def test_a_deleted_chat_is_forgotten_with_all_its_rooms(world: World) -> None:
    row = await world.row()
    await world.direct.opt(OWNER, ROOM, True)
    await world.portals.delete(row, world.login)
    await world.portals.delete(row, world.login)
    assert await world.store.get(world.key) is None
    assert await world.store.by_former_room(ROOM) is None
    assert world.rooms.membership(ROOM, GHOST) == "leave"
    (managed,) = await world.direct.managed(OWNER)
    assert (managed.state, managed.opted_out) == (DMState.RETIRED, False)
