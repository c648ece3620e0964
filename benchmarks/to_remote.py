"""From Matrix to the network: what the bridge adds to the homeserver's own push.

Alice sends one message at a time, in turn into a bare room and into the chat with Juliet. Bare, the
clock stops when the homeserver's push reaches an endpoint that does nothing; through the bridge,
when the message reaches Juliet's XMPP client.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.report import Figures
from benchmarks.tally import Disorder, body
from benchmarks.world import PATIENCE, World

_PAUSE = 0.05  # before each message, so that what the one before it left behind has been done


async def added_latency(world: World, messages: int, name: str) -> list[Figures]:
    """One pair of latencies in seconds for each of ``messages``. ``name``: of this run, unique."""
    await world.bare_room("latency")
    figures = []
    mark = world.juliet.mark()
    for number in range(messages):
        bare = await _pushed(world, body(f"{name}-bare", "latency", number))
        bridge = await _delivered(world, body(f"{name}-bridge", "latency", number))
        figures.append(Figures(bare=bare, bridge=bridge))
    received = [received.body for received in world.juliet.received[mark:]]
    if received != [body(f"{name}-bridge", "latency", number) for number in range(messages)]:
        raise Disorder(f"{messages} messages to XMPP arrived as {len(received)}, or out of order")
    return figures


async def _pushed(world: World, text: str) -> float:
    pushed = asyncio.create_task(world.bare.pushed(text))
    await asyncio.sleep(_PAUSE)
    start = time.monotonic()
    await world.alice.send_text(world.rooms["latency"], text)
    async with asyncio.timeout(PATIENCE):
        return await pushed - start


async def _delivered(world: World, text: str) -> float:
    mark = world.juliet.mark()
    await asyncio.sleep(_PAUSE)
    start = time.monotonic()
    await world.alice.send_text(world.rooms["juliet"], text)
    received = await world.juliet.wait_for_text(text, PATIENCE, after=mark)
    return received.at - start
