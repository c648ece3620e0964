"""The null servers, a PostgreSQL with its fsync on, the portals and logins, and the bridge between.

The bridge is the real one: ``dm-bridge migrate`` and ``dm-bridge run``, a process of its own. Portals and logins
are written into its database before it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import yaml

from benchmarks.null import shape
from benchmarks.null.homeserver import Settings, settings_line
from benchmarks.null.shape import DOMAIN, NETWORK, Shape
from dm_bridge.errors import AdminError
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.sealing import SealingKey
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.stack import Bridge

Json = dict[str, Any]
Fill = Callable[[asyncpg.Connection, Shape, SealingKey], Awaitable[None]]
ROOT = Path(__file__).resolve().parents[2]
ORDER_SECONDS = 30.0
START_SECONDS = 60.0
_TABLES = (
    "share",
    "inbox",
    "outbox",
    "direct_version",
    "direct_account",
    "direct_dm",
    "portal",
    "ghost",
)
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a null server saw arrive; times of `time.monotonic`, latencies in seconds."""

    count: int
    disorder: int
    first: float
    last: float
    p50: float
    p95: float
    p99: float
    longest: float


class NullWorld:
    """The servers, and how to tell them what to do."""

    def __init__(
        self, directory: Path, bridge: Bridge, database: str, ports: dict[str, int]
    ) -> None:
        self.bridge = bridge
        self.database = database
        self.directory = directory
        self.shape = Shape(0, 1)
        self.homeserver_url = f"http://{LOOPBACK}:{ports['homeserver']}"
        self._ports = ports
        self._homeserver: asyncio.subprocess.Process | None = None

    # -- orders

    async def homeserver(self, do: str, **what: Any) -> Json:
        """Order the homeserver to do something; its answer."""
        return await _order(self._ports["homeserver_control"], do, what)

    async def network(self, do: str, **what: Any) -> Json:
        """Order the network to do something; its answer."""
        return await _order(self._ports["network_control"], do, what)

    async def arrived(self, where: str, count: int, within: float) -> tuple[Arrived, Json]:
        """Wait until ``count`` messages have arrived at ``homeserver`` or ``network``; and all that is known.

        Raises `AdminError` when they do not arrive in time, or not in order.
        """
        deadline = time.monotonic() + within
        ask = self.homeserver if where == "homeserver" else self.network
        while True:
            stats = await ask("stats")
            if stats["count"] >= count:
                break
            if time.monotonic() > deadline:
                raise AdminError(
                    f"Only {stats['count']} of {count} messages arrived in {within:.0f} s.\n"
                    f"{self.bridge.log_tail()}"
                )
            await asyncio.sleep(0.1)
        arrived = Arrived(**{key: stats[key] for key in Arrived.__slots__})
        if arrived.disorder or arrived.count != count:
            raise AdminError(f"Messages were lost, doubled or out of order: {arrived}")
        return arrived, stats

    async def fresh(self) -> None:
        """Forget what arrived."""
        await self.homeserver("reset")
        await self.network("reset")

    # -- the bridge

    async def populate(self, portals: int, logins: int, fill: Fill | None = None) -> None:
        """Stop the bridge; write so many portals and logins in place of what was there; another homeserver.

        ``fill`` writes others than those of the null network.
        """
        await self.bridge.stop()
        self.shape = Shape(portals, logins)
        await self._start_homeserver()
        await self.bridge.command("migrate", "-c", str(self.bridge.config_path))
        key = SealingKey.load(self.directory / "data" / "sealing.key")
        connection = await asyncpg.connect(self.database)
        try:
            await connection.execute(f"TRUNCATE {', '.join(_TABLES)}, login CASCADE")
            await (fill or _fill)(connection, self.shape, key)
            await connection.execute("ANALYZE")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()

    async def _start_homeserver(self) -> None:
        if self._homeserver is not None:
            await self.stop_homeserver()
        config = self.bridge.config()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.null.homeserver",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        self._homeserver = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            settings_line(
                Settings(
                    self._ports["homeserver"],
                    self._ports["homeserver_control"],
                    self.bridge.url,
                    config["appservice"]["hs_token"],
                    f"@dmbot:{DOMAIN}",
                    self.shape.portals,
                    self.shape.logins,
                )
            )
        )
        if not await process.stdout.readline():
            raise AdminError("The null homeserver did not start.")

    async def stop_homeserver(self) -> None:
        """End its process."""
        if self._homeserver is not None:
            assert self._homeserver.stdin is not None
            self._homeserver.stdin.close()
            await self._homeserver.wait()
            self._homeserver = None

    async def start_bridge(self) -> float:
        """Start it; how many seconds until it is ready and every login is connected."""
        start = time.monotonic()
        await self.bridge.run()
        async with asyncio.timeout(START_SECONDS):
            while True:
                stats = await self.network("stats")
                if stats["sessions"] >= self.shape.logins:
                    return time.monotonic() - start
                await asyncio.sleep(_POLL)

    @property
    def rss(self) -> float:
        """The memory that the bridge's process has, in megabytes."""
        return _resident(self.bridge.pid)

    @property
    def cpu(self) -> float:
        """The processor time that the bridge's process has used, in seconds."""
        return _processor_time(self.bridge.pid)


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def null_world(directory: Path, networks: Json | None = None) -> AsyncIterator[NullWorld]:
    """Start PostgreSQL in ``directory``, set up the bridge; stop everything in the end.

    ``networks``: the sections of networks that there are as well; then the event loop is watched closely.
    """
    async with contextlib.AsyncExitStack() as cleanup:
        postgres = await EmbeddedPostgres.start(directory)
        cleanup.push_async_callback(postgres.stop)
        await _check_durable(postgres.url)
        ports = {
            name: free_port() for name in ("homeserver", "homeserver_control", "network_control")
        }
        packages = directory / "packages"
        _install_connector(packages)
        bridge = Bridge(
            directory,
            config_path=directory / "config.yaml",
            environment={"PYTHONPATH": f"{packages}:{ROOT}"},
        )
        config = str(bridge.config_path)
        url = f"http://{LOOPBACK}:{ports['homeserver']}"
        await bridge.command(
            "init", "--homeserver", url, "--domain", DOMAIN, "--config", config, "--yes"
        )
        raw = bridge.config()
        raw |= {
            "database": {"url": postgres.url},
            "permissions": {DOMAIN: "user"},
            "networks": {
                NETWORK: {"control": ports["network_control"], "probe": bool(networks)},
                **(networks or {}),
            },
            "logging": {"level": "info"},
        }
        raw["appservice"] |= {"listen": f"{LOOPBACK}:{bridge.port}", "url": bridge.url}
        bridge.config_path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        (directory / "data").mkdir(exist_ok=True)
        world = NullWorld(directory, bridge, postgres.url, ports)
        cleanup.push_async_callback(world.stop_homeserver)
        cleanup.push_async_callback(bridge.stop)
        yield world


