"""The outbox: once by event id, in order per room, and out of the queue exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from dm_bridge.errors import StorageError
from dm_bridge.ids import EventId, PortalKey, RemoteId, RoomId, message_id
from dm_bridge.network.events import RemoteFailure
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.store.queue import Direction, QueueStore
from dm_bridge.store.undelivered import UndeliveredStore

from .stored import GHOST, OWNER, ROMEO, a_login, key_of

ROOM, OTHER = RoomId("!room:example.org"), RoomId("!otherroom")


def event(number: object, room: RoomId = ROOM, **content: Any) -> OutboxRow:
    event_id = EventId(f"$event-{number}")
    raw = {
        "event_id": event_id,
        "room_id": room,
        "sender": OWNER,
        "type": "m.room.message",
        "content": content,
    }
    return OutboxRow(event_id, room, OWNER, raw)


async def test_an_event_that_is_pushed_again_is_not_new(database: Database) -> None:
    outbox = OutboxStore(database)
    first = await outbox.add([event(1), event(2)])
    assert [row.id for row in first] == [event(1).id, event(2).id]
    assert all(abs(row.received_at - time.time()) < 60 for row in first)
    second = await outbox.add([event(2, body="changed"), event(3)])
    assert [row.id for row in second] == [event(3).id]
    assert await outbox.add([]) == []
    assert [row.event for row in await outbox.waiting(ROOM, 10)] == [
        event(number).event for number in (1, 2, 3)
    ]


async def test_one_transaction_of_five_hundred_keeps_its_order(database: Database) -> None:
    outbox = OutboxStore(database)
    numbers = [number * 7919 % 500 for number in range(500)]
    await outbox.add([event(number, (ROOM, OTHER)[number % 2]) for number in numbers])
    for parity, room in enumerate((ROOM, OTHER)):
        waiting = await outbox.waiting(room, 500)
        assert [row.id for row in waiting] == [
            f"$event-{number}" for number in numbers if number % 2 == parity
        ]
    assert set(await outbox.rooms_waiting()) == {ROOM, OTHER}


async def test_a_page_is_no_longer_than_asked_for(database: Database) -> None:
    outbox = OutboxStore(database)
    await outbox.add([event(number) for number in range(10)])
    assert [row.id for row in await outbox.waiting(ROOM, 3)] == ["$event-0", "$event-1", "$event-2"]


@pytest.mark.parametrize(
    "content",
    [
        {"body": "NUL \0 inside"},
        {"key \0": [None, True, 1.5, -1, 2**63, {"a": []}]},
        {"body": "\u202e\ufeff𝔘"},
    ],
)
async def test_any_content_is_kept_unchanged(database: Database, content: dict[str, Any]) -> None:
    outbox = OutboxStore(database)
    await outbox.add([event(1, **content)])
    (row,) = await outbox.waiting(ROOM, 1)
    assert row.event["content"] == content


async def a_room(database: Database, key: PortalKey) -> None:
    store = PortalStore(database)
    await store.reserve(key, ROMEO, GHOST)
    await store.set_open(key, ROOM, Membership.JOIN)


def id_of(row: OutboxRow | None) -> str | None:
    return None if row is None else row.id


def nested(depth: int) -> dict[str, Any]:
    content: dict[str, Any] = {"body": "hello"}
    for _ in range(depth):
        content = {"deeper": content}
    return content


@pytest.mark.parametrize(
    "content", [nested(300), nested(900), {"body": "\ud800"}, {"n": 2**70}], ids=str.__call__
)
async def test_content_that_cannot_be_stored_never_holds_up_its_transaction(
    database: Database, content: dict[str, Any]
) -> None:
    outbox = OutboxStore(database)
    assert len(await outbox.add([event(1), event(2, **content), event(3)])) == 3
    waiting = await outbox.waiting(ROOM, 10)
    assert [row.id for row in waiting] == ["$event-1", "$event-2", "$event-3"]
    odd = waiting[1].event
    assert (odd["type"], odd["sender"], odd["room_id"]) == ("m.room.message", OWNER, ROOM)
    assert isinstance(odd["content"], dict)


async def test_a_row_is_finished_once_and_the_first_outcome_stays(database: Database) -> None:
    outbox, login = OutboxStore(database), await a_login(database)
    await outbox.add([event(1)])
    (row,) = await outbox.waiting(ROOM, 1)
    assert await outbox.finish(row, "delivered", portal=key_of(login), remote=RemoteId("origin-1"))
    assert not await outbox.finish(row, "failed", portal=key_of(login), remote=RemoteId("origin-2"))
    assert await outbox.waiting(ROOM, 1) == []
    assert await outbox.rooms_waiting() == []
    assert id_of(await outbox.sent_as(key_of(login), RemoteId("origin-1"))) == "$event-1"
    assert await outbox.sent_as(key_of(login), RemoteId("origin-2")) is None


@pytest.mark.parametrize("state", ["waiting", "delivered"])
async def test_what_is_sent_back_has_failed_and_a_new_attempt_is_the_first(
    database: Database, state: str
) -> None:
    outbox, login = OutboxStore(database), await a_login(database)
    await a_room(database, key_of(login))
    await outbox.add([event(1)])
    await outbox.attempt(event(1))
    if state == "delivered":
        await outbox.finish(event(1), state, portal=key_of(login), remote=RemoteId("origin-1"))
    await outbox.sent_back(
        event(1), key_of(login), RemoteId("origin-1"), "There is no such account."
    )
    await outbox.finish(event(1), "delivered", portal=key_of(login), remote=RemoteId("origin-1"))
    (undelivered,) = await UndeliveredStore(database).of(OWNER, 60.0, 10)
    assert not undelivered.uncertain
    assert id_of(await outbox.sent_as(key_of(login), RemoteId("origin-1"))) == event(1).id
    assert await UndeliveredStore(database).put_back(OWNER, [undelivered.seq]) == {undelivered.seq}
    (row,) = await outbox.waiting(ROOM, 10)
    assert row.attempted_at is None


@pytest.mark.parametrize("by", ["the user", "an admin"])
async def test_after_another_attempt_the_network_may_send_it_back_again(
    database: Database, by: str
) -> None:
    outbox, inbox, login = OutboxStore(database), InboxStore(database), await a_login(database)
    key = key_of(login)
    failure = RemoteFailure(key.chat, RemoteId("origin-1"), "There is no such account.")
    await a_room(database, key)
    await outbox.add([event(1)])
    await outbox.finish(event(1), "delivered", portal=key, remote=failure.message)
    assert await inbox.add([(login, failure)]) == {key}
    assert await inbox.add([(login, failure)]) == set()
    await outbox.sent_back(event(1), key, failure.message, failure.reason)
    (undelivered,) = await UndeliveredStore(database).of(OWNER, 60.0, 10)
    if by == "the user":
        await UndeliveredStore(database).put_back(OWNER, [undelivered.seq])
    else:
        await QueueStore(database).requeue(Direction.TO_REMOTE, [undelivered.seq])
    assert await inbox.add([(login, failure)]) == {key}


async def test_a_failure_that_came_when_the_outcome_was_not_known_keeps_no_later_one_away(
    database: Database,
) -> None:
    outbox, inbox, login = OutboxStore(database), InboxStore(database), await a_login(database)
    key = key_of(login)
    failure = RemoteFailure(
        key.chat, RemoteId(message_id(event(1).id)), "There is no such account."
    )
    await a_room(database, key)
    await outbox.add([event(1)])
    await outbox.attempt(event(1))
    await outbox.finish(event(1), "uncertain", portal=key)
    assert await inbox.add([(login, failure)]) == {key}
    (undelivered,) = await UndeliveredStore(database).of(OWNER, 60.0, 10)
    await UndeliveredStore(database).put_back(OWNER, [undelivered.seq])
    await outbox.finish(event(1), "delivered", portal=key, remote=failure.message)
    assert await inbox.add([(login, failure)]) == {key}


async def test_the_event_of_a_remote_message_is_found_in_its_own_chat_only(
    database: Database,
) -> None:
    outbox, login = OutboxStore(database), await a_login(database)
    await outbox.add([event(1)])
    await outbox.finish(event(1), "delivered", portal=key_of(login), remote=RemoteId("same"))
    assert await outbox.sent_as(key_of(login, "nurse@example.net"), RemoteId("same")) is None


@pytest.mark.parametrize(
    "state", ["delivered", "failed", "uncertain", "handled", "dropped", "parked"]
)
async def test_every_outcome_takes_a_row_out_of_the_queue(database: Database, state: str) -> None:
    outbox = OutboxStore(database)
    await outbox.add([event(1)])
    await outbox.finish(event(1), state, reason="because")
    assert await outbox.waiting(ROOM, 1) == []


async def test_an_attempt_is_recorded_with_the_time_of_the_first(database: Database) -> None:
    outbox = OutboxStore(database)
    await outbox.add([event(1), event(2)])
    assert [row.attempted_at for row in await outbox.waiting(ROOM, 10)] == [None, None]
    await outbox.attempt(event(1))
    first, second = await outbox.waiting(ROOM, 10)
    assert first.attempted_at is not None
    assert abs(first.attempted_at - time.time()) < 60
    assert second.attempted_at is None
    await outbox.attempt(event(1))
    assert (await outbox.waiting(ROOM, 10))[0] == first
    await outbox.not_attempted(event(1))
    assert (await outbox.waiting(ROOM, 10))[0].attempted_at is None


async def test_attempts_that_begin_together_are_written_together(database: Database) -> None:
    outbox = OutboxStore(database)
    rows = [event(number) for number in range(50)]
    await outbox.add(rows)
    writes: list[int] = []
    write = outbox._outcomes._write

    async def counted(changes: Sequence[Any]) -> Sequence[bool]:
        writes.append(len(changes))
        return await write(changes)

    outbox._outcomes._write = counted
    await asyncio.gather(*(outbox.attempt(row) for row in rows))
    assert all(row.attempted_at is not None for row in await outbox.waiting(ROOM, 50))
    assert len(writes) <= 2
    assert sum(writes) == 50


async def test_an_outcome_and_the_next_attempt_are_one_write(database: Database) -> None:
    outbox, login = OutboxStore(database), await a_login(database)
    await outbox.add([event(1), event(2)])
    await outbox.attempt(event(1))
    writes: list[int] = []
    write = outbox._outcomes._write

    async def counted(changes: Sequence[Any]) -> Sequence[bool]:
        writes.append(len(changes))
        return await write(changes)

    outbox._outcomes._write = counted
    outcome = outbox.finish(event(1), "delivered", portal=key_of(login), remote=RemoteId("r"))
    await outbox.attempt(event(2))
    await outcome
    assert writes == [2]
    [left] = await outbox.waiting(ROOM, 10)
    assert left.id == event(2).id
    assert left.attempted_at is not None
    assert id_of(await outbox.sent_as(key_of(login), RemoteId("r"))) == event(1).id


async def test_an_outcome_that_cannot_be_stored_takes_no_other_with_it(database: Database) -> None:
    outbox, login = OutboxStore(database), await a_login(database)
    await outbox.add([event(1), event(2), event(3)])
    bad = RemoteId("no \0 text")
    results = await asyncio.gather(
        outbox.finish(event(1), "delivered", portal=key_of(login), remote=RemoteId("r")),
        outbox.finish(event(2), "delivered", portal=key_of(login), remote=bad),
        outbox.attempt(event(3)),
        return_exceptions=True,
    )
    assert results[0] is True
    assert isinstance(results[1], Exception)
    assert results[2] is True
    assert [row.id for row in await outbox.waiting(ROOM, 10)] == [event(2).id, event(3).id]


async def test_an_attempt_that_cannot_be_recorded_fails_for_everybody_who_waits(
    database: Database,
) -> None:
    outbox = OutboxStore(database)
    await outbox.add([event(1), event(2)])
    await database.close()
    results = await asyncio.gather(
        outbox.attempt(event(1)), outbox.attempt(event(2)), return_exceptions=True
    )
    assert all(isinstance(result, StorageError) for result in results)
