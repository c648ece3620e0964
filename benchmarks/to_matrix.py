"""From the network to Matrix: how many messages a second, in one chat and over many.

The clock runs from before the first message is handed over until the last one is seen by Alice's
/sync, on both sides. The bridge gets all messages at once and must carry them in order; the bare
client has one request in flight in each room.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from statistics import harmonic_mean

from benchmarks.report import Figures
from benchmarks.tally import body
from benchmarks.world import PATIENCE, World, fresh

CHATS = 20


async def one_chat(world: World, messages: int, rounds: int) -> AsyncIterator[Figures]:
    """``messages`` in one chat, against one bare request after the other. Yields each round."""
    await world.bare_room("single")
    half = messages // 2
    for number in range(rounds):
        before = await _bare(world, f"a1-{number}-bare-1", ["single"], half)
        bridge = await _one_chat_through_bridge(world, f"a1-{number}-bridge", messages)
        after = await _bare(world, f"a1-{number}-bare-2", ["single"], messages - half)
        yield Figures(bare=harmonic_mean((before, after)), bridge=bridge)


async def many_chats(world: World, messages: int, rounds: int) -> AsyncIterator[Figures]:
    """``messages`` over `CHATS` chats, against as many bare requests in flight. Yields each round."""
    contacts = fresh("chat", CHATS)
    ghosts = [f"multiple{number}" for number in range(CHATS)]
    for contact, ghost in zip(contacts, ghosts, strict=True):
        await world.meet(contact, body("hello", contact, 0))
        await world.bare_room(ghost)
    each = messages // CHATS
    half = each // 2
    for number in range(rounds):
        before = await _bare(world, f"a2-{number}-bare-1", ghosts, half)
        bridge = await _many_chats_through_bridge(world, f"a2-{number}-bridge", contacts, each)
        after = await _bare(world, f"a2-{number}-bare-2", ghosts, each - half)
        yield Figures(bare=harmonic_mean((before, after)), bridge=bridge)


async def _bare(world: World, run: str, ghosts: Sequence[str], each: int) -> float:
    world.tally.expect(run, dict.fromkeys(ghosts, each))
    mark = world.alice.mark()
    rooms = {ghost: world.rooms[ghost] for ghost in ghosts}
    start = await world.bare.write(run, rooms, each, world.message_content)
    end = await world.tally.finished(run, mark, PATIENCE)
    return each * len(ghosts) / (end - start)


async def _one_chat_through_bridge(world: World, run: str, messages: int) -> float:
    world.tally.expect(run, {"juliet": messages})
    mark, start = world.alice.mark(), time.monotonic()
    for number in range(messages):
        world.juliet.send(world.jid, body(run, "juliet", number))
    end = await world.tally.finished(run, mark, PATIENCE + messages)
    return messages / (end - start)


async def _many_chats_through_bridge(
    world: World, run: str, contacts: Sequence[str], each: int
) -> float:
    world.tally.expect(run, dict.fromkeys(contacts, each))
    mark, start = world.alice.mark(), time.monotonic()
    for number in range(each):
        for contact in contacts:
            world.people.send(contact, world.jid, body(run, contact, number))
    end = await world.tally.finished(run, mark, PATIENCE + each * len(contacts))
    return each * len(contacts) / (end - start)
