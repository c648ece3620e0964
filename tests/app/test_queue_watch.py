"""Watching the queues: woken once for what was put back, counted, and through an outage."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.app import queue_watch
from dm_bridge.app.queue_watch import QueueWatch, until_next_count
from dm_bridge.errors import StorageError
from dm_bridge.ids import EventId, LoginId, PortalKey, RemoteId, RoomId
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.queue import Depth, Direction, QueueStore
from tests.bridge.fakes import until
from tests.store.stored import OWNER, a_login, key_of, message

ROOM = RoomId("!room:example.org")


class Watched:
    """A watch, and what it woke."""

    def __init__(self, database: Database, login: LoginId) -> None:
        self.login = login
        self.chats: list[set[PortalKey]] = []
        self.rooms: list[set[RoomId]] = []
        self.metrics = Metrics()
        self.store = QueueStore(database)
        self.inbox, self.outbox = InboxStore(database), OutboxStore(database)
        self.settled = 0
        self.watch = QueueWatch(
            self.store, self.metrics, self.chats.append, self.wake_rooms, self.settle
        )

    async def settle(self) -> None:
        self.settled += 1

    async def wake_rooms(self, rooms: set[RoomId]) -> None:
        self.rooms.append(rooms)

    async def parked(self, *numbers: int) -> None:
        """Messages of one chat that are parked."""
        await self.inbox.add([(self.login, message(number)) for number in numbers])
        await self.finish("parked", *numbers)

    async def finish(self, state: str, *numbers: int) -> None:
        outcomes = [InboxOutcome(RemoteId(f"id-{number}"), state) for number in numbers]
        await self.inbox.finish(key_of(self.login), outcomes)

    async def put_back(self, direction: Direction = Direction.TO_MATRIX, limit: int = 100) -> None:
        rows = await self.store.rows(direction, "parked", limit)
        assert await self.store.requeue(direction, [row.seq for row in rows])

    def figure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest_asyncio.fixture
async def watched(database: Database) -> Watched:
    return Watched(database, await a_login(database))


@contextlib.asynccontextmanager
async def running(*works: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_of_itself_wakes_nobody(watched: Watched) -> None:
    await watched.inbox.add([(watched.login, message(1))])
    await watched.parked(2)
    await watched.watch.look()
    assert (watched.chats, watched.rooms) == ([], [])


async def test_what_was_put_back_is_woken_once_however_long_it_waits(watched: Watched) -> None:
    await watched.parked(1)
    await watched.put_back()
    event = EventId("$1")
    await watched.outbox.add([row := OutboxRow(event, ROOM, OWNER, {"event_id": event})])
    await watched.outbox.finish(row, "parked")
    await watched.put_back(Direction.TO_REMOTE)
    for _ in range(3):
        await watched.watch.look()
    assert watched.chats == [{key_of(watched.login)}]
    assert watched.rooms == [{ROOM}]


async def test_more_that_is_put_back_wakes_again_and_half_of_it_done_does_not(
    watched: Watched,
) -> None:
    await watched.parked(1, 2)
    await watched.put_back(limit=1)
    await watched.watch.look()
    await watched.put_back()
    await watched.watch.look()
    assert len(watched.chats) == 2
    await watched.finish("delivered", 2)
    await watched.watch.look()
    assert len(watched.chats) == 2
    await watched.finish("parked", 1)
    await watched.watch.look()
    await watched.put_back()
    await watched.watch.look()
    assert len(watched.chats) == 3, "the same row, put back again"


async def test_a_running_watch_notices_and_survives_an_outage(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_watch, "LOOK_EVERY", 0.02)
    failures = 0
    real = watched.store.requeued_chats

    async def failing() -> dict[PortalKey, float]:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise StorageError("PostgreSQL is away.") if failures == 1 else RuntimeError("odd")
        return await real()

    monkeypatch.setattr(watched.store, "requeued_chats", failing)
    await watched.parked(1)
    await watched.put_back()
    async with running(watched.watch.look_for_requeued()):
        await until(lambda: watched.chats == [{key_of(watched.login)}])
    assert failures >= 3


async def test_a_running_watch_looks_for_notices_again_and_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_watch, "LOOK_EVERY", 0.01)
    async with running(watched.watch.settle_notices()):
        await until(lambda: watched.settled >= 3)


async def test_depth_and_age_are_in_the_figures_and_so_is_when_they_were_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.inbox.add([(watched.login, message(number)) for number in (1, 2, 3)])
    await watched.finish("parked", 3)
    await watched.watch.count()
    rows = [
        watched.figure("dm_bridge_queue_rows", direction=direction, state=state)
        for direction in ("to_matrix", "to_remote")
        for state in ("waiting", "parked")
    ]
    assert rows == [2, 1, 0, 0]
    oldest = watched.figure(
        "dm_bridge_queue_oldest_seconds", direction="to_matrix", state="waiting"
    )
    assert oldest is not None
    assert 0 < oldest < 60
    assert time.time() - (watched.figure("dm_bridge_queue_counted_at_seconds") or 0) < 60
    assert watched.figure("dm_bridge_ready", part="database") == 1
    await watched.finish("delivered", 1, 2)
    await watched.watch.count()
    assert (
        watched.figure("dm_bridge_queue_rows", direction="to_matrix", state="waiting"),
        watched.figure("dm_bridge_queue_oldest_seconds", direction="to_matrix", state="waiting"),
    ) == (0, 0)

    async def failing() -> list[Depth]:
        raise StorageError("PostgreSQL is away.")

    monkeypatch.setattr(watched.store, "depths", failing)
    with pytest.raises(StorageError):
        await watched.watch.count()
    assert watched.figure("dm_bridge_ready", part="database") == 0


def test_counting_takes_a_twentieth_of_the_time_at_most() -> None:
    assert until_next_count(0.01) == 10
    assert until_next_count(3) == 60


async def test_a_running_watch_keeps_counting(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_watch, "COUNT_EVERY", 0.01)
    monkeypatch.setattr(queue_watch, "SHARE", 0)
    async with running(watched.watch.count_waiting()):
        await until(lambda: watched.figure("dm_bridge_ready", part="database") == 1)
        await watched.inbox.add([(watched.login, message(1))])
        figure = ("dm_bridge_queue_rows", {"direction": "to_matrix", "state": "waiting"})
        await until(lambda: watched.metrics.registry.get_sample_value(*figure) == 1)


async def test_a_pause_is_counted_and_its_reason_noted_also_when_it_cannot_be(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.inbox.add([(watched.login, message(1))])
    await watched.watch.paused_chat(key_of(watched.login), "The homeserver is away.")
    await watched.watch.paused_room(ROOM, "The network is away.")
    (row,) = await watched.store.rows(Direction.TO_MATRIX, "waiting", 10)
    assert row.reason == "The homeserver is away."

    async def failing(*_: object) -> None:
        raise StorageError("PostgreSQL is away.")

    monkeypatch.setattr(watched.store, "note_chat", failing)
    monkeypatch.setattr(watched.store, "note_room", failing)
    await watched.watch.paused_chat(key_of(watched.login), "PostgreSQL is away.")
    await watched.watch.paused_room(ROOM, "PostgreSQL is away.")
    for direction in ("to_matrix", "to_remote"):
        assert watched.figure("dm_bridge_lane_pauses_total", direction=direction) == 2
