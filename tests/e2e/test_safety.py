"""Admins, limits, and a user who leaves for good, on real servers and two processes on one database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from dm_bridge.errors import AdminError
from dm_bridge.testing.balancer import Balancer
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack
from tests.e2e.conftest import SHARED_SECRET, Workplace
from tests.e2e.pairs import PASSWORD, Pair, as_appservice, ask, ghost_direct, pair, unique, within
from tests.e2e.provisioning_client import Api, step_path
from tests.e2e.test_spaces import space_on

LEASE = 4.0
ADMIN = "overseer"


@dataclass
class World:
    """Two processes; ``admin`` and their room with the bot. ``url``: the database."""

    stack: Stack
    other: Bridge
    url: str
    admin: MatrixUser
    room: str

    async def command(self, command: str, expected: str) -> str:
        """The admin writes to the bot, and waits for an answer."""
        return await ask(self.admin, self.stack.bot, self.room, command, expected)

    async def holder(self, user: str) -> str | None:
        """Which process has a user."""
        connection = await asyncpg.connect(self.url)
        try:
            holder: str | None = await connection.fetchval(
                "SELECT holder FROM share WHERE user_id = $1", user
            )
            return holder
        finally:
            await connection.close()

    async def mentions(self, *words: str) -> list[str]:
        """Every row of every table in which one of these words is."""
        connection = await asyncpg.connect(self.url)
        try:
            tables = await connection.fetch(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            )
            found = []
            for (name,) in tables:
                for row in await connection.fetch(f"SELECT * FROM {name}"):  # noqa: S608
                    values = [
                        v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in row
                    ]
                    found += [f"{name}: {v}" for v in values if any(word in v for word in words)]
            return found
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module")
async def world(prosody: Prosody, postgres: str, workplace: Workplace) -> AsyncIterator[World]:
    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE DATABASE safety")
    await connection.close()
    url = postgres.replace("/postgres?", "/safety?")
    domain = "safety.localhost"
    async with Balancer() as balancer, AsyncExitStack() as users:

        def begin_with(bridge: Bridge) -> dict[str, object]:
            balancer.backends = (bridge.port,)
            return {}

        stack = await Stack.start(
            workplace("safety"),
            prosody=prosody,
            domain=domain,
            config={
                "appservice": {"url": balancer.url},
                "database": {"url": url},
                "permissions": {
                    domain: {"level": "user", "max_logins": 1},
                    f"@{ADMIN}:{domain}": {"level": "admin", "max_logins": 5},
                },
                "processes": {"lease_seconds": LEASE},
                "provisioning": {"shared_secret": SHARED_SECRET},
                "limits": {"login_failures": 3},
            },
            synapse_config=begin_with,
        )
        other = stack.bridge.beside("other")
        try:
            await other.run()
            balancer.backends = (stack.bridge.port, other.port)
            admin = await users.enter_async_context(stack.matrix_user(ADMIN))
            yield World(stack, other, url, admin, await stack.open_bot_chat(admin))
        finally:
            await users.aclose()
            with suppress(ProcessLookupError):
                await other.stop()
            await stack.stop()


@pytest_asyncio.fixture
async def two(world: World) -> AsyncIterator[tuple[Pair, Pair]]:
    """Two users with logins, whom different processes have."""
    async with pair(world.stack) as first, pair(world.stack) as second:

        async def shared() -> bool:
            holders = {await world.holder(each.alice.user_id) for each in (first, second)}
            return len(holders) == 2 and None not in holders

        await within(60, shared)
        yield first, second
        for each in (first, second):  # so that those of the next test are shared evenly, too
            await Api(world.stack.bridge, each.alice.token).post("logout/all")


async def test_an_admin_sees_stops_and_allows_users_of_any_process(
    world: World, two: tuple[Pair, Pair]
) -> None:
    listed = await world.command("admin users", "logins of")
    for one in two:
        user = one.alice.user_id
        assert user in listed
        assert "connected" in await world.command(f"admin user {user}", one.romeo)
        mark = one.alice.mark()
        assert "They were told" in await world.command(
            f"admin stop {user} Too much noise.", "stopped"
        )
        await one.alice.wait_for(lambda s: "Too much noise" in (s.body or ""), after=mark)
        await one.ask("logins", "stopped your logins")
        await one.ask("login xmpp", "⚠")
        status, refused = await Api(world.other, one.alice.token).ask("POST", "login/start/xmpp")
        assert (status, refused["errcode"]) == (403, "M_FORBIDDEN")
        assert "may go on" in await world.command(f"admin allow {user}", user)

        async def connected(one: Pair = one) -> bool:
            return "connected" in await one.ask("ping", "Pong")

        await within(60, connected)
        mark = one.alice.mark()
        assert one.romeo in await world.command(f"admin logout {user}", "logged out of")
        await one.alice.wait_for(lambda s: "has logged you out" in (s.body or ""), after=mark)
    log = await world.command("admin audit", "logout")
    assert log.count("stopped") >= 2
    assert "to Matrix: 0 waiting" in await world.command("admin queue", "waiting")
    printed = await world.stack.bridge.command(
        "audit", "-c", str(world.stack.bridge.config_path), "--json", "--user", two[0].alice.user_id
    )
    acts = [(e["act"], e["actor"]) for e in json.loads(printed)["entries"]]
    assert ("login", two[0].alice.user_id) in acts
    assert ("logout", world.admin.user_id) in acts


async def test_others_find_no_door_to_what_is_for_admins_or_for_somebody_else(
    world: World, two: tuple[Pair, Pair]
) -> None:
    mallory, victim = two
    user = victim.alice.user_id
    for command in ("admin users", f"admin logout {user}", f"admin erase {user} DELETE", "admin"):
        assert "I do not know this command" in await mallory.ask(command, "I do not know")
    assert "`admin`" not in await mallory.ask("help", "You can write")
    assert "`admin`" in await world.command("help", "You can write")
    await mallory.ask(f"delete-my-data {user}", "This would delete all that I store about you")
    await mallory.ask("delete", "nothing is deleted")  # not the word
    # operations of admins are none of the API, and no name of one gets there
    for bridge in (world.stack.bridge, world.other):
        for token in (mallory.alice.token, SHARED_SECRET):
            api = Api(bridge, token, mallory.alice.user_id if token == SHARED_SECRET else "")
            for path in ("deed.logout", "deed.describe", "data/erase", "admin"):
                assert (await api.ask("POST", path))[0] == 404
        status, _ = await Api(bridge, mallory.alice.token, user).ask("GET", "logins")
        assert status == 401
    await victim.ask("ping", "connected")
    mark = mallory.alice.mark()
    await mallory.alice.send_text(mallory.management, "export-my-data")
    file = await mallory.alice.wait_for(lambda s: s.content.get("msgtype") == "m.file", after=mark)
    raw, _ = await mallory.alice.download(file.content["url"])
    told = json.loads(raw)
    assert told["user_id"] == mallory.alice.user_id
    assert [row["remote"] for row in told["tables"]["login"]] == [mallory.romeo]
    for secret in (user, victim.romeo, PASSWORD):
        assert secret.encode() not in raw


async def test_a_maximum_holds_at_every_door_and_nobodys_password_is_guessed(
    world: World, two: tuple[Pair, Pair]
) -> None:
    one = two[0]
    number = unique(world.stack)
    more = await world.stack.prosody.add_user(f"more-{number}", PASSWORD)
    answer = await one.ask(f"login xmpp {more} {PASSWORD}", "⚠")
    assert "1 login at most" in answer
    api = Api(world.other, one.alice.token)
    step = await api.post("login/start/xmpp")
    status, refused = await api.ask("POST", step_path(step), {"jid": more, "password": PASSWORD})
    assert (status, refused["errcode"]) == (403, "M_FORBIDDEN")
    await one.ask(f"login xmpp {one.romeo} {PASSWORD}", "You are logged in")  # made anew
    for _ in range(2):
        assert "does not accept" in await one.ask(f"login xmpp {more} wrong", "⚠")
    step = await api.post("login/start/xmpp")
    assert (await api.ask("POST", step_path(step), {"jid": more, "password": "bad"}))[0] == 403
    step = await api.post("login/start/xmpp")
    status, refused = await api.ask("POST", step_path(step), {"jid": more, "password": PASSWORD})
    assert (status, refused["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert "possible in" in await one.ask(
        f"login xmpp {more} {PASSWORD}", "⚠ Logins to this account"
    )


@pytest.mark.parametrize("by", ["oneself", "admin", "command line"])
async def test_who_leaves_for_good_was_never_there(
    world: World, two: tuple[Pair, Pair], by: str
) -> None:
    one, witness = two if by == "oneself" else (two[1], two[0])
    user, stack = one.alice.user_id, world.stack
    room = await one.first_chat()
    space = await space_on(one)
    # a contact of both stays as it is for the other one
    mark = witness.alice.mark()
    one.juliet.send(witness.romeo, "hello nurse")
    shared = (await witness.alice.wait_for_text("hello nurse", after=mark)).room_id
    ghost = one.ghost
    await within(60, lambda: _direct(one.alice, ghost, room, there=True))
    mark = one.alice.mark()
    if by == "oneself":
        await one.ask("delete-my-data", "write `DELETE`")
        await one.alice.send_text(one.management, "DELETE")
    elif by == "admin":
        await world.command(f"admin erase {user}", "cannot be undone")
        await world.command(f"admin erase {user} DELETE", "is being deleted")
    else:
        config = str(stack.bridge.config_path)
        said = await stack.bridge.command("user", "erase", user, "-c", config, "--yes", "--json")
        assert json.loads(said)["erased"] is True
    await one.alice.wait_for(
        lambda s: "All that I knew about you is deleted" in (s.body or ""), after=mark
    )

    async def gone() -> bool:
        return not await world.mentions(user, one.romeo, room, one.management)

    with suppress(TimeoutError):
        await within(60, gone)
    assert await world.mentions(user, one.romeo, room, one.management) == []
    await within(60, lambda: _direct(one.alice, ghost, room, there=False))
    assert room not in ((await ghost_direct(stack, ghost)).get(user) or [])
    assert space not in (await as_appservice(stack, stack.bot, "v3/joined_rooms"))["joined_rooms"]
    assert space not in await one.alice.joined_rooms()
    for left in (room, one.management):
        members = {
            e["state_key"]: e["content"]["membership"]
            for e in await one.alice.state(left)
            if e["type"] == "m.room.member"
        }
        assert [who for who, how in members.items() if how == "join"] == [user]
    rules = await one.alice.request("GET", "v3/pushrules/")
    assert "org.dm_bridge" not in json.dumps(rules)
    # the session is closed, and the log has no name
    mark = witness.alice.mark()
    one.juliet.send(witness.romeo, "still here")
    await witness.alice.wait_for_text("still here", after=mark)
    assert shared in ((await witness.alice.m_direct()) or {}).get(ghost, [])
    assert "erased" in await stack.bridge.command(
        "audit", "-c", str(stack.bridge.config_path), "--user", user
    )
    # and they can begin anew
    again = await stack.open_bot_chat(one.alice)
    await ask(one.alice, stack.bot, again, "logins", "You have no logins")
    await stack.log_in(one.alice, again, one.romeo, PASSWORD)
    mark = one.alice.mark()
    one.juliet.send(one.romeo, "welcome back")
    assert (await one.alice.wait_for_text("welcome back", after=mark)).room_id != room


async def test_an_erasure_that_a_process_does_not_survive_is_done_by_another(
    world: World, two: tuple[Pair, Pair]
) -> None:
    one = two[0]
    user = one.alice.user_id
    await one.first_chat()
    bridges = {await _name(world, world.stack.bridge): world.stack.bridge}
    holder = bridges.get(await world.holder(user) or "", world.other)
    await one.ask("delete-my-data", "write `DELETE`")
    await one.ask("DELETE", "I am deleting it")
    await holder.kill()

    async def gone() -> bool:
        return not await world.mentions(user, one.romeo)

    try:
        await within(60, gone)
    finally:
        await holder.run()


async def _name(world: World, bridge: Bridge) -> str:
    """What a process is called in the database: by its process id."""
    connection = await asyncpg.connect(world.url)
    try:
        rows = await connection.fetch("SELECT instance_id, process FROM instance")
    finally:
        await connection.close()
    return next(
        str(row["instance_id"]) for row in rows if row["process"].split()[0] == str(bridge.pid)
    )


async def _direct(user: MatrixUser, ghost: str, room: str, *, there: bool) -> bool:
    return (room in ((await user.m_direct()) or {}).get(ghost, [])) is there


async def test_who_writes_too_much_is_told_once_and_then_passed_over(world: World) -> None:
    stack = world.stack
    async with stack.matrix_user(f"loop-{unique(stack)}") as loop:
        room = await stack.open_bot_chat(loop)
        mark, began = loop.mark(), time.monotonic()
        told = asyncio.create_task(
            loop.wait_for(
                lambda s: "I answer 30 messages in a minute" in (s.body or ""), after=mark
            )
        )
        while not told.done():
            await loop.send_text(room, "ping")
        await told
        answered = 30 + (time.monotonic() - began) / 2  # one more every other second
        await loop.send_text(room, "ping")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{stack.bridge.url}/health/ready") as ready,
        ):
            assert ready.status == 200
        said = [
            s.body or "" for s in loop.seen[mark:] if s.room_id == room and s.sender == stack.bot
        ]
        assert 30 <= len([text for text in said if "Pong" in text]) <= answered
        assert len([text for text in said if "I answer 30" in text]) == 1
    with pytest.raises(AdminError):
        await stack.bridge.command(
            "user", "erase", "@nobody:x", "-c", str(stack.bridge.config_path), "--yes"
        )
