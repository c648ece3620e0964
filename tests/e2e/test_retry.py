"""A message that was not delivered, as its author sees it: told, tried again, and told how that ended.

And as a collector of reports does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest_asyncio

from dm_bridge.testing.matrix_client import Seen
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from dm_bridge.texts import phrase
from tests.bridge.collector import Collector
from tests.bridge.fakes import until
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import Pair, pair
from tests.wire import Wire


@pytest_asyncio.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    """Is told of messages and logins."""
    collector = Collector()
    await collector.server.start_server()
    yield collector
    await collector.server.close()


@pytest_asyncio.fixture(scope="module")
async def stack(
    prosody: Prosody, wire: Wire, collector: Collector, workplace: Workplace
) -> AsyncIterator[Stack]:
    """A bridge of our own, whose connections go through the wire, and which soon gives up."""
    xmpp = {
        "servers": {prosody.domain: {"port": wire.port}},
        "send_timeout": 3,
        "send_wait": 2,
        "retry_min": 0.1,
        "retry_max": 0.5,
    }
    reports = str(collector.server.make_url("/reports"))
    stack = await Stack.start(
        workplace("retry"),
        prosody=prosody,
        domain="retry.localhost",
        config={
            "networks": {"xmpp": xmpp},
            "delivery": {"expire_hours": 0.01},
            "reports": {"checkpoints_url": reports, "states_url": reports},
        },
    )
    yield stack
    await stack.stop()


async def told(p: Pair, event: str, words: str, *, after: int) -> Seen:
    """The notice in reply to an event, with these words in it."""
    return await p.alice.wait_for(
        lambda s: (
            s.content.get("m.relates_to", {}).get("m.in_reply_to") == {"event_id": event}
            and words in (s.body or "")
        ),
        timeout=90,
        after=after,
    )


async def changed(p: Pair, notice: Seen, text: str, *, after: int) -> None:
    """The notice says something else now."""
    await p.alice.wait_for(
        lambda s: (
            s.content.get("m.relates_to")
            == {"rel_type": "m.replace", "event_id": notice.event["event_id"]}
            and s.content["m.new_content"]["body"] == text
        ),
        timeout=60,
        after=after,
    )


async def arrived(p: Pair, room: str, texts: list[str]) -> None:
    """Exactly these have reached the contact, and another one after them."""
    await p.alice.send_text(room, "after")
    await p.juliet.wait_for_text("after", timeout=60)
    assert [received.body for received in p.juliet.received] == [*texts, "after"]


def checkpoints(collector: Collector, event: str) -> list[tuple[str, str]]:
    """What was reported of an event, in order."""
    return [
        (report["step"], report["status"])
        for body in collector.got
        for report in body.get("checkpoints", [])
        if report["event_id"] == event
    ]


def states(collector: Collector, jid: str) -> list[str]:
    """What was reported of a login, in order."""
    return [body["state_event"] for body in collector.got if body.get("remote_id") == jid]


async def test_a_message_that_failed_is_listed_tried_again_and_told_to_have_arrived(
    stack: Stack, wire: Wire, collector: Collector
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        assert "can be tried again" in await p.ask("retry", "Nothing")
        mark = p.alice.mark()
        wire.up = False
        wire.cut()
        event = await p.alice.send_text(room, "But soft")
        wait = await told(p, event, "not delivered yet", after=mark)
        notice = await told(p, event, "was not delivered", after=mark)
        assert "To try again, send the bridge's bot `retry`." in (notice.body or "")
        await p.alice.wait_for(
            lambda s: (
                s.type == "m.room.redaction" and s.content["redacts"] == wait.event["event_id"]
            ),
            after=mark,
        )
        wire.mend()
        listed = await p.ask("retry", "messages of yours")
        assert f"to `{p.juliet.bare_jid}`" in listed
        assert "“But soft”" in listed
        assert "may have arrived" not in listed
        mark = p.alice.mark()
        await p.ask("retry all", "I try it again")
        await p.juliet.wait_for_text("But soft", timeout=60)
        await changed(p, notice, phrase("delivery-done"), after=mark)
        await arrived(p, room, ["But soft"])
        remote = ["WILL_RETRY", "TIMEOUT", "SUCCESS"]
        expected = [("BRIDGE", "SUCCESS"), *(("REMOTE", status) for status in remote)]
        await until(lambda: checkpoints(collector, event) == expected)
        assert "CONNECTED" in states(collector, p.romeo)
        assert "TRANSIENT_DISCONNECT" in states(collector, p.romeo)
        assert states(collector, p.romeo)[-1] == "CONNECTED"
        assert "can be tried again" in await p.ask("retry", "Nothing")


async def test_a_message_that_may_have_arrived_is_looked_for_before_it_is_sent_again(
    stack: Stack, wire: Wire
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        wire.to_client = False
        event = await p.alice.send_text(room, "It is the east")
        await p.juliet.wait_for_text("It is the east", timeout=60)
        notice = await told(p, event, "may not have been delivered", after=mark)
        wire.cut()
        wire.mend()
        listed = await p.ask("retry", "(it may have arrived)")
        number = listed.partition("- `")[2].partition("`")[0]
        mark = p.alice.mark()
        assert "send nothing twice" in await p.ask(f"retry {number}", "I try it again")
        await changed(p, notice, phrase("delivery-done"), after=mark)
        await arrived(p, room, ["It is the east"])


async def test_a_notice_follows_what_an_admin_drops_beside_the_running_bridge(
    stack: Stack, wire: Wire
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        wire.up = False
        wire.cut()
        event = await p.alice.send_text(room, "never mind")
        wait = await told(p, event, "not delivered yet", after=mark)
        config = str(stack.bridge.config_path)
        listed = json.loads(
            await stack.bridge.command(
                "queue", "list", "-c", config, "--json", "--state", "waiting"
            )
        )
        (row,) = [row["id"] for row in listed["rows"] if row["room"] == room]
        await stack.bridge.command("queue", "drop", row, "-c", config, "--yes")
        await changed(p, wait, phrase("delivery-given-up"), after=mark)
        wire.mend()
        await arrived(p, room, [])
