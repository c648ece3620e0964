"""A homeserver that is away while messages come in; and one that says 429.

An hour of twenty messages a second is brought within minutes: what counts is how much waits, not how long it took.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.null.world import NullWorld
from dm_bridge.errors import AdminError

RATE = 1000.0
BIG = 0
"""The number of the portal with the largest backlog."""


@dataclass(frozen=True, slots=True)
class Outage:
    """``rss``: megabytes before, at most meanwhile, and afterwards. ``tasks``: of the bridge's loop, at most.

    ``back``, ``last_small``, ``last_big``: seconds from the return of the homeserver until the first message
    arrived, until the chats with one message had theirs, and the big one all.
    """

    messages: int
    chats: int
    rss_before: float
    rss_most: float
    tasks: int
    back: float
    last_small: float
    last_big: float


async def outage(world: NullWorld, chats: int, in_big: int) -> Outage:
    """``in_big`` messages come into one chat and one into each other of ``chats``, while nobody is there."""
    await world.fresh()
    rss = most = world.rss
    await world.homeserver("down")
    await world.network("bring", portals=[BIG], each=in_big, rate=RATE)
    await world.network("bring", portals=list(range(1, chats)), each=1, rate=RATE / 4)
    tasks = 0
    while True:
        await asyncio.sleep(0.5)
        stats = await world.network("stats")
        most, tasks = max(most, world.rss), max(tasks, stats["most_tasks"])
        if not stats["bringing"]:
            break
    await asyncio.sleep(5)  # the loop of tries is under way
    await world.homeserver("up")
    back = time.monotonic()
    count = in_big + chats - 1
    arrived, _ = await world.arrived("homeserver", count, within=300)
    most = max(most, world.rss)
    smalls = await world.homeserver("finished", portals=list(range(1, chats)))
    big = await world.homeserver("finished", portals=[BIG])
    return Outage(
        count,
        chats,
        rss,
        most,
        tasks,
        arrived.first - back,
        max(smalls["at"]) - back,
        big["at"][0] - back,
    )


@dataclass(frozen=True, slots=True)
class Limited:
    """``refused``: requests that met the limit; ``late``: later than a fifth of a second after the first.

    ``at_its_end``: requests within the first tenth of a second after the limit.
    """

    refused: int
    late: int
    at_its_end: int


async def limited(world: NullWorld, chats: int, messages: int, seconds: float) -> Limited:
    """A 429 for ``seconds``, while ``messages`` come into ``chats`` chats."""
    await world.fresh()
    await world.homeserver("limit", seconds=seconds)
    await world.network("bring", portals=list(range(chats)), each=messages // chats, rate=0)
    count = messages // chats * chats
    _, stats = await world.arrived("homeserver", count, within=120)
    if not stats["refused"]:
        raise AdminError("Nothing met the limit.")
    soon = sum(1 for after in stats["after"] if after < 0.1)
    return Limited(stats["refused"], stats["refused_late"], soon)
