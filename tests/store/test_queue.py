"""The queues as an admin sees them: counted, listed, put back in their places, dropped."""

from __future__ import annotations

import time

import pytest

from dm_bridge.ids import EventId, LoginId, RemoteId, RoomId
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.queue import Depth, Direction, QueueRow, QueueStore

from .stored import OWNER, a_login, key_of, message

IN, OUT = Direction.TO_MATRIX, Direction.TO_REMOTE
ROOM = RoomId("!room:example.org")


def event(number: int, room: RoomId = ROOM) -> OutboxRow:
    event_id = EventId(f"$event-{number}")
    return OutboxRow(event_id, room, OWNER, {"event_id": event_id, "type": "m.room.message"})


async def received(database: Database, *numbers: int, chat: str = "romeo@example.net") -> LoginId:
    login = await a_login(database)
    await InboxStore(database).add([(login, message(number, chat)) for number in numbers])
    return login


async def park(database: Database, login: LoginId, *numbers: int) -> None:
    outcomes = [InboxOutcome(RemoteId(f"id-{n}"), "parked", reason="it is odd") for n in numbers]
    await InboxStore(database).finish(key_of(login), outcomes)


async def listed(database: Database, direction: Direction, state: str) -> list[QueueRow]:
    return await QueueStore(database).rows(direction, state, 100)


async def test_empty_queues_have_a_depth_of_nothing(database: Database) -> None:
    assert await QueueStore(database).depths() == [
        Depth(direction, state, 0, 0.0)
        for direction in (IN, OUT)
        for state in ("waiting", "parked")
    ]


async def test_depth_and_age_are_told_by_direction_and_state(database: Database) -> None:
    login = await received(database, 1, 2, 3)
    await park(database, login, 2)
    outbox = OutboxStore(database)
    await outbox.add([event(1), event(2)])
    await outbox.finish(event(1), "failed", reason="refused")
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE inbox SET received_at = now() - interval '1 hour' WHERE remote_id = 'id-1'"
        )
    found = {(d.direction, d.state): d for d in await QueueStore(database).depths()}
    assert {key: depth.rows for key, depth in found.items()} == {
        (IN, "waiting"): 2,
        (IN, "parked"): 1,
        (OUT, "waiting"): 1,
        (OUT, "parked"): 0,
    }
    assert 3600 <= found[IN, "waiting"].oldest < 3660
    assert found[IN, "parked"].oldest < 60


async def test_rows_are_listed_by_their_place_and_no_more_than_asked_for(
    database: Database,
) -> None:
    login = await received(database, 1, 2, 3, 4)
    await park(database, login, 4, 2)
    rows = await listed(database, IN, "parked")
    assert [row.remote for row in rows] == ["id-2", "id-4"]
    assert (rows[0].login, rows[0].chat, rows[0].reason) == (
        login,
        "romeo@example.net",
        "it is odd",
    )
    assert rows[0].id == f"in:{rows[0].seq}"
    store = QueueStore(database)
    assert [row.remote for row in await store.rows(IN, "parked", 1)] == ["id-2"]
    after = await store.rows(IN, "parked", 5, after=rows[0].seq)
    assert [row.remote for row in after] == ["id-4"]


async def test_a_row_is_found_whatever_became_of_it(database: Database) -> None:
    login = await received(database, 1, 2, 3)
    seqs = [row.seq for row in await listed(database, IN, "waiting")]
    await park(database, login, 2)
    delivered = InboxOutcome(RemoteId("id-1"), "delivered", EventId("$e"))
    await InboxStore(database).finish(key_of(login), [delivered])
    store = QueueStore(database)
    states = []
    for seq in seqs:
        row = await store.find(IN, seq)
        assert row is not None
        states.append((row.state, row.before))
    assert states == [("delivered", 0), ("parked", 0), ("waiting", 0)]
    assert await store.find(IN, seqs[-1] + 1000) is None
    await InboxStore(database).add([(login, message(4))])
    last = (await listed(database, IN, "waiting"))[-1]
    found = await store.find(IN, last.seq)
    assert found is not None
    assert found.before == 1


async def test_what_is_put_back_is_before_what_came_later_in_its_chat(database: Database) -> None:
    login = await received(database, 1, 2, 3, 4)
    await park(database, login, 1, 2, 3)
    store = QueueStore(database)
    seqs = {row.remote: row.seq for row in await listed(database, IN, "parked")}
    assert await store.requeue(IN, [seqs["id-3"], seqs["id-1"]]) == {seqs["id-1"], seqs["id-3"]}
    inbox = InboxStore(database)
    waiting = await inbox.waiting(key_of(login), 10)
    assert [row.id for row in waiting] == ["id-1", "id-3", "id-4"]
    assert [row.remote for row in await listed(database, IN, "parked")] == ["id-2"]


async def test_the_age_of_what_was_put_back_counts_from_then(database: Database) -> None:
    login = await received(database, 1)
    await OutboxStore(database).add([event(1)])
    async with database.connection() as connection:
        for table in ("inbox", "outbox"):
            await connection.execute(
                f"UPDATE {table} SET received_at = now() - interval '3 days', state = 'parked'"  # noqa: S608
            )
    store = QueueStore(database)
    for direction in (IN, OUT):
        (row,) = await listed(database, direction, "parked")
        assert row.age > 3 * 86400 - 60
        await store.requeue(direction, [row.seq])
        (row,) = await listed(database, direction, "waiting")
        assert row.age < 60
        assert row.reason == ""
        assert row.requeued_at is not None
        assert row.requeued_at - row.received_at > 86400
    assert time.time() - (await InboxStore(database).waiting(key_of(login), 1))[0].received_at < 60
    assert time.time() - (await OutboxStore(database).waiting(ROOM, 1))[0].received_at < 60


