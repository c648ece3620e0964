"""A private chat on a real XMPP server appears in Matrix as a DM, and both sides talk."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dm_bridge.ids import ContactId, GhostNamespace, NetworkName
from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.xmpp_client import XmppUser

_numbers = itertools.count(1)


@dataclass
class Pair:
    """Alice on Matrix, logged in as romeo; juliet on XMPP."""

    stack: Stack
    alice: MatrixUser
    management: str
    romeo: str
    juliet: XmppUser

    @property
    def ghost(self) -> str:
        namespace = GhostNamespace("_dm_", self.stack.synapse.domain)
        return namespace.user_id(NetworkName("xmpp"), ContactId(self.juliet.bare_jid))

    async def first_chat(self) -> str:
        """Juliet writes; the room that appears."""
        mark = self.alice.mark()
        self.juliet.send(self.romeo, "hello")
        seen = await self.alice.wait_for_text("hello", after=mark)
        return seen.room_id

    def by_ghost(self, text: str) -> Seen:
        return next(s for s in self.alice.seen if s.sender == self.ghost and s.body == text)


@asynccontextmanager
async def pair(stack: Stack) -> AsyncIterator[Pair]:
    """A fresh user with a login, and a contact."""
    number = f"{stack.synapse.domain.partition('.')[0]}n{next(_numbers)}"
    romeo = await stack.prosody.add_user(f"romeo-{number}", "secret-r")
    async with (
        stack.matrix_user(f"alice-{number}") as alice,
        stack.xmpp_user(f"juliet-{number}") as juliet,
    ):
        room = await stack.open_bot_chat(alice)
        await stack.log_in(alice, room, romeo, "secret-r")
        yield Pair(stack, alice, room, romeo, juliet)


async def test_a_message_from_a_contact_becomes_a_direct_room(stack: Stack) -> None:
    async with pair(stack) as p:
        before = await p.alice.m_direct() or {}
        room = await p.first_chat()
        invite = next(
            s
            for s in p.alice.seen
            if s.room_id == room
            and s.type == "m.room.member"
            and s.event.get("state_key") == p.alice.user_id
            and s.content.get("membership") == "invite"
        )
        assert invite.content["is_direct"] is True
        assert invite.sender == p.ghost
        create = await p.alice.state_content(room, "m.room.create")
        assert create["room_version"] == stack.synapse.domain[1:3]
        assert await p.alice.m_direct() == {**before, p.ghost: [room]}
