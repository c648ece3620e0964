"""Older messages on request: each once, in a thread where the chat goes on already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge.import_state import Door
from dm_bridge.bridge.older import Older, said_of
from dm_bridge.errors import UserError
from dm_bridge.ids import ChatId, EventId, PortalKey, RemoteId, UserId
from dm_bridge.network.events import RemoteMessage
from dm_bridge.network.history import HistoryPage, RecordPart
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.inbox import InboxOutcome, InboxRow, InboxStore
from tests.store.stored import OWNER, ROMEO, message

from .room_world import GHOST, ROOM, World, a_world


class Record:
    """Messages numbered from 0; a place is the number of the message after."""

    def __init__(self, messages: int) -> None:
        self.messages = [message(n) for n in range(messages)]

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        raise AssertionError

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        end = len(self.messages) if place is None else int(place)
        begin = max(0, end - messages)
        return HistoryPage(tuple(self.messages[begin:end]), str(begin) if begin else None)


class Asked:
    """Stands in for imports, push rules and lanes: what is added is shown at once."""

    def __init__(self, world: World, database: Database, record: Record) -> None:
        self.world, self.record = world, record
        self.inbox = InboxStore(database)
        self.silent: list[str] = []
        self.shown: list[InboxRow] = []
        self.is_open = Door.OPEN
        self.done = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.older = Older(
            world.rooms,  # type: ignore[arg-type]
            HistoryStore(database),
            world.store,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            lambda keys: self.tasks.append(asyncio.create_task(self.show())),
        )

    async def bring(self, messages: int) -> tuple[int, bool]:
        return await self.older.bring(OWNER, self.world.key, self.record, messages)

    async def live(self, number: int) -> None:
        await self.inbox.add([(self.world.login.id, message(number))])
        await self.show()
        self.shown.clear()

    async def show(self) -> None:
        for row in await self.inbox.waiting(self.world.key, 100):
            self.shown.append(row)
            done = InboxOutcome(row.id, "delivered", EventId(f"${row.id}"))
            await self.inbox.finish(self.world.key, [done])
        self.done.set()

    def door(self, key: PortalKey) -> Door:
        return self.is_open

    @asynccontextmanager
    async def alone_with(self, user: UserId) -> AsyncIterator[None]:
        yield

    @contextmanager
    def watching(self, key: PortalKey) -> Iterator[asyncio.Event]:
        self.done.clear()
        yield self.done

    async def begin(self, user: UserId, *, invites: bool) -> None:
        assert not invites
        self.silent.append("begin")

    async def end(self, user: UserId) -> None:
        self.silent.append("end")

    @property
    def texts(self) -> list[str]:
        return [row.id.removeprefix("id-") for row in self.shown]

    def threads(self) -> list[dict[str, Any]]:
        return [
            e for e in self.world.rooms.messages[ROOM] if "Older messages" in e["content"]["body"]
        ]


@pytest_asyncio.fixture
async def asked(database: Database) -> Asked:
    return Asked(await a_world(database), database, Record(9))


async def test_they_come_in_threads_each_before_the_last(asked: Asked) -> None:
    for number in (7, 8):
        await asked.live(number)
    assert await asked.bring(3) == (3, True)
    assert asked.texts == ["4", "5", "6"]
    (thread,) = asked.threads()
    assert (thread["sender"], thread["content"]["msgtype"]) == (GHOST, "m.notice")
    assert {(row.thread, row.older) for row in asked.shown} == {(thread["event_id"], True)}
    assert asked.silent == ["begin", "end"]
    asked.shown.clear()
    assert await asked.bring(100) == (4, False)
    assert asked.texts == ["0", "1", "2", "3"]
    assert len(asked.threads()) == 2
    assert await asked.bring(3) == (0, False)
    assert len(asked.threads()) == 2


async def test_a_chat_in_which_nothing_was_written_needs_no_thread(asked: Asked) -> None:
    assert await asked.bring(2) == (2, True)
    assert ([row.thread for row in asked.shown], asked.threads()) == ([None, None], [])


async def test_what_is_in_the_chat_already_is_not_older(asked: Asked) -> None:
    for number in range(9):
        await asked.live(number)
    assert await asked.bring(4) == (0, False)
    assert (asked.texts, asked.threads()) == ([], [])


async def test_nothing_comes_between_what_is_being_brought_over(asked: Asked) -> None:
    asked.is_open = Door.SHUT
    with pytest.raises(UserError, match="ask again"):
        await asked.bring(3)


def test_what_stands_above_says_from_when_they_are() -> None:
    def at(seconds: float | None) -> RemoteMessage:
        return RemoteMessage(ChatId("c"), RemoteId("i"), ROMEO, False, message(1).content, seconds)

    assert said_of([at(None)]) == "Older messages."
    assert said_of([at(0.0), at(1.0)]) == "Older messages, of 1 January 1970."
    assert said_of([at(0.0), at(90_000.0)]) == "Older messages, 1 January 1970 to 2 January 1970."
