"""Several processes of the bridge on one database, behind one address."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest_asyncio

from dm_bridge.testing.balancer import Balancer
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import PASSWORD, Pair, pair, within
from tests.e2e.provisioning_client import Api, step_path

LEASE = 4.0


@dataclass
class Two:
    """``stack.bridge`` and ``other``: two processes; ``pairs``: users, whichever has them."""

    stack: Stack
    other: Bridge
    pairs: list[Pair]
    rooms: list[str]

    async def users(self, bridge: Bridge) -> int:
        """How many logins a process has; -1 while it does not answer."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{bridge.url}/metrics") as answer,
            ):
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:
            return -1
        return sum(int(float(x.split()[-1])) for x in lines if x.startswith("dm_bridge_logins{"))

    async def shared(self, first: int, second: int) -> None:
        """Return once the two processes have so many logins."""
        await within(
            4 * LEASE,
            lambda: self._have({self.stack.bridge: first, self.other: second}),
        )

    async def one_has_all(self, bridge: Bridge) -> None:
        """Return once one process has all logins."""
        await within(4 * LEASE, lambda: self._have({bridge: len(self.pairs)}))

    async def _have(self, logins: Mapping[Bridge, int]) -> bool:
        return [await self.users(bridge) for bridge in logins] == list(logins.values())


@pytest_asyncio.fixture(scope="module")
async def two(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Two]:
    async with Balancer() as balancer, AsyncExitStack() as users:

        def begin_with(bridge: Bridge) -> dict[str, object]:
            balancer.backends = (bridge.port,)
            return {}

        stack = await Stack.start(
            workplace("two"),
            prosody=prosody,
            domain="two.localhost",
            config={
                "appservice": {"url": balancer.url},
                "processes": {"lease_seconds": LEASE},
                "logging": {"level": "debug"},
            },
            synapse_config=begin_with,
        )
        other = stack.bridge.beside("other")
        balancer.backends = (stack.bridge.port, other.port)
        try:
            pairs = [await users.enter_async_context(pair(stack)) for _ in range(4)]
            rooms = [await p.first_chat() for p in pairs]
            await other.run()
            world = Two(stack, other, pairs, rooms)
            await world.shared(2, 2)
            yield world
        finally:
            await users.aclose()
            with contextlib.suppress(ProcessLookupError):
                await other.stop()
            await stack.stop()


class Load:
    """Numbered messages both ways in every chat, until `stop`; then `check`."""

    def __init__(self, two: Two, name: str) -> None:
        self._two = two
        self._name = name
        self._marks = [p.alice.mark() for p in two.pairs]
        self._received = [p.juliet.mark() for p in two.pairs]
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._write())
        self.sent = 0

    async def _write(self) -> None:
        while not self._stopped.is_set():
            for p, room in zip(self._two.pairs, self._two.rooms, strict=True):
                p.juliet.send(p.romeo, f"{self._name} in {self.sent}")
                await p.alice.send_text(room, f"{self._name} out {self.sent}")
            self.sent += 1
            await asyncio.sleep(0.05)

    async def check(self) -> None:
        """Stop; everything has arrived once, in order."""
        self._stopped.set()
        await self._task
        last = self.sent - 1
        for p, mark, received in zip(self._two.pairs, self._marks, self._received, strict=True):
            await p.alice.wait_for_text(f"{self._name} in {last}", timeout=45, after=mark)
            await p.juliet.wait_for_text(f"{self._name} out {last}", timeout=45, after=received)
        await asyncio.sleep(1)
        for p, mark, received in zip(self._two.pairs, self._marks, self._received, strict=True):
            told = [s.body for s in p.alice.seen[mark:] if s.sender == p.ghost and s.body]
            assert told == [f"{self._name} in {n}" for n in range(self.sent)]
            bodies = [r.body for r in p.juliet.received[received:]]
            assert bodies == [f"{self._name} out {n}" for n in range(self.sent)]


async def test_the_users_are_shared_and_every_chat_works(two: Two) -> None:
    load = Load(two, "shared")
    await asyncio.sleep(1)
    await load.check()
    for p in two.pairs:
        await p.ask("logins", p.romeo)


async def test_a_new_user_of_either_process_gets_their_dm(two: Two) -> None:
    async with pair(two.stack) as p:
        room = await p.first_chat()

        async def marked() -> bool:
            return room in (await p.alice.m_direct() or {}).get(p.ghost, [])

        await within(20, marked)
        await p.ask("logout", "logged out")


async def test_both_processes_are_ready(two: Two) -> None:
    async with aiohttp.ClientSession() as session:
        for bridge in (two.stack.bridge, two.other):
            async with session.get(f"{bridge.url}/health/ready") as answer:
                assert answer.status == 200, await answer.text()


async def test_whichever_is_asked_over_http_every_user_is_served(two: Two) -> None:
    for p in two.pairs:
        one, other = (Api(bridge, p.alice.token) for bridge in (two.stack.bridge, two.other))
        ids = (await one.get("logins"))["login_ids"]
        assert (len(ids), (await other.get("logins"))["login_ids"]) == (1, ids)
        await _log_in_again(p, one, other, ids[0])


async def _log_in_again(p: Pair, one: Api, other: Api, login: str) -> None:
    step = await one.post("login/start/xmpp")
    values = {"jid": p.romeo, "password": "wrong"}
    assert (await other.ask("POST", step_path(step), values))[0] == 403
    assert (await one.ask("POST", step_path(step), values))[0] == 404
    step = await other.post("login/start/xmpp")
    done = await one.post(step_path(step), {"jid": p.romeo, "password": PASSWORD})
    assert done["complete"] == {"user_login_id": login}


async def test_when_one_is_stopped_the_other_has_all_users_at_once(two: Two) -> None:
    load = Load(two, "stopped")
    await asyncio.sleep(0.5)
    assert await two.other.stop() == 0
    await two.one_has_all(two.stack.bridge)
    await two.other.run()
    await two.shared(2, 2)
    await load.check()


def ended(bridge: Bridge) -> bool:
    """Whether the machine told a process that another one is gone, and not silence."""
    found = re.findall(r"another process is gone.* ended=(\w+)", bridge.log.read_text())
    return bool(found[-1] == "True")


async def test_when_one_is_killed_the_other_knows_and_takes_its_users_over(two: Two) -> None:
    load = Load(two, "killed")
    await asyncio.sleep(0.5)
    await two.stack.bridge.kill()
    await two.one_has_all(two.other)
    assert ended(two.other), "it waited for the lease"
    await two.stack.bridge.run()
    await two.shared(2, 2)
    await load.check()


async def test_one_that_stood_still_can_change_nothing_and_begins_anew(two: Two) -> None:
    load = Load(two, "frozen")
    await asyncio.sleep(0.5)
    two.other.signal(signal.SIGSTOP)
    await two.one_has_all(two.stack.bridge)
    assert not ended(two.stack.bridge)
    await asyncio.sleep(1)
    two.other.signal(signal.SIGCONT)
    await two.shared(2, 2)
    await load.check()
    assert "this process begins anew" in two.other.log.read_text()
