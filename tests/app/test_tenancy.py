"""Whose rooms are for us to look after, among several processes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dm_bridge.app.tenancy import Tenancy
from dm_bridge.ids import RoomId, UserId

OURS, THEIRS, NOBODYS = RoomId("!ours"), RoomId("!theirs"), RoomId("!nobodys")
ALICE, BOB = UserId("@alice:s"), UserId("@bob:s")


class OneOfTwo:
    """A process that has alice; another one has bob. Also knows whose rooms are."""

    def holds(self, user: UserId) -> bool:
        return user == ALICE

    async def of(self, rooms: Collection[RoomId]) -> dict[RoomId, UserId]:
        known = {OURS: ALICE, THEIRS: BOB}
        return {room: known[room] for room in rooms if room in known}


async def test_notices_of_anothers_users_are_left_alone_and_those_of_nobodys_are_not() -> None:
    nothing: Any = None
    process: Any = OneOfTwo()
    tenancy = Tenancy(
        process,
        process,
        *(nothing,) * 8,
    )
    assert await tenancy.ours([OURS, THEIRS, NOBODYS]) == {OURS, NOBODYS}
    assert await tenancy.ours([]) == set()
