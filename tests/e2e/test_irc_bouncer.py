"""IRC behind a bouncer, through the whole bridge: what is written while the bridge is dead, by whomever."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dm_bridge.ids import ContactId, GhostNamespace, NetworkName
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.znc import Znc
from tests.e2e.conftest import Workplace

DOMAIN = "bouncer.localhost"


@pytest_asyncio.fixture
async def ngircd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NgIrcd]:
    server = await NgIrcd.start(tmp_path_factory.mktemp("ngircd"))
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def znc(ngircd: NgIrcd) -> AsyncIterator[Znc]:
    home = Path(tempfile.mkdtemp(prefix="dm_bridge_znc_"))
    home.chmod(0o755)  # it does not run as root
    bouncer = await Znc.start(home, ngircd, "romeo", clears=False)
    yield bouncer
    await bouncer.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest_asyncio.fixture
async def stack(znc: Znc, workplace: Workplace) -> AsyncIterator[Stack]:
    server = {"host": znc.host, "port": znc.port, "tls": "none"}
    stack = await Stack.start(
        workplace("bouncer"),
        prosody=None,
        domain=DOMAIN,
        config={"networks": {"irc": {"servers": {"verona": server}, "retry_max": 0.5}}},
    )
    yield stack
    await stack.stop()


async def log_in(stack: Stack, user: MatrixUser, bouncer: Znc) -> None:
    """Walk through the questions of the bot."""
    bot = await stack.open_bot_chat(user)
    for line, answer in (
        ("login irc romeo", "How do you log in"),
        ("server", "server password"),
        (bouncer.login, "You are logged in"),
    ):
        mark = user.mark()
        await user.send_text(bot, line)
        await user.wait_for(
            lambda seen, answer=answer: seen.sender == stack.bot and answer in (seen.body or ""),  # type: ignore[misc]
            timeout=30,
            after=mark,
        )


async def test_what_was_written_while_the_bridge_was_dead_comes_once_and_in_order(
    stack: Stack, znc: Znc, ngircd: NgIrcd
) -> None:
    ghost = GhostNamespace("_dm_", DOMAIN).user_id(NetworkName("irc"), ContactId("juliet@verona"))
    async with (
        stack.matrix_user("alice") as alice,
        IrcUser("Juliet", ngircd.host, ngircd.port) as juliet,
        IrcUser("romeo", znc.host, znc.port, password=znc.login) as phone,
    ):
        await juliet.wait_for_nick("romeo")
        await log_in(stack, alice, znc)
        juliet.say("romeo", "said before")
        room = (await alice.wait_for_text("said before", timeout=30)).room_id
        await alice.send_text(room, "said by the bridge")
        await juliet.wait_for_text("said by the bridge")

        expected = [(ghost, "said before"), (alice.user_id, "said by the bridge")]
        for number in range(2):
            await stack.bridge.kill()
            for turn in range(3):
                text = f"said to the dead {number} {turn}"
                juliet.say("romeo", text)
                await phone.wait_for_text(text)
                phone.say("Juliet", f"said elsewhere {number} {turn}")
                await juliet.wait_for_text(f"said elsewhere {number} {turn}")
                expected += [
                    (ghost, text),
                    (alice.user_id, f"said elsewhere {number} {turn}"),
                ]
            await stack.bridge.run()
            await alice.wait_for_text(f"said elsewhere {number} 2", timeout=60)
            juliet.say("romeo", f"said again {number}")
            await alice.wait_for_text(f"said again {number}", timeout=60)
            expected.append((ghost, f"said again {number}"))

        events = [e for e in await alice.messages(room) if e["type"] == "m.room.message"]
        said = [(event["sender"], str(event["content"].get("body"))) for event in events]
        assert [item for item in said if item[1].startswith("said")] == expected
        assert (await alice.m_direct() or {})[ghost] == [room]
