"""What a contact's client cannot do is said in the chat."""

from __future__ import annotations

import asyncio
from typing import Any

from dm_bridge.bridge.limits import Limits
from dm_bridge.ids import ChatId
from dm_bridge.network.signals import RemoteLimit
from dm_bridge.store.database import Database

from .fakes import until
from .room_world import ROOM, a_world

LIMIT = RemoteLimit(ChatId("x"), "reactions", "They do *not* see it.")


async def test_it_is_said_as_a_notice_and_only_where_there_is_a_room(database: Database) -> None:
    world = await a_world(database)
    rooms: Any = world.rooms
    limits = Limits(rooms, world.store)
    for _ in range(2):
        limits.note(world.key, LIMIT)
        await until(lambda: not limits._tasks)
    (said,) = world.rooms.messages[ROOM]
    assert said["content"]["msgtype"] == "m.notice"
    assert said["content"]["body"] == "They do *not* see it."
    await world.store.delete(world.key)
    limits.note(world.key, LIMIT)
    await until(lambda: not limits._tasks)
    assert len(world.rooms.messages[ROOM]) == 1
    limits.note(world.key, LIMIT)
    await limits.stop()
    await asyncio.sleep(0)
    assert not limits._tasks
