"""New chats: how many contacts a second can write for the first time.

Through the bridge the clock runs from before the first contact writes until Alice's /sync shows the
last message, in a room that she has joined. Against that, with the same body of createRoom:

* createRoom calls alone, one at a time and with all in flight, until the last is answered;
* every call that cannot be avoided (register, name, createRoom, join, m.direct of the ghost, send;
  and m.direct of Alice, once), all chats in flight, until Alice sees the last message.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from statistics import harmonic_mean

from benchmarks.people import PEOPLE
from benchmarks.tally import Disorder, body
from benchmarks.world import PATIENCE, World, fresh


@dataclass(frozen=True, slots=True)
class NewChats:
    """One round, in chats per second."""

    one_at_a_time: float
    in_flight: float
    same_calls: float
    bridge: float


async def new_chats(world: World, chats: int, rounds: int) -> AsyncIterator[NewChats]:
    """``chats`` new ones by every method. Yields each round."""
    half = chats // 2
    for number in range(rounds):
        single = [await _create_rooms(world, half, in_flight=1)]
        flight = [await _create_rooms(world, half, in_flight=half)]
        calls = [await _same_calls(world, f"c-{number}-calls-1", half)]
        bridge = await _through_bridge(world, f"c-{number}-bridge", chats)
        calls.append(await _same_calls(world, f"c-{number}-calls-2", chats - half))
        flight.append(await _create_rooms(world, chats - half, in_flight=chats - half))
        single.append(await _create_rooms(world, chats - half, in_flight=1))
        yield NewChats(harmonic_mean(single), harmonic_mean(flight), harmonic_mean(calls), bridge)


async def _create_rooms(world: World, count: int, *, in_flight: int) -> float:
    ghosts = fresh("room", count)
    await world.bare.register(ghosts)
    _, seconds = await world.bare.create_rooms(ghosts, world.room_body, in_flight)
    return count / seconds


async def _same_calls(world: World, run: str, count: int) -> float:
    ghosts = fresh("calls", count)
    world.tally.expect(run, dict.fromkeys(ghosts, 1))
    document = await world.alice.m_direct() or {}
    mark = world.alice.mark()
    start, rooms = await world.bare.begin_chats(
        run,
        ghosts,
        room_body=world.room_body,
        content=world.message_content,
        user=world.alice.user_id,
        token=world.alice_token,
    )
    marks = {world.bare.user(ghost): [room] for ghost, room in rooms.items()}
    await world.alice.set_m_direct({**document, **marks})
    marked = time.monotonic()
    end = await world.tally.finished(run, mark, PATIENCE)
    return count / (max(end, marked) - start)


async def _through_bridge(world: World, run: str, count: int) -> float:
    contacts = fresh("new", count)
    world.tally.expect(run, dict.fromkeys(contacts, 1))
    mark, start = world.alice.mark(), time.monotonic()
    for contact in contacts:
        world.people.send(contact, world.jid, body(run, contact, 0))
    end = await world.tally.finished(run, mark, PATIENCE + count)
    await _all_marked(world, mark, run)
    return count / (end - start)


async def _all_marked(world: World, mark: int, run: str) -> None:
    """Raise `Disorder` unless m.direct soon names every new room, under its ghost alone."""
    wanted = {
        (seen.sender, seen.room_id)
        for seen in world.alice.seen[mark:]
        if seen.body is not None and f"run {run} " in seen.body and PEOPLE in seen.sender
    }
    deadline = time.monotonic() + PATIENCE
    while True:
        document = await world.alice.m_direct() or {}
        marked = {(user, room) for user, rooms in document.items() for room in rooms}
        if wanted <= marked:
            return
        if time.monotonic() > deadline:
            raise Disorder(f"run {run}: m.direct lacks {len(wanted - marked)} of the new chats")
        await asyncio.sleep(0.2)
