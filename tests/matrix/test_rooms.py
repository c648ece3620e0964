"""Rooms of private chats: made direct, found again, and described."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson
import pytest
from aiohttp import web

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix import ghosts, rooms

from .scripted import Script

GHOST = UserId("@xmpp_romeo:example.org")
USER = UserId("@juliet:example.org")
ROOM = RoomId("!room")
INFO = rooms.BridgeInfo(
    bot=UserId("@bot:example.org"),
    creator=GHOST,
    protocol="xmpp",
    protocol_name="XMPP",
    channel="romeo@example.net",
    channel_name="romeo@example.net",
    channel_url="xmpp:romeo@example.net",
    state_key="org.dm_bridge/xmpp/marker",
)


async def test_a_room_is_made_by_the_ghost_direct_and_marked(script: Script) -> None:
    script.answers = [(200, {"room_id": "!new"})]
    made = await rooms.create_direct_room(script.homeserver, GHOST, USER, "marker", INFO)
    assert made == "!new"
    (seen,) = script.seen
    body = orjson.loads(seen.body)
    assert seen.query == {"user_id": GHOST}
    assert body["is_direct"] is True
    assert body["invite"] == [USER]
    assert body["creation_content"] == {rooms.MARKER: "marker"}
    assert {event["type"] for event in body["initial_state"]} == {"m.bridge", "uk.half-shot.bridge"}
    assert {event["state_key"] for event in body["initial_state"]} == {INFO.state_key}


async def test_an_uncertain_creation_is_not_repeated(script: Script) -> None:
    script.answers = [(504, {}), (200, {"room_id": "!second"})]
    with pytest.raises(HomeserverError) as caught:
        await rooms.create_direct_room(script.homeserver, GHOST, USER, "marker", INFO)
    assert not caught.value.certain
    assert len(script.seen) == 1


def state(
    creates: dict[str, Any],
    joined: list[str],
    tombstones: Collection[str] = (),
    makers: dict[str, UserId] | None = None,
) -> Any:
    """Answers joined_rooms, m.room.create and m.room.tombstone; a number is an error status.

    ``makers``: who made which room, where it was not the ghost.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/joined_rooms"):
            return web.json_response({"joined_rooms": joined})
        room = request.path.split("/rooms/")[1].partition("/")[0]
        if "/m.room.tombstone" in request.path:
            return web.json_response({"replacement_room": "!x"} if room in tombstones else {})
        create = creates[room]
        if isinstance(create, int):
            return web.json_response({"errcode": "M_X", "error": "x"}, status=create)
        whole = {"sender": (makers or {}).get(room, GHOST), "content": create}
        return web.json_response(whole if request.query.get("format") == "event" else create)

    return answer


async def test_the_room_that_was_made_for_a_portal_is_found_by_its_marker(script: Script) -> None:
    creates = {"!a": {}, "!b": {rooms.MARKER: "other"}, "!c": 403, "!d": {rooms.MARKER: "marker"}}
    script.answers = [state(creates, list(creates))]
    assert await rooms.find_room(script.homeserver, GHOST, "marker") == "!d"


async def test_a_room_that_somebody_else_made_with_the_same_marker_is_not_found(
    script: Script,
) -> None:
    creates = {"!forged": {rooms.MARKER: "marker"}, "!mine": {rooms.MARKER: "marker"}}
    script.answers = [state(creates, list(creates), makers={"!forged": USER})]
    assert await rooms.find_room(script.homeserver, GHOST, "marker") == "!mine"


async def test_a_room_that_was_replaced_or_given_up_is_not_found_again(script: Script) -> None:
    script.answers = [
        state(
            {"!replaced": {rooms.MARKER: "mine"}, "!mine": {rooms.MARKER: "mine"}},
            ["!given-up", "!replaced", "!mine"],
            tombstones={"!replaced"},
        )
    ]
    found = await rooms.find_room(script.homeserver, GHOST, "mine", [RoomId("!given-up")])
    assert found == "!mine"
    assert not [seen for seen in script.seen if "given-up" in seen.path]


async def test_a_room_that_is_not_there_is_not_found(script: Script) -> None:
    script.answers = [state({"!a": {rooms.MARKER: "other"}, "!b": 404}, ["!a", "!b"])]
    assert await rooms.find_room(script.homeserver, GHOST, "marker") is None
    script.answers = [state({}, [])]
    assert await rooms.find_room(script.homeserver, GHOST, "marker") is None


async def test_a_search_that_fails_is_not_mistaken_for_one_that_found_nothing(
    script: Script,
) -> None:
    script.answers = [state({"!a": 400}, ["!a"])]
    with pytest.raises(HomeserverError):
        await rooms.find_room(script.homeserver, GHOST, "marker")


