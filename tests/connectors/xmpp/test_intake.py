"""What waits between the stream and the store, and what is held back for the archive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from dm_bridge.connectors.xmpp import intake as module
from dm_bridge.connectors.xmpp.acks import Ledger
from dm_bridge.connectors.xmpp.intake import CAPACITY, Intake
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.events import RemoteMessage, Text

from .support import Sink, until


def event(identifier: str) -> RemoteMessage:
    return RemoteMessage(ChatId("c"), RemoteId(identifier), ContactId("c"), False, Text(identifier))


class World:
    """An intake, the sink it commits to, and the ledger of one stream."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.pressure: list[bool] = []
        self.intake = Intake(self.sink, "login", self.pressure.append)
        self.ledger = Ledger()

    def read(self, identifier: str, position: str | None = None) -> None:
        self.ledger.receive()
        self.intake.put(event(identifier), self.ledger, position)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    task = asyncio.create_task(world.intake.run())
    yield world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_the_stream_brings_follows_what_the_archive_has(world: World) -> None:
    world.intake.hold()
    world.read("live 1")
    world.intake.put_archived([event("old 1"), event("old 2")], "two")
    world.read("live 2", "ignored")
    await world.intake.drained()
    assert (world.sink.bodies, world.sink.position) == (["old 1", "old 2"], "two")
    assert world.ledger.safe == 0
    world.intake.release()
    world.read("live 3", "three")
    await world.intake.drained()
    assert world.sink.bodies == ["old 1", "old 2", "live 1", "live 2", "live 3"]
    assert world.sink.position == "three"
    assert world.ledger.safe == 3


async def test_a_position_is_committed_with_the_events_before_it(world: World) -> None:
    world.sink.broken = True
    world.intake.put_archived([event("a"), event("b")], "b")
    await until(lambda: world.sink.refused > 0)
    assert not world.sink.position
    world.sink.broken = False
    await world.intake.drained()
    assert (world.sink.bodies, world.sink.batches, world.sink.position) == (["a", "b"], [2], "b")


async def test_a_position_without_events_is_committed_too(world: World) -> None:
    world.intake.put_archived([], "one")
    await world.intake.drained()
    assert (world.sink.events, world.sink.position) == ([], "one")


async def test_a_held_copy_of_what_the_archive_had_is_only_acknowledged(world: World) -> None:
    world.intake.hold()
    world.read("own:a")
    world.read("own:b")
    archived = replace(event("sid:1"), other_id=RemoteId("own:a"))
    world.intake.put_archived([archived], "1")
    world.intake.release()
    await world.intake.drained()
    assert world.sink.bodies == ["sid:1", "own:b"]
    assert world.ledger.safe == 2


async def test_what_is_too_much_to_hold_is_left_to_the_archive(world: World) -> None:
    world.intake.hold()
    for number in range(CAPACITY):
        world.read(f"own:{number}")
    skipped = [world.intake.skipped]
    world.read("sid:extra")
    world.read("own:kept")
    assert [*skipped, world.intake.skipped] == [False, True]
    world.intake.put_archived([event("sid:extra")], "extra")
    world.intake.release()
    await world.intake.drained()
    assert len(world.sink.events) == CAPACITY + 2
    assert world.sink.bodies.count("sid:extra") == 1
    assert world.sink.bodies[-1] == "own:kept"
    assert world.ledger.safe == CAPACITY + 2


async def test_what_no_archive_has_is_held_up_to_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 5)
    world.intake.hold()
    for number in range(4):
        world.read(f"own:{number}")
    await world.intake.drained()
    assert world.sink.events == []
    for number in range(4, 6):
        world.read(f"own:{number}")
    await world.intake.drained()
    assert world.sink.bodies == [f"own:{number}" for number in range(6)]


async def test_a_full_intake_stops_the_stream_and_a_half_empty_one_starts_it(world: World) -> None:
    world.sink.broken = True
    for number in range(CAPACITY):
        world.read(f"{number}")
    assert world.pressure == [True]
    world.sink.broken = False
    await world.intake.drained()
    assert world.pressure == [True, False]
    assert world.ledger.safe == CAPACITY
