"""Whose a room is, for as long as that is so."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from dm_bridge.bridge.whose import Whose
from dm_bridge.ids import RoomId, UserId

JULIET, NURSE = UserId("@juliet:example.org"), UserId("@nurse:example.org")
ROOM = RoomId("!room")


class Store:
    """What is recorded: ``chats``, rooms of chats with the owner."""

    def __init__(self) -> None:
        self.chats = {ROOM: JULIET}

    async def users_of(
        self, rooms: Collection[RoomId]
    ) -> tuple[dict[RoomId, UserId], dict[RoomId, UserId]]:
        return {room: self.chats[room] for room in rooms if room in self.chats}, {}

    async def first_senders(self, rooms: Collection[RoomId]) -> dict[RoomId, UserId]:
        return {}


async def test_a_chat_of_who_was_erased_is_nobodys() -> None:
    store = Store()
    whose = Whose(cast(Any, store))
    assert await whose.of([ROOM], {ROOM: NURSE}) == {ROOM: JULIET}
    store.chats.clear()
    whose.forget(JULIET)
    assert await whose.of([ROOM], {ROOM: NURSE}) == {ROOM: NURSE}