async def _check_durable(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            value = await connection.fetchval("SELECT current_setting($1)", name)
            if value != "on":
                raise AdminError(f"PostgreSQL runs with {name} = {value}; nothing would be proved.")
    finally:
        await connection.close()


def _install_connector(packages: Path) -> None:
    """What tells of an entry point, as pip writes it."""
    about = packages / "null_connector-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: null-connector\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[dm_bridge.connectors]\nnull = benchmarks.null.connector:connector\n"
    )


async def _fill(connection: asyncpg.Connection, of: Shape, key: SealingKey) -> None:
    portals = range(of.portals)
    await connection.copy_records_to_table(
        "login",
        columns=["login_id", "owner", "network", "remote", "name", "state", "credentials"],
        records=(
            (
                shape.login_id(login),
                shape.owner(login),
                NETWORK,
                f"self{login}",
                f"self{login}",
                "active",
                key.seal(shape.login_id(login), {"password": "none"}),
            )
            for login in range(of.logins)
        ),
    )
    await connection.copy_records_to_table(
        "share", columns=["user_id"], records=((shape.owner(login),) for login in range(of.logins))
    )
    await connection.copy_records_to_table(
        "ghost",
        columns=["network", "contact", "user_id", "name", "registered"],
        records=(
            (NETWORK, shape.contact(portal), shape.ghost(portal), shape.contact(portal), True)
            for portal in portals
        ),
    )
    await connection.copy_records_to_table(
        "portal",
        columns=["login_id", "chat_id", "contact", "ghost", "room_id", "state", "membership"],
        records=(
            (
                shape.login_id(of.login_of(portal)),
                shape.contact(portal),
                shape.contact(portal),
                shape.ghost(portal),
                shape.room(portal),
                "open",
                "join",
            )
            for portal in portals
        ),
    )
    await connection.copy_records_to_table(
        "direct_dm",
        columns=["account", "room_id", "ghost", "state", "settled"],
        records=(
            (account, shape.room(portal), key, "active", True)
            for portal in portals
            for account, key in _both_ways(shape.owner(of.login_of(portal)), shape.ghost(portal))
        ),
    )


def _both_ways(one: str, other: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (one, other), (other, one)


async def _order(port: int, do: str, what: Json) -> Json:
    """One request on a connection of its own: orders are few."""
    timeout = aiohttp.ClientTimeout(total=ORDER_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"http://{LOOPBACK}:{port}/", data=orjson.dumps({"do": do, **what})) as answer,
    ):
        body: Json = orjson.loads(await answer.read())
        if answer.status != 200:
            raise AdminError(f"The order to {do} failed: {body}")
        return body
