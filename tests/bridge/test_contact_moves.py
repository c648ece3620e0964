"""A contact with a new address keeps the room, wherever the move is cut short; two chats stay two."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import pytest_asyncio

from dm_bridge.bridge.contact_moves import Moved
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ChatId, ContactId, PortalKey, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.portals import Membership
from tests.store.stored import OWNER, ROMEO, message

from .room_world import GHOST, NAMESPACE, ROOM, World, a_world, broken_at_every_call, know_ghost

MANTUA = ContactId("romeo@mantua.example")
NEW_GHOST = NAMESPACE.user_id("xmpp", MANTUA)  # type: ignore[arg-type]
STRANGER = UserId("@tybalt:other.example")


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await a_world(database)


def new_key(world: World) -> PortalKey:
    return replace(world.key, chat=ChatId(MANTUA))


async def move(world: World) -> Moved:
    await know_ghost(world, MANTUA)
    return await world.portals.move_contact(
        world.key, world.login, world.network, ROMEO, MANTUA, ChatId(MANTUA)
    )


async def is_moved(world: World) -> None:
    assert await world.store.get(world.key) is None
    row = await world.row(new_key(world))
    assert (row.contact, row.ghost, row.room) == (MANTUA, NEW_GHOST, ROOM)
    assert await world.marks() == {ROOM: (NEW_GHOST, DMState.ACTIVE)}
    (managed,) = await world.direct.managed(OWNER)
    assert managed.aliases == {GHOST}
    assert await world.marks(NEW_GHOST) == {ROOM: (OWNER, DMState.ACTIVE)}
    assert await world.marks(GHOST) == {}
    assert world.rooms.membership(ROOM, NEW_GHOST) == "join"
    assert world.rooms.membership(ROOM, GHOST) == "leave"


async def test_the_chat_goes_on_in_the_same_room_with_the_new_ghost(world: World) -> None:
    assert await move(world) is Moved.DONE
    await is_moved(world)
    invite = world.rooms.state[ROOM][("m.room.power_levels", "")]["content"]
    assert invite["users"] == {NEW_GHOST: 100}
    assert {OWNER, GHOST, NEW_GHOST} <= set(world.keeper.touched)
    told = [body for body in world.rooms.bodies(ROOM) if MANTUA in body]
    assert len(told) == 1
    described = [
        event["content"]
        for (kind, _), event in world.rooms.state[ROOM].items()
        if kind == "m.bridge" and event["content"]
    ]
    assert [content["channel"]["id"] for content in described] == [MANTUA]


@pytest.mark.parametrize("lost_answers", [False, True])
async def test_wherever_it_is_cut_short_doing_it_again_completes_it(
    database: Database, lost_answers: bool
) -> None:
    async for world in broken_at_every_call(database, lost_answers):
        with contextlib.suppress(HomeserverError):
            await move(world)
        world.rooms.fail_at = None
        again = await move(world)
        assert again in (Moved.DONE, Moved.TAKEN, Moved.UNKNOWN)
        await is_moved(world)


async def test_when_it_is_done_there_is_nothing_left_to_move(world: World) -> None:
    await move(world)
    assert await move(world) is Moved.UNKNOWN
    await is_moved(world)


async def test_a_contact_without_a_chat_is_not_moved(world: World) -> None:
    await know_ghost(world, MANTUA)
    nobody = replace(world.key, chat=ChatId("nobody@example.net"))
    outcome = await world.portals.move_contact(
        nobody, world.login, world.network, ContactId("nobody@example.net"), MANTUA, ChatId(MANTUA)
    )
    assert outcome is Moved.UNKNOWN
    assert await world.store.get(new_key(world)) is None


async def test_two_chats_stay_two(world: World) -> None:
    await know_ghost(world, MANTUA)
    other = ROOM.__class__("!other")
    world.rooms.create(other, NEW_GHOST)
    row = await world.store.reserve(new_key(world), MANTUA, NEW_GHOST)
    await world.store.set_open(row.key, other, Membership.JOIN)
    before = (await world.row(), await world.row(new_key(world)))
    assert await move(world) is Moved.TAKEN
    assert (await world.row(), await world.row(new_key(world))) == before
    assert world.rooms.membership(ROOM, GHOST) == "join"
    assert world.rooms.membership(ROOM, NEW_GHOST) == ""
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}


async def test_a_chat_that_never_got_a_room_is_no_obstacle(world: World) -> None:
    await world.store.reserve(new_key(world), MANTUA, NEW_GHOST)
    assert await move(world) is Moved.DONE
    await is_moved(world)


async def test_what_was_carried_goes_along_and_what_waits_stays(
    world: World, database: Database
) -> None:
    inbox = InboxStore(database)
    await inbox.add([(world.login.id, message(1)), (world.login.id, message(2))])
    done, waiting = await inbox.waiting(world.key, 10)
    await inbox.finish(world.key, [InboxOutcome(done.id, "delivered")])
    await move(world)
    assert await inbox.delivered(new_key(world), done.id) is not None
    assert await inbox.delivered(world.key, done.id) is None
    assert [row.id for row in await inbox.waiting(world.key, 10)] == [waiting.id]


async def test_an_opt_out_goes_along(world: World) -> None:
    await world.direct.opt(OWNER, ROOM, True)
    await move(world)
    (managed,) = await world.direct.managed(OWNER)
    assert (managed.ghost, managed.opted_out) == (NEW_GHOST, True)


async def test_where_nobody_can_invite_the_new_ghost_the_chat_gets_another_room(
    world: World,
) -> None:
    world.accounts.access = False
    world.rooms.put(ROOM, "m.room.member", GHOST, {"membership": "leave"}, OWNER)
    world.rooms.put(ROOM, "m.room.member", GHOST, {"membership": "join"}, OWNER)
    refuse_invites(world)
    assert await move(world) is Moved.DONE
    row = await world.row(new_key(world))
    assert (row.contact, row.ghost, row.room) == (MANTUA, NEW_GHOST, None)
    assert await world.marks() == {}
    assert await world.store.former_rooms(row.key) == [ROOM]


def refuse_invites(world: World) -> None:
    set_state = world.rooms.set_state

    async def refusing(room: object, event_type: str, *rest: object, **more: object) -> object:
        if event_type == "m.room.member":
            raise HomeserverError("no power to invite", status=403, errcode="M_FORBIDDEN")
        return await set_state(room, event_type, *rest, **more)  # type: ignore[arg-type]

    world.rooms.set_state = refusing  # type: ignore[method-assign,assignment]
