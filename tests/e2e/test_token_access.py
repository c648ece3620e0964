"""Access by a token that the user gave, where the second registration does not reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import DEFAULT_PASSWORD, Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import Pair, ghost_of, pair, unique
from tests.e2e.test_less_access import invited_to, marked, unknown_accounts


@pytest_asyncio.fixture(scope="module")
async def reachless(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge whose second registration the homeserver does not know."""
    stack = await Stack.start(
        workplace("reachless"),
        prosody=prosody,
        domain="reachless.localhost",
        synapse_config=unknown_accounts,
    )
    yield stack
    await stack.stop()


async def new_token(user: MatrixUser) -> str:
    """The token of a new session of this user."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": DEFAULT_PASSWORD,
    }
    return str((await user.request("POST", "v3/login", body))["access_token"])


async def sign_out(user: MatrixUser, token: str) -> None:
    """End the session of ``token``."""
    async with MatrixUser(user.url, user.user_id, token) as session:
        await session.request("POST", "v3/logout", {})


async def give_token(p: Pair) -> str:
    token = await new_token(p.alice)
    await p.ask("login-matrix", "Please send me an access token")
    await p.ask(token, "The token works")
    return token


async def test_a_chat_that_waited_is_marked_when_the_token_comes_and_the_token_is_hidden(
    reachless: Stack,
) -> None:
    async with pair(reachless) as p:
        room = await invited_to(p)
        await p.alice.join(room)
        await asyncio.sleep(1)
        assert p.ghost not in (await p.alice.m_direct() or {})
        token = await give_token(p)
        await marked(p.alice, p.ghost, room)
        assert token not in str(await p.alice.messages(p.management))
        assert token not in reachless.bridge.log.read_text()


async def test_with_a_token_new_chats_are_joined_and_marked_and_own_messages_are_the_users(
    reachless: Stack,
) -> None:
    async with pair(reachless) as p, p.elsewhere() as phone:
        await give_token(p)
        room = await p.first_chat()
        await marked(p.alice, p.ghost, room)
        mark = p.alice.mark()
        phone.send(p.juliet.bare_jid, "from my phone")
        seen = await p.alice.wait_for_text("from my phone", after=mark)
        assert seen.sender == p.alice.user_id
        await p.juliet.wait_for_text("from my phone")
        await asyncio.sleep(1)
        assert [r.body for r in p.juliet.received] == ["from my phone"]


async def test_the_token_is_hidden_where_only_the_user_has_the_power(reachless: Stack) -> None:
    name = unique(reachless)
    async with reachless.matrix_user(f"alice-{name}") as alice:
        room = await alice.create_room(
            invite=[reachless.bot], is_direct=True, preset="private_chat"
        )
        await alice.wait_for(lambda s: s.room_id == room and "Hello" in (s.body or ""))
        token = await new_token(alice)
        await alice.send_text(room, f"login-matrix {token}")
        await alice.wait_for(lambda s: s.room_id == room and "The token works" in (s.body or ""))
        assert token not in str(await alice.messages(room))


async def test_somebody_elses_token_is_refused(reachless: Stack) -> None:
    async with pair(reachless) as p, reachless.matrix_user(f"eve-{unique(reachless)}") as eve:
        await p.ask(f"login-matrix {await new_token(eve)}", "another account")
        room = await invited_to(p)
        await p.alice.join(room)
        await asyncio.sleep(1)
        assert p.ghost not in (await p.alice.m_direct() or {})
        assert await eve.m_direct() is None


async def test_a_token_outlives_a_restart(reachless: Stack) -> None:
    async with pair(reachless) as p:
        await give_token(p)
        await reachless.bridge.stop()
        await reachless.bridge.run()
        room = await p.first_chat()
        await marked(p.alice, p.ghost, room)


async def test_a_token_that_ends_is_told_once_and_another_one_makes_up_for_it(
    reachless: Stack,
) -> None:
    async with pair(reachless) as p:
        token = await give_token(p)
        first = await p.first_chat()
        await marked(p.alice, p.ghost, first)
        await sign_out(p.alice, token)
        mark = p.alice.mark()
        async with reachless.xmpp_user(f"nurse-{unique(reachless)}") as nurse:
            ghost = ghost_of(reachless, nurse.bare_jid)
            nurse.send(p.romeo, "are you there?")
            seen = await p.alice.wait_for(
                lambda s: s.kind == "invite" and s.event.get("state_key") == p.alice.user_id,
                after=mark,
            )
            await p.alice.wait_for(
                lambda s: s.room_id == p.management and "does not work any more" in (s.body or ""),
                after=mark,
            )
            await p.alice.join(seen.room_id)
            nurse.send(p.romeo, "and now?")
            await p.alice.wait_for_text("and now?", after=mark)
            assert ghost not in (await p.alice.m_direct() or {})
            told = [s for s in p.alice.seen[mark:] if "does not work any more" in (s.body or "")]
            assert len(told) == 1
            await give_token(p)
            await marked(p.alice, ghost, seen.room_id)
            assert (await p.alice.m_direct() or {})[p.ghost] == [first]


async def test_a_token_that_is_taken_back_still_works_for_its_owner_and_not_for_the_bridge(
    reachless: Stack,
) -> None:
    async with pair(reachless) as p:
        token = await give_token(p)
        await p.ask("logout-matrix", "forgotten your token")
        await invited_to(p)
        async with MatrixUser(p.alice.url, p.alice.user_id, token) as session:
            assert (await session.request("GET", "v3/account/whoami"))["user_id"] == session.user_id
