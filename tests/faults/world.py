"""Real servers, a real bridge, and a fault proxy on every wire between them.

The rule that must never break: people talk to their own servers directly; only the bridge's own connections go
through the proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from dm_bridge.ids import ContactId, GhostNamespace, NetworkName
from dm_bridge.testing import dialects
from dm_bridge.testing.balancer import Balancer
from dm_bridge.testing.fault_proxy import FaultProxy, Verdict, http_answer
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.pgbouncer import PgBouncer
from dm_bridge.testing.postgres import Postgres
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack, XmppServer
from dm_bridge.testing.synapse import Synapse
from dm_bridge.testing.xmpp_client import XmppUser

DOMAIN = "faults.localhost"
PASSWORD = "wherefore-art-thou"
FOREIGN = "@somebody:elsewhere.example"
CONTACTS = 2
DATABASE = "bridge"
LEASE = 3
"""Seconds after which a silent process has lost its users."""
SETTINGS: dict[str, Any] = {
    "connect_timeout": 5,
    "send_timeout": 5,
    "send_wait": 1,
    "ping_interval": 3,
    "ping_timeout": 3,
    "retry_min": 0.1,
    "retry_max": 1,
    "conflict_pause": 1,
}
"""So that what takes minutes in operation takes seconds here."""
_EVENT_ID = re.compile(rb'"event_id" *: *"([^"]+)"')
_numbers = itertools.count(1)


@dataclass(slots=True)
class Person:
    """Alice on Matrix, who has a login as ``romeo``, and her contacts; old ones have a chat already."""

    alice: MatrixUser
    management: str
    romeo: str
    foreign: dict[str, Any]
    contacts: list[XmppUser]
    _creators: dict[str, str] = field(default_factory=dict)

    async def rooms(self) -> dict[str, str]:
        """Every room that she is in, and who created it."""
        joined = await self.alice.joined_rooms()
        for room in joined:
            if room not in self._creators:
                create = next(
                    e for e in await self.alice.state(room) if e["type"] == "m.room.create"
                )
                self._creators[room] = str(create["sender"])
        return {room: self._creators[room] for room in joined}

    async def invited(self) -> list[str]:
        """The rooms that she is invited to."""
        # Synapse answers the same question from its cache for two minutes: so it is never the same.
        query = {"timeout": str(next(_numbers)), "filter": '{"room":{"timeline":{"limit":1}}}'}
        answer = await self.alice.request("GET", "v3/sync", query=query)
        return list(answer.get("rooms", {}).get("invite", {}))


@dataclass(slots=True)
class World:
    """All of it. ``client_api``, ``pushes``: between the bridge and Synapse, by who asks; ``database``;
    ``network``: between the bridge and Prosody. ``balancer``: behind ``pushes``, before the bridge's processes;
    ``other``: the second of them, where there is one. ``pushed``: every event that Synapse has tried to push,
    and as which it came first.
    """

    stack: Stack
    postgres: Postgres
    client_api: FaultProxy
    pushes: FaultProxy
    database: FaultProxy
    network: FaultProxy
    balancer: Balancer
    cleanup: contextlib.AsyncExitStack
    other: Bridge | None = None
    pushed: dict[str, int] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)
    strangers: list[XmppUser] = field(default_factory=list)

    @property
    def bridge(self) -> Bridge:
        return self.stack.bridge

    @property
    def bridges(self) -> list[Bridge]:
        """All processes."""
        return [self.bridge] if self.other is None else [self.bridge, self.other]

    @property
    def synapse(self) -> Synapse:
        return self.stack.synapse

    @property
    def prosody(self) -> XmppServer:
        return self.stack.prosody

    @property
    def proxies(self) -> tuple[FaultProxy, ...]:
        return (self.client_api, self.pushes, self.database, self.network)

    def ghost(self, contact: XmppUser) -> str:
        """The user id of a contact's ghost."""
        namespace = GhostNamespace("_dm_", DOMAIN)
        return namespace.user_id(NetworkName("xmpp"), ContactId(contact.bare_jid))

    async def everybody(self, count: int) -> list[Person]:
        """``count`` people with a login; made where there are fewer."""
        while len(self.people) < count:
            self.people.append(await self._person())
        return self.people[:count]

    async def _person(self) -> Person:
        number = next(_numbers)
        alice = await self.cleanup.enter_async_context(self.stack.matrix_user(f"alice{number}"))
        room = await self.stack.open_bot_chat(alice)
        foreign = {**(await alice.m_direct() or {}), FOREIGN: [f"!friend{number}", f"!old{number}"]}
        await alice.set_m_direct(foreign)
        romeo = await self.prosody.add_user(f"romeo{number}", PASSWORD)
        await self.stack.log_in(alice, room, romeo, PASSWORD)
        contacts = [await self.contact() for _ in range(CONTACTS)]
        return Person(alice, room, romeo, foreign, contacts)

    async def contact(self) -> XmppUser:
        """An XMPP user whom nobody has met."""
        return await self.cleanup.enter_async_context(
            self.stack.xmpp_user(f"contact{next(_numbers)}", PASSWORD)
        )

    def note_pushed(self, frame: dialects.Frame) -> None:
        """Observe the pushes."""
        if frame.to_server and "/transactions/" in frame.what:
            for event in _EVENT_ID.findall(frame.data):
                self.pushed.setdefault(event.decode(), len(self.pushed))

    async def push_again(self) -> None:
        """Make Synapse push what it has forgotten to push: refuse something that it pushes.

        Synapse keeps a transaction for later that it makes in the very moment in which it has caught up after
        a failure; later is when a push has failed again.
        """

        async def refuse(_: dialects.Frame) -> Verdict:
            return Verdict(forward=b"", back=http_answer(503, b"{}"))

        self.pushes.when("/transactions/", refuse)
        await self.people[0].alice.send_text(self.people[0].management, "ping")

    async def heal(self) -> None:
        """End every fault: whoever is down is started, whatever is cut is mended."""
        await self.postgres_back()
        for proxy in self.proxies:
            await proxy.mend()
        if not self.synapse.running:
            await self.synapse.restart()
        if not self.prosody.running:
            await self.prosody.restart()
        for bridge in self.bridges:
            if not bridge.running:
                await bridge.stop()
                await bridge.run()
        for person in self.people:
            if not person.alice.syncing:
                await person.alice.sync_again()
            for contact in person.contacts:
                await reconnected(contact)
        for contact in self.strangers:
            await reconnected(contact)

    async def postgres_back(self) -> None:
        """Start PostgreSQL if it is down."""
        if not self.postgres.running:
            await self.postgres.start_again()

    def start_afresh(self) -> None:
        """From now on with other people: what went wrong with these must not count twice."""
        self.people.clear()
        self.strangers.clear()

    @contextlib.asynccontextmanager
    async def two(self) -> AsyncIterator[Bridge]:
        """A second process on the same database, which has some of the users; both live on until the end."""
        self.other = self.bridge.beside("other")
        self.balancer.backends = (self.bridge.port, self.other.port)
        try:
            await self.other.run()
            await self.shared()
            yield self.other
            await self.shared()
        finally:
            self.balancer.backends = (self.bridge.port,)
            other, self.other = self.other, None
            await other.stop()

    async def shared(self) -> None:
        """Return once every process has a login. Raises TimeoutError."""
        async with asyncio.timeout(10 * LEASE), aiohttp.ClientSession() as session:
            for bridge in self.bridges:
                while not await _logins(session, bridge):  # noqa: ASYNC110 - elsewhere
                    await asyncio.sleep(0.1)

    async def only(self, bridge: Bridge) -> None:
        """Return once one process has everybody. Raises TimeoutError."""
        async with asyncio.timeout(10 * LEASE), aiohttp.ClientSession() as session:
            while await _logins(session, bridge) < len(self.people):  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.1)

    async def restart(self) -> None:
        """Start the bridge after it was stopped or killed."""
        await self.bridge.stop()
        await self.bridge.run()

    def now(self) -> datetime.datetime:
        """A little before now, by the clock of the servers, which is ours."""
        return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)


