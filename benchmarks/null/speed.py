"""How many messages a second, in each direction, and how long each takes.

Two loads: *all at once*, as fast as the bridge takes them; and *paced*, a steady stream, for the latencies.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import asyncpg

from benchmarks.null import shape
from benchmarks.null.record import text
from benchmarks.null.world import Arrived, NullWorld

WITHIN = 120.0
CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Speed:
    """``rate``: messages a second. ``cpu``: milliseconds of the bridge's processor time for each."""

    rate: float
    cpu: float
    arrived: Arrived
    longest_lag: float

    def __str__(self) -> str:
        a = self.arrived
        return (
            f"{self.rate:.0f}/s, {self.cpu:.2f} ms of CPU each; p50 {a.p50 * 1000:.0f} ms, "
            f"p95 {a.p95 * 1000:.0f} ms, p99 {a.p99 * 1000:.0f} ms; loop blocked {self.longest_lag * 1000:.0f} ms"
        )


async def to_matrix(world: NullWorld, portals: range, messages: int, rate: float = 0) -> Speed:
    """From the network to Matrix."""
    return await _measure(world, "homeserver", portals, messages, rate)


async def to_remote(world: NullWorld, portals: range, messages: int, rate: float = 0) -> Speed:
    """From Matrix to the network."""
    return await _measure(world, "network", portals, messages, rate)


async def _measure(
    world: NullWorld, where: str, portals: range, messages: int, rate: float
) -> Speed:
    each = max(1, messages // len(portals))
    await world.fresh()
    cpu, start = world.cpu, time.monotonic()
    what = {"portals": list(portals), "each": each, "rate": rate}
    if where == "homeserver":
        await world.network("bring", **what)
    else:
        await world.homeserver("push", **what)
    count = each * len(portals)
    arrived, _ = await world.arrived(where, count, WITHIN)
    lag = (await world.network("stats"))["longest_lag"]
    return Speed(
        count / (arrived.last - start), (world.cpu - cpu) / count * 1000, arrived, float(lag)
    )


async def bare_puts(world: NullWorld, portals: range, messages: int) -> float:
    """How many of the same PUTs a bare client makes in a second, in this process; one in flight in a room."""
    each = max(1, messages // len(portals))
    await world.homeserver("reset")
    start = time.monotonic()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one_room(portal: int) -> None:
            path = f"{world.homeserver_url}/_matrix/client/v3/rooms/{shape.room(portal)}/send/m.room.message"
            query = {"user_id": shape.ghost(portal)}
            for number in range(each):
                body = {"msgtype": "m.text", "body": text(portal, number, time.monotonic())}
                async with session.put(
                    f"{path}/bare{portal}-{number}", params=query, json=body
                ) as answer:
                    await answer.read()

        async with asyncio.TaskGroup() as tasks:
            for portal in portals:
                tasks.create_task(one_room(portal))
    return each * len(portals) / (time.monotonic() - start)


async def bare_commits(world: NullWorld, connections: int, seconds: float = 2.0) -> float:
    """How many inserts a second so many connections commit, in this process."""
    pool = await asyncpg.create_pool(world.database, min_size=connections, max_size=connections)
    try:
        await pool.execute("DROP TABLE IF EXISTS bare")
        await pool.execute("CREATE TABLE bare (name text PRIMARY KEY, event bytea)")
        until, event = time.monotonic() + seconds, b"x" * 300

        async def commit(which: int) -> int:
            done = 0
            async with pool.acquire() as connection:
                insert = await connection.prepare("INSERT INTO bare VALUES ($1, $2)")
                while time.monotonic() < until:
                    await insert.fetch(f"{which}-{done}", event)
                    done += 1
            return done

        done = sum(await asyncio.gather(*(commit(which) for which in range(connections))))
        await pool.execute("DROP TABLE bare")
        return done / seconds
    finally:
        await pool.close()
