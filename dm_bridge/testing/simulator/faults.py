"""The faults that are injected, each as something that begins, lasts for a while, and ends.

The numbers are those of the list in docs/development.md. To add a fault: write a function here, and name it in
`FAULTS`; what it injects is counted by `Dice.inject`, where it happens.

The rule that must never break: every fault ends by itself, so that every history can come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from dm_bridge.testing.fake_network import FakeSession
from dm_bridge.testing.simulator.people import Act, Doing
from dm_bridge.testing.simulator.world import World


@contextmanager
def set_for_a_while(what: object, **values: object) -> Iterator[None]:
    for name, value in values.items():
        setattr(what, name, value)
    try:
        yield
    finally:
        for name, value in values.items():
            setattr(what, name, False if value is True else 0.0)


def for_a_while(longest: float, where: Callable[[World], object], **values: object) -> Doing:
    """A fault that is set for up to ``longest`` seconds."""

    async def doing(world: World, act: Act) -> None:
        with set_for_a_while(where(world), **values):
            await asyncio.sleep(1.0 + act.size * longest)

    return doing


def _homeserver(world: World) -> object:
    return world.homeserver_faults


def _database(world: World) -> object:
    return world.database_faults


def _pushes(world: World) -> object:
    return world.pusher.faults


def _network(world: World) -> object:
    return world.network_faults


async def homeserver_restarts(world: World, act: Act) -> None:
    """The homeserver is away for some seconds, and has forgotten its transactions."""
    world.dice.inject("5 homeserver restarted")
    with (
        set_for_a_while(world.homeserver_faults, down=True),
        set_for_a_while(world.pusher, down=True),
    ):
        await asyncio.sleep(1.0 + act.size * 30)
    world.homeserver.restart()


async def homeserver_away_for_long(world: World, act: Act) -> None:
    """The homeserver is away for longer than it remembers transactions."""
    world.dice.inject("4 homeserver down longer than its cache")
    with (
        set_for_a_while(world.homeserver_faults, down=True),
        set_for_a_while(world.pusher, down=True),
    ):
        await asyncio.sleep(1900 + act.size * 1800)
    world.homeserver.restart()


async def one_room_fails(world: World, act: Act) -> None:
    """Every request about one room fails for a while."""
    person, contact = act.who(world)
    rooms = {room.id for room in world.rooms_of(person, contact)[:1]}
    world.homeserver_faults.stuck |= rooms
    await asyncio.sleep(10 + act.size * 100)
    world.homeserver_faults.stuck -= rooms


async def bridge_is_killed(world: World, act: Act) -> None:
    """The process is killed at one of its next steps: before, in the middle of, or after something others see."""
    bridge = world.bridge
    if bridge is not None:
        world.dice.inject("11-15 bridge killed")
        bridge.life.kill_at = bridge.life.steps + 1 + int(act.size * 60)
        await asyncio.sleep(20)
        bridge.life.kill()


async def bridge_is_stopped(world: World, act: Act) -> None:
    """SIGTERM: the process finishes what it is about, and another one is started."""
    bridge = world.bridge
    if bridge is not None and bridge.ready:
        world.dice.inject("37 bridge told to stop")
        await asyncio.wait([bridge.life.start(bridge.stop())])


async def clock_jumps(world: World, act: Act) -> None:
    """Somebody sets the clock of the bridge's machine."""
    world.dice.inject("33 clock jumps")
    world.machine_clock.offset += 3600 * (1 if act.size < 0.5 else -1)


async def stream_drops(world: World, act: Act) -> None:
    """A stream breaks; it can be resumed."""
    _drop(world, act, "25 stream dropped")


async def stream_drops_for_good(world: World, act: Act) -> None:
    """A stream breaks, and cannot be resumed."""
    with set_for_a_while(world.server, resumes=False):
        _drop(world, act, "26 resume refused")
        await asyncio.sleep(5 + act.size * 20)
    world.server.resumes = True


def _drop(world: World, act: Act, what: str) -> None:
    stream = world.people[act.person].account.stream
    if isinstance(stream, FakeSession):
        world.dice.inject(what)
        stream.drop()


async def network_goes_away(world: World, act: Act) -> None:
    """The network is away; all streams break, and all come back at once."""
    world.dice.inject("32 network away, everybody reconnects")
    with set_for_a_while(world.server, down=True):
        for account in world.server.accounts.values():
            if account.stream is not None:
                account.stream.drop()
        await asyncio.sleep(1 + act.size * 120)


async def password_changes(world: World, act: Act) -> None:
    """The network does not accept the login any more; after a while, the user logs in again."""
    person = world.people[act.person]
    world.dice.inject("31 credentials rejected")
    person.account.password += "!"
    if person.account.stream is not None:
        person.account.stream.drop()
    await asyncio.sleep(10 + act.size * 60)
    await world.log_in(person)


async def contact_refuses(world: World, act: Act) -> None:
    """A contact takes no messages for a while."""
    _, contact = act.who(world)
    world.dice.inject("contact refuses messages")
    world.server.refuse(contact)
    await asyncio.sleep(5 + act.size * 30)
    world.server.accept(contact)


async def poison(world: World, act: Act) -> None:
    """A message that the homeserver does not take, and one that the connector cannot send."""
    person, contact = act.who(world)
    world.dice.inject("36 poison event")
    if act.size < 0.5:
        world.server.say(person.account, contact, world.body("c☠"), f"poison-{world.number()}")
        return
    for room in world.rooms_of(person, contact)[:1]:
        content = {"msgtype": "m.text", "body": world.body("u☠")}
        world.homeserver.rooms.send(room.id, person.id, "m.room.message", content)


FAULTS: dict[str, Callable[[World, Act], Coroutine[Any, Any, None]]] = {
    "homeserver errs": for_a_while(40, _homeserver, refused=0.3, done_then_error=0.2),
    "homeserver behind a dead gateway": for_a_while(90, _homeserver, gateway=True),
    "homeserver limits": for_a_while(30, _homeserver, limited=0.2),
    "homeserver falls silent": for_a_while(20, _homeserver, done_then_silent=0.1),
    "connections break": for_a_while(40, _homeserver, broken=0.3),
    "homeserver restarts": homeserver_restarts,
    "homeserver away for long": homeserver_away_for_long,
    "one room fails": one_room_fails,
    "answers to transactions are lost": for_a_while(60, _pushes, answer_lost=0.5),
    "transactions come twice at once": for_a_while(60, _pushes, concurrent=0.5),
    "events come again": for_a_while(60, _pushes, again=0.5),
    "transaction ids come again": for_a_while(60, _pushes, reused_id=0.5),
    "events come out of order": for_a_while(60, _pushes, out_of_order=0.5),
    "bridge is killed": bridge_is_killed,
    "bridge is stopped": bridge_is_stopped,
    "database down": for_a_while(60, _database, down=True),
    "commits are lost": for_a_while(30, _database, commit_lost=0.1),
    "database conflicts": for_a_while(30, _database, conflict=0.1),
    "database is slow": for_a_while(30, _database, slow=0.1),
    "clock jumps": clock_jumps,
    "stream drops": stream_drops,
    "stream drops for good": stream_drops_for_good,
    "network goes away": network_goes_away,
    "network answers are lost": for_a_while(60, _network, answer_lost=0.2),
    "network fails": for_a_while(60, _network, before=0.3),
    "network is slow": for_a_while(60, _network, slow=0.2),
    "password changes": password_changes,
    "contact refuses": contact_refuses,
    "poison": poison,
}