async def _logins(session: aiohttp.ClientSession, bridge: Bridge) -> int:
    """How many logins a process has; 0 while it does not answer."""
    try:
        async with session.get(f"{bridge.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
    except aiohttp.ClientError:
        return 0
    return sum(int(float(x.split()[-1])) for x in lines if x.startswith("dm_bridge_logins{"))


async def reconnected(contact: XmppUser) -> None:
    """Connect a contact again whose server was away."""
    if not contact.connected:
        await contact.disconnect()
        await contact.connect()


@contextlib.asynccontextmanager
async def running(directory: Path, *, pooled: bool = False) -> AsyncIterator[World]:
    """Start everything in ``directory``, and stop everything in the end.

    ``pooled``: with a PgBouncer in transaction mode before PostgreSQL.
    """
    async with contextlib.AsyncExitStack() as cleanup:
        directory.mkdir(parents=True)
        prosody = await Prosody.start(directory / "prosody")
        cleanup.push_async_callback(prosody.stop)
        postgres = await Postgres.start(directory / "database")
        cleanup.push_async_callback(postgres.stop)
        await postgres.execute(f"CREATE DATABASE {DATABASE}")
        bridge = Bridge(directory / "bridge", config_path=directory / "bridge" / "config.yaml")
        homeserver_port = free_port()

        async def proxy(target: Any, dialect: Any) -> FaultProxy:
            return await cleanup.enter_async_context(FaultProxy(target, dialect))

        client_api = await proxy((LOOPBACK, homeserver_port), dialects.Http)
        balancer = await cleanup.enter_async_context(Balancer())
        balancer.backends = (bridge.port,)
        pushes = await proxy((LOOPBACK, balancer.port), dialects.Http)
        behind: Any = postgres.socket
        if pooled:
            url = postgres.url.replace("/postgres?", f"/{DATABASE}?")
            pooler = await PgBouncer.start(directory / "pooler", url)
            cleanup.push_async_callback(pooler.stop)
            behind = (LOOPBACK, urlsplit(pooler.url).port)
        database = await proxy(behind, dialects.Postgres)
        network = await proxy((prosody.host, prosody.port), dialects.Xmpp)
        await bridge.command(
            *("init", "--homeserver", client_api.url, "--domain", DOMAIN, "--yes"),
            *("--config", str(bridge.config_path)),
        )
        server = {"host": LOOPBACK, "port": network.port, "tls": "none"}
        bridge.configure(
            {
                "appservice": {"listen": f"{LOOPBACK}:{bridge.port}", "url": pushes.url},
                "database": {
                    "url": f"postgresql://postgres@{LOOPBACK}:{database.port}/{DATABASE}?sslmode=disable"
                },
                "permissions": {DOMAIN: "user"},
                "networks": {
                    "xmpp": {"enabled": True, "servers": {prosody.domain: server}, **SETTINGS}
                },
                "processes": {"lease_seconds": LEASE},
                "logging": {"level": "debug"},
            }
        )
        await bridge.command(
            "registration", "-c", str(bridge.config_path), "-o", str(bridge.directory)
        )
        names = ("registration.yaml", "registration-accounts.yaml")
        synapse = await Synapse.start(
            directory / "synapse",
            domain=DOMAIN,
            port=homeserver_port,
            registrations=[bridge.directory / name for name in names],
        )
        stack = Stack(bridge, synapse, prosody)
        cleanup.push_async_callback(synapse.stop)
        cleanup.push_async_callback(bridge.stop)
        await bridge.run()
        world = World(stack, postgres, client_api, pushes, database, network, balancer, cleanup)
        pushes.observers.append(world.note_pushed)
        yield world
