"""The user's m.direct, over HTTP."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from .world import ROMEO, Api


async def chat(api: Api) -> str:
    await api.log_in()
    room: str = (await api.post(f"create_dm/{ROMEO}")).json["dm_room_mxid"]
    await api.bridge.user("juliet").chat_with(ROMEO)
    return room


def state(got: dict[str, list[dict[str, str]]]) -> list[str]:
    return [each["state"] for each in got["chats"]]


async def test_a_user_takes_a_chat_out_and_puts_it_back(api: Api) -> None:
    room = await chat(api)
    juliet = api.bridge.user("juliet")
    shown = (await api.get("direct/chats")).json
    romeo = {"contact": ROMEO, "contact_name": "My Romeo", "mxid": api.bridge.ghost(ROMEO)}
    assert shown["chats"] == [{"room_id": room, **romeo, "state": "marked"}]
    assert (shown["access"], shown["observed"]) == ("masquerade", "I look now and then.")
    assert shown["last_seen_ts"] > 1_600_000_000_000
    assert state((await api.post(f"direct/unmark/{quote(room)}")).json) == ["opted_out"]
    assert room not in str(juliet.direct)
    assert state((await api.post(f"direct/mark/{quote(room)}")).json) == ["marked"]
    assert room in str(juliet.direct)


async def test_the_history_says_what_was_before_and_after(api: Api) -> None:
    room = await chat(api)
    await api.post(f"direct/unmark/{quote(room)}")
    changes = (await api.get("direct/history")).json["changes"]
    ghost = api.bridge.ghost(ROMEO)
    assert changes[-1]["before"] == {ghost: [room]}
    assert changes[-1]["after"] == {ghost: []}
    assert changes[-1]["sentence"] == "I wrote the list."
    assert changes[-1]["by_bridge"]
    assert changes[-1]["details"]
    assert changes[-1]["ts"] >= changes[0]["ts"] > 1_600_000_000_000
    assert (await api.get("direct/history", limit="1")).json["changes"] == changes[-1:]
    for limit in ("", "0", "-1", "x", "1.5", "9" * 20):
        assert (await api.get("direct/history", limit=limit)).errcode == "M_INVALID_PARAM"


async def test_what_is_wrong_is_repaired(api: Api) -> None:
    room = await chat(api)
    juliet, ghost = api.bridge.user("juliet"), api.bridge.ghost(ROMEO)
    api.bridge.homeserver.documents[juliet.id] = {api.bridge.bot: [room]}
    got = (await api.post("direct/repair")).json
    assert got["message"].startswith("I have put 1 thing right.")
    assert (got["outcome"], got["repaired"]) == ("repaired", 1)
    assert state(got["direct"]) == ["marked"]
    assert juliet.direct == {ghost: [room]}


@pytest.mark.parametrize("verb", ["mark", "unmark"])
async def test_nobody_decides_about_another_ones_chats(api: Api, verb: str) -> None:
    room = await chat(api)
    await api.log_in("nurse@example.com", token="nurse's")
    for which in (room, "!nothing:example.org", "nonsense"):
        got = await api.post(f"direct/{verb}/{quote(which)}", token="nurse's")
        assert (got.status, got.errcode) == (404, "M_NOT_FOUND")
    assert (await api.get("direct/chats", token="nurse's")).json["chats"] == []
    assert room not in str((await api.get("direct/history", token="nurse's")).json)
    assert state((await api.get("direct/chats")).json) == ["marked"]
