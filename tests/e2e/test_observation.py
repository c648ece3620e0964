"""What others write in m.direct is noticed by itself: by the module, by watching, after activity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import Pair, pair

SECONDS = 30.0


def module(bridge: Bridge) -> Mapping[str, Any]:
    """Synapse's configuration of the module, as docs/observation.md has it."""
    token_file = Path(bridge.directory) / "hs_token"
    token_file.write_text(bridge.config()["appservice"]["hs_token"] + "\n", encoding="utf-8")
    return {
        "modules": [
            {
                "module": "dm_bridge.synapse_module.DirectObserver",
                "config": {"url": bridge.url, "token_file": str(token_file)},
            }
        ]
    }


@pytest_asyncio.fixture(scope="module")
async def pushed(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A stack whose homeserver has the module, and whose bridge watches nobody."""
    stack = await Stack.start(
        workplace("pushed"),
        prosody=prosody,
        domain="pushed.localhost",
        config={"direct": {"watch_accounts": 0}},
        synapse_config=module,
    )
    yield stack
    await stack.stop()


@pytest_asyncio.fixture(scope="module")
async def unwatched(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A stack without the module, whose bridge watches nobody."""
    stack = await Stack.start(
        workplace("unwatched"),
        prosody=prosody,
        domain="unwatched.localhost",
        config={"direct": {"watch_accounts": 0}},
    )
    yield stack
    await stack.stop()


FRIENDS = {
    "@mother:example.org": ["!home:example.org"],
    "@nurse:example.org": ["!ward:example.org", "!garden:example.org"],
}


async def marked_chat(here: Pair) -> str:
    """Alice has friends elsewhere, and then a chat that is marked under juliet's ghost."""
    await here.alice.set_m_direct({**(await here.alice.m_direct() or {}), **FRIENDS})
    room = await here.first_chat()
    async with asyncio.timeout(SECONDS):
        while room not in (await here.alice.m_direct() or {}).get(here.ghost, []):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return room


async def write_an_old_copy(here: Pair) -> None:
    """What a client does that has not heard of the chat yet, and adds one of its own."""
    document = await here.alice.m_direct() or {}
    document.pop(here.ghost)
    await here.alice.set_m_direct({**document, "@new:example.org": ["!theirs:example.org"]})


async def restored(here: Pair, room: str, within: float = SECONDS) -> None:
    """Return once the chat is marked again, with what the other client wrote."""
    async with asyncio.timeout(within):
        while room not in (await here.alice.m_direct() or {}).get(here.ghost, []):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    document = await here.alice.m_direct() or {}
    assert {**document, **FRIENDS, "@new:example.org": ["!theirs:example.org"]} == document


async def observed(here: Pair, sentence: str) -> None:
    """Wait until the bot says so about Alice's direct chats."""
    async with asyncio.timeout(SECONDS):
        while sentence not in await here.ask("direct", "I last looked"):  # noqa: ASYNC110
            await asyncio.sleep(0.5)


async def test_with_the_module_an_old_copy_is_mended_and_a_decision_is_heard(
    pushed: Stack,
) -> None:
    async with pair(pushed) as here:
        room = await marked_chat(here)
        await observed(here, "tells me of every change of your direct chats at once")
        await write_an_old_copy(here)
        await restored(here, room)
        # A person decides after the bridge has seen that what it wrote is there, not in the same moment.
        await observed(here, "tells me of every change of your direct chats at once")
        document = await here.alice.m_direct() or {}
        document.pop(here.ghost)
        await here.alice.set_m_direct(document)
        await observed(here, "opted out")
        assert await here.alice.m_direct() == document


async def test_without_the_module_active_users_are_watched(stack: Stack) -> None:
    async with pair(stack) as here:
        room = await marked_chat(here)
        await observed(here, "I watch the list")
        await write_an_old_copy(here)
        await restored(here, room)


async def test_who_is_not_watched_is_looked_at_after_they_did_something(unwatched: Stack) -> None:
    async with pair(unwatched) as here:
        room = await marked_chat(here)
        await asyncio.sleep(1)  # the bridge has read again what it wrote
        await write_an_old_copy(here)
        await here.alice.send_text(room, "hello")
        await restored(here, room, within=75)  # when she joined, it may have looked just before
        await observed(here, "when you do something in a bridged chat")
