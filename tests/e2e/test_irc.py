"""IRC through the whole bridge: chats follow people, and m.direct with them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.connectors.irc.people import digest
from dm_bridge.ids import ContactId, GhostNamespace, NetworkName
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace

DOMAIN = "irc.localhost"
GHOSTS = GhostNamespace("_dm_", DOMAIN)


def ghost(contact: str) -> str:
    return GHOSTS.user_id(NetworkName("irc"), ContactId(f"{contact}@verona"))


@pytest_asyncio.fixture
async def ngircd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NgIrcd]:
    server = await NgIrcd.start(tmp_path_factory.mktemp("ngircd"))
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def stack(ngircd: NgIrcd, workplace: Workplace) -> AsyncIterator[Stack]:
    server = {"host": ngircd.host, "port": ngircd.port, "tls": "none", "channels": ["#verona"]}
    stack = await Stack.start(
        workplace("irc"),
        prosody=None,
        domain=DOMAIN,
        config={"networks": {"irc": {"servers": {"verona": server}}}},
    )
    yield stack
    await stack.stop()


async def log_in(stack: Stack, user: MatrixUser, nick: str) -> str:
    """Walk through the questions of the bot; its room."""
    bot = await stack.open_bot_chat(user)
    for line, answer in ((f"login irc {nick}", "How do you log in"), ("none", "You are logged in")):
        mark = user.mark()
        await user.send_text(bot, line)
        await user.wait_for(
            lambda seen, answer=answer: seen.sender == stack.bot and answer in (seen.body or ""),  # type: ignore[misc]
            timeout=30,
            after=mark,
        )
    return bot


async def direct(user: MatrixUser, expected: dict[str, str]) -> None:
    """Wait until the user's direct chats on IRC are these."""
    deadline = time.monotonic() + 20
    while True:
        document = await user.m_direct() or {}
        found = {who: rooms for who, rooms in document.items() if who.startswith("@_dm_irc_")}
        if found == {who: [room] for who, room in expected.items()}:
            return
        assert time.monotonic() < deadline, found


async def test_chats_follow_people_and_never_nicks(stack: Stack, ngircd: NgIrcd) -> None:
    async with (
        stack.matrix_user("alice") as alice,
        IrcUser("Juliet", ngircd.host, ngircd.port) as juliet,
    ):
        bot = await log_in(stack, alice, "romeo")
        await juliet.join("#verona")

        juliet.say("romeo", "O \x1dRomeo\x1d, \x02\x0304Romeo\x03\x02!")
        seen = await alice.wait_for_text("O Romeo, Romeo!", timeout=30)
        room = seen.room_id
        assert seen.sender == ghost("juliet")
        assert seen.content["formatted_body"] == (
            'O <em>Romeo</em>, <span data-mx-color="#ff0000"><strong>Romeo</strong></span>!'
        )
        await direct(alice, {ghost("juliet"): room})

        await alice.send_text(room, "Shall I speak at this?")
        await juliet.wait_for_text("Shall I speak at this?")
        html = '<em>Neither</em>, <font data-mx-color="#ff0000">fair</font> <del>saint</del>'
        content = {"msgtype": "m.text", "body": "Neither, fair saint", "formatted_body": html}
        await alice.send_event(
            room, "m.room.message", {**content, "format": "org.matrix.custom.html"}
        )
        await juliet.wait_for_text("\x1dNeither\x1d, \x0304,99fair\x0399,99 \x1esaint\x1e")

        await juliet.change_nick("Julia")
        juliet.say("romeo", "call me Julia")
        seen = await alice.wait_for_text("call me Julia", timeout=30)
        assert (seen.room_id, seen.sender) == (room, ghost("julia"))
        await direct(alice, {ghost("julia"): room})

        async with IrcUser("juliet", ngircd.host, ngircd.port, user="mallory") as mallory:
            mallory.say("romeo", "I am Juliet")
            seen = await alice.wait_for_text("I am Juliet", timeout=30)
            taken = seen.room_id
            assert (taken != room, seen.sender) == (True, ghost("juliet"))
            await direct(alice, {ghost("julia"): room, ghost("juliet"): taken})
            await alice.send_text(room, "for Julia only")
            await juliet.wait_for_text("for Julia only")
            assert mallory.texts("romeo") == []

        async with IrcUser("juliet", ngircd.host, ngircd.port, user="nurse") as nurse:
            nurse.say("romeo", "and I am the nurse")
            seen = await alice.wait_for_text("and I am the nurse", timeout=30)
            third = seen.room_id
            former = ghost(f"juliet!{digest('mallory', '127.0.0.1')}")
            await direct(alice, {ghost("julia"): room, former: taken, ghost("juliet"): third})
            mark = alice.mark()
            await alice.send_text(taken, "for Mallory")
            await alice.wait_for(
                lambda seen: seen.room_id == taken and "Somebody else has" in (seen.body or ""),
                after=mark,
                timeout=30,
            )
            await nurse.settled()
            assert nurse.texts("romeo") == []

        mark = alice.mark()
        await alice.send_text(bot, "start nobody")
        await alice.wait_for(lambda seen: "Here you are" in (seen.body or ""), after=mark)
        (empty,) = (await alice.m_direct() or {})[ghost("nobody")]
        await alice.send_text(empty, "hello?")
        await alice.wait_for(
            lambda seen: seen.room_id == empty and "is not on verona" in (seen.body or ""),
            after=mark,
            timeout=30,
        )
