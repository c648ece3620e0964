"""Starting, stopping, dying and coming back, on real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import ask, pair, unique


@pytest_asyncio.fixture(scope="module")
async def mortal(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge of our own to stop and kill; only named users may use it."""
    stack = await Stack.start(
        workplace("mortal"),
        prosody=prosody,
        domain="mortal.localhost",
        config={"permissions": {"@stranger:mortal.localhost": "none"}},
    )
    yield stack
    await stack.stop()


async def test_after_a_restart_logins_are_back_and_the_chat_has_the_same_room(
    mortal: Stack,
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        assert await mortal.bridge.stop() == 0
        p.juliet.send(p.romeo, "while you were away")
        sent = p.alice.mark()
        await p.alice.send_text(room, "are you there?")
        await mortal.bridge.run()
        seen = await p.alice.wait_for_text("while you were away", after=sent)
        assert seen.room_id == room
        await p.juliet.wait_for_text("are you there?", timeout=60)
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "and now")
        assert (await p.alice.wait_for_text("and now", after=mark)).room_id == room


async def test_a_killed_bridge_loses_and_doubles_nothing(mortal: Stack) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        for n in range(100):
            p.juliet.send(p.romeo, f"in {n}")
            if n == 50:
                await p.alice.wait_for_text("in 10", after=mark)
        for n in range(20):
            await p.alice.send_text(room, f"out {n}")
        await mortal.bridge.kill()
        await mortal.bridge.run()
        await p.alice.wait_for_text("in 99", timeout=60, after=mark)
        await p.juliet.wait_for_text("out 19", timeout=60)
        await asyncio.sleep(1)
        bodies = [s.body for s in p.alice.seen[mark:] if s.sender == p.ghost and s.body]
        assert bodies == [f"in {n}" for n in range(100)]
        assert [r.body for r in p.juliet.received] == [f"out {n}" for n in range(20)]


async def test_when_the_xmpp_server_restarts_the_session_comes_back(mortal: Stack) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        await p.juliet.disconnect()
        await mortal.prosody.restart()
        await p.alice.send_text(room, "through the restart")
        await p.juliet.connect()
        await p.juliet.wait_for_text("through the restart", timeout=60)
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "back")
        await p.alice.wait_for_text("back", after=mark)


async def test_when_the_homeserver_restarts_nothing_is_lost(mortal: Stack) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        await p.alice.close()
        await mortal.synapse.stop()
        p.juliet.send(p.romeo, "while the homeserver was down")
        await asyncio.sleep(1)
        await mortal.synapse.restart()
        await p.alice.open()
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "after")
        await p.alice.wait_for_text("after", timeout=60, after=mark)
        bodies = [e["content"].get("body") for e in await p.alice.messages(room)]
        assert bodies.count("while the homeserver was down") == 1


async def test_a_stranger_is_refused_once_and_politely(mortal: Stack) -> None:
    async with mortal.matrix_user("stranger") as stranger:
        room = await mortal.open_bot_chat(stranger)
        answer = await ask(stranger, mortal.bot, room, "help", "Sorry")
        assert "admin of mortal.localhost" in answer
        mark = stranger.mark()
        await stranger.send_text(room, "login xmpp")
        await asyncio.sleep(1.5)
        assert not [s for s in stranger.seen[mark:] if s.sender == mortal.bot]


async def test_a_stranger_cannot_open_a_chat_by_inviting_a_ghost(mortal: Stack) -> None:
    async with pair(mortal) as p, mortal.matrix_user(f"other-{unique(mortal)}") as other:
        room = await other.create_room(invite=[p.ghost], is_direct=True)
        seen = await other.wait_for(
            lambda s: (
                s.room_id == room
                and s.event.get("state_key") == p.ghost
                and s.content.get("membership") == "leave"
            )
        )
        assert "not logged in" in seen.content["reason"]


async def test_a_password_sent_after_a_restart_is_removed(mortal: Stack) -> None:
    name = unique(mortal)
    async with mortal.matrix_user(f"alice-{name}") as alice:
        room = await mortal.open_bot_chat(alice)
        await ask(alice, mortal.bot, room, "login xmpp", "XMPP address")
        await ask(alice, mortal.bot, room, f"romeo-{name}@localhost", "password")
        await mortal.bridge.stop()
        await mortal.bridge.run()
        await ask(alice, mortal.bot, room, "my secret", "removed your message")
        assert "my secret" not in str(await alice.messages(room))
        await ask(alice, mortal.bot, room, "ping", "Pong")


async def test_an_embedded_database_that_dies_is_started_again(mortal: Stack) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        data = Path(mortal.bridge.config_path).parent / "data" / "postgres" / "postmaster.pid"
        mark = p.alice.mark()
        os.kill(int(data.read_text().split()[0]), signal.SIGKILL)
        for n in range(5):
            p.juliet.send(p.romeo, f"in {n}")
            await p.alice.send_text(room, f"out {n}")
        await p.alice.wait_for_text("in 4", timeout=60, after=mark)
        await p.juliet.wait_for_text("out 4", timeout=90)
        bodies = [s.body for s in p.alice.seen[mark:] if s.sender == p.ghost and s.body]
        assert bodies == [f"in {n}" for n in range(5)]
        assert [r.body for r in p.juliet.received] == [f"out {n}" for n in range(5)]
        assert "starting it again" in mortal.bridge.log.read_text()


async def test_health_and_metrics_answer(mortal: Stack) -> None:
    async with aiohttp.ClientSession(mortal.bridge.url) as session:
        async with session.get("/health/live") as response:
            assert response.status == 200
        async with session.get("/health/ready") as response:
            assert response.status == 200
            assert await response.json() == {"status": "ready", "problems": []}
        async with session.get("/metrics") as response:
            text = await response.text()
    assert "dm_bridge_messages_total" in text
    assert "dm_bridge_direct_puts_total" in text


async def test_readiness_tells_soon_that_the_homeserver_is_gone(mortal: Stack) -> None:
    async with aiohttp.ClientSession(mortal.bridge.url) as session:

        async def ready(status: int, within: float) -> str:
            async with asyncio.timeout(within):
                while True:
                    async with session.get("/health/ready") as response:
                        if response.status == status:
                            return await response.text()
                    await asyncio.sleep(0.2)

        async with pair(mortal) as p:
            await p.first_chat()
            await mortal.synapse.stop()
            p.juliet.send(p.romeo, "nobody is there")
            assert "cannot be reached" in await ready(503, 10)
            await mortal.synapse.restart()
            await ready(200, 90)


async def test_sigterm_ends_it_in_order_with_status_zero(mortal: Stack) -> None:
    mortal.bridge.signal(signal.SIGTERM)
    assert await mortal.bridge.stop() == 0
    assert "dm_bridge has stopped" in mortal.bridge.log_tail()
    data = Path(mortal.bridge.config_path).parent / "data" / "postgres" / "postmaster.pid"
    assert not data.exists()
    await mortal.bridge.run()
