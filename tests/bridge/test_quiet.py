"""Who writes too much is told once, and then nothing for a minute."""

from __future__ import annotations

from dm_bridge.bridge.quiet import PAUSE, Attention, Quiet
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.texts import phrase

from .test_management import BOT, ROOM, USER, World

NURSE = UserId("@nurse:example.org")


def test_it_is_said_once_until_it_is_over() -> None:
    now = [100.0]
    quiet = Quiet(3, lambda: now[0])
    assert [quiet.take(USER) for _ in range(6)] == [
        *[Attention.ANSWER] * 3,
        Attention.ENOUGH,
        Attention.NONE,
        Attention.NONE,
    ]
    assert quiet.take(NURSE) is Attention.ANSWER
    now[0] += PAUSE - 1
    assert quiet.take(USER) is Attention.NONE  # though there would be some again
    now[0] += 2
    assert [quiet.take(USER) for _ in range(4)] == [*[Attention.ANSWER] * 3, Attention.ENOUGH]


async def test_what_may_be_a_secret_is_removed_though_nothing_is_answered(
    database: Database,
) -> None:
    world = World(database)
    world.room_of(USER, BOT)
    world.management._quiet = Quiet(1)
    await world.write(USER, "help", "$1")
    await world.write(USER, "help", "$2")
    await world.write(USER, "help", "$3")
    assert world.said == ["answered", phrase("notice-enough", many=1)]
    await world.store.ask_secret(RoomId(ROOM))
    await world.write(USER, "my password", "$4")
    assert [what for _, what, _ in world.homeserver.verbs("redact")] == ["$4"]
    assert len(world.commands.ran) == 1
    assert await world.store.take_secret_asked(ROOM)  # the next one may be one as well