async def test_what_was_delivered_or_dropped_is_never_put_back(database: Database) -> None:
    login = await received(database, 1, 2, 3)
    seqs = [row.seq for row in await listed(database, IN, "waiting")]
    outcomes = [InboxOutcome(RemoteId(f"id-{n}"), s) for n, s in ((1, "delivered"), (2, "dropped"))]
    await InboxStore(database).finish(key_of(login), outcomes)
    store = QueueStore(database)
    assert await store.requeue(IN, seqs) == set()
    assert await store.drop(IN, seqs, "", waiting=False) == set()
    outbox = OutboxStore(database)
    await outbox.add([event(number) for number in range(4)])
    out = [row.seq for row in await listed(database, OUT, "waiting")]
    for number, state in enumerate(("delivered", "handled", "failed", "uncertain")):
        await outbox.finish(event(number), state)
    assert await store.requeue(OUT, out) == set(out[2:])


async def test_what_an_admin_dropped_says_so(database: Database) -> None:
    login = await received(database, 1, 2)
    await park(database, login, 1)
    (parked,) = await listed(database, IN, "parked")
    (waiting,) = await listed(database, IN, "waiting")
    store = QueueStore(database)
    assert await store.drop(IN, [parked.seq, waiting.seq], "spam", waiting=False) == {parked.seq}
    assert await store.drop(IN, [waiting.seq], "", waiting=True) == {waiting.seq}
    found = [await store.find(IN, row.seq) for row in (parked, waiting)]
    assert [(row.state, row.reason) for row in found if row is not None] == [
        ("dropped", "dropped by an admin: spam"),
        ("dropped", "dropped by an admin"),
    ]
    assert await InboxStore(database).waiting(key_of(login), 10) == []


@pytest.mark.parametrize("state", ["delivered", "parked"])
async def test_what_was_dropped_on_its_way_is_recorded_only_when_it_got_there(
    database: Database, state: str
) -> None:
    login = await received(database, 1)
    outbox, store = OutboxStore(database), QueueStore(database)
    await outbox.add([event(1)])
    for direction in (IN, OUT):
        (row,) = await listed(database, direction, "waiting")
        await store.drop(direction, [row.seq], "", waiting=True)
    outcome = InboxOutcome(RemoteId("id-1"), state, EventId("$e"))
    await InboxStore(database).finish(key_of(login), [outcome])
    await outbox.finish(event(1), state, portal=key_of(login), remote=RemoteId("r"))
    async with database.connection() as connection:
        states = [
            await connection.fetchval("SELECT state FROM inbox"),
            await connection.fetchval("SELECT state FROM outbox"),
        ]
    assert states == ["delivered" if state == "delivered" else "dropped"] * 2


async def test_where_something_was_put_back_is_told_until_it_is_done(database: Database) -> None:
    login = await received(database, 1, 2)
    store, inbox, outbox = QueueStore(database), InboxStore(database), OutboxStore(database)
    await outbox.add([event(1)])
    await outbox.finish(event(1), "uncertain")
    await park(database, login, 1)
    assert await store.requeued_chats() == {}
    assert await store.requeued_rooms() == {}
    (parked,) = await listed(database, IN, "parked")
    (uncertain,) = await listed(database, OUT, "uncertain")
    await store.requeue(IN, [parked.seq])
    await store.requeue(OUT, [uncertain.seq])
    assert set(await store.requeued_chats()) == {key_of(login)}
    rooms = await store.requeued_rooms()
    assert set(rooms) == {ROOM}
    assert abs(rooms[ROOM] - time.time()) < 60
    await inbox.finish(key_of(login), [InboxOutcome(RemoteId("id-1"), "delivered")])
    await outbox.finish(event(1), "delivered")
    assert await store.requeued_chats() == {}
    assert await store.requeued_rooms() == {}


async def test_why_something_waits_is_noted_with_the_first_until_it_has_an_outcome(
    database: Database,
) -> None:
    login = await received(database, 1, 2)
    store, outbox = QueueStore(database), OutboxStore(database)
    await outbox.add([event(1), event(2)])
    await store.note_chat(key_of(login), "The homeserver is away.")
    await store.note_room(ROOM, "The network is away.")
    for direction, reason in ((IN, "The homeserver is away."), (OUT, "The network is away.")):
        assert [row.reason for row in await listed(database, direction, "waiting")] == [reason, ""]
    first = (await listed(database, IN, "waiting"))[0]
    outcome = InboxOutcome(RemoteId("id-1"), "delivered", EventId("$e"))
    await InboxStore(database).finish(key_of(login), [outcome])
    await outbox.finish(event(1), "delivered")
    found = await store.find(IN, first.seq)
    assert found is not None
    assert found.reason == ""
    assert [row.reason for row in await listed(database, OUT, "waiting")] == [""]


async def test_nothing_is_noted_where_nothing_waits(database: Database) -> None:
    login = await received(database, 1)
    await park(database, login, 1)
    await QueueStore(database).note_chat(key_of(login), "The homeserver is away.")
    await QueueStore(database).note_room(ROOM, "The network is away.")
    assert [row.reason for row in await listed(database, IN, "parked")] == ["it is odd"]
