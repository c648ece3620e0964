"""Alice, who has a login, and juliet, her contact: what most of these tests begin with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from dm_bridge.ids import ContactId, GhostNamespace, NetworkName
from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.xmpp_client import XmppUser

PASSWORD = "correct horse"
_numbers = itertools.count(1)


def unique(stack: Stack) -> str:
    """A part of a name that nobody else uses on these servers."""
    return f"{stack.synapse.domain.partition('.')[0]}n{next(_numbers)}"


def ghost_of(stack: Stack, jid: str) -> str:
    """The ghost's user id."""
    namespace = GhostNamespace("_dm_", stack.synapse.domain)
    return namespace.user_id(NetworkName("xmpp"), ContactId(jid))


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
        """Juliet's ghost."""
        return ghost_of(self.stack, self.juliet.bare_jid)

    async def first_chat(self) -> str:
        """Juliet writes; the room that appears."""
        mark = self.alice.mark()
        self.juliet.send(self.romeo, "hello")
        return (await self.alice.wait_for_text("hello", after=mark)).room_id

    async def ask(self, command: str, expected: str) -> str:
        """Write to the bot, and wait for an answer that contains ``expected``."""
        return await ask(self.alice, self.stack.bot, self.management, command, expected)

    async def told(self) -> None:
        """Return once the bridge has been told of all that happened so far: homeservers push in order."""
        await self.ask("ping", "Pong")

    def elsewhere(self) -> XmppUser:
        """Romeo with another client; not connected yet."""
        server = self.stack.prosody
        return XmppUser(
            f"{self.romeo}/phone", PASSWORD, server.host, server.port, tls=server.tls, carbons=True
        )


async def ask(user: MatrixUser, bot: str, room: str, command: str, expected: str) -> str:
    """Write to the bot, and wait for an answer that contains ``expected``; the answer."""
    mark = user.mark()
    await user.send_text(room, command)
    seen = await user.wait_for(
        lambda s: s.room_id == room and s.sender == bot and expected in (s.body or ""),
        timeout=45,
        after=mark,
    )
    return seen.body or ""


@asynccontextmanager
async def pair(stack: Stack) -> AsyncIterator[Pair]:
    """A fresh user with a login, and a contact."""
    number = unique(stack)
    romeo = await stack.prosody.add_user(f"romeo-{number}", PASSWORD)
    async with (
        stack.matrix_user(f"alice-{number}") as alice,
        stack.xmpp_user(f"juliet-{number}") as juliet,
    ):
        room = await stack.open_bot_chat(alice)
        await stack.log_in(alice, room, romeo, PASSWORD)
        yield Pair(stack, alice, room, romeo, juliet)


async def within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once ``condition`` holds; fail when that takes longer."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.05)


def invite_of(user: MatrixUser, room: str) -> Seen:
    """The latest invite of ``user`` to ``room``, as it stands in the timeline or was first shown."""
    return [
        s
        for s in user.seen
        if s.room_id == room
        and s.type == "m.room.member"
        and s.event.get("state_key") == user.user_id
        and s.content.get("membership") == "invite"
    ][-1]


async def as_appservice(stack: Stack, user: str, path: str) -> Any:
    """GET ``path`` (after ``/_matrix/client/``) as one of the bridge's own users."""
    token = stack.bridge.config()["appservice"]["as_token"]
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{stack.synapse.url}/_matrix/client/{path}",
            params={"user_id": user},
            headers={"Authorization": f"Bearer {token}"},
        ) as response,
    ):
        return await response.json()


async def ghost_direct(stack: Stack, ghost: str) -> Any:
    """The ghost's own m.direct."""
    return await as_appservice(stack, ghost, f"v3/user/{quote(ghost)}/account_data/m.direct")
