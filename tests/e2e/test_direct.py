"""What other clients, proxies and deaths do to m.direct, and what the bridge makes of it, on real servers.

A number in a name is the same case as in tests/direct/test_catalogue.py, where the engine alone meets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from dm_bridge.bridge.keeper_work import HASTY, quiet
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.between import Between, Forward, Hold
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import Pair, ghost_of, pair

FRIEND = "@friend:elsewhere.example"
FRIENDS_ROOM = "!friends:elsewhere.example"
_numbers = itertools.count(1)


@dataclass
class World:
    """A bridge of our own, and what stands between it and its homeserver."""

    stack: Stack
    between: Between


@pytest_asyncio.fixture(scope="module")
async def world(prosody: Prosody, workplace: Workplace) -> AsyncIterator[World]:
    """Shared: make users with names of your own; a bridge that was killed must run again."""
    stack = await Stack.start(
        workplace("direct"),
        prosody=prosody,
        domain="direct.localhost",
    )
    between = Between(stack.synapse.url)
    await between.start()
    await stack.bridge.stop()
    stack.bridge.configure({"homeserver": {"url": between.url}})
    await stack.bridge.run()
    yield World(stack, between)
    await stack.stop()
    await between.stop()


@dataclass
class Chats:
    """Alice with some chats; ``rooms``: by ghost. A friend's chat and the bot's are there, too."""

    world: World
    p: Pair
    rooms: dict[str, str]

    @property
    def alice(self) -> MatrixUser:
        return self.p.alice

    @property
    def puts(self) -> int:
        return self.world.between.puts(self.alice.user_id)

    @property
    def ghosts(self) -> list[str]:
        return list(self.rooms)

    async def direct(self) -> dict[str, Any]:
        return await self.alice.m_direct() or {}

    async def write(self, content: Mapping[str, object]) -> None:
        await self.alice.set_m_direct(content)

    async def write_seen(self, content: Mapping[str, object]) -> None:
        """`write`, and wait until the bridge has seen that, and rests."""
        shown = self.world.between.shown[self.alice.user_id]
        before = len(shown)
        await self.write(content)
        async with asyncio.timeout(60):
            while content not in map(json.loads, shown[before:]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await self.rests()

    async def open(self) -> str:
        """One more chat; its ghost."""
        contact = f"contact-{next(_numbers)}@{self.world.stack.prosody.domain}"
        await self.p.ask(f"start {contact}", "your chat")
        ghost = ghost_of(self.world.stack, contact)
        await until_direct(self.alice, lambda content: ghost in content)
        self.rooms[ghost] = (await self.direct())[ghost][0]
        return ghost

    async def becomes(self, expected: Mapping[str, object], within: float = 60) -> None:
        """Wait until m.direct is that, and stays so."""
        await until_direct(self.alice, lambda content: content == expected, within)
        await self.rests()
        assert await self.direct() == expected

    async def says(self, expected: str, within: float = 45) -> None:
        """Ask for the status until the bot says that."""
        answer = ""
        try:
            async with asyncio.timeout(within):
                while expected not in answer:
                    answer = await self.p.ask("direct", "Your direct chats")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise AssertionError(f"the bot said {answer}") from None

    async def rests(self, seconds: float = 1.0) -> None:
        """Wait until the bridge has asked nothing for so long."""
        before = -1
        while before != (before := self.world.between.asked(self.alice.user_id)):  # noqa: ASYNC110
            await asyncio.sleep(seconds)


async def until_direct(user: MatrixUser, condition: Any, within: float = 60) -> None:
    content: object = None
    try:
        async with asyncio.timeout(within):
            while not condition(content := await user.m_direct() or {}):  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"m.direct stayed {content}") from None


@asynccontextmanager
async def chats(world: World, number: int = 2) -> AsyncIterator[Chats]:
    """Alice with so many chats, everything at rest."""
    async with pair(world.stack) as p:
        chats = Chats(world, p, {})
        for _ in range(number):
            await chats.open()
        await chats.write_seen({**await chats.direct(), FRIEND: [FRIENDS_ROOM]})
        yield chats
        world.between.hooks.pop(p.alice.user_id, None)


async def test_1_a_lost_update_by_a_stale_writer_is_undone_for_everybody(world: World) -> None:
    async with chats(world, 1) as c:
        old = await c.direct()
        await c.open()
        await c.write_seen({**await c.direct(), "@new:x": ["!new"]})
        content = await c.direct()
        await c.write({**old, "@other:x": ["!other"]})
        await c.becomes({**content, "@other:x": ["!other"]})


@pytest.mark.parametrize("status", [502, 404, 429, 403])
async def test_2_and_32_what_is_no_answer_is_never_written_upon(world: World, status: int) -> None:
    async with chats(world, 1) as c:
        puts = c.puts

        async def refuse(method: str, forward: Forward) -> web.Response:
            if method != "GET":
                return await forward()
            html = "<html><body>no homeserver here</body></html>"
            return web.Response(status=status, text=html, content_type="text/html")

        world.between.hooks[c.alice.user_id] = refuse
        content = {FRIEND: [FRIENDS_ROOM], "@new:x": ["!new"]}
        await c.write(content)
        c.p.juliet.send(c.p.romeo, "hello")
        await c.p.alice.wait_for_text("hello", timeout=40)
        assert c.puts == puts
        assert await c.direct() == content
        del world.between.hooks[c.alice.user_id]
        await c.p.ask("direct repair", "I have")
        juliet = (await c.direct())[c.p.ghost]
        (ghost,) = c.ghosts
        assert await c.direct() == {
            **content, ghost: [c.rooms[ghost]], c.p.ghost: juliet,
        }  # fmt: skip


@pytest.mark.parametrize("status", [413, 429])
async def test_32_a_refused_write_is_told_and_made_when_it_is_accepted(
    world: World, status: int
) -> None:
    async with chats(world, 1) as c:
        content = await c.direct()

        async def refuse(method: str, forward: Forward) -> web.Response:
            if method == "GET":
                return await forward()
            code = "M_TOO_LARGE" if status == 413 else "M_LIMIT_EXCEEDED"
            return web.json_response({"errcode": code, "error": "no"}, status=status)

        world.between.hooks[c.alice.user_id] = refuse
        puts, began = c.puts, time.monotonic()
        c.p.juliet.send(c.p.romeo, "hello")
        await c.alice.wait_for_text("hello", timeout=40)
        await asyncio.sleep(2)
        assert 1 <= c.puts - puts <= 2 + time.monotonic() - began
        assert await c.direct() == content
        said = "more than the homeserver accepts" if status == 413 else "429"
        await c.p.ask("direct", said)
        del world.between.hooks[c.alice.user_id]
        await c.p.ask("direct repair", "I have")
        assert {**await c.direct(), c.p.ghost: 0} == {**content, c.p.ghost: 0}
        await c.p.ask("direct history", "I wrote the list.")


async def test_3_a_wipe_takes_nothing_of_ours(world: World) -> None:
    async with chats(world) as c:
        await c.write({"@new:x": ["!new"]})
        await until_direct(c.alice, lambda content: c.rooms.keys() <= content.keys())
        await c.rests()
        content = await c.direct()
        assert {ghost: [room] for ghost, room in c.rooms.items()}.items() <= content.items()
        assert content["@new:x"] == ["!new"]
        await c.says("2 marked")


async def test_4_what_the_user_unmarks_stays_so_when_a_stale_client_writes(world: World) -> None:
    async with chats(world, 3) as c:
        content = await c.direct()
        first, *_ = c.ghosts
        unmarked = {key: rooms for key, rooms in content.items() if key != first}
        await c.write_seen(unmarked)
        assert await c.direct() == unmarked
        await c.write({**content, "@stale:x": ["!stale"]})
        await c.becomes({**unmarked, "@stale:x": ["!stale"]})
        await c.says("1 opted out")
        await c.write({**unmarked, "@stale:x": ["!stale"], first: [c.rooms[first]]})
        await c.rests()
        await c.says("3 marked")


async def test_6_a_room_under_the_bots_key_comes_back_and_the_bots_own_stays(
    world: World,
) -> None:
    async with chats(world) as c:
        content = await c.direct()
        bot = world.stack.bot
        first = c.ghosts[0]
        moved = {**content, bot: [*content[bot], c.rooms[first]], first: []}
        await c.write(moved)
        await c.becomes(content)


async def test_7_a_room_under_several_keys_ends_under_its_ghost(world: World) -> None:
    async with chats(world) as c:
        content = await c.direct()
        room = c.rooms[c.ghosts[0]]
        bot = world.stack.bot
        await c.write(
            {**content, bot: [*content[bot], room], FRIEND: [FRIENDS_ROOM, room], "@z:x": [room]}
        )
        await c.becomes(content)


async def test_8_a_write_war_ends_and_its_room_is_shown_as_a_conflict(world: World) -> None:
    async with chats(world) as c:
        content = await c.direct()
        first = c.ghosts[0]
        bot = world.stack.bot
        moved = {**content, bot: [*content[bot], c.rooms[first]], first: []}
        puts = c.puts
        fighting = True

        async def fight() -> None:
            while fighting:
                if first in (now := await c.direct()) and now[first]:
                    await c.write(moved)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(fight())
        await asyncio.sleep(1)
        await c.rests(8)
        assert 2 <= c.puts - puts <= 12
        await c.says("1 in conflict")
        fighting = False
        await task
        await c.p.ask(f"direct mark {c.rooms[first]}", "I keep it so")
        await c.becomes(content)


async def test_9_and_12_order_and_duplicates_are_no_reason_to_write(world: World) -> None:
    async with chats(world) as c:
        content = await c.direct()
        puts = c.puts
        same = {key: [*rooms, *rooms] for key, rooms in reversed(content.items())}
        await c.write({**same, "@nobody:x": []})
        await c.rests()
        assert c.puts == puts
        ghost = await c.open()
        expected = {**same, "@nobody:x": [], ghost: [c.rooms[ghost]]}
        assert await c.direct() == expected


async def test_10_many_chats_at_once_are_a_handful_of_writes(world: World) -> None:
    async with pair(world.stack) as p, contextlib.AsyncExitStack() as online:
        contacts = [
            await online.enter_async_context(world.stack.xmpp_user(f"burst-{n}")) for n in range(25)
        ]
        mark, began = p.alice.mark(), time.monotonic()
        for contact in contacts:
            contact.send(p.romeo, f"hello from {contact.bare_jid}")
        for contact in contacts:
            await p.alice.wait_for_text(f"hello from {contact.bare_jid}", timeout=60, after=mark)
        ghosts = {ghost_of(world.stack, contact.bare_jid) for contact in contacts}
        await until_direct(p.alice, lambda content: ghosts <= content.keys())
        # One at once, a few in a hurry, and then only after some seconds without a new chat: see `Paces`.
        pauses = (time.monotonic() - began) / quiet(HASTY)
        assert world.between.puts(p.alice.user_id) <= HASTY + 1 + pauses


async def test_17_a_room_that_the_user_has_left_stays_marked_and_no_write_follows(
    world: World,
) -> None:
    async with pair(world.stack) as p:
        c = Chats(world, p, {})
        room = await p.first_chat()
        await c.rests()
        content = await c.direct()
        puts = c.puts
        await p.alice.leave(room)
        await p.alice.request("POST", f"v3/rooms/{room}/forget", {})
        await c.rests()
        assert await c.direct() == content
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "come back")
        assert (await p.alice.wait_for_text("come back", after=mark)).room_id == room
        await c.rests()
        assert (await c.direct(), c.puts) == (content, puts)


async def test_an_account_at_rest_is_never_written(world: World) -> None:
    async with chats(world) as c:
        puts = c.puts
        for _ in range(5):
            await c.p.ask("direct repair", "everything is as it should be")
        assert c.puts == puts


# -- deaths


@pytest.mark.parametrize(
    ("method", "after"),
    [("GET", True), ("PUT", False), ("PUT", True)],
    ids=["before it is recorded", "before the write", "after the write"],
)
async def test_30_a_killed_bridge_loses_nothing_of_anybodys(
    world: World, method: str, after: bool
) -> None:
    async with chats(world, 3) as c:
        content = await c.direct()
        hold = Hold(method, after=after)
        world.between.hooks[c.alice.user_id] = hold.hook
        c.p.juliet.send(c.p.romeo, "hello")
        async with asyncio.timeout(20):
            await hold.reached.wait()
        await world.stack.bridge.kill()
        del world.between.hooks[c.alice.user_id]
        first = c.ghosts[0]
        now = await c.direct()
        await c.write({**{k: v for k, v in now.items() if k != first}, "@new:x": ["!new"]})
        await world.stack.bridge.run()
        await until_direct(c.alice, lambda content: c.p.ghost in content, 40)
        await c.rests()
        expected = {key: rooms for key, rooms in content.items() if key != first}
        juliet = (await c.direct())[c.p.ghost]
        assert await c.direct() == {**expected, "@new:x": ["!new"], c.p.ghost: juliet}
        await c.says("3 marked, 1 opted out")
        assert await c.direct() == {**expected, "@new:x": ["!new"], c.p.ghost: juliet}


async def test_30_kills_at_any_moment_beside_other_clients_lose_nothing(world: World) -> None:
    rng = random.Random(3)
    async with chats(world, 3) as c:
        old = await c.direct()
        unmarked = c.ghosts[0]
        for turn in range(4):
            contact = f"mortal-{turn}@{world.stack.prosody.domain}"
            await c.alice.send_text(c.p.management, f"start {contact}")
            await asyncio.sleep(rng.uniform(0.1, 0.8))
            await world.stack.bridge.kill()
            await world.between.done()  # what arrives after another client's write replaces it
            now = await c.direct()
            if turn == 1:
                now.pop(unmarked, None)
            await c.write({**now, f"@friend{turn}:x": [f"!friend{turn}"]})
            await world.stack.bridge.run()
            ghost = ghost_of(world.stack, contact)
            await until_direct(c.alice, lambda content, ghost=ghost: ghost in content, 40)
            c.rooms[ghost] = (await c.direct())[ghost][0]
        await c.says("6 marked, 1 opted out")
        await c.rests()
        expected = {
            **old,
            **{ghost: [room] for ghost, room in c.rooms.items()},
            **{f"@friend{turn}:x": [f"!friend{turn}"] for turn in range(4)},
        }
        del expected[unmarked]
        assert await c.direct() == expected
        await c.write({**old, "@stale:x": ["!stale"]})
        await c.becomes({**expected, "@stale:x": ["!stale"]})


async def test_31_a_document_from_a_backup_is_put_right(world: World) -> None:
    async with chats(world, 1) as c:
        backup = await c.direct()
        await c.open()
        await c.open()
        await c.write_seen({**await c.direct(), "@new:x": ["!new"]})
        content = await c.direct()
        await c.write(backup)
        await c.becomes(content)
        await c.p.ask("direct history", "as after a restored backup")