def half_made(version: str, members: dict[str, str]) -> Any:
    """A room in which nothing but its creation and these memberships has happened."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return web.json_response({"event_id": "$e"})
        if request.path.endswith("/members"):
            chunk = [
                {"state_key": user, "content": {"membership": membership}}
                for user, membership in members.items()
            ]
            return web.json_response({"chunk": chunk})
        if "/m.room.create" in request.path:
            return web.json_response({"sender": GHOST, "content": {"room_version": version}})
        return web.json_response({"errcode": "M_NOT_FOUND", "error": "x"}, status=404)

    return answer


@pytest.mark.parametrize(("version", "powerful"), [("11", {GHOST, USER}), ("12", {USER})])
async def test_a_room_whose_homeserver_ended_while_it_made_it_is_completed(
    script: Script, version: str, powerful: set[str]
) -> None:
    script.answers = [half_made(version, {GHOST: "join"})]
    await rooms.complete_direct_room(script.homeserver, ROOM, GHOST, USER, INFO)
    written = {
        seen.path.split("/state/")[1]: orjson.loads(seen.body)
        for seen in script.seen
        if seen.method == "PUT"
    }
    assert list(written)[-1] == "m.room.member/%40juliet%3Aexample.org"
    assert written["m.room.member/%40juliet%3Aexample.org"] == {
        "membership": "invite",
        "is_direct": True,
    }
    assert written["m.room.power_levels/"]["users"].keys() == powerful
    assert written["m.room.join_rules/"] == {"join_rule": "invite"}
    assert {path.partition("/")[0] for path in written} > {"m.bridge", "uk.half-shot.bridge"}


@pytest.mark.parametrize("membership", ["invite", "join", "leave"])
async def test_a_room_to_which_the_user_was_invited_is_complete(
    script: Script, membership: str
) -> None:
    script.answers = [half_made("12", {GHOST: "join", USER: membership})]
    await rooms.complete_direct_room(script.homeserver, ROOM, GHOST, USER, INFO)
    assert [seen.method for seen in script.seen] == ["GET"]


async def test_a_later_invite_is_direct_too(script: Script) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    await rooms.invite_directly(script.homeserver, ROOM, USER, inviter=GHOST)
    (seen,) = script.seen
    assert seen.path.endswith("/state/m.room.member/%40juliet%3Aexample.org")
    assert orjson.loads(seen.body) == {"membership": "invite", "is_direct": True}


async def test_what_somebody_wrote_of_late_comes_oldest_first_and_alone(script: Script) -> None:
    def event(number: int, **more: object) -> dict[str, object]:
        return {
            "event_id": f"${number}",
            "type": "m.room.message",
            "sender": USER,
            "content": {"body": "x"},
            **more,
        }

    chunk = [
        event(5),
        event(4, sender=GHOST),
        event(3, type="m.room.member"),
        event(2, content={}),
        event(1, type="m.room.encrypted"),
    ]
    script.answers = [(200, {"chunk": chunk})]
    events = await rooms.messages_by(script.homeserver, ROOM, USER, seen_by=GHOST)
    assert [(found["event_id"], found["room_id"]) for found in events] == [
        ("$1", ROOM),
        ("$5", ROOM),
    ]
    assert script.seen[0].query == {"user_id": GHOST, "dir": "b", "limit": "50"}


@pytest.mark.parametrize("status", [403, 404])
async def test_state_that_is_not_there_or_not_to_be_seen_is_empty(
    script: Script, status: int
) -> None:
    script.answers = [(status, {"errcode": "M_X", "error": "x"})]
    assert await rooms.state_of(script.homeserver, ROOM, "m.room.name", user=GHOST) == {}


async def test_a_name_for_one_room_is_bounded(script: Script) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    await ghosts.show_in(script.homeserver, GHOST, ROOM, "R" * 10_000, None)
    assert orjson.loads(script.seen[0].body) == {"membership": "join", "displayname": "R" * 255}


async def test_a_state_event_comes_whole_and_is_none_where_it_cannot_be_seen(
    script: Script,
) -> None:
    script.answers = [(200, {"sender": GHOST, "content": {}}), (404, {"errcode": "M_NOT_FOUND"})]
    event = await rooms.state_event(script.homeserver, ROOM, rooms.CREATE, user=GHOST)
    assert event == {"sender": GHOST, "content": {}}
    assert script.seen[0].query == {"user_id": GHOST, "format": "event"}
    assert await rooms.state_event(script.homeserver, ROOM, rooms.CREATE, user=GHOST) is None


async def test_an_alias_is_resolved_or_not_there(script: Script) -> None:
    script.answers = [(200, {"room_id": ROOM}), (404, {"errcode": "M_NOT_FOUND"})]
    assert await rooms.room_of_alias(script.homeserver, "#balcony:example.org") == ROOM
    assert script.seen[0].path.endswith("/directory/room/%23balcony%3Aexample.org")
    assert await rooms.room_of_alias(script.homeserver, "#balcony:example.org") is None


BOT, OWN = UserId("@bot:example.org"), UserId("@own:example.org")


@pytest.mark.parametrize(
    ("content", "present", "absent", "told"),
    [
        ({}, [], [], None),
        ({}, [BOT], [], [BOT]),
        ({"service_members": [BOT]}, [BOT], [], None),
        ({"service_members": ["@x:y", BOT]}, [BOT, OWN], [], ["@x:y", BOT, OWN]),
        ({"service_members": ["@x:y", BOT]}, [], [BOT], ["@x:y"]),
        ({"service_members": "broken"}, [BOT], [], [BOT]),
        ({"service_members": [5, None, "@x:y"]}, [BOT], [], ["@x:y", BOT]),
        ({"service_members": []}, [], [BOT], None),
    ],
)
def test_service_members_are_added_and_removed_and_nobody_elses(
    content: dict[str, Any], present: list[UserId], absent: list[UserId], told: list[str] | None
) -> None:
    content = {**content, "org.example": 1}
    expected = None if told is None else {**content, "service_members": told}
    assert rooms.service_members(content, present, absent) == expected
    if expected is not None:
        assert rooms.service_members(expected, present, absent) is None
