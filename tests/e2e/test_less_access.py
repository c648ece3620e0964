"""What still works when the bridge may not join users to their chats, or not act for them at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import yaml

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import PASSWORD, Pair, ghost_of, invite_of, pair

UNKNOWN = "a-token-nobody-knows"


@pytest_asyncio.fixture(scope="module")
async def no_auto_join(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge with ``direct.auto_join: false``."""
    stack = await Stack.start(
        workplace("noautojoin"),
        prosody=prosody,
        domain="noautojoin.localhost",
        config={"direct": {"auto_join": False, "mark_ghosts": False}},
    )
    yield stack
    await stack.stop()


@pytest_asyncio.fixture(scope="module")
async def no_accounts(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge whose second registration the homeserver does not know."""
    stack = await Stack.start(
        workplace("noaccounts"),
        prosody=prosody,
        domain="noaccounts.localhost",
        synapse_config=unknown_accounts,
    )
    yield stack
    await stack.stop()


def unknown_accounts(bridge: Bridge, token: str = UNKNOWN) -> dict[str, Any]:
    """Let the homeserver that is started know the second registration by another token."""
    path = bridge.directory / "registration-accounts.yaml"
    registration = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**registration, "as_token": token}))
    return {}


async def set_accounts_token(stack: Stack, token: str) -> None:
    """Let the homeserver know it by this token; restart both."""
    unknown_accounts(stack.bridge, token)
    await stack.bridge.stop()
    await stack.synapse.restart()
    await stack.bridge.run()


async def invited_to(p: Pair) -> str:
    """Juliet writes; the room that alice is invited to."""
    mark = p.alice.mark()
    p.juliet.send(p.romeo, "hello")
    seen = await p.alice.wait_for(
        lambda s: s.kind == "invite" and s.event.get("state_key") == p.alice.user_id, after=mark
    )
    return seen.room_id


async def marked(user: MatrixUser, ghost: str, room: str) -> None:
    """Wait until m.direct says so."""
    async with asyncio.timeout(20):
        while (await user.m_direct() or {}).get(ghost) != [room]:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)


async def test_without_auto_join_a_chat_is_marked_once_the_user_accepts(
    no_auto_join: Stack,
) -> None:
    async with pair(no_auto_join) as p:
        room = await invited_to(p)
        assert invite_of(p.alice, room).content["is_direct"] is True
        await asyncio.sleep(1)
        assert p.ghost not in (await p.alice.m_direct() or {})
        await p.alice.join(room)
        await marked(p.alice, p.ghost, room)
        bodies = [e["content"].get("body") for e in await p.alice.messages(room)]
        assert bodies.count("hello") == 1


async def test_without_auto_join_an_invite_that_was_declined_comes_again(
    no_auto_join: Stack,
) -> None:
    async with pair(no_auto_join) as p:
        room = await invited_to(p)
        await p.alice.leave(room)
        await p.told()
        assert await invited_to(p) == room


async def test_without_access_messages_still_go_both_ways(no_accounts: Stack) -> None:
    async with pair(no_accounts) as p:
        room = await invited_to(p)
        await p.alice.join(room)
        await p.alice.send_text(room, "hi")
        await p.juliet.wait_for_text("hi")
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "and hi")
        await p.alice.wait_for_text("and hi", after=mark)


async def test_without_access_own_messages_come_from_the_users_own_ghost(
    no_accounts: Stack,
) -> None:
    async with pair(no_accounts) as p, p.elsewhere() as phone:
        room = await invited_to(p)
        await p.alice.join(room)
        mark = p.alice.mark()
        phone.send(p.juliet.bare_jid, "from my phone")
        seen = await p.alice.wait_for_text("from my phone", after=mark)
        own = ghost_of(no_accounts, p.romeo)
        assert seen.sender == own
        members = await p.alice.state_content(room, "io.element.functional_members")
        assert members == {"service_members": [own]}
        await asyncio.sleep(1)
        assert [r.body for r in p.juliet.received] == ["from my phone"]


async def test_once_there_is_access_waiting_chats_are_joined_and_marked(
    prosody: Prosody, workplace: Workplace
) -> None:
    stack = await Stack.start(workplace("later"), prosody=prosody, domain="later.localhost")
    try:
        token = stack.bridge.config()["appservice"]["accounts_token"]
        await set_accounts_token(stack, UNKNOWN)
        async with pair(stack) as p:
            room = await invited_to(p)
            await p.alice.join(room)
            await asyncio.sleep(1)
            assert p.ghost not in (await p.alice.m_direct() or {})
            await p.alice.close()
            await set_accounts_token(stack, token)
            await p.alice.open()
            await marked(p.alice, p.ghost, room)
            assert PASSWORD not in stack.bridge.log.read_text()
    finally:
        await stack.stop()
