"""The bridge away from its XMPP server: what is written meanwhile, and what it was just about to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import Pair, pair
from tests.wire import Wire


@pytest_asyncio.fixture(scope="module")
async def mortal(prosody: Prosody, wire: Wire, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge of our own to kill, whose connections go through the wire."""
    server = {"port": wire.port}
    stack = await Stack.start(
        workplace("missed"),
        prosody=prosody,
        domain="missed.localhost",
        config={
            "networks": {
                "xmpp": {"servers": {prosody.domain: server}, "retry_max": 0.5, "retry_min": 0.1}
            }
        },
    )
    yield stack
    await stack.stop()


async def exchange(p: Pair, name: str, count: int = 10) -> list[tuple[str, str]]:
    """Juliet and romeo's other client write in turns; what the room must show, with its senders."""
    expected = []
    async with p.elsewhere() as phone:
        await phone.name_contact(p.juliet.bare_jid, "Juliet")  # answered after the presence
        for n in range(count):
            mark = p.juliet.mark()
            p.juliet.send(p.romeo, f"{name} in {n}")
            await phone.wait_for_text(f"{name} in {n}")
            phone.send(p.juliet.bare_jid, f"{name} out {n}")
            await p.juliet.wait_for_text(f"{name} out {n}", after=mark)
            expected += [(p.ghost, f"{name} in {n}"), (p.alice.user_id, f"{name} out {n}")]
    return expected


async def shown(p: Pair, room: str, name: str) -> list[tuple[str, str]]:
    """The messages in the room that ``exchange`` made, in order."""
    events = [event for event in await p.alice.messages(room) if event["type"] == "m.room.message"]
    said = [(event["sender"], str(event["content"].get("body"))) for event in events]
    return [(sender, body) for sender, body in said if body.startswith(name)]


async def last_word(p: Pair, text: str) -> None:
    """A message that comes after all others, and is seen."""
    mark = p.alice.mark()
    p.juliet.send(p.romeo, text)
    await p.alice.wait_for_text(text, timeout=60, after=mark)


async def test_what_was_written_while_the_bridge_was_dead_comes_once_and_in_order(
    mortal: Stack,
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        await mortal.bridge.kill()
        expected = await exchange(p, "dead")
        await mortal.bridge.run()
        await last_word(p, "dead end")
        assert await shown(p, room, "dead") == [*expected, (p.ghost, "dead end")]


async def test_what_was_written_while_the_connection_was_cut_comes_once_and_in_order(
    mortal: Stack, wire: Wire
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        wire.up = False
        wire.cut()
        expected = await exchange(p, "cut")
        wire.mend()
        await last_word(p, "cut end")
        assert await shown(p, room, "cut") == [*expected, (p.ghost, "cut end")]


async def test_a_bridge_killed_between_commit_and_acknowledgement_doubles_nothing(
    mortal: Stack, wire: Wire
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        wire.to_server = False
        expected = await exchange(p, "unacknowledged")
        await p.alice.wait_for_text("unacknowledged out 9", timeout=60)
        await mortal.bridge.kill()
        wire.cut()
        wire.mend()
        expected += await exchange(p, "unacknowledged, away", 2)
        await mortal.bridge.run()
        await last_word(p, "unacknowledged end")
        seen = await shown(p, room, "unacknowledged")
        assert seen == [*expected, (p.ghost, "unacknowledged end")]


async def test_a_bridge_whose_position_the_server_forgot_reads_by_time(
    mortal: Stack, prosody: Prosody
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        await mortal.bridge.kill()
        forget_archive(prosody, p.romeo)
        expected = await exchange(p, "forgotten", 3)
        await mortal.bridge.run()
        await last_word(p, "forgotten end")
        assert await shown(p, room, "forgotten") == [*expected, (p.ghost, "forgotten end")]
        assert "does not know the last position" in mortal.bridge.log.read_text()


def forget_archive(prosody: Prosody, jid: str) -> None:
    """Lose a user's archive, as when a server forgets what is old."""
    archive = prosody.config_file.parent / "data" / "localhost" / "archive"
    files = [path for path in archive.iterdir() if path.name.startswith(encoded(jid))]
    assert files
    for path in files:
        path.unlink()


def encoded(jid: str) -> str:
    """The user's part of a file name of Prosody's."""
    return jid.partition("@")[0].replace("-", "%2d") + "."


async def test_a_bridge_killed_right_after_it_sent_sends_nothing_twice(
    mortal: Stack, wire: Wire
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        wire.to_client = False
        await p.alice.send_text(room, "sent once")
        await p.juliet.wait_for_text("sent once", timeout=60)
        await mortal.bridge.kill()
        wire.cut()
        wire.mend()
        await mortal.bridge.run()
        await p.alice.send_text(room, "after")
        await p.juliet.wait_for_text("after", timeout=60)
        assert [r.body for r in p.juliet.received] == ["sent once", "after"]
        await last_word(p, "end")
        assert [s for s, body in await shown(p, room, "sent once")] == [p.alice.user_id]


async def test_a_bridge_killed_before_its_message_left_sends_it_once(
    mortal: Stack, wire: Wire
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        wire.to_server = False
        await p.alice.send_text(room, "sent at last")
        await asyncio.sleep(1)
        await mortal.bridge.kill()
        wire.cut()
        wire.mend()
        await mortal.bridge.run()
        await p.juliet.wait_for_text("sent at last", timeout=60)
        await p.alice.send_text(room, "after")
        await p.juliet.wait_for_text("after", timeout=60)
        assert [r.body for r in p.juliet.received] == ["sent at last", "after"]


async def test_a_connection_cut_right_after_a_send_doubles_nothing(
    mortal: Stack, wire: Wire
) -> None:
    async with pair(mortal) as p:
        room = await p.first_chat()
        for n in range(3):
            await last_word(p, f"connected {n}")
            wire.to_client = False
            await p.alice.send_text(room, f"cut {n}")
            await p.juliet.wait_for_text(f"cut {n}", timeout=60)
            wire.cut()
            wire.mend()
        await p.alice.send_text(room, "after")
        await p.juliet.wait_for_text("after", timeout=60)
        assert [r.body for r in p.juliet.received] == [*(f"cut {n}" for n in range(3)), "after"]
