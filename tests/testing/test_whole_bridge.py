"""The whole bridge in memory: quick enough for every test, and the real thing between its two ends."""

from __future__ import annotations

import time

from dm_bridge.ids import ContactId
from dm_bridge.testing.fake_network import FakeNetwork, FakeNetworkServer
from dm_bridge.testing.whole_bridge import WholeBridge

ROMEO = ContactId("romeo@net")


async def test_a_user_logs_in_with_the_bot_and_talks_both_ways() -> None:
    server = FakeNetworkServer(time.time)
    account = server.account("alice@net")
    async with WholeBridge(FakeNetwork(server)) as bridge:
        alice = bridge.user("alice")
        await alice.log_in({"address": "alice@net", "password": "sesame"})
        began = time.monotonic()
        server.say(account, ROMEO, "Hello!", "r1")
        room = await alice.chat_with(ROMEO)
        assert alice.direct == {bridge.ghost(ROMEO): [room]}
        await bridge.until(
            lambda: (bridge.ghost(ROMEO), "Hello!") in alice.sees(room), "the message is there"
        )
        alice.say(room, "Good evening.")
        await bridge.until(
            lambda: any(stanza.body == "Good evening." for stanza in account.archive),
            "the message is sent",
        )
        assert time.monotonic() - began < 10


async def test_a_bridge_that_is_killed_goes_on_where_it_was() -> None:
    server = FakeNetworkServer(time.time)
    account = server.account("alice@net")
    async with WholeBridge(FakeNetwork(server)) as bridge:
        alice = bridge.user("alice")
        await alice.log_in({"address": "alice@net", "password": "sesame"})
        for number in range(5):
            server.say(account, ROMEO, f"number {number}", f"r{number}")
            await bridge.kill()
        room = await alice.chat_with(ROMEO)
        expected = [(bridge.ghost(ROMEO), f"number {number}") for number in range(5)]
        await bridge.until(lambda: len(alice.sees(room)) >= 5, "five messages")
        assert alice.sees(room) == expected
