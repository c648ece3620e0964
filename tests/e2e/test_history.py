"""A first login brings over what was written before it: quietly, in order, and once, also after a kill."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archived
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import PASSWORD, ask, ghost_of, unique, within

CHATS = 10
EACH = 6
CONTACT = "contact-{}@localhost"
_syncs = itertools.count(1)
MARK = "org.dm_bridge.history"


@pytest_asyncio.fixture(scope="module")
async def mortal(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge of our own to kill."""
    stack = await Stack.start(
        workplace("history"),
        prosody=prosody,
        domain="history.localhost",
        config={"history": {"conversations": CHATS, "messages": EACH}},
    )
    yield stack
    await stack.stop()


def written(begin: int) -> list[Archived]:
    """A record of one chat too many, with two messages too many each; the chats by turns."""
    said = []
    for n in range(EACH + 2):
        for chat in range(CHATS + 1):
            from_self, at = n % 3 == 1, begin + n * 100 + chat
            said.append(Archived(CONTACT.format(chat), f"{chat}: {n}", from_self, at))
    return said


async def rooms_by_contact(stack: Stack, alice: MatrixUser) -> dict[str, str]:
    """The rooms that alice has with contacts, by what m.direct says."""
    document = await alice.m_direct() or {}
    ghosts = {ghost_of(stack, CONTACT.format(chat)): CONTACT.format(chat) for chat in range(50)}
    return {ghosts[ghost]: rooms[0] for ghost, rooms in document.items() if ghost in ghosts}


async def shown(alice: MatrixUser, room: str) -> list[tuple[str, str, int]]:
    """Sender, text and time of the messages of a room, in order."""
    return [
        (event["sender"], event["content"]["body"], event["origin_server_ts"] // 1000)
        for event in await alice.messages(room)
        if event["type"] == "m.room.message" and "body" in event["content"]
    ]


def expected(stack: Stack, alice: MatrixUser, said: list[Archived], contact: str) -> list[Any]:
    """The last messages of a chat, as they are to be shown."""
    ghost = ghost_of(stack, contact)
    own = [each for each in said if each.contact == contact][-EACH:]
    return [(alice.user_id if each.from_self else ghost, each.body, each.at) for each in own]


async def unread(alice: MatrixUser) -> dict[str, int]:
    """Rooms with notifications, as a client that has just been opened counts them."""
    anew = json.dumps(
        {"room": {"timeline": {"limit": next(_syncs)}}}
    )  # the same is answered from a cache
    answer = await alice.request("GET", "v3/sync", query={"timeout": "0", "filter": anew})
    counts = {
        room: joined["unread_notifications"]["notification_count"]
        for room, joined in answer["rooms"]["join"].items()
    }
    return {room: count for room, count in counts.items() if count}


async def test_a_first_login_brings_over_the_last_messages_of_the_last_chats(
    mortal: Stack,
) -> None:
    number = unique(mortal)
    romeo = await mortal.prosody.add_user(f"romeo-{number}", PASSWORD)
    said = written(int(time.time()) - 100_000)
    assert isinstance(mortal.prosody, Prosody)
    mortal.prosody.write_archive(romeo, said)
    async with mortal.matrix_user(f"alice-{number}") as alice:
        management = await mortal.open_bot_chat(alice)
        begin = alice.mark()
        await mortal.log_in(alice, management, romeo, PASSWORD)
        await alice.wait_for(lambda s: (s.body or "").startswith("I bring over your last chats"))
        await alice.wait_for(lambda s: MARK in s.content)
        await mortal.bridge.kill()
        await mortal.bridge.run()
        done = await alice.wait_for(lambda s: (s.body or "").startswith("I have brought over"))
        assert f"10 chats of `{romeo}`, with 60 messages." in (done.body or "")
        rooms = await rooms_by_contact(mortal, alice)
        assert sorted(rooms) == sorted(CONTACT.format(chat) for chat in range(1, CHATS + 1))
        for contact, room in rooms.items():
            assert await shown(alice, room) == expected(mortal, alice, said, contact)
        documents = [s.content for s in alice.seen[begin:] if s.type == "m.direct"]
        assert [d for d in documents if set(d) - {mortal.bot}] == [await alice.m_direct()]

        # quietly, and read
        assert (await alice.request("GET", "v3/notifications"))["notifications"] == []
        assert await unread(alice) == {}
        rules = await alice.request("GET", "v3/pushrules/")
        assert not [r for r in rules["global"]["override"] if r["rule_id"].startswith(MARK)]
        some = rooms[CONTACT.format(3)]

        async def marked() -> bool:
            path = f"v3/user/{alice.user_id}/rooms/{some}/account_data/m.fully_read"
            return bool((await alice.request("GET", path))["event_id"])

        await within(20, marked)

        # what is new comes after it, and is heard
        contact = CONTACT.format(3).partition("@")[0]
        await mortal.prosody.add_user(contact, PASSWORD)
        async with mortal.xmpp_user(f"{contact}x") as stranger:
            stranger.send(romeo, "hello there")
            new = await alice.wait_for_text("hello there")
            assert MARK not in new.content
            assert await unread(alice) == {new.room_id: 1}

        # older ones on request
        answer = await ask(
            alice, mortal.bot, management, f"history {CONTACT.format(3)} 5", "older messages"
        )
        assert "2 older messages" in answer
        root = await alice.wait_for(
            lambda s: s.room_id == some and "Older messages" in (s.body or "")
        )
        thread = [s for s in alice.seen if s.content.get("m.relates_to", {}).get("rel_type")]
        async with asyncio.timeout(30):
            while len(thread) < 2:
                await asyncio.sleep(0.05)
                thread = [
                    s for s in alice.seen if s.content.get("m.relates_to", {}).get("rel_type")
                ]
        assert [s.body for s in thread] == ["3: 0", "3: 1"]
        assert {s.content["m.relates_to"]["event_id"] for s in thread} == {root.event["event_id"]}
        assert set(await unread(alice)) == {new.room_id}
