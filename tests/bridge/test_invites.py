"""What was written beside an invite is caught up with, also where the homeserver forgot that it was accepted."""

from __future__ import annotations

from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.invites import Invites
from dm_bridge.ids import RoomId
from dm_bridge.store.database import Database
from dm_bridge.store.portals import Membership
from tests.store.stored import OWNER

from .room_world import BOT, GHOST, NAMESPACE, World, a_world

THEIRS = RoomId("!theirs")


async def a_room(database: Database, ghost_is: str) -> tuple[World, Invites]:
    """A room of Juliet's in which she has written, and where the ghost stands as ``ghost_is`` says."""
    world = await a_world(database)
    world.rooms.create(THEIRS, OWNER)
    world.rooms.put(THEIRS, "m.room.member", GHOST, {"membership": ghost_is}, OWNER)
    world.rooms.say(THEIRS, OWNER, "beside the invite")
    await world.store.set_open(world.key, THEIRS, Membership.JOIN)
    invites = Invites(
        world.rooms,  # type: ignore[arg-type]
        world.portals,
        Ghosts(world.rooms, world.store, NAMESPACE),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        world.store,
        BOT,
        lambda user: True,
    )
    return world, invites


async def caught_up(invites: Invites) -> list[str]:
    missed = await invites.missed(THEIRS, OWNER, GHOST)
    return [row.event["content"]["body"] for row in missed]


async def test_a_ghost_that_is_only_invited_again_accepts_again(database: Database) -> None:
    world, invites = await a_room(database, "invite")
    assert await caught_up(invites) == ["beside the invite"]
    assert world.rooms.membership(THEIRS, GHOST) == "join"


async def test_a_ghost_that_was_removed_stays_away(database: Database) -> None:
    world, invites = await a_room(database, "leave")
    assert await caught_up(invites) == []
    assert world.rooms.membership(THEIRS, GHOST) == "leave"


async def test_a_room_is_not_entered_again_once_the_chat_has_another(database: Database) -> None:
    world, invites = await a_room(database, "invite")
    await world.store.replace_room(world.key, THEIRS, None)
    assert await caught_up(invites) == []
    assert world.rooms.membership(THEIRS, GHOST) == "invite"


async def test_a_ghost_that_is_there_only_reads(database: Database) -> None:
    world, invites = await a_room(database, "join")
    world.rooms.say(THEIRS, OWNER, "and later")
    assert await caught_up(invites) == ["beside the invite", "and later"]
