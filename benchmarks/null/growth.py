"""How cost grows with the number of portals: start, memory, latency, rate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.null import speed
from benchmarks.null.speed import Speed
from benchmarks.null.world import NullWorld

SIZES = ((10, 10), (100, 100), (1_000, 1_000), (10_000, 1_000))
"""Portals, and logins."""
SETTLE = 3.0
PACE = 100.0


@dataclass(frozen=True, slots=True)
class Growth:
    """``start``: seconds until the bridge was ready with every login connected. ``rss``: in megabytes, then and
    after the messages. ``lag``: seconds for which the event loop was blocked at most, at the start."""

    portals: int
    logins: int
    start: float
    start_cpu: float
    lag: float
    rss: float
    rss_after: float
    to_matrix: Speed
    to_remote: Speed
    paced: Speed


async def growth(world: NullWorld, portals: int, logins: int, messages: int) -> Growth:
    """Measure one size; messages are spread over all portals, as far as they go."""
    await world.populate(portals, logins)
    start = await world.start_bridge()
    cpu, stats = world.cpu, await world.network("stats")
    await asyncio.sleep(SETTLE)
    rss = world.rss
    over = range(min(portals, messages))
    to_matrix = await speed.to_matrix(world, over, messages)
    to_remote = await speed.to_remote(world, over, messages)
    paced = await speed.to_matrix(world, range(min(portals, 200)), 200, PACE)
    return Growth(
        portals,
        logins,
        start,
        cpu,
        float(stats["longest_lag"]),
        rss,
        world.rss,
        to_matrix,
        to_remote,
        paced,
    )
