"""Edits, retractions, reactions and answers of contacts, as they come to stand in a room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ChatId, ContactId, EventId, PortalKey, RemoteId
from dm_bridge.network.events import (
    ReactionChange,
    RemoteEdit,
    RemoteEvent,
    RemoteMessage,
    RemoteReactions,
    RemoteRetraction,
    Text,
)
from dm_bridge.store.database import Database
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from tests.store.stored import OWNER, ROMEO, message

from .room_world import GHOST, ROOM, a_world
from .test_to_matrix import Carrier

CHAT = ChatId(ROMEO)


@pytest_asyncio.fixture
async def carrier(database: Database) -> Carrier:
    return Carrier(await a_world(database), database)


def edit(number: object, target: object, body: str, *, own: bool = False) -> RemoteEdit:
    return RemoteEdit(
        CHAT, RemoteId(f"id-{number}"), RemoteId(f"id-{target}"), ROMEO, own, Text(body)
    )


def retraction(number: object, target: object, *, own: bool = False) -> RemoteRetraction:
    return RemoteRetraction(CHAT, RemoteId(f"id-{number}"), RemoteId(f"id-{target}"), ROMEO, own)


def reactions(
    number: object, target: object, *emojis: str, change: ReactionChange = ReactionChange.ALL
) -> RemoteReactions:
    return RemoteReactions(
        CHAT, RemoteId(f"id-{number}"), RemoteId(f"id-{target}"), ROMEO, False, emojis, change
    )


async def test_an_answer_to_what_is_not_known_keeps_what_it_quotes(carrier: Carrier) -> None:
    answer = replace(message(1, body="*yes*"), reply_to=RemoteId("old"), quote="a < b\nand c")
    known = replace(message(2, body="no"), reply_to=RemoteId("id-1"), quote="yes")
    await carrier.carry(answer, known)
    first, second = said(carrier)
    assert first["body"] == "> a < b\n> and c\n\n*yes*"
    assert first["formatted_body"] == "<blockquote>a &lt; b<br>and c</blockquote>*yes*"
    assert second["body"] == "no"


def said(carrier: Carrier) -> list[dict[str, Any]]:
    return [event["content"] for event in carrier.world.rooms.messages[ROOM]]


def events(carrier: Carrier) -> list[str]:
    return [event["event_id"] for event in carrier.world.rooms.messages[ROOM]]


def shown(carrier: Carrier) -> list[str]:
    """The reactions that are there."""
    rooms = carrier.world.rooms
    return [
        event["content"]["m.relates_to"]["key"]
        for event in rooms.messages[ROOM]
        if event["type"] == "m.reaction" and event["event_id"] not in rooms.redacted
    ]


async def test_an_edit_and_an_edit_of_the_edit_change_the_first_message(carrier: Carrier) -> None:
    await carrier.carry(message(1), edit(2, 1, "two"), edit(3, 2, "three"))
    first = events(carrier)[0]
    for content, body in zip(said(carrier)[1:], ("two", "three"), strict=True):
        assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": first}
        assert content["m.new_content"]["body"] == body
        assert content["body"] == f"* {body}"


async def test_a_long_edit_fits_into_an_event(carrier: Carrier) -> None:
    await carrier.carry(message(1), edit(2, 1, "x" * 45_000))
    content = said(carrier)[1]
    assert content["m.new_content"]["body"] == "x" * 45_000
    assert len(str(content)) < 60_000


async def test_an_edit_of_what_is_not_known_is_a_message(carrier: Carrier) -> None:
    await carrier.carry(edit(2, 1, "two"))
    assert [content["body"] for content in said(carrier)] == ["two"]
    assert "m.relates_to" not in said(carrier)[0]


async def test_nobody_edits_or_retracts_what_another_one_wrote(
    carrier: Carrier, database: Database
) -> None:
    outbox, key = OutboxStore(database), carrier.world.key
    row = OutboxRow(EventId("$own"), ROOM, OWNER, {"content": {"body": "mine"}})
    await outbox.add([row])
    await outbox.finish(row, "delivered", portal=key, remote=RemoteId("id-own"))
    await carrier.carry(edit(2, "own", "forged"), retraction(3, "own"))
    assert [content["body"] for content in said(carrier)] == ["forged"]
    assert carrier.world.rooms.redacted == {}


async def test_a_retraction_redacts_all_versions_of_a_message_also_by_the_id_of_its_edit(
    carrier: Carrier,
) -> None:
    await carrier.carry(message(1), message(4), edit(2, 1, "two"), retraction(3, 2))
    first, _, changed = events(carrier)
    assert carrier.world.rooms.redacted == dict.fromkeys((first, changed), GHOST)


async def test_reactions_are_what_was_said_last(carrier: Carrier) -> None:
    await carrier.carry(message(1), reactions(2, 1, "👍", "❤️"))
    assert shown(carrier) == ["👍\ufe0f", "❤️"]
    await carrier.carry(reactions(3, 1, "❤️", "🎉"))
    assert shown(carrier) == ["❤️", "🎉"]
    await carrier.carry(reactions(4, 1, "👍", change=ReactionChange.ADDED))
    assert shown(carrier) == ["❤️", "🎉", "👍\ufe0f"]
    await carrier.carry(reactions(5, 1, "🎉", "👀", change=ReactionChange.REMOVED))
    assert shown(carrier) == ["❤️", "👍\ufe0f"]
    await carrier.carry(reactions(6, 1))
    assert shown(carrier) == []


async def test_reactions_stand_in_matrix_as_it_spells_them_and_count_however_they_are_spelled(
    carrier: Carrier,
) -> None:
    await carrier.carry(message(1), reactions(2, 1, "😀\ufe0f", "👍"))
    assert shown(carrier) == ["😀", "👍\ufe0f"]
    there = events(carrier)
    await carrier.carry(reactions(3, 1, "👍\ufe0f", "😀", "😀\ufe0f"))
    assert events(carrier) == there
    assert carrier.world.rooms.redacted == {}
    await carrier.carry(reactions(4, 1, "👍\ufe0f", change=ReactionChange.REMOVED))
    assert shown(carrier) == ["😀"]


async def test_what_is_about_nothing_known_is_dropped(carrier: Carrier) -> None:
    await carrier.carry(reactions(2, 1, "👍"), retraction(3, 1))
    assert said(carrier) == []


async def test_what_is_about_nothing_known_opens_no_chat(carrier: Carrier) -> None:
    """As a reaction to what was written before the login."""
    key = PortalKey(carrier.world.login.id, ChatId("nurse@example.net"))
    await carrier.carry(
        replace(reactions(2, 1, "👍"), chat=key.chat),
        replace(retraction(3, 1), chat=key.chat),
        key=key,
    )
    assert await carrier.world.store.get(key) is None
    assert set(carrier.world.rooms.state) == {ROOM}


async def test_an_answer_names_what_it_answers_also_before_that_is_recorded(
    carrier: Carrier, database: Database
) -> None:
    answer = RemoteMessage(
        CHAT, RemoteId("id-2"), ContactId(ROMEO), False, Text("yes"), reply_to=RemoteId("id-1")
    )
    await carrier.carry(message(1), answer)
    first = events(carrier)[0]
    assert said(carrier)[1]["m.relates_to"] == {"m.in_reply_to": {"event_id": first}}


async def test_an_answer_to_nothing_known_is_a_message(carrier: Carrier) -> None:
    answer = RemoteMessage(
        CHAT, RemoteId("id-2"), ContactId(ROMEO), False, Text("yes"), reply_to=RemoteId("id-1")
    )
    await carrier.carry(answer)
    assert "m.relates_to" not in said(carrier)[0]


@pytest.mark.parametrize("lost", [False, True])
async def test_what_is_cut_short_is_done_once(carrier: Carrier, lost: bool) -> None:
    """The connection to the homeserver breaks at every call in turn."""
    rooms = carrier.world.rooms
    rooms.lost_answers = lost
    things: list[RemoteEvent] = [
        message(1),
        reactions(2, 1, "👍", "❤️"),
        edit(3, 1, "two"),
        reactions(4, 1, "❤️"),
    ]
    await carrier.inbox.add([(carrier.world.login.id, thing) for thing in things])
    for at in range(40):
        rooms.calls, rooms.fail_at = 0, at
        try:
            await carrier.lane.drain(carrier.world.key)
        except HomeserverError:
            continue
        break
    assert await carrier.inbox.waiting(carrier.world.key, 10) == []
    assert shown(carrier) == ["❤️"]
    kinds = [event["type"] for event in rooms.messages[ROOM]]
    assert kinds == ["m.room.message", "m.reaction", "m.reaction", "m.room.message"]
