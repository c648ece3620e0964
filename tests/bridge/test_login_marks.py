"""Marks go with a logout, and come back with the next login, in the same rooms."""

from __future__ import annotations

from dataclasses import replace

import pytest_asyncio

from dm_bridge.bridge.login_marks import LoginMarks
from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import UserId
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginState, LoginStore
from tests.store.stored import OWNER

from .room_world import GHOST, ROOM, World, a_world


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return await a_world(database)


def hooks(world: World) -> LoginMarks:
    return LoginMarks(world.keeper, world.portals)  # type: ignore[arg-type]


async def retired(world: World, account: UserId = OWNER) -> bool:
    (managed,) = await world.direct.managed(account)
    return managed.state is DMState.RETIRED


async def test_a_logout_retires_the_rooms_for_both_sides_and_waits_until_that_is_written(
    world: World,
) -> None:
    world.keeper.touched.clear()
    await hooks(world).logged_out(world.logged_out())
    assert await retired(world)
    assert await retired(world, GHOST)
    assert set(world.keeper.touched) == {OWNER, GHOST}
    assert OWNER in world.keeper.waited_for
    assert (await world.row()).room == ROOM
    assert world.rooms.membership(ROOM, GHOST) == "join"


async def test_what_could_not_be_written_then_is_taken_up_with_the_next_login(
    world: World,
) -> None:
    await hooks(world).logged_out(world.logged_out())
    assert OWNER in await world.direct.unsettled()
    world.keeper.touched.clear()
    other = replace(world.login, id="another login", remote="benvolio@example.com")  # type: ignore[arg-type]
    await hooks(world).logged_in(other)
    assert await retired(world)
    assert OWNER in world.keeper.touched


async def test_the_next_login_manages_the_same_rooms_again_as_the_user_wants_them(
    world: World,
) -> None:
    await world.direct.opt(OWNER, ROOM, True)
    await hooks(world).logged_out(world.logged_out())
    await world.direct.settle(OWNER, await world.direct.managed(OWNER))
    await world.direct.settle(GHOST, await world.direct.managed(GHOST))
    await hooks(world).logged_in(world.login)
    (managed,) = await world.direct.managed(OWNER)
    assert (managed.room, managed.ghost, managed.state) == (ROOM, GHOST, DMState.ACTIVE)
    assert managed.opted_out
    assert await world.marks(GHOST) == {ROOM: (OWNER, DMState.ACTIVE)}


async def test_a_crowded_room_stays_unmarked_after_the_next_login(world: World) -> None:
    await world.store.set_crowded(world.key, True)
    await hooks(world).logged_out(world.logged_out())
    await hooks(world).logged_in(world.login)
    assert await world.marks() == {}


async def test_a_logout_that_was_cut_short_is_completed_at_the_next_start(
    world: World, database: Database
) -> None:
    logins = LoginStore(database)
    await logins.activate(world.login.id, b"sealed")
    await hooks(world).started(None)
    assert await world.marks() == {ROOM: (GHOST, DMState.ACTIVE)}
    await logins.set_state(world.login.id, LoginState.LOGGED_OUT, "")
    await hooks(world).started(None)
    assert await world.marks() == await world.marks(GHOST) == {}
