"""Faults that need several processes, as those of `faults`.

The rule that must never break: every fault ends by itself, so that every history can come to rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from dm_bridge.bridge.vital_signs import ACTS, DEAD
from dm_bridge.testing.simulator.faults import for_a_while
from dm_bridge.testing.simulator.links import DatabaseLink
from dm_bridge.testing.simulator.people import Act
from dm_bridge.testing.simulator.world import MOST_PROCESSES, World
from dm_bridge.testing.virtual_time import VirtualLoop

STOPS_WITHIN = 90.0
"""Seconds after which a process is killed that was told to stop."""


async def another_starts(world: World, act: Act) -> None:
    """There is one more process from now on."""
    if world.wanted < MOST_PROCESSES:
        world.dice.inject("35 another process starts")
        world.wanted += 1
        world.launch()


async def one_is_stopped(world: World, act: Act) -> None:
    """SIGTERM, and there is one process less from now on; the last one is started again."""
    bridge = world.bridge
    if bridge is not None and bridge.ready:
        world.dice.inject("35 a process is told to stop")
        world.wanted = max(1, world.wanted - 1)
        await asyncio.wait([bridge.life.start(bridge.stop())], timeout=STOPS_WITHIN)
        bridge.life.kill()


async def one_is_replaced(world: World, act: Act) -> None:
    """A rolling restart: another process starts, and one is told to stop."""
    bridge = world.bridge
    if bridge is not None and bridge.ready:
        world.dice.inject("35 a process is replaced by another")
        world.launch()
        await asyncio.sleep(act.size * 20)
        await asyncio.wait([bridge.life.start(bridge.stop())], timeout=STOPS_WITHIN)
        bridge.life.kill()


async def one_stands_still(world: World, act: Act) -> None:
    """SIGSTOP for a while, and SIGCONT; often for longer than others wait for it."""
    bridge = world.bridge
    if bridge is None:
        return
    leases = 0.2 + 2.5 * act.size
    longer = "longer" if leases > DEAD + 0.2 else "shorter" if leases < ACTS else "about as long"
    world.dice.inject(f"34 a process stands still, {longer} than its lease allows")
    bridge.life.freeze(cast(VirtualLoop, asyncio.get_running_loop()))
    await asyncio.sleep(leases * world.setup.lease)
    bridge.life.thaw()


async def one_is_cut_off(world: World, act: Act) -> None:
    """One process alone does not reach the database, and goes on with all else."""
    bridge = world.bridge
    if bridge is None:
        return
    world.dice.inject("35 a process is cut off from the database")
    link = cast(DatabaseLink, bridge.database.link)
    link.cut = True
    await asyncio.sleep((0.1 + 2 * act.size) * world.setup.lease)
    link.cut = False


async def listening_ends(world: World, act: Act) -> None:
    """The connections on which processes hear notices break; it takes them a while to make others."""
    for listener in list(world.tables.listeners):
        world.dice.inject("22 LISTEN connection ended")
        listener.end()


async def listening_is_dead(world: World, act: Act) -> None:
    """The connection on which a process hears notices is dead, and nobody says so."""
    bridge = world.bridge
    if bridge is not None:
        world.notice_faults.deaf.add(bridge.database.instance)
        await asyncio.sleep(10 + act.size * 100)
        world.notice_faults.deaf.discard(bridge.database.instance)


def _notices(world: World) -> object:
    return world.notice_faults


FAULTS_OF_MANY: dict[str, Callable[[World, Act], Coroutine[Any, Any, None]]] = {
    "another starts": another_starts,
    "one is stopped": one_is_stopped,
    "one is replaced": one_is_replaced,
    "one stands still": one_stands_still,
    "one is cut off": one_is_cut_off,
    "listening ends": listening_ends,
    "listening is dead": listening_is_dead,
    "notices are lost": for_a_while(60, _notices, lost=0.7),
    "notices come twice": for_a_while(60, _notices, doubled=0.7),
}
HARMLESS = frozenset(
    ("listening ends", "listening is dead", "notices are lost", "notices come twice")
)
"""Those that nobody should notice."""
