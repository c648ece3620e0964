"""What stands before and after an event, as Synapse says."""

from __future__ import annotations

import aiohttp
import pytest

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix import around as around_module
from dm_bridge.matrix.around import around
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.synapse import Synapse


def bodies(events: list[Json]) -> list[str]:
    return [event["content"]["body"] for event in events]


async def test_messages_of_one_sender_next_to_an_event(
    synapse: Synapse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(around_module, "LIMIT", 20)
    one = await synapse.register_user("around_one", "p")
    other = await synapse.register_user("around_other", "p")
    async with (
        MatrixUser(synapse.url, one.user_id, one.access_token) as writer,
        MatrixUser(synapse.url, other.user_id, other.access_token) as reader,
        aiohttp.ClientSession() as session,
    ):
        room = await writer.create_room(invite=[other.user_id])
        await reader.join(room)
        for n in range(12):
            await writer.send_text(room, f"before {n}")
        middle = await reader.send_text(room, "middle")
        await writer.send_text(room, "after 0")
        await reader.send_text(room, "not asked for")
        await writer.send_text(room, "after 1")
        homeserver = Homeserver(synapse.url, one.access_token, session)
        found = await around(homeserver, RoomId(room), EventId(middle), UserId(one.user_id))
        assert found.event["content"]["body"] == "middle"
        assert bodies([*found.before]) == [f"before {n}" for n in range(11, 1, -1)]
        assert bodies([*found.after]) == ["after 0", "after 1"]
        own = EventId(found.after[0]["event_id"])
        found = await around(homeserver, RoomId(room), own, UserId(one.user_id))
        assert bodies([found.event, *found.after]) == ["after 0", "after 1"]
        assert bodies([*found.before])[:2] == ["before 11", "before 10"]
