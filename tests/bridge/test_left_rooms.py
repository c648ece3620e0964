"""A user who leaves a chat is invited again as soon as the contact has written, whoever hears of what first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge import portal as portal_module
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, RoomId
from dm_bridge.matrix.around import Around, around
from dm_bridge.testing.fake_network import Account, FakeNetwork, FakeNetworkServer
from dm_bridge.testing.simulator.bridge import Settings
from dm_bridge.testing.whole_bridge import MatrixUser, WholeBridge

ROMEO = ContactId("romeo@net")
JUST_NOW = 0.3
"""Seconds in which nothing must happen."""


@dataclass
class Chat:
    """Alice's with Romeo; he has written once. Neither side is told at once what the other does."""

    bridge: WholeBridge
    server: FakeNetworkServer
    account: Account
    alice: MatrixUser
    room: RoomId

    def membership(self) -> str:
        return self.bridge.homeserver.rooms.room(self.room).membership(self.alice.id)

    def leave(self) -> None:
        self.bridge.homeserver.rooms.leave(self.room, self.alice.id)

    async def write(self, text: str) -> None:
        """Romeo writes, and it is in the room."""
        self.server.say(self.account, ROMEO, text, text)
        said = (self.bridge.ghost(ROMEO), text)
        await self.bridge.until(lambda: said in self.alice.sees(self.room), text)

    async def told(self) -> None:
        """The bridge hears what happened in Matrix."""
        self.bridge.pusher.down = False
        await self.bridge.until(lambda: self.bridge.pusher.idle, "all is pushed")


@asynccontextmanager
async def a_chat(*, auto_join: bool) -> AsyncIterator[Chat]:
    server = FakeNetworkServer(time.time)
    account = server.account("alice@net")
    settings = Settings(auto_join=auto_join)
    async with WholeBridge(FakeNetwork(server), settings=settings) as bridge:
        alice = bridge.user("alice")
        await alice.log_in({"address": "alice@net", "password": "sesame"})
        server.say(account, ROMEO, "Hello!", "r1")
        rooms, ghost = bridge.homeserver.rooms.rooms, bridge.ghost(ROMEO)
        await bridge.until(
            lambda: any((ghost, "Hello!") in alice.sees(room) for room in rooms), "his message"
        )
        (room,) = (room for room in rooms if (ghost, "Hello!") in alice.sees(room))
        chat = Chat(bridge, server, account, alice, room)
        await chat.told()
        bridge.pusher.down = True
        yield chat


@pytest_asyncio.fixture
async def chat() -> AsyncIterator[Chat]:
    async with a_chat(auto_join=True) as chat:
        assert chat.membership() == "join"
        yield chat


async def test_what_comes_before_the_bridge_hears_that_they_left_brings_them_back(
    chat: Chat,
) -> None:
    chat.leave()
    await chat.write("Come back!")
    assert chat.membership() == "leave"
    await chat.told()
    await chat.bridge.until(lambda: chat.membership() in ("invite", "join"), "the user is back")
    assert [text for _, text in chat.alice.sees(chat.room)] == ["Hello!", "Come back!"]


async def test_a_homeserver_that_does_not_say_what_came_after_is_asked_again(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = [HomeserverError("Away.", retry_after=0.02)]

    async def at_first_not(*arguments: Any) -> Around:
        if troubles:
            raise troubles.pop()
        return await around(*arguments)

    monkeypatch.setattr(portal_module, "around", at_first_not)
    chat.leave()
    await chat.write("Come back!")
    await chat.told()
    await chat.bridge.until(lambda: chat.membership() in ("invite", "join"), "the user is back")
    assert troubles == []


async def test_who_leaves_after_the_last_message_stays_away_until_the_next(chat: Chat) -> None:
    await chat.write("Good night.")
    chat.leave()
    await chat.told()
    await asyncio.sleep(JUST_NOW)
    assert chat.membership() == "leave"
    await chat.write("Good morning.")
    assert chat.membership() in ("invite", "join")


async def test_who_declines_is_not_asked_again_before_the_next_message() -> None:
    async with a_chat(auto_join=False) as chat:
        assert chat.membership() == "invite"
        chat.leave()
        await chat.write("Please!")
        await chat.told()
        await asyncio.sleep(JUST_NOW)
        assert chat.membership() == "leave"
        await chat.write("Please, please!")
        assert chat.membership() == "invite"


async def test_what_is_taken_back_brings_nobody_back(chat: Chat) -> None:
    chat.leave()
    await chat.write("Come back!")
    rooms = chat.bridge.homeserver.rooms
    found = rooms.room(chat.room)
    found.events[-1].content.clear()  # as a homeserver redacts it
    await chat.told()
    await asyncio.sleep(JUST_NOW)
    assert chat.membership() == "leave"
